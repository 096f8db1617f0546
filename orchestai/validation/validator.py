"""The gate: one call from a table to a decision, in six stages, of which one may fail without losing the others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestai.errors import DataError, OrchestAIError
from orchestai.validation.accumulate import accumulate, sample_raw
from orchestai.validation.alone import measure_alone, natural_repetition
from orchestai.validation.cache import ResultCache, cache_key
from orchestai.validation.calibrate import not_measurable
from orchestai.validation.decide import decide
from orchestai.validation.diversity import measure_diversity
from orchestai.validation.localize import RowScores, fuse, score_rows
from orchestai.validation.localize.cells import LOOKED_AT, find_cells
from orchestai.validation.localize.rows import trees_judge
from orchestai.validation.meaning import Meaning, measure_meaning, sampled_texts
from orchestai.validation.monitor import Monitor
from orchestai.validation.neartext import find_near
from orchestai.validation.profile import ReferenceProfile, encoder_of, profile_of
from orchestai.validation.recommend import recommend
from orchestai.validation.result import (
    CascadeReport,
    CellProblem,
    DimensionScore,
    DiversityScores,
    Localization,
    Recommendation,
    StageError,
    ValidationResult,
)
from orchestai.validation.scoring import NO_GEOMETRY, collapse_score, score_dimensions
from orchestai.validation.settings import DIMENSIONS, GateSettings
from orchestai.validation.source import Source, TableLike
from orchestai.validation.states.table import TableState
from orchestai.validation.summary import Described

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestai.validation.cascade import Cascade

NATURAL_NEAR = 0.2
"""Beyond this share of texts that nearly repeat another one, they are made from templates."""
STAGES = ("load", "diversity", "cascade", "collapse", "localize", "recommend")
Order = Literal["time"] | None
OnStage = Callable[[str, int, int], None]
"""Called with the name of the stage that begins, its place from 0, and the number of stages."""


@dataclass
class _Run:
    """What one validation has found so far."""

    monitor: Monitor
    on_stage: OnStage | None
    errors: list[StageError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    profile: ReferenceProfile | None = None
    state: TableState | None = None
    raw: pa.Table | None = None
    table: Described | None = None
    rows: range | None = None
    reference: Literal["given", "blocks", "none"] = "none"
    natural: float = 0.0
    diversity: DiversityScores | None = None
    cascade: Cascade | None = None
    cascade_report: CascadeReport | None = None
    dimensions: dict[str, DimensionScore] = field(default_factory=dict)
    scores: RowScores | None = None
    localization: Localization | None = None
    recommendations: list[Recommendation] = field(default_factory=list)
    projected: float | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run a stage; an error in it is noted, and what the others find stands."""
        if self.on_stage is not None:
            self.on_stage(name, STAGES.index(name), len(STAGES))
        with self.monitor.stage(name):
            try:
                yield
            except OrchestAIError as error:
                if name == "load":
                    raise
                self.fail(name, error)
            except Exception as error:  # whatever fails in one stage must not lose what the others found
                self.fail(name, error)

    def fail(self, name: str, error: BaseException) -> None:
        """Note that a stage failed."""
        if name == "load":  # nothing can follow
            text = f"The table cannot be analysed: {type(error).__name__}: {error}"
            raise DataError(text, remedy="Check its columns.") from error
        self.errors.append(StageError(stage=name, kind=type(error).__name__, message=str(error)[:500]))


