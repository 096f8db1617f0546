"""The HTTP service: where it listens, who may call it, and how much it takes on at a time."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestai.contracts.base import Record

Scope = Literal["run", "read", "approve", "admin"]
ALL_SCOPES: tuple[Scope, ...] = ("run", "read", "approve", "admin")


class TokenConfig(Record):
    """Who may call the service with one bearer token; the token itself is kept nowhere.

    Attributes:
        name: What logs and costs are noted under.
        sha256: SHA-256 of the token, in hexadecimal.
        tenant: Whose executions it sees and starts.
        scopes: `run` starts and cancels, `read` looks, `approve` decides on plans that wait, `admin` does all
            of it for every tenant.
        rate_per_minute: Requests a minute; null means no limit.
        budget_usd_per_day: Dollars a day (UTC); null means no limit.
    """

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    tenant: str = Field(default="default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    scopes: tuple[Scope, ...] = Field(default=("run", "read"), min_length=1)
    rate_per_minute: int | None = Field(default=None, ge=1)
    budget_usd_per_day: float | None = Field(default=None, ge=0)


class ServiceConfig(Record):
    """The HTTP service.

    Attributes:
        host: Address to listen on; any other than loopback needs a token.
        port: Port to listen on; 0 takes a free one.
        tokens: Tokens beside those of `orchestai token create`, their hashes usually by env_var().
        rate_storage: Where rates are counted: `async+memory://`, or `async+redis://HOST:PORT` for several processes.
        failed_logins_per_minute: Wrong tokens an address may send before it is held off.
        trusted_proxies: Addresses of reverse proxies whose X-Forwarded-For is believed.
        open_metrics: Let anybody read /metrics; otherwise it needs the scope `read`.
        max_body_bytes: The largest request.
        max_buffered_bytes: The most that all requests in progress may take together.
        max_connections: Connections at a time; further ones get 503.
        max_in_flight: Executions that run at a time.
        max_queued: Requests that may wait for one of these places; further ones get 503.
        max_per_tenant: Executions of one tenant, running or waiting; further ones get 429; null means no limit.
        queue_timeout_s: The longest wait for a place.
        header_timeout_s: Time allowed for the head of a request.
        body_timeout_s: Time allowed for its body.
        stall_timeout_s: How long a client may leave an answer unread.
        keep_alive_s: How long a connection is kept without a request.
        grace_s: Time that executions have to finish when the service stops.
        poll_s: Pause between two looks for executions that were left or approved elsewhere.
        dagster_url: Dagster's webserver, which is told in the background what was done; null tells nobody.
        dagster_every_s: Pause between two reports to Dagster.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8450, ge=0, le=65535)
    tokens: tuple[TokenConfig, ...] = ()
    rate_storage: str = Field(default="async+memory://", pattern=r"^async\+[a-z+]+://")
    failed_logins_per_minute: int = Field(default=10, ge=1)
    trusted_proxies: tuple[str, ...] = ()
    open_metrics: bool = False
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    max_buffered_bytes: int = Field(default=256 * 2**20, ge=1024)
    max_connections: int = Field(default=4096, ge=1)
    max_in_flight: int = Field(default=256, ge=1)
    max_queued: int = Field(default=1024, ge=0)
    max_per_tenant: int | None = Field(default=None, ge=1)
    queue_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    header_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    stall_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    keep_alive_s: int = Field(default=30, ge=1)
    grace_s: float = Field(default=20.0, ge=0)
    poll_s: Annotated[float, Field(gt=0)] = 5.0
    dagster_url: str | None = Field(default=None, pattern=r"^https?://")
    dagster_every_s: Annotated[float, Field(gt=0)] = 60.0

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [token.name for token in self.tokens]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`tokens` holds the name {name!r} twice. Rename or remove one of them.")
        return self
