"""Does the gate leave healthy data alone, and does it notice every kind of damage, the more the worse?

`python -m bench.validation --table FILE [--label COLUMN] --out report.json`

FILE is a CSV (plain, compressed or zipped) or Parquet of any size: of a larger table `--rows` random rows are used, and
the report says so. Progress is printed. What is finished is kept beside the report until it is written: the same
command after an interruption goes on where it stopped. A kind of damage that a table does not allow is listed with the
reason under `not_measured`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.command import run_command
from bench.corruptions import (
    LEVELS,
    MODES,
    Corruption,
    axes_of,
    copies_of,
    duplicates,
    junk,
    label_flips,
    mode_drop,
    numeric_columns,
    shift,
    spectral,
)
from bench.generations import KINDS, generations
from bench.progress import Progress
from bench.promises import promises
from bench.report import data_sha256, write_report
from bench.tables import label_of, read_sample, usable
from orchestai.errors import DataError
from orchestai.validation.gate import GateSettings, ReferenceProfile, Source, judge
from orchestai.validation.scoring import Judgement

CANDIDATES_PER_REFERENCE = 25
GENERATIONS = 10
FEWEST_ROWS = 40
_FEWEST_LEFT = 20
_LINEAGES = 3


class Parts(NamedTuple):
    """A table in three parts that share no row."""

    reference: pd.DataFrame
    holdout: pd.DataFrame
    candidate: pd.DataFrame


def split(frame: pd.DataFrame, rng: np.random.Generator) -> Parts:
    """Draw half of the rows as reference, a quarter as holdout, a quarter as candidate."""
    order = rng.permutation(len(frame))
    ends = len(frame) // 2, len(frame) * 3 // 4
    return Parts(*(frame.iloc[part].reset_index(drop=True) for part in np.split(order, ends)))


def profile_of(parts: Parts, label: str | None, settings: GateSettings) -> ReferenceProfile:
    """Learn the reference."""
    return ReferenceProfile.fit(Source(parts.reference), settings, holdout=Source(parts.holdout), label=label)


def healthy_scores(
    frame: pd.DataFrame, label: str | None, settings: GateSettings, rows: int, count: int, seed: list[int]
) -> dict[str, Any]:
    """Judge `count` random healthy parts beside one random reference, whose rows none of them shares."""
    rng = np.random.default_rng(seed)
    parts = split(frame.iloc[rng.permutation(len(frame))[:rows]], rng)
    profile = profile_of(parts, label, settings)
    rest = pd.concat([parts.holdout, parts.candidate])
    found = []
    for _ in range(count):
        # Another half of what is neither reference nor known; the holdout's own rows may be among it.
        each = judge(profile, rest.iloc[rng.permutation(len(rest))[: len(rest) // 2]], settings)
        found.append(
            {
                "score": each.collapse,
                "verdict": each.decision.verdict,
                "reason": each.decision.reason,
                "low": [name for name, value in each.dimensions.items() if value.status in ("warn", "critical")],
            }
        )
    return {"each": found}


def summary_of(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all healthy parts."""
    from scipy.stats import beta

    scores = [one["score"] for one in each if one["score"] is not None]
    refused = [one["reason"] for one in each if one["verdict"] == "rejected"]
    low = pd.Series([name for one in each for name in one["low"]], dtype=object)
    return {
        "splits": len(each),
        "false_rejects": len(refused),
        "false_reject_rate": len(refused) / len(each),
        "false_reject_rate_at_most": float(beta.ppf(0.95, len(refused) + 1, max(len(each) - len(refused), 1e-9))),
        "false_warn_rate": sum(one["verdict"] == "warn" for one in each) / len(each),
        "mean_healthy_score": float(np.mean(scores)) if scores else None,
        "lowest_healthy_score": min(scores, default=None),
        "warned_by": {str(name): int(count) for name, count in low.value_counts().items()},
        "reasons": refused[:5],
    }


def curve(points: list[tuple[float, Judgement]]) -> dict[str, Any]:
    """Return how the scores fall with the damage, and where it is first noticed."""
    damaged = [(level, found.decision.verdict) for level, found in points if level > 0]
    return {
        "spearman": _spearman([(level, found.collapse) for level, found in points]),
        "first_warn": next((level for level, verdict in damaged if verdict != "approved"), None),
        "first_reject": next((level for level, verdict in damaged if verdict == "rejected"), None),
        "scores": {str(level): found.collapse for level, found in points},
        "lowest_dimension": {
            str(level): min(
                ((d.score, name) for name, d in found.dimensions.items() if d.score is not None), default=(None, "")
            )[1]
            for level, found in points
        },
    }


