from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from listing import ListingServer, listing_server
from pydantic import SecretStr

from orchestai.contracts import Modality, SimulationProfile, WorkerCatalog, WorkerProfile
from orchestai.errors import (
    ConfigError,
    MalformedResponseError,
    WorkerAuthError,
    WorkerTimeoutError,
    WorkerUnavailableError,
)
from orchestai.workers.discovered import Listed, merge
from orchestai.workers.discovery import MAX_PAGES, discover_endpoint, discover_hub
from orchestai.workers.model_facts import ModelFacts, facts_of_workers, known_of, read_model_facts

KEY = SecretStr("sk-listing-secret-42")


@pytest.fixture
async def listing() -> AsyncIterator[ListingServer]:
    async with listing_server() as running:
        yield running


def model(name: object, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "x"} | more


async def test_the_plain_format_with_prices_from_facts(listing: ListingServer) -> None:
    listing.openai = [[model("big-7b"), model("small-1b"), model("text-embed-3"), model("whisper-2")]]
    facts = (
        ModelFacts(match="big-*", input_usd_per_mtok=1.5, context_tokens=1000, modalities=(Modality.CHAT,)),
        ModelFacts(match="BIG-7B", output_usd_per_mtok=3.0, context_tokens=32_000, description="Good at poems."),
    )
    found = await discover_endpoint(listing.base_url, api_key=KEY, api_key_env="BIG_KEY", facts=facts, prefix="acme-")
    assert listing.seen[0].headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"
    big, small, embed, whisper = found.models
    assert big.profile == WorkerProfile(
        name="acme-big-7b",
        description="Good at poems.",
        model="big-7b",
        base_url=listing.base_url,
        api_key_env="BIG_KEY",
        modalities=(Modality.CHAT,),
        input_usd_per_mtok=1.5,
        output_usd_per_mtok=3.0,
        context_tokens=32_000,
    )
    assert big.unknown == ("typical_latency_ms",)
    assert big.notes == ()
    assert small.unknown == ("modalities", "price", "context_tokens", "typical_latency_ms")
    assert any("price is unknown" in note for note in small.notes)
    assert embed.profile.modalities == (Modality.EMBEDDING,)
    assert whisper.profile.modalities == (Modality.AUDIO,)
    assert any("guessed from the name: audio" in note for note in whisper.notes)
    assert found.complete
    assert found.catalog().names == ("acme-big-7b", "acme-small-1b", "acme-text-embed-3", "acme-whisper-2")


async def test_what_common_servers_tell_beyond_the_format(listing: ListingServer) -> None:
    listing.openai = [
        [
            model(
                "seer",
                context_length=131_072,
                pricing={"prompt": "0.0000025", "completion": "0.00001"},
                architecture={"input_modalities": ["text", "image"]},
            ),
            model("v", max_model_len=4096),
            model("l", meta={"n_ctx_train": 2048}),
            model("free", pricing={"prompt": "0", "completion": "0"}),
        ]
    ]
    seer, vllm, llama, free = (await discover_endpoint(listing.base_url)).models
    assert seer.profile.modalities == (Modality.CHAT, Modality.VISION)
    assert (seer.profile.input_usd_per_mtok, seer.profile.output_usd_per_mtok) == (2.5, 10.0)
    assert seer.profile.context_tokens == 131_072
    assert seer.unknown == ("typical_latency_ms",)
    assert (vllm.profile.context_tokens, llama.profile.context_tokens) == (4096, 2048)
    assert "price" in vllm.unknown
    assert "price" not in free.unknown


