"""`workers list` and `workers discover`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestai.config import Settings, load_project
from tests.cli.conftest import Cli

KEY = "sk-listing-0123456789"
MODELS: list[dict[str, Any]] = [
    {"id": "big-7b", "context_length": 8192, "pricing": {"prompt": "0.000001", "completion": "0.000002"}},
    {"id": "text-embed-3"},
    {"id": "tts-1"},
    {"id": "{{ env_var('HOME') }}"},
]


@pytest.fixture
def listing(httpserver: HTTPServer) -> str:
    def answer(request: Request) -> Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        return Response(Response.json_module.dumps({"data": MODELS}), content_type="application/json")

    httpserver.expect_request("/v1/models").respond_with_handler(answer)
    return httpserver.url_for("/v1")


def test_the_workers_of_the_project(cli: Cli) -> None:
    outcome = cli("workers", "list")
    assert outcome.code == 0
    assert "sim-frontier" in outcome.out
    assert "simulated" in outcome.out
    names = [each["name"] for each in cli("workers", "list", "--json").json]
    assert names[0] == "smollm2-135m"


def test_models_of_an_endpoint_become_workers_that_load(cli: Cli, listing: str, configs: Path, tmp_path: Path) -> None:
    cli.use(MY_KEY=KEY)
    written = tmp_path / "found.yml"
    facts = tmp_path / "facts.yml"
    facts.write_text('models:\n  - match: "*embed*"\n    input_usd_per_mtok: 0.02\n')
    flags = ("--api-key-env", "MY_KEY", "--facts", facts, "--prefix", "acme-", "--write", written)
    outcome = cli("workers", "discover", listing, *flags)
    assert outcome.code == 0
    assert "acme-big-7b" in outcome.out
    assert "left out: 'tts-1'" in outcome.err
    assert KEY not in outcome.out + outcome.err + written.read_text()
    names = {each["name"]: each for each in yaml.safe_load(written.read_text())["workers"]}
    assert set(names) == {"acme-big-7b", "acme-text-embed-3"}, "a name that a template obeys is left out"
    assert names["acme-big-7b"]["output_usd_per_mtok"] == 2.0
    assert names["acme-text-embed-3"]["input_usd_per_mtok"] == 0.02

    mine = tmp_path / "project"
    assert cli("init", mine).code == 0
    folder = next(path.parent for path in mine.rglob("packaged.yml"))
    (folder / "found.yml").write_text(written.read_text())
    project = load_project(folder.parent, settings=Settings.load())
    assert project.workers["acme-big-7b"].api_key_env == "MY_KEY"

    again = cli("workers", "discover", listing, *flags)
    assert again.code == 2
    assert "exists already" in again.err


def test_machines_get_everything(cli: Cli, listing: str) -> None:
    cli.use(MY_KEY=KEY)
    found = cli("workers", "discover", listing, "--api-key-env", "MY_KEY", "--json").json
    assert [each["worker"]["name"] for each in found["models"]] == ["big-7b", "text-embed-3"]
    assert found["models"][1]["unknown"] == ["modalities", "price", "context_tokens", "typical_latency_ms"]
    assert len(found["skipped"]) == 2
    assert found["complete"] is True


def test_the_hub_of_a_mirror(cli: Cli, httpserver: HTTPServer) -> None:
    listed = [{"id": "org/model-1b", "pipeline_tag": "text-generation"}]
    httpserver.expect_request("/api/models").respond_with_json(listed)
    found = cli("workers", "discover", "--hub", "--hub-url", httpserver.url_for("/"), "--json").json
    assert [each["worker"]["model"] for each in found["models"]] == ["org/model-1b"]


@pytest.mark.parametrize("arguments", [(), ("http://127.0.0.1:9/v1", "--hub")])
def test_one_place_to_look_at(cli: Cli, arguments: tuple[str, ...]) -> None:
    outcome = cli("workers", "discover", *arguments)
    assert outcome.code == 2
    assert "Exactly one" in outcome.err


def test_an_endpoint_that_is_not_there(cli: Cli) -> None:
    outcome = cli("workers", "discover", "http://127.0.0.1:9/v1")
    assert outcome.code == 1
    assert "127.0.0.1:9" in outcome.err
