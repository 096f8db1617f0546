"""A frozen encoder of the BERT or T5 family, through transformers."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from orchestai.embeddings.cache import TokenCache
from orchestai.embeddings.protocol import TokenStates, pad, pool
from orchestai.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from orchestai.embeddings.single import SingleText

MAX_TOKENS = 256
_BATCH = 32


class TransformerEncoder:
    """Token states of a `transformers` encoder, rounded to float16 whether they come from the cache or not.

    Rounding always, not only when cached, keeps the vectors of a text the same in training and in use.

    Args:
        name: Name under which it was loaded.
        path: Folder or hub name that `transformers` understands.
        cache_dir: Folder of the cache; None means no cache.
    """

    def __init__(self, name: str, path: str, *, cache_dir: Path | None = None) -> None:
        self._name = name
        self._tokenizer, self._model = _load(path)
        config = self._model.config
        self._hidden_size = int(config.hidden_size)
        # T5 has relative positions and no such limit.
        positions = getattr(config, "max_position_embeddings", None) or MAX_TOKENS
        self._max_tokens = min(MAX_TOKENS, int(positions))
        self._identity = self._fingerprint()
        self._single: SingleText | None = None
        self._cache_dir = cache_dir
        self._cache = TokenCache(cache_dir, self._identity, self._hidden_size) if cache_dir else None

    @property
    def name(self) -> str:
        """Name under which the encoder was loaded."""
        return self._name

    @property
    def identity(self) -> str:
        """Hash of weights, vocabulary size and token limit."""
        return self._identity

    @property
    def hidden_size(self) -> int:
        """Width of the vectors."""
        return self._hidden_size

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return [B, H]: mean over the tokens, L2-normalised."""
        if not texts:
            return np.zeros((0, self._hidden_size), dtype=np.float32)
        return pool(self.encode_tokens(texts))

    def encode_tokens(self, texts: Sequence[str]) -> TokenStates:
        """Return the states of all tokens, from the cache where it has them."""
        rows: dict[str, npt.NDArray[np.float16]] = {}
        missing: list[str] = []
        for text in dict.fromkeys(texts):
            cached = self._cache.get(text) if self._cache else None
            if cached is None:
                missing.append(text)
            else:
                rows[text] = cached
        # Texts of like length together: less padding, and padding costs as much as text.
        missing.sort(key=len)
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for text, states in zip(batch, self._run(batch), strict=True):
                rows[text] = states
                if self._cache:
                    self._cache.put(text, states)
        return pad([rows[text] for text in texts], self._hidden_size)

    @property
    def depth(self) -> int:
        """Number of layers that can be trained; 0 where the model is not of the BERT family."""
        return len(self._layers())

    def upper_layers(self, count: int) -> nn.ModuleList:
        """Return a copy of the last `count` layers whose weights can be trained."""
        layers: nn.ModuleList = copy.deepcopy(self._layers()[self.depth - count :])
        return layers.requires_grad_(True)

    def states_below(self, texts: Sequence[str], count: int) -> list[npt.NDArray[np.float32]]:
        """Return the states [T, H] of each text that enter the last `count` layers."""
        found: dict[str, npt.NDArray[np.float32]] = {}
        unique = sorted(dict.fromkeys(texts), key=len)
        kept = list(self._layers())
        # Run without the upper layers: what is not computed needs no time and no memory.
        self._model.encoder.layer = self._layers()[: self.depth - count]
        try:
            for start in range(0, len(unique), _BATCH):
                batch = unique[start : start + _BATCH]
                states, lengths = self._forward(batch)
                found.update((text, row[:n]) for text, row, n in zip(batch, states, lengths, strict=True))
        finally:
            self._model.encoder.layer = type(self._model.encoder.layer)(kept)
        return [found[text] for text in texts]

    def with_upper_layers(self, weights: Mapping[str, Tensor], *, cached: bool = True) -> Self:
        """Return an encoder with these weights in its last layers; this one stays as it is.

        Args:
            weights: As the `state_dict` of `upper_layers` has them.
            cached: Whether it keeps states on disk where this one does.

        Raises:
            CheckpointError: The weights do not fit.
        """
        count = 1 + max((int(name.split(".", 1)[0]) for name in weights), default=-1)
        twin = copy.copy(self)
        twin._model = copy.deepcopy(self._model)
        try:
            twin._layers()[self.depth - count :].load_state_dict(dict(weights))
        except RuntimeError as error:
            raise CheckpointError(
                f"The tuned layers do not fit the encoder {self._name!r}: {str(error).splitlines()[0]}",
                remedy="Train anew with this encoder.",
            ) from error
        twin._single = None
        twin._identity = twin._fingerprint()
        root = self._cache_dir if cached else None
        twin._cache = TokenCache(root, twin._identity, twin._hidden_size) if root else None
        return twin

    def _layers(self) -> Any:
        layers = getattr(getattr(self._model, "encoder", None), "layer", None)
        return layers if layers is not None else ()

    def _run(self, texts: Sequence[str]) -> list[npt.NDArray[np.float16]]:
        if len(texts) == 1 and (single := self._one_by_one()) is not None:
            ids = self._clip(self._tokenizer(texts[0], verbose=False)["input_ids"])
            return [single(ids).half().numpy()]
        states, lengths = self._forward(texts)
        return [row[:length].astype(np.float16) for row, length in zip(states, lengths, strict=True)]

    def _one_by_one(self) -> SingleText | None:
        """The quick way for a single text; None where the model is no plain BERT."""
        from orchestai.embeddings.single import SingleText

        if self._single is None and SingleText.fits(self._model):
            self._single = SingleText(self._model)
        return self._single

    def _forward(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        """States [B, T, H] and the number of tokens of each text."""
        import torch

        ids = [self._clip(row) for row in self._tokenizer(list(texts), verbose=False)["input_ids"]]
        width = max(len(row) for row in ids)
        fill = self._tokenizer.pad_token_id or 0
        device = next(self._model.parameters()).device
        input_ids = torch.tensor([row + [fill] * (width - len(row)) for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
        with torch.inference_mode():
            output = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return output.float().cpu().numpy(), [len(row) for row in ids]

    def _clip(self, ids: list[int]) -> list[int]:
        """Keep head and tail of a long text: requests stand before or after pasted material, not inside."""
        if not ids:  # a tokenizer without special tokens makes nothing of an empty text
            return [self._tokenizer.pad_token_id or 0]
        if len(ids) <= self._max_tokens:
            return list(ids)
        head = self._max_tokens * 3 // 4
        return list(ids[:head]) + list(ids[head - self._max_tokens :])

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{len(self._tokenizer)} {self._max_tokens} mean".encode())
        for key, tensor in sorted(self._model.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _load(path: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModel.from_pretrained(path, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"The encoder {path!r} cannot be loaded: {first}",
            remedy="Use 'minilm' (packaged), a folder with a transformers model, or a cached hub name.",
        ) from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    model.requires_grad_(False)
    model.eval()
    if torch.cuda.is_available():
        model.to("cuda")
    return tokenizer, model
