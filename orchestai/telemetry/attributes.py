"""Names of span attributes: OpenTelemetry's conventions for generative AI, and ours.

The conventions' own module is marked as unstable, so the names are written out; a test compares them with it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestai.contracts import Modality, WorkerProfile

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
WORKFLOW = "gen_ai.workflow.name"
AGENT = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
USAGE_INPUT = "gen_ai.usage.input_tokens"
USAGE_OUTPUT = "gen_ai.usage.output_tokens"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

INVOKE_WORKFLOW = "invoke_workflow"
INVOKE_AGENT = "invoke_agent"

EXECUTION = "orchestai.execution.id"
STATUS = "orchestai.status"
TENANT = "orchestai.tenant"
PRIORITY = "orchestai.priority"
INSTRUCTION = "orchestai.instruction"
ANSWER = "orchestai.answer"
COST = "orchestai.cost_usd"
SIMULATED = "orchestai.simulated"
RETRIES = "orchestai.retries"
PLANNER = "orchestai.plan.planner"
CONFIDENCE = "orchestai.plan.confidence"
MODEL_VERSION = "orchestai.plan.model_version"
FALLBACKS = "orchestai.plan.fallbacks"
SUBTASKS = "orchestai.plan.subtasks"
INDEX = "orchestai.subtask.index"
TASK_TYPE = "orchestai.subtask.task_type"
WORKER = "orchestai.worker"
GAVE_UP = "orchestai.workers_given_up"
ATTEMPTS = "orchestai.attempts"
PROMPT_VERSION = "orchestai.prompt_version"

_OPERATIONS = {
    Modality.CHAT: "chat",
    Modality.VISION: "chat",
    Modality.AUDIO: "generate_content",
    Modality.EMBEDDING: "embeddings",
}
_PROVIDERS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "api.mistral.ai": "mistral_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x_ai",
}


def operation(modality: Modality) -> str:
    """Return the conventions' word for a call."""
    return _OPERATIONS[modality]


def server(profile: WorkerProfile) -> dict[str, str | int]:
    """Say who is called; a URL's user, password, path and query stay out."""
    if profile.base_url is None:
        return {PROVIDER: "orchestai.simulator" if profile.simulated else "orchestai.local"}
    try:
        url = urlsplit(profile.base_url)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    found: dict[str, str | int] = {PROVIDER: _PROVIDERS.get(host, "openai_compatible")}
    if host:
        found[SERVER_ADDRESS] = host
    if port is not None:
        found[SERVER_PORT] = port
    return found
