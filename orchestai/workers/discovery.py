"""Which models there are: of any OpenAI-format endpoint, and of the Hugging Face Hub; priced from YAML.

Lists of models are written by strangers. Names are checked before anything is made of them, and no free text of
theirs reaches a description, which a planner reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from urllib.parse import parse_qsl, urljoin, urlsplit

from pydantic import SecretStr

from orchestai.contracts import Modality
from orchestai.errors import MalformedResponseError
from orchestai.workers.clients import ClientPool
from orchestai.workers.discovered import Discovery, Listed, merge
from orchestai.workers.http import JsonEndpoint, Query, Reply, decode_json
from orchestai.workers.model_facts import ModelFacts
from orchestai.workers.provider_errors import ProviderErrors
from orchestai.workers.status_errors import Callee

HUB_URL = "https://huggingface.co"
HUB_INFERENCE_URL = "https://router.huggingface.co/v1"
"""Where the models of the Hub are called, in the OpenAI format."""

MAX_PAGES = 50

_PIPELINES: Mapping[str, tuple[Modality, ...]] = {
    "text-generation": (Modality.CHAT,),
    "image-text-to-text": (Modality.CHAT, Modality.VISION),
    "automatic-speech-recognition": (Modality.AUDIO,),
    "feature-extraction": (Modality.EMBEDDING,),
    "sentence-similarity": (Modality.EMBEDDING,),
}
_HUB_FIELDS = ("pipeline_tag", "gated", "private", "disabled")
_CONTEXT_KEYS = ("context_length", "max_model_len", "context_window", "max_context_length")


async def discover_endpoint(
    base_url: str,
    *,
    api_key: SecretStr | None = None,
    api_key_env: str | None = None,
    facts: Sequence[ModelFacts] = (),
    prefix: str = "",
    limit: int = 1000,
    timeout_s: float = 30.0,
    clients: ClientPool | None = None,
) -> Discovery:
    """Return a profile for each model that `{base_url}/models` lists.

    Beside the plain format, the fields are read in which common servers tell more: the context (`context_length`,
    `max_model_len`, `meta.n_ctx_train`), prices a token (`pricing.prompt`, `pricing.completion`) and
    `architecture.input_modalities`. What `facts` say comes before them.

    Args:
        base_url: The endpoint, `/v1` included.
        api_key: Its key.
        api_key_env: Name of the variable that holds the key, for the profiles.
        facts: Prices and capabilities by name or pattern.
        prefix: What the workers' names begin with.
        limit: The most models to take.
        timeout_s: Time allowed for all pages.
        clients: Connections to share.

    Raises:
        WorkerError: The endpoint cannot be reached, wants a key, or answers in another format.
    """
    callee = _callee(base_url, api_key_env)
    pages = _Pages(callee, base_url, api_key, clients)
    listed = [_read_openai(entry) for entry in await pages.collect(pages.openai(), limit, timeout_s)]
    complete = pages.complete
    return merge(
        listed, facts, base_url=base_url, api_key_env=api_key_env, prefix=prefix, limit=limit, complete=complete
    )


async def discover_hub(
    *,
    search: str | None = None,
    author: str | None = None,
    pipeline: str | None = "text-generation",
    token: SecretStr | None = None,
    token_env: str | None = "HF_TOKEN",
    facts: Sequence[ModelFacts] = (),
    prefix: str = "hf-",
    limit: int = 100,
    timeout_s: float = 30.0,
    hub_url: str = HUB_URL,
    inference_url: str = HUB_INFERENCE_URL,
    clients: ClientPool | None = None,
) -> Discovery:
    """Return a profile for each model of the Hugging Face Hub that fits and that an inference provider serves.

    Args:
        search: Part of the name.
        author: User or organisation.
        pipeline: The Hub's word for what a model does; null means any that a worker can do.
        token: The user's token; without it the Hub shows public models only.
        token_env: Name of the variable that holds the token, for the profiles.
        facts: Prices and capabilities by name or pattern; the Hub has no prices.
        prefix: What the workers' names begin with.
        limit: The most models to take, by downloads.
        timeout_s: Time allowed for all pages.
        hub_url: The Hub, or a mirror of it.
        inference_url: Where the models are called.
        clients: Connections to share.

    Raises:
        WorkerError: The Hub cannot be reached, refuses, or answers in another format.
    """
    callee = _callee(hub_url, token_env)
    query = [("sort", "downloads"), ("direction", "-1"), ("limit", str(min(limit, 100))), ("inference_provider", "all")]
    query += [(key, value) for key, value in (("search", search), ("author", author)) if value]
    if pipeline is not None:
        query.append(("pipeline_tag", pipeline))
    query += [("expand[]", field) for field in _HUB_FIELDS]
    pages = _Pages(callee, hub_url, token, clients)
    listed = [_read_hub(entry) for entry in await pages.collect(pages.hub(query), limit, timeout_s)]
    complete = pages.complete
    return merge(
        listed, facts, base_url=inference_url, api_key_env=token_env, prefix=prefix, limit=limit, complete=complete
    )


class _Pages:
    """Gives the entries of a list page by page."""

    def __init__(self, callee: Callee, base_url: str, key: SecretStr | None, clients: ClientPool | None) -> None:
        self._callee = callee
        self._base_url = base_url
        self._key = key
        self._clients = clients or ClientPool()
        self._owns_clients = clients is None
        self._endpoint = JsonEndpoint(callee, base_url, key, self._clients)
        self.complete = True

    async def collect(self, entries: AsyncGenerator[object, None], limit: int, timeout_s: float) -> list[object]:
        """Return one entry more than `limit` at most, so that it shows whether something was left."""
        found: list[object] = []
        try:
            with ProviderErrors(self._callee, secret=self._key, limit_s=timeout_s):
                async with asyncio.timeout(timeout_s), aclosing(entries):
                    async for entry in entries:
                        found.append(entry)
                        if len(found) > limit:
                            break
        finally:
            if self._owns_clients:
                await self._clients.aclose()
        return found

    async def openai(self) -> AsyncGenerator[object, None]:
        """Go through `{"data": [...]}`, and on where the answer says `has_more` and by which id."""
        query: Query = ()
        for _ in range(MAX_PAGES):
            reply = await self._endpoint.get("models", query=query)
            payload = decode_json(reply, self._callee)
            entries = payload.get("data") if isinstance(payload, dict) else payload
            for entry in self._entries(entries):
                yield entry
            last = payload.get("last_id") if isinstance(payload, dict) and payload.get("has_more") else None
            if not isinstance(last, str) or ("after", last) in query:
                return
            query = [("after", last)]
        self.complete = False

    async def hub(self, query: Query) -> AsyncGenerator[object, None]:
        """Go through lists whose `Link` header names the next page."""
        for _ in range(MAX_PAGES):
            reply = await self._endpoint.get("api/models", query=query)
            for entry in self._entries(decode_json(reply, self._callee)):
                yield entry
            following = self._following(reply)
            if following is None or following == list(query):
                return
            query = following
        self.complete = False

    def _entries(self, value: object) -> list[object]:
        if not isinstance(value, list):
            raise MalformedResponseError(
                f"{self._callee.label} sent no list of models.", worker=self._callee.name, remedy="Check its URL."
            )
        return value

    def _following(self, reply: Reply) -> list[tuple[str, str]] | None:
        """Return the query of the next page. Only the query: a link must not send the token elsewhere."""
        for link in reply.headers.get("link", "").split(","):
            target, _, parameters = link.partition(";")
            if 'rel="next"' in parameters.replace(" ", "") and target.strip().startswith("<"):
                base = f"{self._base_url.rstrip('/')}/"
                url = urlsplit(urljoin(base, target.strip()[1:].rstrip(">")))
                if (url.scheme, url.netloc) != urlsplit(base)[:2]:
                    self.complete = False
                    return None
                return parse_qsl(url.query)
        return None


def _callee(url: str, key_env: str | None) -> Callee:
    shown = urlsplit(url).netloc.rpartition("@")[2] or url[:100]
    where = f"environment variable {key_env}" if key_env else "endpoint's key"
    return Callee(
        name=shown,
        label=f"The list of models at {shown!r}",
        request_remedy="Check its URL.",
        key_remedy=f"Put a valid key into the {where}.",
    )


def _read_openai(entry: object) -> Listed:
    if not isinstance(entry, dict):
        return Listed(None)
    architecture = entry.get("architecture")
    inputs = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    modalities = None
    if isinstance(inputs, list) and "text" in inputs:
        modalities = (Modality.CHAT, Modality.VISION) if "image" in inputs else (Modality.CHAT,)
    meta = entry.get("meta")
    context = next((entry[key] for key in _CONTEXT_KEYS if entry.get(key) is not None), None)
    if context is None and isinstance(meta, dict):
        context = meta.get("n_ctx_train")
    pricing = entry.get("pricing")
    prices = pricing if isinstance(pricing, dict) else {}
    return Listed(
        entry.get("id"),
        modalities=modalities,
        context_tokens=context,
        input_usd_per_token=prices.get("prompt"),
        output_usd_per_token=prices.get("completion"),
    )


def _read_hub(entry: object) -> Listed:
    if not isinstance(entry, dict):
        return Listed(None)
    pipeline = entry.get("pipeline_tag")
    modalities = _PIPELINES.get(pipeline) if isinstance(pipeline, str) else None
    skip = None
    if entry.get("disabled") is True:
        skip = "the Hub has disabled it"
    elif isinstance(pipeline, str) and modalities is None:
        skip = f"no worker does {ascii(pipeline)[:60]}"
    note = "gated: its terms must be accepted on the Hub first" if entry.get("gated") else None
    return Listed(entry.get("id", entry.get("modelId")), modalities=modalities, note=note, skip=skip)