class DatasetValidator:
    """Says whether a table is fit to train on.

    Args:
        collapse_threshold: Smallest collapse score that is approved.
        diversity_threshold: Smallest diversity score that is approved.
        gpu_memory_fraction: Largest share of a GPU's memory that may be used.
        enable_mixed_precision: Whether networks run in bfloat16 on a GPU.
        use_cache: Whether the same content with the same settings is judged once only.
        settings: Everything else; the thresholds above win.
        cache_folder: Where results are kept; in memory of this object if not given.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        collapse_threshold: float = 65,
        diversity_threshold: float = 50,
        gpu_memory_fraction: float = 0.9,
        enable_mixed_precision: bool = True,
        use_cache: bool = True,
        *,
        settings: GateSettings | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        if not 0 < gpu_memory_fraction <= 1:
            raise ValueError(f"`gpu_memory_fraction` must be in (0, 1], got {gpu_memory_fraction}.")
        base = (settings or GateSettings()).model_dump()
        thresholds = {"collapse_threshold": collapse_threshold, "diversity_threshold": diversity_threshold}
        self.settings = GateSettings.model_validate({**base, **thresholds})
        self.gpu_memory_fraction = gpu_memory_fraction
        self.enable_mixed_precision = enable_mixed_precision
        self.use_cache = use_cache
        self._disk = ResultCache(cache_folder) if cache_folder is not None else None
        self._memory: dict[str, ValidationResult] = {}

    async def validate(self, data: TableLike, format: str | None = None, **options: Any) -> ValidationResult:
        """Do what `validate_sync` does, in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.validate_sync, data, format, **options)

    def validate_sync(
        self,
        data: TableLike,
        format: str | None = None,
        *,
        reference: TableLike | ReferenceProfile | None = None,
        holdout: TableLike | None = None,
        label: str | None = None,
        order: Order = None,
        on_stage: OnStage | None = None,
    ) -> ValidationResult:
        """Judge a table.

        Args:
            data: Path, `pyarrow.Table`, pandas or polars frame, or an object with `.batches()`.
            format: Format of a file, if its content does not tell.
            reference: Healthy data that it should be like, or a profile of them. Without one most dimensions of
                collapse are not measurable, and the result says so.
            holdout: Rows of the reference's origin that nothing was trained on: memorisation needs them.
            label: Column that a model would predict; guessed by name if not given.
            order: `time` if the rows are in order of time: the earlier half is then the reference.
            on_stage: Called when a stage begins.

        Raises:
            DataError: It is no table, cannot be read, or is empty.
        """
        monitor = Monitor()
        monitor.start()
        try:
            return self._validate(monitor, data, format, reference, holdout, label, order, on_stage)
        finally:
            monitor.stop()

    def profile(
        self, reference: TableLike, *, holdout: TableLike | None = None, label: str | None = None
    ) -> ReferenceProfile:
        """Learn a reference once, for many tables.

        Raises:
            DataError: It is no table, or is empty.
        """
        chunk = self.settings.chunk_rows
        held = None if holdout is None else Source(holdout, chunk_rows=chunk)
        return ReferenceProfile.fit(Source(reference, chunk_rows=chunk), self.settings, holdout=held, label=label)

    def row_scores(self, data: TableLike, *, label: str | None = None) -> RowScores:
        """Give every row of a table its strength for each kind of problem, without deciding.

        Raises:
            DataError: It is no table, or is empty.
        """
        source = Source(data, chunk_rows=self.settings.chunk_rows)
        run = _Run(Monitor(), None)
        self._load(run, source, None, None, label, None, networks=False)
        assert run.state is not None
        if not trees_judge(self.settings, run.state.rows):
            self._cascade(run, source)
        if run.errors:
            raise DataError(f"The cascade failed: {run.errors[0].message}")
        assert run.profile is not None
        assert run.state is not None
        return score_rows(source, run.profile, run.state, run.cascade, with_reference=False, natural=run.natural)

    def _validate(
        self,
        monitor: Monitor,
        data: TableLike,
        format: str | None,
        reference: TableLike | ReferenceProfile | None,
        holdout: TableLike | None,
        label: str | None,
        order: Order,
        on_stage: OnStage | None,
    ) -> ValidationResult:
        run = _Run(monitor, on_stage)
        with run.stage("load"):
            source = Source(data, chunk_rows=self.settings.chunk_rows, format=format)
            key, content = self._key(source, reference, holdout, label, order, format)
            if (cached := self._cached(key)) is not None:
                return cached
            self._load(run, source, reference, holdout, label, order)
        assert run.state is not None
        assert run.profile is not None
        # These three need only what was loaded, and not each other: they share the machine.
        with ThreadPoolExecutor(max_workers=3, thread_name_prefix="validation") as pool:
            stages = [
                pool.submit(self._diversity, run, source),
                pool.submit(self._cascade, run, source),
                pool.submit(self._collapse, run),
            ]
            for stage in stages:
                stage.result()
        self._localize(run, source)
        self._recommend(run)
        result = self._result(run, source, content)
        self._keep(key, result)
        return result

    def _load(
        self,
        run: _Run,
        source: Source,
        reference: TableLike | ReferenceProfile | None,
        holdout: TableLike | None,
        label: str | None,
        order: Order,
        *,
        networks: bool = True,
    ) -> None:
        """Read the table once, and the reference before it; without `networks` only for labels that need them."""
        settings, chunk = self.settings, self.settings.chunk_rows
        if reference is not None:
            run.reference = "given"
            if isinstance(reference, ReferenceProfile):
                run.profile = reference
            else:
                run.profile = self.profile(reference, holdout=holdout, label=label)
        elif order == "time":
            run.reference = "blocks"
            _, total = sample_raw(source, 1, settings.seed)
            if total < 40:
                raise DataError(f"{total} rows are too few for an earlier and a later half.", remedy="Give 40 or more.")
            held = None if holdout is None else Source(holdout, chunk_rows=chunk)
            run.rows = range(total // 2, total)
            run.profile = ReferenceProfile.fit(source, settings, holdout=held, label=label, rows=range(total // 2))
        else:
            run.raw, _ = sample_raw(source, max(settings.sample_rows, 10_000), settings.seed)
            encoder, kind = encoder_of(run.raw, label)
            run.state = accumulate(source, encoder, settings)
            needed = networks or not trees_judge(settings, run.state.rows)
            columns = tuple(run.raw.column_names)
            run.profile = profile_of(run.state, encoder, kind, settings, columns, networks=needed)
            run.table = run.profile.described
            run.natural = natural_repetition(run.raw, run.state.rows)
            if holdout is not None:
                run.warnings.append("A holdout without a reference tells nothing; it was not used.")
        if run.state is None:
            names = source.names
            missing = [name for name in run.profile.columns if name not in names]
            extra = [name for name in names if name not in run.profile.columns]
            if missing and len(missing) == len(run.profile.columns):
                raise DataError(
                    "The table has no column of the reference.", remedy=f"Expected {', '.join(missing[:5])}, ..."
                )
            if missing:
                run.warnings.append(f"Columns of the reference are missing: {', '.join(missing[:20])}.")
            if extra:
                run.warnings.append(f"Columns that the reference lacks are not judged: {', '.join(extra[:20])}.")
            run.state = accumulate(source, run.profile.encoder, settings, rows=run.rows)
            run.natural = run.profile.state.exact.repeated_share()
            if run.profile.space is not None:
                run.table = run.profile.describe(run.state)
        _note_columns(run, source)

    def _diversity(self, run: _Run, source: Source) -> None:
        with run.stage("diversity"):
            assert run.profile is not None
            assert run.state is not None
            run.diversity = measure_diversity(
                run.profile,
                run.state,
                run.table,
                with_reference=run.reference != "none",
                meaning=self._meaning(run, source),
            )
            note = run.diversity.detail.get("texts", "")
            if "not embedded" in note:
                run.warnings.append(f"Semantic diversity rests on words only: {note}.")

    def _meaning(self, run: _Run, source: Source) -> Meaning | None:
        assert run.profile is not None
        columns = run.profile.encoder.columns
        if not self.settings.embedding_rows or not any(column.kind == "text" for column in columns):
            return None
        raw = run.raw
        if raw is None:
            raw, _ = sample_raw(source, self.settings.embedding_rows, self.settings.seed, rows=run.rows)
        return measure_meaning(sampled_texts(raw, columns, self.settings), run.profile.texts, self.settings)

    def _cascade(self, run: _Run, source: Source) -> None:
        with run.stage("cascade"):
            from orchestai.validation.cascading import train_on_table

            assert run.profile is not None
            assert run.state is not None
            run.cascade, run.cascade_report = train_on_table(
                run.profile,
                run.state,
                self.settings,
                source=source,
                piece=run.rows,
                own=run.reference == "none",
                gpu_memory_fraction=self.gpu_memory_fraction,
                mixed_precision=self.enable_mixed_precision,
            )

    def _collapse(self, run: _Run) -> None:
        with run.stage("collapse"):
            assert run.profile is not None
            assert run.state is not None
            if run.reference == "none":
                assert run.raw is not None
                run.dimensions = measure_alone(run.profile, run.state, run.natural, self.settings)
            elif run.table is None:
                run.dimensions = {name: not_measurable(NO_GEOMETRY) for name in DIMENSIONS}
            else:
                run.dimensions = score_dimensions(run.profile.compare(run.state, run.table), self.settings)
        if not run.dimensions:
            run.dimensions = {name: not_measurable("the stage failed") for name in DIMENSIONS}

    def _localize(self, run: _Run, source: Source) -> None:
        with run.stage("localize"):
            assert run.profile is not None
            assert run.state is not None
            quality = run.dimensions["quality_degradation"].detail
            rate = quality.get("label_error_rate")
            excess = None if rate is None else max(0.0, rate - max(quality["label_error_rate_reference"], 0.0))
            look_at = _rows_to_look_at(run.state, run.rows)
            run.scores = score_rows(
                source,
                run.profile,
                run.state,
                run.cascade,
                with_reference=run.reference != "none",
                natural=run.natural,
                label_excess=excess,
                rows=run.rows,
                look_at=look_at,
            )
            cells: tuple[CellProblem, ...] = ()
            if run.scores.looked_at is not None:
                cells = find_cells(
                    run.scores.looked_at,
                    run.profile,
                    self.settings,
                    rows=look_at,
                    from_reference=run.reference != "none",
                )
            _name_near_texts(run, run.scores)
            run.localization = fuse(run.scores, cells, limit=self.settings.max_problem_rows)

    def _recommend(self, run: _Run) -> None:
        with run.stage("recommend"):
            assert run.profile is not None
            assert run.state is not None
            profile, natural = run.profile, run.natural

            def alone(state: TableState) -> dict[str, DimensionScore]:
                return measure_alone(profile, state, natural, self.settings)

            run.recommendations, run.projected = recommend(
                profile,
                run.state,
                run.table,
                run.dimensions,
                run.scores,
                self.settings,
                alone=alone if run.reference == "none" else None,
            )

    def _result(self, run: _Run, source: Source, content: str) -> ValidationResult:
        assert run.profile is not None
        assert run.state is not None
        monitor = run.monitor
        score = collapse_score(run.dimensions)
        diversity = run.diversity.overall_score if run.diversity is not None else None
        failed = tuple(dict.fromkeys(error.stage for error in run.errors))
        decision = decide(run.dimensions, score, diversity, self.settings, failed=failed)
        monitor.stop()
        seconds = monitor.seconds
        target = run.profile.target
        return ValidationResult(
            approved_for_training=decision.verdict != "rejected",
            verdict=decision.verdict,
            collapse_score=score,
            diversity_score=diversity,
            confidence=round(decision.confidence, 1),
            reason=decision.reason,
            problematic_rows=run.localization.problematic_indices if run.localization is not None else (),
            recommendations=tuple(run.recommendations),
            projected_score=run.projected,
            dimensions=run.dimensions,
            diversity=run.diversity,
            cascade=run.cascade_report,
            localization=run.localization,
            rows=run.state.rows,
            columns=len(run.profile.columns),
            reference=run.reference,
            label=target.column.name if target is not None and target.kind != "self-supervised" else None,
            total_time_seconds=seconds,
            cpu_seconds=monitor.cpu_seconds,
            stage_seconds=dict(monitor.stage_seconds),
            rows_per_second=run.state.rows / seconds if seconds else math.inf,
            peak_memory_bytes=monitor.peak_memory_bytes,
            gpu_utilization_avg=monitor.gpu_utilization,
            cpu_utilization_avg=100.0 * monitor.cpu_seconds / seconds if seconds else 0.0,
            partial=bool(run.errors),
            errors=tuple(run.errors),
            warnings=tuple(run.warnings),
            rejected_lines=source.rejected_lines,
            content_hash=content,
        )

    def _key(
        self,
        source: Source,
        reference: TableLike | ReferenceProfile | None,
        holdout: TableLike | None,
        label: str | None,
        order: Order,
        format: str | None,
    ) -> tuple[str | None, str]:
        """Return the key of the cache, or None if this call is not cached, and the hash of the table."""
        if not self.use_cache or isinstance(reference, ReferenceProfile):
            return None, ""
        content = source.content_hash()
        hashes: dict[str, str | None] = {"table": content}
        for name, data in (("reference", reference), ("holdout", holdout)):
            hashes[name] = None if data is None else Source(data, chunk_rows=self.settings.chunk_rows).content_hash()
        return cache_key(hashes, self.settings, label, order, format), content

    def _cached(self, key: str | None) -> ValidationResult | None:
        if key is None:
            return None
        if key in self._memory:
            return self._memory[key].model_copy(update={"from_cache": True})
        return self._disk.get(key) if self._disk is not None else None

    def _keep(self, key: str | None, result: ValidationResult) -> None:
        if key is None or result.partial:
            return
        self._memory[key] = result
        if self._disk is not None:
            self._disk.put(key, result)


def _name_near_texts(run: _Run, scores: RowScores) -> None:
    """Add the rows whose texts nearly repeat an earlier one, unless that is natural here."""
    assert run.state is not None
    assert run.profile is not None
    near = find_near(run.state.texts)
    if near is None:
        return
    usual = near if run.reference == "none" else find_near(run.profile.state.texts)
    looked = len(run.state.texts.index) if run.state.texts is not None else 0
    if looked < run.state.rows:
        run.warnings.append(f"Texts that nearly repeat another one were looked for in a sample of {looked:,} rows.")
    if usual is not None and usual.share > NATURAL_NEAR:
        run.warnings.append(f"{100 * usual.share:.0f} % of the texts nearly repeat another one; that names no rows.")
        return
    named = np.zeros(len(next(iter(scores.named.values()))), bool)
    named[near.index[near.later] - scores.first] = True
    for other in ("repeated", "copied"):
        if other in scores.named:
            named &= ~scores.named[other]
    scores.named["near_repeated"] = named
    scores.strength["near_repeated"] = np.where(named, 0.8, 0.0).astype(np.float32)


def _rows_to_look_at(state: TableState, rows: range | None) -> NDArray[np.int64]:
    """Return all rows of a small table, and the sample of a large one."""
    if state.rows <= LOOKED_AT:
        first = rows.start if rows is not None else 0
        return np.arange(first, first + state.rows)
    return np.sort(state.sample.index)


def _note_columns(run: _Run, source: Source) -> None:
    assert run.profile is not None
    if source.renamed:
        run.warnings.append(f"Columns had the same name and were renamed: {', '.join(source.renamed[:20])}.")
    if source.rejected_lines:
        run.warnings.append(f"{source.rejected_lines} lines could not be read and were left out.")
    for kind, text in (("empty", "have no value"), ("constant", "have one value only"), ("id", "are identifiers")):
        names = [column.name for column in run.profile.encoder.columns if column.kind == kind]
        if names:
            run.warnings.append(f"Columns that {text} are left out of all geometry: {', '.join(names[:20])}.")
    left_out = sum(column.used for column in run.profile.encoder.columns) - len(run.profile.encoder.used)
    if left_out:
        run.warnings.append(f"{left_out} of the columns were left out: at most 1,024 are looked at.")
