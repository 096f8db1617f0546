"""Files that land in a watched folder are judged."""

import json

import dagster as dg

from jobs.keys import VALIDATE_FILE
from orchestai.app.inbox import DroppedFile, complete_files
from resources.orchestai_resource import OrchestAIResource

MAX_RUNS_PER_TICK = 30
"""Files that one tick may start; the next tick goes on where this one ended."""


def dropped_files_sensor() -> dg.SensorDefinition:
    """Return the sensor."""

    @dg.sensor(
        name="dropped_files",
        job_name=VALIDATE_FILE,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Judges every complete file in the folders of `validation.inboxes`; one that grows is waited for.",
    )
    def dropped_files(context: dg.SensorEvaluationContext, orchestai: OrchestAIResource) -> dg.SensorResult:
        cursor = _read(context.cursor)
        memory: dict[str, dict[str, dict[str, str]]] = {}
        requests: list[dg.RunRequest] = []
        for inbox in orchestai.project.validation.inboxes:
            found, seen = complete_files(inbox, cursor.get(inbox.name, {}))
            for file in found:
                if len(requests) == MAX_RUNS_PER_TICK:
                    seen[file.path.name].pop("content")  # the next tick finds it again
                    continue
                requests.append(request(inbox.name, file))
            memory[inbox.name] = seen
        idle = None if requests else "No complete file is new."
        return dg.SensorResult(run_requests=requests, skip_reason=idle, cursor=json.dumps(memory, sort_keys=True))

    return dropped_files


def request(inbox: str, file: DroppedFile) -> dg.RunRequest:
    """Return the run of a file. Dagster never starts two runs with one key: hence the content in it."""
    config = {"path": str(file.path), "inbox": inbox, "content": file.content}
    return dg.RunRequest(
        run_key=f"{inbox}:{file.path.name}:{file.content}",
        run_config={"ops": {"validate_dropped_file": {"config": config}}},
        tags={"orchestai/inbox": inbox, "orchestai/file": file.path.name[:200]},
    )


def _read(cursor: str | None) -> dict[str, dict[str, dict[str, str]]]:
    """Return what the last tick remembered; a cursor that is not ours starts anew, which repeats nothing."""
    try:
        seen = json.loads(cursor) if cursor else {}
    except ValueError:
        return {}
    return seen if isinstance(seen, dict) else {}
