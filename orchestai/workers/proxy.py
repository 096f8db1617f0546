"""The proxy that a host's environment asks for: looked up once a worker, not once a call."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr


def proxy_for(url: str, env: Callable[[str], str | None]) -> SecretStr | None:
    """Return the proxy for `url` by the usual variables: `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`.

    Both spellings count, the lower case first; this machine is never called through a proxy. It is a secret
    because it may hold a password.

    Args:
        url: What is to be called.
        env: Looks up a variable.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or _is_this_machine(host):
        return None
    proxy = _either(env, f"{parts.scheme}_proxy") or _either(env, "all_proxy")
    if not proxy or any(_covers(entry, parts) for entry in _either(env, "no_proxy").split(",")):
        return None
    return SecretStr(proxy if "://" in proxy else f"http://{proxy}")


def _either(env: Callable[[str], str | None], name: str) -> str:
    return (env(name) or env(name.upper()) or "").strip()


def _covers(entry: str, url: SplitResult) -> bool:
    """Say whether an entry of `no_proxy` means this host: `*`, a name or a domain, with a port or without."""
    entry = entry.strip().lower().removeprefix("*.").lstrip(".")
    if entry in ("", "*"):
        return entry == "*"
    host = url.hostname or ""
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        return url.port == int(port) and (host == name or host.endswith(f".{name}"))
    return host == entry or host.endswith(f".{entry}")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
