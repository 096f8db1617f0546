"""Alerts: always to the log, and to a webhook where one is configured; nobody waits for it."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from orchestai.config import AlertsConfig
from orchestai.contracts.base import Record

ALERTS = logging.getLogger("orchestai.alerts")
"""Handlers of this logger carry alerts to wherever an installation wants them."""

_WAITING = 200
"""Alerts that may wait for the webhook; of more, the oldest are given up: the log has them all."""
_MARKS = {"info": ":information_source:", "warning": ":warning:", "error": ":rotating_light:"}
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Severity = Literal["info", "warning", "error"]


class Alert(Record):
    """Something that a person should know.

    Attributes:
        kind: A stable word: `run_failed`, `data_refused`, `drift`, `model_rolled_back`, ...
        severity: How bad it is.
        text: What happened, in a sentence.
        facts: More of it, by name.
        at: When.
    """

    kind: str
    severity: Severity
    text: str
    facts: dict[str, Any] = Field(default_factory=dict)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


def alert_body(alert: Alert, form: Literal["json", "slack"]) -> dict[str, Any]:
    """Return what is posted: every field, or a message for Slack's incoming webhooks."""
    if form == "json":
        return alert.model_dump(mode="json")
    facts = "\n".join(f"• {name}: {_escaped(str(value))}" for name, value in alert.facts.items())
    return {"text": f"{_MARKS[alert.severity]} *{alert.kind}* {_escaped(alert.text)}" + (f"\n{facts}" if facts else "")}


def send_alert(alert: Alert, config: AlertsConfig) -> None:
    """Write an alert to the log and hand it to the webhook, if there is one; never waits, never raises."""
    ALERTS.log(_LEVELS[alert.severity], "%s", alert.text, extra={"alert": alert.kind, **_free(alert.facts)})
    if config.webhook is not None:
        _poster.add(alert, config)


def wait_for_alerts(seconds: float) -> bool:
    """Wait until the webhook has been told of everything, or given up; returns whether it has."""
    return _poster.wait(seconds)


class _Poster:
    """Posts in a thread of its own, which ends when nothing waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Alert, AlertsConfig]] = deque(maxlen=_WAITING)
        self._changed = threading.Condition()
        self._working = False

    def add(self, alert: Alert, config: AlertsConfig) -> None:
        with self._changed:
            self._waiting.append((alert, config))
            if not self._working:
                self._working = True
                threading.Thread(target=self._run, name="orchestai-alerts", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._working = False
                    self._changed.notify_all()
                    return
                alert, config = self._waiting.popleft()
            try:
                _post(alert, config)
            except Exception:
                ALERTS.exception("The alert %s could not be posted.", alert.kind)


_poster = _Poster()


def _post(alert: Alert, config: AlertsConfig) -> None:
    assert config.webhook is not None
    body = json.dumps(alert_body(alert, config.format), ensure_ascii=False, default=str).encode()
    for attempt in range(1, config.attempts + 1):
        request = urllib.request.Request(
            config.webhook.get_secret_value(), body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=config.timeout_s):
                return
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code}"
            if error.code < 500 and error.code not in (408, 429):
                break  # it will not like the next one better
        except (OSError, ValueError) as error:
            # Not the error itself: its text may hold the URL, which is a secret.
            problem = type(error).__name__
        if attempt < config.attempts:
            time.sleep(config.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
    ALERTS.warning("The webhook did not take the alert %s: %s.", alert.kind, problem)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _free(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts under names that a log record does not use itself."""
    taken = logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys() | {"message", "asctime"}
    return {(f"{name}_" if name in taken else name): value for name, value in facts.items()}
