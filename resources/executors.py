"""Where the steps of a job run."""

from dagster import ExecutorDefinition, in_process_executor, multiprocess_executor

from orchestai.config import DagsterConfig

PRELOADED = ["orchestai_assets.definitions", "orchestai.app.runtime"]
"""Imported once by the fork server, so that a step starts in a fraction of a second."""


def executor_for(config: DagsterConfig, *, cuda: bool = False) -> ExecutorDefinition:
    """Return the executor that the configuration names.

    Args:
        config: The `dagster` section.
        cuda: Whether a step may use a GPU. CUDA cannot be used in a forked process: such steps are spawned.
    """
    if config.executor == "k8s":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    if config.executor == "multiprocess":
        start = {"spawn": {}} if cuda else {"forkserver": {"preload_modules": PRELOADED}}
        return multiprocess_executor.configured({"start_method": start}, name="multiprocess")
    return in_process_executor
