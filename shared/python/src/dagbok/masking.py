"""Secrets are masked in whatever a process lets out: logs, rendered fields, failures, import errors.

A secret is known by value, once it was fetched: a connection's password, what stands under a telling name
in its extra, a variable with a telling name. It is looked for as it is and in each form that programs
print: `repr`, JSON, quoted for a URL, a shell or HTML, and in Base64, also in the midst of other text.
Values handed on (XComs) are data and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MASK = "***"
# A shorter secret can't be told from other text by its value, in characters; as in Airflow.
SHORTEST = 5
# Airflow's own list of what a telling name has in it.
TELLING = (
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "service_account",
    "token",
)
_PLAIN = frozenset(["airflow", "default", "false", "none", "null", "true"])
_MAX_DEPTH = 5


class Masker:
    """The secrets of this process."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: Any = None
        self.tell: Callable[[list[str]], None] | None = None

    @property
    def forms(self) -> list[str]:
        """Every text that is masked."""
        return sorted(self._forms)

    def add(self, secret: Any, name: str | None = None) -> None:
        """Learn a secret. Of a dict, what stands under telling names; with a telling `name`, all of it."""
        found = set(_secrets(secret, name is None or is_telling(name), 0))
        fresh = {form for text in found for form in _forms(text)} - self._forms
        if not fresh:
            return
        self._forms |= fresh
        self._pattern = None
        if self.tell is not None:
            self.tell(sorted(fresh))

    def mask(self, text: str) -> str:
        """Return text without the secrets in it."""
        if not self._forms:
            return text
        if self._pattern is None:
            import re

            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern.sub(MASK, text)  # type: ignore[no-any-return]


masker = Masker()
mask = masker.mask


def mask_secret(secret: Any, name: str | None = None) -> None:
    """Have a value masked from now on: by a name, only where that is telling, or the value is a dict."""
    masker.add(secret, name)


def is_telling(name: Any) -> bool:
    """Whether what is called so is a secret."""
    if not isinstance(name, str):
        return False
    lowered = name.strip().lower()
    for part in TELLING:  # noqa: SIM110 (each try asks this for each field)
        if part in lowered:
            return True
    return False


def _secrets(value: Any, telling: bool, depth: int) -> Iterator[str]:
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        if telling:
            yield from _lines(value)
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        for key, item in value.items():
            yield from _secrets(item, telling or is_telling(key), depth + 1)
    elif isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        for item in value:
            yield from _secrets(item, telling, depth + 1)
    elif telling and isinstance(value, int) and not isinstance(value, bool):
        yield from _lines(str(value))


def _lines(secret: str) -> Iterator[str]:
    """Yield the secret, and each of its lines: logs are kept by line."""
    stripped = secret.strip()
    if len(stripped) < SHORTEST or stripped.lower() in _PLAIN:
        return
    yield stripped
    lines = stripped.splitlines()
    if len(lines) > 1:
        yield from (line for line in map(str.strip, lines) if len(line) >= 8 and not line.startswith("---"))


def _forms(secret: str) -> Iterator[str]:
    import base64
    import html
    import json
    import shlex
    from urllib.parse import quote, quote_plus

    yield secret
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield repr(f"'\"{secret}")[4:-1]  # amid text that has both kinds of quotes
    for ascii_only in (True, False):
        text = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield text
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1]  # JSON within JSON, and repr within JSON
    yield json.dumps(repr(secret)[1:-1])[1:-1]
    raw = secret.encode("utf-8", "surrogatepass")
    yield repr(raw)[2:-1]
    for text in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield text
        yield _lower_hex(text)
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield shlex.quote(secret).removeprefix("'").removesuffix("'")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            yield _within_base64(encode, raw, before)


def _lower_hex(quoted: str) -> str:
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _within_base64(encode: Callable[[bytes], bytes], raw: bytes, before: int) -> str:
    """Return the letters of Base64 that stand for nothing but the secret, after 0 to 2 bytes of others."""
    text = encode(b"\0" * before + raw).decode().rstrip("=")
    start = (before * 8 + 5) // 6
    whole = (before + len(raw)) * 8 // 6
    return text[start:whole]


def masked(value: Any, name: str | None = None) -> Any:
    """Return a JSON form without secrets: by their values, and all that stands under a telling name."""
    if name is not None and is_telling(name) and value not in (None, "", True, False):
        return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(key): masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value
