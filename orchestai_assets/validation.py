"""The six-stage gate in front of any asset of yours.

    from orchestai_assets.validation import dataset_check

    customers_are_fit = dataset_check("customers", reference="healthy.parquet", label="churned")
    defs = dg.Definitions(assets=[customers], asset_checks=[customers_are_fit])

The check is blocking: what lies downstream of a refused asset does not run. A table that is approved but not healthy in
every dimension fails the second check only, `<name>_warnings`, which warns.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from orchestai.errors import DataError
from orchestai_assets.verdicts import verdict_metadata, verdict_results, verdict_specs

if TYPE_CHECKING:
    from orchestai.validation.result import ValidationResult

Table = Any
"""A path, a `pyarrow.Table`, a frame of pandas or polars, or an object with `.batches()`."""
Place = str | Path | dg.AssetKey | Callable[[Any], Table] | None
"""Where a table is found: a path; an asset, loaded by its IO manager; or a function of the context."""
Asset = dg.AssetKey | str | dg.AssetsDefinition

NAME = "fit_to_train_on"
_DESCRIPTION = "The six-stage gate approves the table: diversity, eight dimensions of collapse, thresholds."


def dataset_check(
    asset: Asset,
    *,
    data: Place = None,
    reference: Place = None,
    holdout: Place = None,
    label: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    time_ordered: bool = False,
    name: str = NAME,
    reports: str | Path | None = None,
) -> dg.AssetChecksDefinition:
    """Return the blocking check of an asset, and the check beside it that only warns.

    Args:
        asset: The asset to guard.
        data: Its table; null loads the asset by its IO manager. `metadata_path()` finds a file that the asset names.
        reference: Healthy data that it should be like. Without one most dimensions are not measurable.
        holdout: Rows like the reference that nothing was trained on.
        label: Column that a model would predict.
        config: The gate's settings: a YAML file, or the same keys as a mapping.
        time_ordered: Compare the later half of the rows with the earlier one.
        name: Name of the check.
        reports: Folder for the page and the JSON of each verdict; null: `validation` under the project's reports.

    Raises:
        ValueError: Both a reference and `time_ordered` are given.
    """
    key = _key(asset)
    gate = _Gate(data if data is not None else key, reference, holdout, label, config, time_ordered, reports)

    needs = [found.key for found in gate.inputs.values() if isinstance(found.key, dg.AssetKey) and found.key != key]

    def check(context: dg.AssetCheckExecutionContext, **loaded: Table) -> Iterator[dg.AssetCheckResult]:
        result, page = gate.judge(context, loaded, "__".join(key.path))
        yield from verdict_results(key, name, result, page)

    return dg.multi_asset_check(
        name=f"{'__'.join(key.path)}__{name}", specs=verdict_specs(key, name, _DESCRIPTION, needs), ins=gate.inputs
    )(check)


def dataset_validation_asset(
    asset: Asset,
    *,
    data: Place = None,
    reference: Place = None,
    holdout: Place = None,
    label: str | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
    time_ordered: bool = False,
    name: str = NAME,
    reports: str | Path | None = None,
    group_name: str | None = None,
) -> dg.AssetsDefinition:
    """Return an asset `<asset>_validation` whose materialisation is the verdict, with the two checks on itself.

    Let what must not run on refused data depend on it. The arguments are those of `dataset_check`.

    Args:
        asset: The asset to judge.
        data: Its table; null loads the asset by its IO manager.
        reference: Healthy data that it should be like.
        holdout: Rows like the reference that nothing was trained on.
        label: Column that a model would predict.
        config: The gate's settings.
        time_ordered: Compare the later half of the rows with the earlier one.
        name: Name of the check.
        reports: Folder for the page and the JSON.
        group_name: Group of the new asset.

    Raises:
        ValueError: Both a reference and `time_ordered` are given.
    """
    key = _key(asset)
    own = dg.AssetKey([*key.path[:-1], f"{key.path[-1]}_validation"])
    gate = _Gate(data if data is not None else key, reference, holdout, label, config, time_ordered, reports)
    specs = verdict_specs(own, name, _DESCRIPTION)

    def validation(context: dg.AssetExecutionContext, **loaded: Table) -> dg.MaterializeResult:  # type: ignore[type-arg]
        result, page = gate.judge(context, loaded, "__".join(key.path))
        return dg.MaterializeResult(
            metadata=verdict_metadata(result, page), check_results=list(verdict_results(own, name, result, page))
        )

    return dg.asset(
        key=own,
        ins=gate.inputs,
        deps=() if key in {found.key for found in gate.inputs.values()} else [key],
        description=f"Whether {key.to_user_string()} is fit to train on, by the six-stage gate.",
        group_name=group_name,
        kinds={"html", "json"},
        check_specs=specs,
    )(validation)


def metadata_path(entry: str = "path") -> Callable[[Any], Table]:
    """Return a function that finds the file that the asset's last materialisation names in its metadata.

    Args:
        entry: Name of the entry.
    """

    def find(context: Any) -> Table:
        keys = {key.asset_key for key in context.selected_asset_check_keys} or {context.asset_key}
        (key,) = keys
        event = context.instance.get_latest_materialization_event(key)
        found = event.asset_materialization.metadata.get(entry) if event and event.asset_materialization else None
        if found is None:
            raise DataError(
                f"The last materialisation of {key.to_user_string()} names no {entry!r}.",
                remedy=f"Materialise it, and let it return the metadata {entry!r}: MetadataValue.path(...).",
            )
        return str(found.value)

    return find


class _Gate:
    """One call of the validator, its tables found in several ways."""

    def __init__(
        self,
        data: Place,
        reference: Place,
        holdout: Place,
        label: str | None,
        config: str | Path | Mapping[str, Any] | None,
        time_ordered: bool,
        reports: str | Path | None,
    ) -> None:
        if time_ordered and reference is not None:
            raise ValueError("`reference` and `time_ordered` both name a reference. Give one of them.")
        self._places = {"data": data, "reference": reference, "holdout": holdout}
        self._label, self._config = label, config
        self._order: Literal["time"] | None = "time" if time_ordered else None
        self._reports = reports

    @property
    def inputs(self) -> dict[str, dg.AssetIn]:
        """Tables that Dagster loads."""
        return {name: dg.AssetIn(place) for name, place in self._places.items() if isinstance(place, dg.AssetKey)}

    def judge(self, context: Any, loaded: Mapping[str, Table], stem: str) -> "tuple[ValidationResult, Path]":
        """Judge the table; return the result and its page."""
        from orchestai.config import load_project
        from orchestai.validation.gate import DatasetValidator

        settings = self._settings()
        folder = Path(self._reports) if self._reports is not None else load_project().paths.reports / "validation"
        validator = DatasetValidator(
            settings.collapse_threshold,
            settings.diversity_threshold,
            settings=settings,
            cache_folder=folder / "cache",
        )
        tables = {name: self._table(name, context, loaded) for name in self._places}
        result = validator.validate_sync(
            tables["data"],
            reference=tables["reference"],
            holdout=tables["holdout"],
            label=self._label,
            order=self._order,
        )
        # A partition's page does not replace another one's.
        part = f"__{context.partition_key}" if context.has_partition_key else ""
        page = folder / f"{stem}{part.replace('/', '_')}.html"
        result.save_report(page)
        result.save_report(page.with_suffix(".json"))
        return result, page

    def _table(self, name: str, context: Any, loaded: Mapping[str, Table]) -> Table:
        place = self._places[name]
        if name in loaded:
            return loaded[name]
        return place(context) if callable(place) else place

    def _settings(self) -> Any:
        from orchestai.validation.gate import GateSettings

        if self._config is None:
            return GateSettings()
        if isinstance(self._config, Mapping):
            return GateSettings.model_validate(dict(self._config))
        return GateSettings.from_file(Path(self._config))


def _key(asset: Asset) -> dg.AssetKey:
    if isinstance(asset, dg.AssetsDefinition):
        return asset.key
    return asset if isinstance(asset, dg.AssetKey) else dg.AssetKey.from_user_string(asset)