@pytest.mark.parametrize(
    "odd",
    [
        {"context_length": -5},
        {"context_length": "many"},
        {"context_length": True},
        {"context_length": 10**30},
        {"pricing": {"prompt": "-1", "completion": "-1"}},
        {"pricing": {"prompt": "nan", "completion": "inf"}},
        {"pricing": {"prompt": "1" * 5000, "completion": [1]}},
        {"pricing": "cheap"},
        {"architecture": {"input_modalities": "text"}},
        {"architecture": None, "meta": [1]},
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_odd_facts_are_unknown_facts(listing: ListingServer, odd: dict[str, Any]) -> None:
    listing.openai = [[model("m", **odd)]]
    (found,) = (await discover_endpoint(listing.base_url)).models
    assert found.unknown == ("modalities", "price", "context_tokens", "typical_latency_ms")
    assert found.profile.input_usd_per_mtok == 0
    assert found.profile.context_tokens == WorkerProfile.model_fields["context_tokens"].default


async def test_hostile_names_are_left_out(listing: ListingServer) -> None:
    hostile = [
        "", " ", "a b", "a\nb", "\x1b[31mred", "abc\u202egnp.exe", "zero\u200bwidth", "nul\0", "half\ud800", "x" * 201,
        None, 7, ["list"], {"a": 1},
    ]  # fmt: skip
    listing.openai = [[*(model(name) for name in hostile), "no object", None, model("good")]]
    found = await discover_endpoint(listing.base_url)
    assert [each.profile.model for each in found.models] == ["good"]
    assert len(found.skipped) == len(hostile) + 2
    assert all(reason.isprintable() and len(reason) < 200 for reason in found.skipped)


async def test_odd_but_usable_names_make_safe_and_different_workers(listing: ListingServer) -> None:
    names = [
        "../../etc/passwd",
        "..\\..\\x",
        "Org/Model",
        "org/model",
        "org-model",
        "模型",
        "*",
        "<b>m</b>",
        "good",
        "good",
    ]
    listing.openai = [[model(name) for name in names]]
    found = await discover_endpoint(listing.base_url, prefix="p-")
    assert [each.profile.model for each in found.models] == names[:-1], "a double entry is one"
    workers = found.catalog().names
    assert workers == (
        "p-etc-passwd", "p-x", "p-org-model", "p-org-model-2", "p-org-model-3", "p-model", "p-model-2",
        "p-b-m-b", "p-good",
    )  # fmt: skip


def test_free_text_of_strangers_reaches_no_description() -> None:
    entry = Listed("m")
    found = merge([entry], (), base_url="http://h/v1", api_key_env=None, prefix="", limit=5, complete=True)
    assert found.models[0].profile.description == "The model m. Nothing is known of what it is good at."


async def test_models_that_are_no_workers_are_skipped_unless_facts_say_otherwise(listing: ListingServer) -> None:
    listing.openai = [[model("tts-1"), model("dall-e-3"), model("omni-moderation"), model("gpt-realtime")]]
    found = await discover_endpoint(
        listing.base_url, facts=[ModelFacts(match="gpt-realtime", modalities=(Modality.CHAT,))]
    )
    assert [each.profile.model for each in found.models] == ["gpt-realtime"]
    assert len(found.skipped) == 3


async def test_pages_are_followed(listing: ListingServer) -> None:
    listing.openai = [[model("a"), model("b")], [model("c")], [model("d")]]
    found = await discover_endpoint(listing.base_url)
    assert [each.profile.model for each in found.models] == ["a", "b", "c", "d"]
    assert [request.query.get("after") for request in listing.seen] == [None, "page-1", "page-2"]


async def test_a_limit_ends_the_reading_and_is_said(listing: ListingServer) -> None:
    listing.openai = [[model("a"), model("b")], [model("c")], [model("d")]]
    found = await discover_endpoint(listing.base_url, limit=2)
    assert [each.profile.model for each in found.models] == ["a", "b"]
    assert not found.complete
    assert len(listing.seen) == 2, "one entry beyond the limit is looked at"
    assert (await discover_endpoint(listing.base_url, limit=4)).complete


async def test_pages_without_end_are_left(listing: ListingServer) -> None:
    count = 0

    async def raw(_request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.json_response({"data": [model(f"m{count}")], "has_more": True, "last_id": f"m{count}"})

    listing.raw = raw
    found = await discover_endpoint(listing.base_url)
    assert len(found.models) == count == MAX_PAGES
    assert not found.complete


async def test_a_page_that_names_itself_as_the_next_is_the_last(listing: ListingServer) -> None:
    async def raw(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [model("m")], "has_more": True, "last_id": "m"})

    listing.raw = raw
    found = await discover_endpoint(listing.base_url)
    assert len(listing.seen) == 2
    assert len(found.models) == 1


@pytest.mark.parametrize(
    "body", [b"{}", b'{"data": {}}', b'{"data": ', b'"x"', b"<html>"], ids=["no data", "object", "half", "text", "html"]
)
async def test_other_formats_are_refused(listing: ListingServer, body: bytes) -> None:
    async def raw(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    listing.raw = raw
    with pytest.raises(MalformedResponseError, match=r"The list of models at '127\.0\.0\.1:\d+'"):
        await discover_endpoint(listing.base_url)


async def test_silence_ends_at_the_limit(listing: ListingServer) -> None:
    async def raw(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(20)
        return web.Response()

    listing.raw = raw
    with pytest.raises(WorkerTimeoutError, match=r"0\.2 s"):
        await discover_endpoint(listing.base_url, timeout_s=0.2)


async def test_a_list_without_end_is_refused(listing: ListingServer) -> None:
    async def raw(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(400):
            await response.write(b" " * 2**16)
        return response

    listing.raw = raw
    with pytest.raises(MalformedResponseError, match="16,777,216"):
        await discover_endpoint(listing.base_url)


async def test_errors_name_the_variable_and_not_the_key(listing: ListingServer) -> None:
    async def raw(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": f"bad {KEY.get_secret_value()}"}}, status=401)

    listing.raw = raw
    with pytest.raises(WorkerAuthError, match="BIG_KEY") as caught:
        await discover_endpoint(listing.base_url, api_key=KEY, api_key_env="BIG_KEY")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert KEY.get_secret_value() not in shown
    with pytest.raises(WorkerUnavailableError):
        await discover_endpoint("http://127.0.0.1:1/v1")


def hub_entry(name: str, pipeline: str | None = "text-generation", **more: Any) -> dict[str, Any]:
    return {"_id": "1", "id": name, "pipeline_tag": pipeline, "gated": False, "private": False} | more


async def test_the_hub_page_by_page(listing: ListingServer) -> None:
    listing.hub = [hub_entry(f"org/chat-{number:03}") for number in range(250)]
    facts = [ModelFacts(match="org/chat-00*", input_usd_per_mtok=0.1, output_usd_per_mtok=0.2)]
    found = await discover_hub(
        hub_url=listing.url, inference_url="http://inference/v1", token=KEY, search="chat", facts=facts, limit=250
    )
    assert len(found.models) == 250
    assert found.complete
    assert [request.query.get("cursor") for request in listing.seen] == [None, "100", "200"]
    first = listing.seen[0]
    assert first.headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"
    assert dict(first.query) | {"expand[]": ""} == {
        "sort": "downloads", "direction": "-1", "limit": "100", "inference_provider": "all", "search": "chat",
        "pipeline_tag": "text-generation", "expand[]": "",
    }  # fmt: skip
    priced, unpriced = found.models[9], found.models[10]
    assert priced.profile == WorkerProfile(
        name="hf-org-chat-009",
        description="The model org/chat-009. Nothing is known of what it is good at.",
        model="org/chat-009",
        base_url="http://inference/v1",
        api_key_env="HF_TOKEN",
        modalities=(Modality.CHAT,),
        input_usd_per_mtok=0.1,
        output_usd_per_mtok=0.2,
    )
    assert priced.unknown == ("context_tokens", "typical_latency_ms")
    assert unpriced.unknown == ("price", "context_tokens", "typical_latency_ms")


async def test_the_hub_without_a_token_and_with_all_kinds(listing: ListingServer) -> None:
    listing.hub = [
        hub_entry("o/see", "image-text-to-text"),
        hub_entry("o/hear", "automatic-speech-recognition"),
        hub_entry("o/embed", "feature-extraction"),
        hub_entry("o/paint", "text-to-image"),
        hub_entry("o/gone", disabled=True),
        hub_entry("o/locked", gated="manual"),
        hub_entry("o/unsaid", None),
    ]
    found = await discover_hub(hub_url=listing.url, pipeline=None)
    assert "Authorization" not in listing.seen[0].headers
    assert {each.profile.model: each.profile.modalities for each in found.models} == {
        "o/see": (Modality.CHAT, Modality.VISION),
        "o/hear": (Modality.AUDIO,),
        "o/embed": (Modality.EMBEDDING,),
        "o/locked": (Modality.CHAT,),
        "o/unsaid": (Modality.CHAT,),
    }
    assert [reason.partition(":")[0] for reason in found.skipped] == ["'o/paint'", "'o/gone'"]
    locked = next(each for each in found.models if each.profile.model == "o/locked")
    assert any("gated" in note for note in locked.notes)


@pytest.mark.parametrize(
    "elsewhere", ["http://127.0.0.1:1/api/models?cursor=9", "https://evil.test/x", "//evil.test/y"]
)
async def test_a_link_to_another_host_is_not_followed(listing: ListingServer, elsewhere: str) -> None:
    listing.hub = [hub_entry(f"o/m{number}") for number in range(150)]
    listing.next_link = elsewhere
    found = await discover_hub(hub_url=listing.url, token=KEY, limit=200)
    assert len(listing.seen) == 1
    assert len(found.models) == 100
    assert not found.complete


def test_facts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "models.yml"
    path.write_text(
        "models:\n"
        "  - match: gpt-*\n    modalities: [chat, vision]\n    input_usd_per_mtok: 2\n"
        "  - match: gpt-4\n    input_usd_per_mtok: 30\n"
    )
    facts = read_model_facts(path)
    assert known_of("GPT-4", facts) == {"input_usd_per_mtok": 30.0, "modalities": (Modality.CHAT, Modality.VISION)}
    assert known_of("gpt-5", facts)["input_usd_per_mtok"] == 2.0
    assert known_of("other", facts) == {}
    empty = tmp_path / "empty.yml"
    empty.write_text("")
    assert read_model_facts(empty) == ()


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "models: [{match: a, price: 1}, {match: '', input_usd_per_mtok: -1}]",
            ["models.0.price", "models.1.match", "models.1.input_usd_per_mtok"],
        ),
        ("models: {a: 1}", ["models"]),
        ("- a", ["models"]),
        ("models: [", ["models"]),
        ("models: !!python/object/apply:os.system ['true']", ["models"]),
    ],
    ids=["fields", "no list", "no mapping", "no YAML", "code"],
)  # fmt: skip
def test_all_problems_of_a_file_are_named(tmp_path: Path, text: str, problems: list[str]) -> None:
    path = tmp_path / "models.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_model_facts(path)
    assert [problem.key for problem in caught.value.problems] == problems
    with pytest.raises(ConfigError, match="cannot be read"):
        read_model_facts(tmp_path / "none.yml")


def test_the_projects_own_workers_tell_what_they_know() -> None:
    catalog = WorkerCatalog(
        workers=(
            WorkerProfile(name="mine", description="Mine.", model="org/[x]*", input_usd_per_mtok=2.0),
            WorkerProfile(name="sim", description="s", model="sim", simulation=SimulationProfile()),
        )
    )
    facts = facts_of_workers(catalog)
    assert known_of("org/[x]*", facts) == {"description": "Mine.", "input_usd_per_mtok": 2.0}
    assert known_of("org/xy", facts) == {}
    assert known_of("sim", facts) == {}


NAMES = st.one_of(st.text(max_size=30), st.none(), st.integers(), st.text("ab/-.*", min_size=1, max_size=4))


@given(names=st.lists(NAMES, max_size=12), prefix=st.sampled_from(["", "p-"]), limit=st.integers(0, 12))
def test_whatever_is_listed_makes_a_valid_catalog(names: list[object], prefix: str, limit: int) -> None:
    found = merge(
        [Listed(name) for name in names],
        (),
        base_url="http://h/v1",
        api_key_env=None,
        prefix=prefix,
        limit=limit,
        complete=True,
    )
    assert found.complete == (len(names) <= limit)
    if found.models:
        workers = found.catalog().names
        assert all(name.isascii() and name.isprintable() and "/" not in name for name in workers)
    models = [each.profile.model for each in found.models]
    assert len(set(models)) == len(models)
    assert set(models) <= {name for name in names if isinstance(name, str)}
