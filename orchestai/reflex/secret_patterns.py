# ruff: noqa: E501 - an expression that is broken into pieces is harder to check than a long line
"""Keys, tokens and private keys: always replaced, never restored."""

from __future__ import annotations

from orchestai.config.reflex import SecretsConfig
from orchestai.reflex.scanner import Engine, Match, PatternScanner
from orchestai.reflex.validators import entropy_bits

# Forms that are secrets by themselves.
_CERTAIN: dict[str, str] = {
    "openai": r"\bsk-(?:proj-|svcacct-|admin-|ant-(?:api\d\d-)?|or-v1-)?[A-Za-z0-9_-]{20,}",
    "github": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "gitlab": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "aws-id": r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}\b",
    "google": r"\bAIza[A-Za-z0-9_-]{35}",
    "google-oauth": r"\bya29\.[A-Za-z0-9_-]{20,}",
    "slack": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "slack-hook": r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    "stripe": r"\b(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}",
    "huggingface": r"\bhf_[A-Za-z0-9]{30,}",
    "npm": r"\bnpm_[A-Za-z0-9]{36}",
    "pypi": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "sendgrid": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "telegram": r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}",
    "digitalocean": r"\bdo[opr]_v1_[a-f0-9]{64}",
    "shopify": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "vault": r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}",
    "age": r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "private-key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-[^-]){0,16000}(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|$)",
    "url-password": r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s:/@]{1,64}:(?P<value>[^\s:/@]{3,128})@",
    "bearer": r"\b[Bb]earer (?P<value>[A-Za-z0-9_.~+/-]{20,}=*)",
    "basic": r"\b[Aa]uthorization: ?[Bb]asic (?P<value>[A-Za-z0-9+/]{12,}=*)",
}

# Values that are called secret: they count where they look random enough.
_CALLED = (
    r"\b(?:[A-Za-z0-9]+[_-]){0,4}(?:[Aa][Pp][Ii][_ -]?[Kk][Ee][Yy]|[Ss][Ee][Cc][Rr][Ee][Tt](?:[_ -]?[Kk][Ee][Yy])?|"
    r"[Tt][Oo][Kk][Ee][Nn]|[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]|[Pp][Aa][Ss][Ss][Ww][Dd]|[Pp][Ww][Dd]|"
    r"[Aa][Cc][Cc][Ee][Ss][Ss][_ -]?[Kk][Ee][Yy](?:[_ -]?[Ii][Dd])?|[Pp][Rr][Ii][Vv][Aa][Tt][Ee][_ -]?[Kk][Ee][Yy]|"
    r"[Cc][Ll][Ii][Ee][Nn][Tt][_ -]?[Ss][Ee][Cc][Rr][Ee][Tt]|[Pp][Aa][Ss][Ss][Pp][Hh][Rr][Aa][Ss][Ee]|"
    r"[Cc][Rr][Ee][Dd][Ee][Nn][Tt][Ii][Aa][Ll]s?)[\"']?(?: is| =| :|=|:){1,2} ?[\"'`]?(?P<value>[^\s\"'`<>,;]{6,512})"
)

PATTERNS = {**_CERTAIN, "called": _CALLED}


class SecretFinder:
    """Finds secrets.

    Args:
        config: The guard for values that are only called secret.
        engine: What searches.
    """

    def __init__(self, config: SecretsConfig, engine: Engine = "auto") -> None:
        self._config = config
        self._scanner = PatternScanner(PATTERNS, engine=engine)

    def find(self, text: str) -> list[Match]:
        """Return the secrets of `text`."""
        return [match for match in self._scanner.find(text) if self._counts(match)]

    def _counts(self, match: Match) -> bool:
        if match.name != "called":
            return True
        value = match.text
        if len(value) < self._config.min_length or value.startswith(("$", "{", "(", "os.", "env", "process.")):
            return False
        # Words are no keys: a key mixes kinds of characters, and few of its characters come again.
        kinds = sum((any(c.islower() for c in value), any(c.isupper() for c in value), any(c.isdigit() for c in value)))
        mixed = kinds >= 2 or any(not c.isalnum() for c in value)
        return mixed and entropy_bits(value) >= self._config.entropy_bits
