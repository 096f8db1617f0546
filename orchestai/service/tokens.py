"""Bearer tokens: made once, shown once, kept as hashes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestai.config import Project, TokenConfig
from orchestai.errors import InputError, StorageError

_PREFIX = "orc_"
_LOOK_EVERY_S = 1.0


class Token(TokenConfig):
    """A token of the file.

    Attributes:
        created: When it was made, Unix time.
    """

    created: float = 0.0


def token_file(project: Project) -> Path:
    """Return where the tokens of a home are kept."""
    return project.paths.state / "service" / "tokens.json"


def new_secret() -> str:
    """Return a token that nobody can guess: 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what is kept of a token. Its randomness makes a slow hash needless."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class TokenFile:
    """The tokens of one home, in a file that only its owner reads.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Token, ...]:
        """Return all tokens.

        Raises:
            StorageError: The file cannot be read, or is not what it should be.
        """
        try:
            entries: list[Any] = json.loads(self.path.read_bytes())["tokens"]
            return tuple(Token.model_validate(entry) for entry in entries)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise StorageError(
                f"The tokens cannot be read ({type(error).__name__}).",
                path=str(self.path),
                remedy="Repair or remove that file; `orchestai token create` makes new ones.",
            ) from error

    def add(self, token: Token) -> None:
        """Keep a token.

        Raises:
            InputError: There is one of that name.
            StorageError: The file cannot be written.
        """
        with self._locked():
            known = self.read()
            if any(each.name == token.name for each in known):
                raise InputError(
                    f"There is a token called {token.name!r}.",
                    remedy="Choose another name, or revoke it first.",
                )
            self._write((*known, token))

    def remove(self, name: str) -> None:
        """Forget a token; running services refuse it within a second.

        Raises:
            InputError: There is none of that name.
            StorageError: The file cannot be written.
        """
        with self._locked():
            known = self.read()
            left = tuple(token for token in known if token.name != name)
            if len(left) == len(known):
                names = ", ".join(token.name for token in known) or "(none)"
                raise InputError(f"There is no token called {name!r}.", remedy=f"Known: {names}.")
            self._write(left)

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what changes when the file does."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"The tokens cannot be read ({error.strerror}).", path=str(self.path)) from error
        return found.st_mtime_ns, found.st_ino, found.st_size

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StorageError(f"The tokens cannot be written ({error.strerror}).", path=str(self.path)) from error

    def _write(self, tokens: tuple[Token, ...]) -> None:
        body = json.dumps({"tokens": [token.model_dump(mode="json") for token in tokens]}, indent=2) + "\n"
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


class TokenBook:
    """Knows the tokens of the configuration and of the file, which may change meanwhile.

    Args:
        configured: Tokens of the configuration.
        file: Tokens of the home.
        clock: Seconds that only go forward.
    """

    def __init__(self, configured: tuple[TokenConfig, ...], file: TokenFile, *, clock: Any = time.monotonic) -> None:
        self._configured = configured
        self._file = file
        self._clock = clock
        self._stamp = file.stamp()
        self._looked = clock()
        self._fill(file.read())

    @property
    def is_empty(self) -> bool:
        """Whether nobody has a token."""
        self._refresh()
        return not self._tokens

    def find(self, secret: str) -> TokenConfig | None:
        """Return what a token may do, or None if it is not one of ours.

        Raises:
            StorageError: The file changed and cannot be read: then nobody is let in.
        """
        self._refresh()
        digest = digest_of(secret)
        token = self._tokens.get(digest[:16])
        return token if token is not None and hmac.compare_digest(token.sha256, digest) else None

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_EVERY_S:
            return
        stamp = self._file.stamp()
        if stamp != self._stamp:
            self._fill(self._file.read())
            self._stamp = stamp
        self._looked = now

    def _fill(self, kept: tuple[Token, ...]) -> None:
        # Found by the beginning of the hash, compared in constant time as a whole.
        self._tokens: dict[str, TokenConfig] = {token.sha256[:16]: token for token in (*self._configured, *kept)}
