"""Tells Dagster, now and then, what the service did: observations of `execution_logs`, never on a request's path."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from orchestai.engine.store import ExecutionStore, Rollup

_log = logging.getLogger(__name__)

ASSET = "execution_logs"
_TIMEOUT_S = 10.0


class DagsterReporter:
    """Sends a roll-up of the executions that ended since the last one that arrived.

    It reads the store, so that no request waits for it, and what could not be sent is part of the next roll-up.

    Args:
        url: Dagster's webserver, such as `http://127.0.0.1:3000`.
        every_s: Pause between two reports.
        store: Where ended executions are found.
    """

    def __init__(self, url: str, every_s: float, store: ExecutionStore) -> None:
        self._url = f"{url.rstrip('/')}/report_asset_observation/{ASSET}"
        self._every_s = every_s
        self._store = store
        self._since = time.time()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.report()

    async def report(self) -> bool:
        """Send one roll-up; say whether there was one and it arrived."""
        until = time.time()
        try:
            rollup = await asyncio.to_thread(self._store.rollup, self._since, until)
            if rollup.executions == 0:
                self._since = until
                return False
            await self._send(_observation(rollup, self._since, until))
        except Exception as error:  # Dagster being down is no reason to stop, or to stop trying
            _log.warning("Dagster at %s did not take the report: %s", self._url, error)
            return False
        self._since = until
        return True

    async def _send(self, body: dict[str, Any]) -> None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(self._url, json=body) as answer:
            if answer.status != 200:
                raise ConnectionError(f"HTTP {answer.status}: {(await answer.text())[:200]}")


def _observation(rollup: Rollup, since: float, until: float) -> dict[str, Any]:
    failures = rollup.executions - rollup.successes
    metadata: dict[str, Any] = {
        "executions": rollup.executions,
        "successes": rollup.successes,
        "failures": failures,
        "cost_usd": rollup.cost_usd,
        "latency_ms_p50": rollup.latency_ms_p50,
        "latency_ms_p95": rollup.latency_ms_p95,
        "seconds": until - since,
    }
    if rollup.last_failure is not None:
        metadata["last_failure"] = rollup.last_failure
    return {
        "metadata": metadata,
        "description": f"The service ended {rollup.executions} executions, {failures} of them without success.",
    }
