"""Alerts reach a webhook, again after a failure; nobody waits, and no secret gets out."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from orchestai.app.alerts import ALERTS, Alert, alert_body, send_alert, wait_for_alerts
from orchestai.config import AlertsConfig


class Webhook:
    """Takes alerts; answers with the given statuses first."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.statuses: list[int] = []
        self.delay_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                time.sleep(outer.delay_s)
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-token"

    def config(self, **changes: object) -> AlertsConfig:
        return AlertsConfig.model_validate({"webhook": self.url, "backoff_s": 0.01, **changes})


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()
    yield found
    found.server.shutdown()
    found.server.server_close()


ALERT = Alert(kind="drift", severity="warning", text="cost <changed> & more", facts={"name": "x", "alarms": ["cost"]})


def test_an_alert_is_posted_with_all_its_fields(webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=ALERTS.name):
        send_alert(ALERT, webhook.config())
        assert wait_for_alerts(10)

    assert webhook.bodies == [ALERT.model_dump(mode="json")]
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].alarms == ["cost"]  # type: ignore[attr-defined]


def test_slack_gets_its_own_format_with_nothing_to_interpret() -> None:
    body = alert_body(ALERT, "slack")

    assert body == {"text": ":warning: *drift* cost &lt;changed&gt; &amp; more\n• name: x\n• alarms: ['cost']"}


def test_what_failed_is_posted_again_and_given_up_in_the_end(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.statuses = [500, 429]
    send_alert(ALERT, webhook.config(attempts=3))
    assert wait_for_alerts(10)
    assert len(webhook.bodies) == 3

    webhook.statuses = [500] * 5
    with caplog.at_level(logging.INFO, logger=ALERTS.name):
        send_alert(ALERT, webhook.config(attempts=2))
        assert wait_for_alerts(10)
    assert len(webhook.bodies) == 5
    assert "did not take the alert drift: HTTP 500" in caplog.text

    webhook.statuses = [404] * 5
    send_alert(ALERT, webhook.config(attempts=5))
    assert wait_for_alerts(10)
    assert len(webhook.bodies) == 6, "a refusal is not repeated"


def test_nobody_waits_for_a_slow_webhook(webhook: Webhook) -> None:
    webhook.delay_s = 0.5
    started = time.monotonic()
    send_alert(ALERT, webhook.config())

    assert time.monotonic() - started < 0.3
    assert wait_for_alerts(10)


def test_a_webhook_that_is_not_there_is_a_line_in_the_log_without_its_url(caplog: pytest.LogCaptureFixture) -> None:
    config = AlertsConfig(webhook=SecretStr("http://127.0.0.1:9/secret-token"), attempts=1)

    with caplog.at_level(logging.INFO, logger=ALERTS.name):
        send_alert(ALERT, config)
        assert wait_for_alerts(10)

    assert "did not take the alert" in caplog.text
    assert "secret-token" not in caplog.text + repr(config) + config.model_dump_json()


def test_without_webhook_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=ALERTS.name):
        send_alert(ALERT, AlertsConfig.model_validate({"webhook": ""}))

    assert [record.getMessage() for record in caplog.records] == [ALERT.text]
