from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestai.contracts import WorkerProfile

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 96


def make_checkpoint(folder: Path, *, template: str | None = TEMPLATE, eos_bias: float | None = None) -> Path:
    """Write a random two-layer Llama and a tokenizer trained on a few sentences."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    raw.train_from_iterator(["the capital of France is Paris", "be brief and answer the question"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = template
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    if eos_bias is not None:
        with torch.no_grad():  # the rows' scale decides how often the end token wins
            model.lm_head.weight[tokenizer.eos_token_id] *= eos_bias
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def profile(**fields: Any) -> WorkerProfile:
    facts: dict[str, Any] = {
        "name": "local",
        "description": "A tiny model.",
        "model": "tiny-llama",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 4.0,
    }
    return WorkerProfile(**(facts | fields))
