"""A real loopback endpoint in the OpenAI format that answers what a test dictates, one answer a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestai.planner.llm_planner import LLMPlanner


class ScriptedLLM:
    """Plays the answers in order, the last one again and again; `requests` are the bodies that came in."""

    def __init__(self, server: HTTPServer, *answers: object) -> None:
        self.base_url = server.url_for("/v1")
        self.requests: list[dict[str, Any]] = []
        self._answers = [answer if isinstance(answer, str) else json.dumps(answer) for answer in answers]
        server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        self.requests.append(request.get_json())
        content = self._answers[min(len(self.requests), len(self._answers)) - 1]
        return Response(json.dumps(completion(content)), content_type="application/json")

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]


def completion(content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "planner",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }


def proposal(dependencies: list[list[int]], task_type: str = "generation") -> dict[str, Any]:
    nodes = [{"task_type": task_type, "description": f"step {i}"} for i in range(len(dependencies))]
    return {"nodes": nodes, "dependencies": dependencies}


Script = Callable[..., tuple[ScriptedLLM, LLMPlanner]]
"""Makes a planner over the answers given."""
