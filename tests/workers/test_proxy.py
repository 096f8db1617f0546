from __future__ import annotations

import asyncio
import base64

import pytest
from misbehaving import KEY, Exchange, MisbehavingServer, completion, request

from orchestai.contracts import WorkerCatalog, WorkerProfile
from orchestai.errors import WorkerError, WorkerUnavailableError
from orchestai.workers import WorkerLayer
from orchestai.workers.proxy import proxy_for


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        ("https://api.test/v1", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://api.test/v1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://api.test/v1", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "http://q:1"),
        ("https://api.test/v1", {"http_proxy": "http://p:1"}, None),
        ("http://api.test/v1", {"http_proxy": "p:1"}, "http://p:1"),
        ("http://api.test/v1", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://api.test/v1", {"https_proxy": "http://p:1", "no_proxy": "other,api.test"}, None),
        ("https://user@a.api.test/v1", {"https_proxy": "http://p:1", "NO_PROXY": ".api.test"}, None),
        ("https://api.test/v1", {"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ("https://api.test/v1", {"https_proxy": "http://p:1", "no_proxy": " *.TEST ,"}, None),
        ("https://api.test:9/v1", {"https_proxy": "http://p:1", "no_proxy": "api.test:9"}, None),
        ("https://api.test:8/v1", {"https_proxy": "http://p:1", "no_proxy": "api.test:9"}, "http://p:1"),
        ("https://api.test/v1", {"https_proxy": "http://p:1", "no_proxy": "pi.test"}, "http://p:1"),
        ("http://127.0.0.1:8451/v1", {"http_proxy": "http://p:1"}, None),
        ("http://[::1]:8451/v1", {"http_proxy": "http://p:1"}, None),
        ("http://localhost/v1", {"http_proxy": "http://p:1"}, None),
        ("https://api.test/v1", {"https_proxy": " "}, None),
        ("", {"all_proxy": "http://p:1"}, None),
    ],
)
def test_the_usual_variables_decide(url: str, variables: dict[str, str], proxy: str | None) -> None:
    found = proxy_for(url, variables.get)
    assert (found.get_secret_value() if found else None) == proxy


async def test_calls_go_through_the_proxy(server: MisbehavingServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send_json(completion())

    server.script = script
    address = server.base_url.removeprefix("http://").removesuffix("/v1")
    profile = WorkerProfile(
        name="far", description="d", model="m", base_url="http://models.invalid/v1", api_key_env="FAR_KEY"
    )
    env = {"http_proxy": f"http://user:pass-word@{address}", "FAR_KEY": KEY}
    async with WorkerLayer(WorkerCatalog(workers=(profile,)), env=env.get) as layer:
        outputs = await asyncio.gather(*(layer["far"].run(request()) for _ in range(2)))
    assert [output.content for output in outputs] == ["Paris", "Paris"]
    head = server.requests[0].head
    assert head.startswith("POST http://models.invalid/v1/chat/completions HTTP/1.1")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:pass-word').decode()}" in head


async def test_a_proxy_that_refuses_is_named_without_its_password(server: MisbehavingServer) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(407, b"")

    server.script = script
    address = server.base_url.removeprefix("http://").removesuffix("/v1")
    profile = WorkerProfile(name="far", description="d", model="m", base_url="https://models.invalid/v1")
    env = {"https_proxy": f"http://user:pass-word@{address}"}
    async with WorkerLayer(WorkerCatalog(workers=(profile,)), env=env.get) as layer:
        with pytest.raises(WorkerUnavailableError, match=r"the proxy refuses.*no_proxy") as caught:
            await layer["far"].run(request())
    assert "pass-word" not in str(caught.value)
    assert server.requests[0].head.startswith("CONNECT models.invalid:443")


@pytest.mark.parametrize(
    "proxy", ["http://user:pass-word@127.0.0.1:1", "socks9://user:pass-word@h", "http://user:pass-word@[x"]
)
async def test_a_proxy_that_is_none_does_not_show_its_password(proxy: str) -> None:
    profile = WorkerProfile(name="far", description="d", model="m", base_url="http://models.invalid/v1")
    async with WorkerLayer(WorkerCatalog(workers=(profile,)), env={"http_proxy": proxy}.get) as layer:
        with pytest.raises(WorkerError) as caught:
            await layer["far"].run(request())
    assert "pass-word" not in str(caught.value)
