"""Limits of the pools: `dagster.pools` of the configuration, written into a Dagster instance."""

from dagster import DagsterInstance

from orchestai.config import DagsterConfig


def apply_pool_limits(instance: DagsterInstance, config: DagsterConfig) -> dict[str, int]:
    """Set how many steps of each pool may run at a time; returns what is in force.

    Dagster keeps these limits in its database, so that all processes see them, and not in `dagster.yaml`.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return {}
    for pool, limit in config.pools.items():
        storage.set_concurrency_slots(pool, limit)
    limits = {info.name: info.limit for info in storage.get_pool_limits()}
    return {pool: limits[pool] for pool in config.pools}
