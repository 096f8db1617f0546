"""Does the gate name the rows and cells that are wrong?

`python -m bench.localize --tables DIR --out report.json`, where DIR holds adult/, elec/, rdatasets/, dirty_clean/.
Labels are flipped evenly; nothing but the spoiled table itself is given to the gate.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.corruptions import label_flips
from bench.report import data_sha256, over_seeds, write_report
from bench.tables import read_frame
from orchestai.validation.gate import DatasetValidator, GateSettings
from orchestai.validation.localize import RowScores

LABELLED = {
    "elec": ("elec/elec.csv", "class"),
    "adult": ("adult/adult.data", "c14"),
    "diamonds": ("rdatasets/diamonds.parquet", "price"),
    "diamonds_cut": ("rdatasets/diamonds.parquet", "cut"),
}
CELLS = ("hospital", "beers")
FLIPPED = 0.1
COPIED = 0.1


def row_scores(frame: pd.DataFrame, label: str | None, settings: GateSettings) -> RowScores:
    """Run the stages up to localisation on a table alone."""
    return DatasetValidator(use_cache=False, settings=settings).row_scores(frame, label=label)


def auroc(scores: Any, wrong: Any) -> float:
    """Return the area under the ROC curve."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    count = int(wrong.sum())
    return float((ranks[wrong].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count)))


def flipped(frame: pd.DataFrame, label: str, share: float, rng: np.random.Generator) -> tuple[pd.DataFrame, Any]:
    """Return the table with wrong labels, and which rows have one (n,)."""
    frame = frame.reset_index(drop=True)
    spoiled = label_flips(label)(frame, share, rng)
    return spoiled, (spoiled[label] != frame[label]).to_numpy()


def duplicates(frame: pd.DataFrame, settings: GateSettings, rng: np.random.Generator) -> dict[str, float]:
    """Insert copies of rows anywhere; among the k rows named first, count those that repeat another row."""
    frame = frame.drop_duplicates().reset_index(drop=True)
    count = round(COPIED * len(frame))
    order = rng.permutation(len(frame) + count)
    doubled = pd.concat([frame, frame.iloc[rng.choice(len(frame), count, replace=False)]]).iloc[order]
    repeats = doubled.duplicated(keep=False).to_numpy()
    later = doubled.duplicated(keep="first").to_numpy()
    result = DatasetValidator(use_cache=False, settings=settings).validate_sync(doubled)
    named = list(result.problematic_rows[:count])
    return {
        "p_at_k": float(repeats[named].mean()) if named else 0.0,
        "p_at_k_later_copy": float(later[named].mean()) if named else 0.0,
        "k": count,
    }


def open_data_val(frame: pd.DataFrame, label: str, seed: int) -> dict[str, float]:
    """Follow OpenDataVal (Jiang et al. 2023): 1,000 rows, a fifth of the labels flipped, F1 of the rows named."""
    rng = np.random.default_rng([seed, 9])
    part = frame.iloc[rng.permutation(len(frame))[:1000]]
    spoiled, wrong = flipped(part, label, 0.2, rng)
    settings = GateSettings(seed=seed)
    begun = time.process_time()
    scores = row_scores(spoiled, label, settings)
    seconds = time.process_time() - begun
    named = scores.named["label"]
    hits = int((named & wrong).sum())
    return {
        "f1": 2 * hits / max(int(named.sum() + wrong.sum()), 1),
        "auroc": auroc(scores.strength["label"], wrong),
        "cpu_seconds": seconds,
    }


def cells(folder: Path, name: str) -> dict[str, float]:
    """Compare the cells named in a dirty table with those that differ from the clean one."""
    dirty, clean = (
        pd.read_csv(folder / f"{name}_{kind}.csv", dtype=str, keep_default_na=False) for kind in ("dirty", "clean")
    )
    clean.columns = dirty.columns
    wrong = {
        (row, column) for column in dirty.columns for row in map(int, np.flatnonzero(dirty[column] != clean[column]))
    }
    begun = time.process_time()
    table = pa.Table.from_pandas(dirty, preserve_index=False)
    result = DatasetValidator(use_cache=False).validate_sync(table)
    assert result.localization is not None
    named = {(cell.row, cell.column): cell for cell in result.localization.cells}
    hits = wrong & set(named)
    repaired = sum(named[key].expected == clean.at[key[0], key[1]] for key in hits)
    precision, recall = len(hits) / max(len(named), 1), len(hits) / max(len(wrong), 1)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "wrong_cells": len(wrong),
        "named_cells": len(named),
        "repaired_right": repaired / max(len(hits), 1),
        "cpu_seconds": time.process_time() - begun,
    }


def run(tables: Path, seed: int, rows: int, kinds: set[str]) -> dict[str, Any]:
    """Measure everything once."""
    settings = GateSettings(seed=seed)
    found: dict[str, Any] = {}
    adult = read_frame(tables / LABELLED["adult"][0])
    if "duplicates" in kinds:
        found["duplicates_p_at_k"] = {}
        for name in ("adult", "elec", "diamonds"):
            frame = read_frame(tables / LABELLED[name][0]).head(rows)
            found["duplicates_p_at_k"][name] = duplicates(frame, settings, np.random.default_rng([seed, 8]))
    if "labels" in kinds:
        found["label_auroc"], found["label_cpu_seconds"] = {}, {}
        for name, (file, label) in LABELLED.items():
            frame = read_frame(tables / file)
            rng = np.random.default_rng([seed, 7])
            frame = frame.iloc[rng.permutation(len(frame))[:rows]]
            spoiled, wrong = flipped(frame, label, FLIPPED, rng)
            begun = time.process_time()
            scores = row_scores(spoiled, label, settings)
            found["label_cpu_seconds"][name] = time.process_time() - begun
            found["label_auroc"][name] = auroc(scores.strength["label"], wrong)
            print(name, found["label_auroc"][name], found["label_cpu_seconds"][name], flush=True)
    if "opendataval" in kinds:
        found["opendataval"] = open_data_val(adult, "c14", seed)
        found["opendataval_f1"] = found["opendataval"]["f1"]
    if "cells" in kinds:
        found["cells"] = {name: cells(tables / "dirty_clean", name) for name in CELLS}
    return found


def main() -> None:
    """Run from the command line."""
    import sklearn.ensemble  # noqa: F401 - importing is paid once a process, not once a table
    import torch

    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000, help="most rows of each table")
    parser.add_argument("--only", nargs="*", default=["duplicates", "labels", "opendataval", "cells"])
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    results = [run(arguments.tables, seed, arguments.rows, set(arguments.only)) for seed in seeds]
    files = [arguments.tables / file for file, _ in LABELLED.values()]
    report = write_report(
        arguments.out,
        bench="localize",
        data={"tables": str(arguments.tables)},
        sha256=data_sha256(files),
        seed=list(seeds),
        results=over_seeds(results),
    )
    print(report["results"])


if __name__ == "__main__":
    main()