def _spearman(points: list[tuple[float, float | None]]) -> float | None:
    """Return the rank correlation; None for fewer than three points, or if all scores are the same."""
    from scipy.stats import spearmanr

    known = [(level, score) for level, score in points if score is not None]
    if len(known) < 3 or len({score for _, score in known}) < 2:
        return None
    return float(spearmanr([level for level, _ in known], [score for _, score in known]).statistic)


def ways_to_spoil(parts: Parts, label: str | None) -> dict[str, tuple[Corruption, tuple[float, ...]]]:
    """Return every kind of damage that the table allows, with its levels."""
    numbers = numeric_columns(parts.candidate, label)
    kinds: dict[str, tuple[Corruption, tuple[float, ...]]] = {
        "duplicates": (duplicates, LEVELS),
        "copies": (copies_of(parts.reference), LEVELS),
        "junk": (junk, LEVELS),
        # Modes and axes go one at a time: levels between two of them would be the same table twice.
        "mode_drop": (mode_drop(label), tuple(place / MODES for place in range(MODES))),
    }
    if numbers:
        kinds["shift"] = shift(label), LEVELS
    axes = axes_of(parts.candidate, label)
    if axes >= 3:
        steps = np.unique(np.linspace(0, axes - 1, 10, dtype=int))
        kinds["spectral"] = spectral(label), tuple(float(place) / axes for place in steps)
    if label is not None and parts.candidate[label].nunique() > 1:
        kinds["label_flips"] = label_flips(label), LEVELS
    return kinds


def damage(
    profile: ReferenceProfile,
    candidate: pd.DataFrame,
    way: tuple[Corruption, tuple[float, ...]],
    settings: GateSettings,
    seed: int,
) -> dict[str, Any]:
    """Spoil the candidate by degrees in one way."""
    apply, levels = way
    points = []
    for place, level in enumerate(levels):
        table = apply(candidate, level, np.random.default_rng([seed, 2, place]))
        if len(table) >= min(_FEWEST_LEFT, len(candidate)):
            points.append((level, judge(profile, table, settings)))
    return curve(points)


def recursion(profile: ReferenceProfile, parts: Parts, kind: str, settings: GateSettings, seed: int) -> dict[str, Any]:
    """Judge tables that models made of tables that models made.

    A generation is as large as the reference and is judged whole. Several lineages are followed, for a single one
    shows its sampling as much as its fate. Scores are means, and a generation counts as noticed when that of every
    lineage is.
    """
    points = [(0, [judge(profile, parts.candidate, settings)])]
    points += [(place, []) for place in range(1, GENERATIONS + 1)]
    for lineage in range(_LINEAGES):
        rng = np.random.default_rng([seed, 3, lineage])
        for place, table in enumerate(generations(parts.reference, kind, GENERATIONS, rng), start=1):
            points[place][1].append(judge(profile, table, settings))
    means = [(float(place), _mean([found.collapse for found in each])) for place, each in points]
    return {
        "spearman": _spearman(means),
        "first_warn": _first(points, ("warn", "rejected")),
        "first_reject": _first(points, ("rejected",)),
        "scores": {str(place): score for place, score in means},
        "lineages": _LINEAGES,
    }


