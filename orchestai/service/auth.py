"""Who calls, and what they may do."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from orchestai.config import ALL_SCOPES, Scope, TokenConfig
from orchestai.service.problems import ProblemError
from orchestai.service.rates import Rates
from orchestai.service.tokens import TokenBook, digest_of

if TYPE_CHECKING:
    from orchestai.service.state import Service

_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from.

    Attributes:
        name: Name of the token, or `anonymous`.
        tenant: Whose executions the caller starts.
        scopes: What the caller may do.
        budget_usd_per_day: Dollars a day.
    """

    name: str
    tenant: str
    scopes: tuple[Scope, ...]
    budget_usd_per_day: float | None = None

    def may(self, scope: Scope) -> bool:
        """Say whether the caller may do that."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, tenant: str) -> bool:
        """Say whether the caller sees the executions of a tenant."""
        return tenant == self.tenant or "admin" in self.scopes


ANONYMOUS = Caller("anonymous", "default", ALL_SCOPES)


class Gatekeeper:
    """Lets callers in.

    Without any token configured the service is open, but on loopback only (`serving` sees to that), and only
    to requests that name this machine as their host: a foreign page whose name was made to point here names itself.
    Once there was a token, the service never becomes open again.

    Args:
        tokens: The tokens.
        rates: Counts requests and failures.
    """

    def __init__(self, tokens: TokenBook, rates: Rates) -> None:
        self._tokens = tokens
        self._rates = rates
        self._open = tokens.is_empty
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def identify(self, request: Request) -> Caller:
        """Say who calls.

        Raises:
            ProblemError: Nobody that is known (401), too many attempts or requests (429), or from a foreign page (403).
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if self._open and not self._tokens.is_empty:
            self._open = False
        if self._open:
            _check_host(request)
            return ANONYMOUS
        if scheme.lower() != "bearer" or not secret.strip():
            raise _unauthorized("A token is needed.", "Send `Authorization: Bearer TOKEN`.")
        secret = secret.strip()
        address = request.client.host if request.client else ""
        token = self._tokens.find(secret)
        await self._check_address(address, secret, token)
        if token is None:
            raise _unauthorized("The token is not known.", "`orchestai token create` makes one.", invalid=True)
        if token.rate_per_minute is not None:
            retry_after_s = await self._rates.hit(token.name, token.rate_per_minute)
            if retry_after_s is not None:
                raise ProblemError(
                    429,
                    "rate_limited",
                    f"The token {token.name!r} may send {token.rate_per_minute} requests a minute.",
                    remedy="Wait as Retry-After says.",
                    retry_after_s=retry_after_s,
                )
        return Caller(token.name, token.tenant, token.scopes, token.budget_usd_per_day)

    async def _check_address(self, address: str, secret: str, token: TokenConfig | None) -> None:
        """Hold off addresses that guess. A token that worked from there before still does: neighbours go on."""
        key = (address, digest_of(secret))
        if token is None:
            retry_after_s = await self._rates.fail(address)
        elif key in self._known:
            return
        else:
            retry_after_s = await self._rates.held_off(address)
            if retry_after_s is None:
                self._known[key] = None
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        if retry_after_s is not None:
            raise ProblemError(
                429,
                "too_many_attempts",
                "Too many wrong tokens came from this address.",
                remedy="Wait as Retry-After says.",
                retry_after_s=retry_after_s,
            )


def allowed(scope: Scope) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """Return the dependency of routes that need `scope`."""

    async def identify(request: Request) -> Caller:
        service: Service = request.app.state.service
        caller = await service.gatekeeper.identify(request)
        if not caller.may(scope):
            raise ProblemError(
                403,
                "missing_scope",
                f"The token {caller.name!r} lacks the scope {scope!r}; it has {', '.join(caller.scopes) or 'none'}.",
                remedy="Use another token, or make one with that scope.",
            )
        return caller

    return identify


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_host(request: Request) -> None:
    host = request.headers.get("host", "localhost")
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if not is_loopback(name):
        raise ProblemError(
            403,
            "foreign_host",
            f"Without tokens the service answers to this machine's own names only, got {name!r:.80}.",
            remedy="Call http://127.0.0.1, or make a token with `orchestai token create`.",
        )


def _unauthorized(detail: str, remedy: str, *, invalid: bool = False) -> ProblemError:
    challenge = 'Bearer error="invalid_token"' if invalid else "Bearer"
    return ProblemError(401, "unauthorized", detail, remedy=remedy, headers={"WWW-Authenticate": challenge})
