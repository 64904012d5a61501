"""The rules for ids, which are those of the log."""

from __future__ import annotations

from dagbok.exceptions import AirflowException

MAX_BYTES = 250


def check_key(kind: str, value: object, max_bytes: int = MAX_BYTES) -> str:
    """Return the id as it is, or raise an error that says what is wrong with it."""
    if not isinstance(value, str):
        raise AirflowException(f"a {kind} must be text, not {type(value).__name__}: {value!r}")
    if not value:
        raise AirflowException(f"a {kind} must not be empty")
    if len(value.encode("utf-8", "surrogatepass")) > max_bytes:
        raise AirflowException(f"the {kind} {value[:40]!r}… is longer than {max_bytes} bytes")
    if value in (".", ".."):
        raise AirflowException(f"the {kind} {value!r} means a folder in every path and address")
    for char in value:
        if not (char.isalnum() or char in "_.-"):
            raise AirflowException(
                f"the {kind} {value!r} contains {char!r}; letters, digits, `_`, `.` and `-` are allowed"
            )
    return value