def _mean(scores: list[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def _first(points: list[tuple[int, list[Judgement]]], verdicts: tuple[str, ...]) -> float | None:
    """Return the first generation of which every lineage has one of the verdicts."""
    hit = (place for place, each in points[1:] if all(found.decision.verdict in verdicts for found in each))
    return next((float(place) for place in hit), None)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one table."""
    seed = arguments.seed
    settings = GateSettings(seed=seed, null_draws=arguments.draws, sample_rows=arguments.sample)
    sampled = read_sample(arguments.table, arguments.rows, np.random.default_rng([seed, 0]))
    label = label_of(sampled.frame, arguments.label, arguments.table)
    frame, notes = usable(sampled.frame, label)
    if len(frame) < FEWEST_ROWS:
        raise DataError(f"{arguments.table} has {len(frame)} rows.", remedy=f"Give a table of {FEWEST_ROWS} or more.")
    if len(frame) < sampled.rows:
        notes.insert(0, f"{len(frame):,} random rows of {sampled.rows:,} are used.")
    print(f"{arguments.table.name}: {sampled.rows} rows, {frame.shape[1]} columns, label {label}", *notes, flush=True)
    progress = Progress(arguments.out, _fingerprint(arguments))
    started = time.perf_counter()
    found: dict[str, Any] = {
        "rows_in_table": sampled.rows,
        "rows": len(frame),
        "columns": frame.shape[1],
        "notes": notes,
        "not_measured": progress.failed,
    }
    found |= _healthy(frame, label, settings, arguments, progress)
    if not arguments.healthy_only:
        found |= _damages(frame, label, settings, arguments, progress)
    return found | {"seconds": progress.seconds_before + time.perf_counter() - started}


def _healthy(
    frame: pd.DataFrame, label: str | None, settings: GateSettings, arguments: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    each: list[dict[str, Any]] = []
    rows = min(arguments.healthy_rows, len(frame))
    for place, begin in enumerate(range(0, arguments.splits, CANDIDATES_PER_REFERENCE)):
        count = min(CANDIDATES_PER_REFERENCE, arguments.splits - begin)
        seed = [arguments.seed, 1, place]
        made = progress.do(
            f"healthy, reference {place + 1}",
            partial(healthy_scores, frame, label, settings, rows, count, seed),
            _lowest,
        )
        each += made["each"] if made is not None else []
    return summary_of(each) | {"healthy_rows": rows} if each else {}


def _damages(
    frame: pd.DataFrame, label: str | None, settings: GateSettings, arguments: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    seed = arguments.seed
    parts = split(frame, np.random.default_rng([seed, 0]))
    profile = profile_of(parts, label, settings)
    ways = ways_to_spoil(parts, label)
    corruptions: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for kind, way in ways.items():
        corruptions[kind] = progress.do(kind, partial(damage, profile, parts.candidate, way, settings, seed), _short)
    for kind in KINDS:
        made[kind] = progress.do(kind, partial(recursion, profile, parts, kind, settings, seed), _short)
    found: dict[str, Any] = {
        "corruptions": {kind: each for kind, each in corruptions.items() if each is not None},
        "generations": {kind: None if each is None else {"first_reject": each["first_reject"]}
                        for kind, each in made.items()},
        "generation_curves": {kind: each for kind, each in made.items() if each is not None},
    }  # fmt: skip
    curves = [*found["corruptions"].values(), *found["generation_curves"].values()]
    found["worst_spearman"] = max((each["spearman"] for each in curves if each["spearman"] is not None), default=None)
    if not arguments.no_promises:
        kinds: dict[str, Corruption] = {
            kind: ways[kind][0] for kind in ("duplicates", "copies", "junk", "label_flips") if kind in ways
        }
        found["recommendations"] = progress.do(
            "recommendations",
            partial(promises, profile, parts.candidate, kinds, settings, seed),
            _without_each,
        )
    return found


def _lowest(made: dict[str, Any]) -> str:
    scores = [one["score"] for one in made["each"] if one["score"] is not None]
    return f"lowest score {min(scores):.1f}" if scores else "no score"


def _without_each(made: dict[str, Any]) -> str:
    return str({name: value for name, value in made.items() if name != "each"})


def _short(made: dict[str, Any]) -> str:
    return str({name: made[name] for name in ("spearman", "first_warn", "first_reject")})


def _fingerprint(arguments: argparse.Namespace) -> str:
    """Hash what the results depend on: the data, the options, and the code."""
    import orchestai.validation

    code = Path(orchestai.validation.__file__).parent
    digest = hashlib.sha256(data_sha256([arguments.table]).encode())
    options = {name: str(value) for name, value in sorted(vars(arguments).items()) if name not in ("out", "splits")}
    digest.update(json.dumps(options).encode())
    for file in [*sorted(code.rglob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--label", help="column to predict; `last` for the last one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", type=int, default=400, help="healthy splits")
    parser.add_argument("--healthy-only", action="store_true", help="leave the curves of damage out")
    parser.add_argument("--no-promises", action="store_true", help="do not follow the recommendations")
    parser.add_argument("--rows", type=int, default=16_000, help="most rows of the table that are used")
    parser.add_argument("--healthy-rows", type=int, default=4_000, help="rows of each healthy split")
    parser.add_argument("--draws", type=int, default=200, help="null draws")
    parser.add_argument("--sample", type=int, default=8_000)
    arguments = parser.parse_args(argv)
    return run_command(lambda: _reported(arguments), lambda _: Progress.forget(arguments.out))


def _reported(arguments: argparse.Namespace) -> dict[str, Any]:
    found = run(arguments)
    return write_report(
        arguments.out,
        bench="validation",
        data={"table": str(arguments.table), "label": arguments.label},
        sha256=data_sha256([arguments.table]),
        seed=arguments.seed,
        results=found,
    )


if __name__ == "__main__":
    sys.exit(main())
