"""Does the gate leave healthy data alone, and does it notice every kind of damage, the more the worse?

`python -m bench.validation --table FILE [--label COLUMN] --out report.json`
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from bench.corruptions import (
    LEVELS,
    MODES,
    Corruption,
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
from bench.promises import promises
from bench.report import data_sha256, write_report
from bench.tables import label_of, read_frame
from orchestai.validation.gate import GateSettings, ReferenceProfile, Source, judge
from orchestai.validation.scoring import Judgement

CANDIDATES_PER_REFERENCE = 25
GENERATIONS = 10


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


def healthy(
    frame: pd.DataFrame, label: str | None, settings: GateSettings, splits: int, rows: int, seed: int
) -> dict[str, Any]:
    """Judge random healthy parts; every 25 of them share a reference, and no row of it."""
    rng = np.random.default_rng([seed, 1])
    scores: list[float] = []
    rejected: list[Any] = []
    warned = 0
    while len(scores) < splits:
        part = frame.iloc[rng.permutation(len(frame))[:rows]]
        parts = split(part, rng)
        profile = profile_of(parts, label, settings)
        rest = pd.concat([parts.holdout, parts.candidate])
        for _ in range(min(CANDIDATES_PER_REFERENCE, splits - len(scores))):
            # Another half of what is neither reference nor known; the holdout's own rows may be among it.
            found = judge(profile, rest.iloc[rng.permutation(len(rest))[: len(rest) // 2]], settings)
            scores.append(found.collapse if found.collapse is not None else float("nan"))
            warned += found.decision.verdict == "warn"
            if found.decision.verdict == "rejected":
                rejected.append(found.decision.reason)
    return {
        "splits": len(scores),
        "false_reject_rate": len(rejected) / len(scores),
        "false_warn_rate": warned / len(scores),
        "mean_healthy_score": float(np.nanmean(scores)),
        "lowest_healthy_score": float(np.nanmin(scores)),
        "reasons": rejected[:5],
    }


def curve(points: list[tuple[float, Judgement]]) -> dict[str, Any]:
    """Return how the scores fall with the damage, and where it is first noticed."""
    levels = [level for level, _ in points]
    scores = [found.collapse if found.collapse is not None else float("nan") for _, found in points]
    damaged = [(level, found.decision.verdict) for level, found in points if level > 0]
    return {
        "spearman": float(spearmanr(levels, scores).statistic),
        "first_warn": next((level for level, verdict in damaged if verdict != "approved"), None),
        "first_reject": next((level for level, verdict in damaged if verdict == "rejected"), None),
        "scores": dict(zip(map(str, levels), scores, strict=True)),
        "lowest_dimension": {
            str(level): min(
                ((d.score, name) for name, d in found.dimensions.items() if d.score is not None), default=(None, "")
            )[1]
            for level, found in points
        },
    }


def corruptions(parts: Parts, label: str | None, settings: GateSettings, seed: int) -> dict[str, Any]:
    """Spoil the candidate by degrees in every way that the table allows."""
    kinds: dict[str, Corruption] = {
        "duplicates": duplicates,
        "copies": copies_of(parts.reference),
        "junk": junk,
        "mode_drop": mode_drop(label),
    }
    numbers = numeric_columns(parts.candidate, label)
    if numbers:
        kinds["shift"] = shift(label)
    if len(numbers) >= 3:
        kinds["spectral"] = spectral(label)
    if label is not None:
        kinds["label_flips"] = label_flips(label)
    profile = profile_of(parts, label, settings)
    # Modes and axes go one at a time: levels between two of them would be the same table twice.
    steps = {
        "mode_drop": tuple(place / MODES for place in range(MODES)),
        "spectral": tuple(
            float(place) / max(len(numbers), 1) for place in np.unique(np.linspace(0, len(numbers) - 1, 10, dtype=int))
        ),
    }
    found = {}
    for kind, apply in kinds.items():
        points = []
        for place, level in enumerate(steps.get(kind, LEVELS)):
            rng = np.random.default_rng([seed, 2, place])
            points.append((level, judge(profile, apply(parts.candidate, level, rng), settings)))
        found[kind] = curve(points)
        print(f"  {kind:12s}", {k: found[kind][k] for k in ("spearman", "first_warn", "first_reject")}, flush=True)
    return found


def kept_promises(parts: Parts, label: str | None, settings: GateSettings, seed: int) -> dict[str, Any]:
    """Compare what recommendations promise with the score after they are followed."""
    kinds: dict[str, Corruption] = {"duplicates": duplicates, "copies": copies_of(parts.reference), "junk": junk}
    if label is not None:
        kinds["label_flips"] = label_flips(label)
    found = promises(profile_of(parts, label, settings), parts.candidate, kinds, settings, seed)
    print("  promises    ", {k: v for k, v in found.items() if k != "each"}, flush=True)
    return found


def recursion(parts: Parts, label: str | None, settings: GateSettings, seed: int) -> dict[str, Any]:
    """Judge tables that models made of tables that models made."""
    profile = profile_of(parts, label, settings)
    found = {}
    for kind in KINDS:
        rng = np.random.default_rng([seed, 3])
        points = [(0.0, judge(profile, parts.candidate, settings))]
        rows = len(parts.candidate)
        points += [
            (float(place), judge(profile, table.iloc[:rows], settings))
            for place, table in enumerate(generations(parts.reference, kind, GENERATIONS, rng), start=1)
        ]
        found[kind] = curve(points)
        print(f"  {kind:12s}", {k: found[kind][k] for k in ("spearman", "first_reject")}, flush=True)
    return found


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one table."""
    settings = GateSettings(seed=arguments.seed, null_draws=arguments.draws, sample_rows=arguments.sample)
    frame = read_frame(arguments.table)
    label = label_of(frame, arguments.label, arguments.table)
    rng = np.random.default_rng([arguments.seed, 0])
    if len(frame) > arguments.rows:
        frame = frame.iloc[rng.permutation(len(frame))[: arguments.rows]]
    print(f"{arguments.table.name}: {len(frame)} rows, {frame.shape[1]} columns, label {label}", flush=True)
    started = time.perf_counter()
    found: dict[str, Any] = {"rows": len(frame), "columns": frame.shape[1]}
    if arguments.splits:
        found |= healthy(frame, label, settings, arguments.splits, arguments.healthy_rows, arguments.seed)
        print(f"  healthy      {found['false_reject_rate']=} {found['mean_healthy_score']=}", flush=True)
    if arguments.healthy_only:
        return found | {"seconds": time.perf_counter() - started}
    parts = split(frame, rng)
    found["corruptions"] = corruptions(parts, label, settings, arguments.seed)
    made = recursion(parts, label, settings, arguments.seed)
    if not arguments.no_promises:
        found["recommendations"] = kept_promises(parts, label, settings, arguments.seed)
    found["generations"] = {kind: {"first_reject": each["first_reject"]} for kind, each in made.items()}
    found["generation_curves"] = made
    curves = [*found["corruptions"].values(), *made.values()]
    found["worst_spearman"] = max(each["spearman"] for each in curves)
    found["seconds"] = time.perf_counter() - started
    return found


def main() -> None:
    """Run from the command line."""
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--label", help="column to predict; `last` for the last one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", type=int, default=100, help="healthy splits")
    parser.add_argument("--healthy-only", action="store_true", help="leave the curves of damage out")
    parser.add_argument("--no-promises", action="store_true", help="do not follow the recommendations")
    parser.add_argument("--rows", type=int, default=16_000, help="rows of the table that are used")
    parser.add_argument("--healthy-rows", type=int, default=4_000, help="rows of each healthy split")
    parser.add_argument("--draws", type=int, default=200, help="null draws")
    parser.add_argument("--sample", type=int, default=8_000)
    arguments = parser.parse_args()
    found = run(arguments)
    write_report(
        arguments.out,
        bench="validation",
        data={"table": str(arguments.table), "label": arguments.label},
        sha256=data_sha256([arguments.table]),
        seed=arguments.seed,
        results=found,
    )


if __name__ == "__main__":
    main()
