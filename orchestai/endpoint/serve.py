"""The server process: `python -m orchestai.endpoint.serve --port 8451`.

llama.cpp is native code; here it can crash without taking its host down.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestai.endpoint.model_file import MODEL_NAME, find_model

_PENALTY_REPEAT = 1.1
"""Greedy decoding of so small a model falls into loops otherwise."""

_PROMPT_CACHE_MIB = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or, with --owned, the end of standard input."""
    options = _parse(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.owned:
        # The owner holds the other end of the pipe; however it dies, the pipe ends. (A death signal
        # by prctl would come when the *thread* that started us ends.)
        threading.Thread(target=_leave_with_owner, daemon=True).start()
    server = _start(options)
    port = urlsplit(server.listening_address).port
    _announce(options.announce_fd, port)
    sys.stderr.write(f"listening on {server.listening_address}\n")
    stop.wait()
    del server
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m orchestai.endpoint.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context-tokens", type=int, default=4096, help="for one call")
    parser.add_argument("--slots", type=int, default=2, help="calls at a time")
    parser.add_argument("--owned", action="store_true", help="end with the end of standard input")
    parser.add_argument("--announce-fd", type=int, help="file descriptor to write the port to")
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace) -> xllamacpp.Server:  # type: ignore[name-defined]  # noqa: F821
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_model())
    params.model_alias = {MODEL_NAME}
    params.hostnames = [options.host]
    params.port = options.port
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_parallel = options.slots
    params.n_ctx = options.context_tokens * options.slots  # llama.cpp divides it among the slots
    params.cache_ram_mib = _PROMPT_CACHE_MIB  # its default is 8 GiB
    params.sampling.penalty_repeat = _PENALTY_REPEAT
    params.fit_params = False  # no probing of devices: this is a small model on a CPU
    params.ui = False
    params.endpoint_slots = False  # it would show others' prompts
    params.cors_origins = "http://localhost"
    params.offline = True
    return xllamacpp.Server(params)


def _announce(descriptor: int | None, port: int | None) -> None:
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as pipe:
            json.dump({"port": port}, pipe)


def _leave_with_owner() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
