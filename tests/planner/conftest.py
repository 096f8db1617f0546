from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pytest_httpserver import HTTPServer

from orchestai.config import Project, load_project
from orchestai.contracts import WorkerProfile
from orchestai.planner.llm_planner import LLMPlanner
from orchestai.prompts import PromptLibrary
from orchestai.workers import OpenAIWorker
from tests.planner.scripted_llm import Script, ScriptedLLM


@pytest.fixture(scope="session")
def project() -> Project:
    return load_project()


@pytest.fixture
async def script(httpserver: HTTPServer, project: Project) -> AsyncIterator[Script]:
    """Return a function that makes an LLM planner over the answers of a real loopback server."""
    opened: list[OpenAIWorker] = []

    def make(*answers: object, max_repairs: int = 2, **facts: float) -> tuple[ScriptedLLM, LLMPlanner]:
        llm = ScriptedLLM(httpserver, *answers)
        profile = WorkerProfile.model_validate(
            {"name": "planner", "description": "d", "model": "m", "timeout_s": 5, **facts}
        )
        worker = OpenAIWorker(profile, base_url=llm.base_url)
        opened.append(worker)
        return llm, LLMPlanner(worker, PromptLibrary(project.prompts), project.tasks, max_repairs)

    yield make
    for worker in opened:
        await worker.aclose()
