"""Automated collection: runs the instructions of a corpus and logs them, so that there is something to learn from."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from jobs.keys import COLLECT_EXECUTIONS
from orchestai.config import Project
from resources.executors import executor_for
from resources.orchestai_resource import OrchestAIResource

EVERY = 25
"""Executions between two lines of the log."""


class CollectConfig(dg.Config):
    """What to run."""

    corpus: str | None = Field(
        default=None, description="JSONL file of instructions; null: the source `starter_corpus`."
    )
    live: int = Field(default=0, ge=0, description="Executions on real workers.")
    rounds: int = Field(default=1, ge=0, description="Executions of each instruction on simulated workers.")


@dg.op
def collect_corpus(context: dg.OpExecutionContext, config: CollectConfig, orchestai: OrchestAIResource) -> None:
    """Run the corpus; what is logged already is not run again."""
    from orchestai.app.collection import collect_starter

    project = orchestai.project
    corpus = Path(config.corpus) if config.corpus else corpus_path(project)
    done = 0

    def on_done(*_: object) -> None:
        nonlocal done
        done += 1
        if done % EVERY == 0:
            context.log.info(f"{done} executions are logged")

    live, simulated = collect_starter(project, corpus, live=config.live, rounds=config.rounds, on_done=on_done)
    context.add_output_metadata(
        {
            "corpus": dg.MetadataValue.path(corpus),
            "live_executed": live.executed,
            "live_succeeded": live.succeeded,
            "simulated_executed": simulated.executed,
            "simulated_succeeded": simulated.succeeded,
            "skipped": live.skipped + simulated.skipped,
        }
    )


def corpus_path(project: Project) -> Path:
    """Return the file of the source `starter_corpus`; a relative path lies under the home folder."""
    return project.home / project.sources["starter_corpus"].path


def collect_executions_job(project: Project) -> dg.JobDefinition:
    """Return the job."""

    @dg.job(
        name=COLLECT_EXECUTIONS,
        executor_def=executor_for(project.dagster),
        description="Runs the instructions of a corpus and logs every execution.",
    )
    def job() -> None:
        collect_corpus()

    return job
