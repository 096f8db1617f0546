"""A loopback endpoint in the OpenAI format for synchronous tests, and a project at test speed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestai.app.scaffold import create_project
from orchestai.config import Project, Settings, load_project
from tests.planner.scripted_llm import completion

Answer = Callable[[Request], Response]


class Endpoint:
    """Answers every chat call as `answer` says; `requests` are the bodies that came in."""

    def __init__(self, server: HTTPServer) -> None:
        self.base_url = server.url_for("/v1")
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.called = threading.Event()
        self.answer: Answer = says("Paris")
        server.expect_request("/v1/chat/completions").respond_with_handler(self._handle)

    def _handle(self, request: Request) -> Response:
        self.requests.append(request.get_json())
        self.headers.append(dict(request.headers))
        self.called.set()
        return self.answer(request)

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_MODEL": "test-model",
            "OPENAI_API_KEY": "sk-test-0123456789",
            "ORCHESTAI_OPENAI_TIMEOUT_S": "0.5",
        }


def says(content: str) -> Answer:
    return lambda _request: Response(json.dumps(completion(content)), content_type="application/json")


def refuses(status: int, message: str, **headers: str) -> Answer:
    body = json.dumps({"error": {"message": message}})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: Response(body, status=status, headers=names, content_type="application/json")


def write_project(folder: Path, **sections: dict[str, Any]) -> Path:
    """Write a project without pauses between attempts and without simulated latency; return its folder."""
    create_project(folder)
    file = folder / "configs" / "project.yml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    quick: dict[str, dict[str, Any]] = {
        "engine": {"backoff_min_s": 0, "backoff_max_s": 0, "backoff_jitter_s": 0},
        "simulator": {"time_scale": 0.0},
        "planner": {"fallback": "rules"},
    }
    for changes in (quick, sections):
        for section, values in changes.items():
            content[section].update(values)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "configs"


def load(configs: Path, home: Path, **environment: str) -> Project:
    return load_project(configs, settings=Settings.from_mapping({"ORCHESTAI_HOME": str(home), **environment}))
