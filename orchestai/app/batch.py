"""Plans a file of instructions, for benchmarks and for use without running anything."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestai.app.planning import current_checkpoint
from orchestai.catalog import read_catalog
from orchestai.config import Project
from orchestai.contracts import PlanPrediction, PlanPredictor, TaskCatalog
from orchestai.contracts.instruction import clean_instruction_text
from orchestai.errors import CheckpointError, DataError, InputError, OrchestAIError, StorageError
from orchestai.planner.rules import RulesPlanner


@dataclass
class BatchReport:
    """What became of a file of instructions."""

    planner: str
    lines: int = 0
    planned: int = 0
    latency_ms_p50: float = 0.0
    rejected: list[str] = field(default_factory=list)


def plan_file(
    project: Project, file: Path, output: Path, *, catalog: Path | None, checkpoint: Path | None
) -> BatchReport:
    """Plan every line of a JSONL file; bad lines are reported and left out.

    In: `{"id", "instruction"}`. Out: `{"id", "nodes": names, "links": index pairs, "confidence", "planner",
    "latency_ms"}`, in the same order.

    Raises:
        DataError: The file or the catalog cannot be read.
        CheckpointError: The checkpoint does not fit.
        StorageError: The output cannot be written.
    """
    tasks = read_catalog(catalog).tasks if catalog is not None else project.tasks
    predictor, name = load_predictor(project, tasks, checkpoint)
    report = BatchReport(planner=name)
    rows: list[str] = []
    latencies: list[float] = []
    for number, line in enumerate(_read_lines(file), start=1):
        if not line.strip():
            continue
        report.lines += 1
        try:
            example_id, text = _parse_line(line)
        except OrchestAIError as error:
            report.rejected.append(f"{file}:{number}: {error}")
            continue
        started = time.perf_counter()
        prediction = predictor.predict([text])[0]
        latencies.append((time.perf_counter() - started) * 1000)
        rows.append(json.dumps(_row(example_id, prediction, name, latencies[-1]), ensure_ascii=False))
    report.planned = len(rows)
    report.latency_ms_p50 = statistics.median(latencies) if latencies else 0.0
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {output}: {error}.", path=str(output)) from error
    return report


def load_predictor(project: Project, tasks: TaskCatalog, checkpoint: Path | None) -> tuple[PlanPredictor, str]:
    """Return the learned planner of a checkpoint, or the rules where there is none.

    Raises:
        CheckpointError: The checkpoint was asked for and cannot be used.
    """
    path = checkpoint or current_checkpoint(project)
    if path is None:
        return RulesPlanner(tasks), "rules"
    if not (path / "manifest.json").exists():  # said before torch and the encoder load
        raise CheckpointError(f"There is no checkpoint at {path}.", remedy="Give its folder.")
    from orchestai.embeddings import load_encoder
    from orchestai.planner.learned import LearnedPlanner

    encoder = load_encoder(project.planner.encoder, cache_dir=project.paths.embeddings)
    return LearnedPlanner.load(path, encoder=encoder, tasks=tasks, workers=project.workers), "learned"


def _read_lines(file: Path) -> list[str]:
    try:
        # Not splitlines(): JSON allows U+2028 and the like inside a string.
        return file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise DataError(f"Cannot read {file}: {error.strerror}.", remedy="Check the path.") from error


def _parse_line(line: str) -> tuple[str, str]:
    try:
        raw: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}.") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("instruction"), str) or "id" not in raw:
        raise InputError('a line must be an object with "id" and "instruction".')
    return str(raw["id"]), clean_instruction_text(raw["instruction"])


def _row(example_id: str, prediction: PlanPrediction, planner: str, latency_ms: float) -> dict[str, Any]:
    links = [[parent, child] for child, parents in enumerate(prediction.dependencies) for parent in parents]
    return {
        "id": example_id,
        "nodes": list(prediction.task_types),
        "links": links,
        "confidence": prediction.confidence,
        "planner": planner,
        "latency_ms": round(latency_ms, 3),
    }
