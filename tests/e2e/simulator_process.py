"""Serves the simulated workers of a project until killed: `PORT WORKER QUALITY` may give one of them another quality.

It knows the answers to the instructions of `tests/e2e/live_world.py`.
"""

import sys
import threading

from orchestai.config import load_project
from orchestai.contracts import WorkerCatalog
from orchestai.simulator import serve
from tests.e2e.live_world import references


def main(port: str, worker: str = "", quality: str = "1") -> None:
    project = load_project()
    profiles = []
    for profile in project.workers.profiles():
        if profile.name == worker and profile.simulation is not None:
            changed = profile.simulation.model_copy(update={"quality": {"default": float(quality)}})
            profile = profile.model_copy(update={"simulation": changed})
        profiles.append(profile)
    config = project.simulator.model_copy(update={"port": int(port)})
    with serve(WorkerCatalog(workers=tuple(profiles)), config, references=references()):
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
