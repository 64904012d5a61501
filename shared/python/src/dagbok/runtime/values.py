"""Values that tasks hand to each other, as JSON and back.

What JSON can't say travels as `{"__classname__": …, "__version__": …, "__data__": …}`, as Airflow's does.
Classes of the user's own have no such form: nothing is imported by a name that comes off the wire.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any

from dagbok.exceptions import XComNotSerializable

CLASS, VERSION, DATA = "__classname__", "__version__", "__data__"
MAX_DEPTH = 100
_INT64 = range(-(2**63), 2**64)


def to_json(value: Any, what: str = "the value") -> Any:
    """Return a value's JSON form; `what` names it in the error where it has none."""
    return _to(value, what, "", 0)


def _to(value: Any, what: str, path: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value, what, path)
    if kind is int:
        return value if value in _INT64 else _tag("builtins.int", str(value))
    if kind is float:
        return value if math.isfinite(value) else _tag("builtins.float", repr(value))
    if depth >= MAX_DEPTH:
        raise XComNotSerializable(
            f"{what} is nested deeper than {MAX_DEPTH} levels{_at(path)}, or holds itself"
        )
    if kind is list:
        return [_to(item, what, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if kind is dict or isinstance(value, Mapping):
        return _mapping(value, what, path, depth)
    return _other(value, what, path, depth)


def _mapping(value: Mapping[Any, Any], what: str, path: str, depth: int) -> Any:
    if CLASS in value:
        raise XComNotSerializable(f"{what} has the key {CLASS!r}{_at(path)}, which is reserved")
    return {
        _text(str(key), what, path): _to(item, what, f"{path}[{key!r}]", depth + 1)
        for key, item in value.items()
    }


def _other(value: Any, what: str, path: str, depth: int) -> Any:
    if isinstance(value, tuple | set | frozenset):
        name = "set" if isinstance(value, set) else "frozenset" if isinstance(value, frozenset) else "tuple"
        items = [_to(item, what, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        if name != "tuple":
            items.sort(key=repr)
        return _tag(f"builtins.{name}", items)
    if isinstance(value, dt.datetime):
        return _tag("datetime.datetime", [value.isoformat(), _zone(value)])
    if isinstance(value, dt.date | dt.time):
        return _tag(f"datetime.{'date' if isinstance(value, dt.date) else 'time'}", value.isoformat())
    if isinstance(value, dt.timedelta):
        return _tag("datetime.timedelta", value // dt.timedelta(microseconds=1))
    if isinstance(value, bytes | bytearray):
        import base64

        return _tag("builtins.bytes", base64.b64encode(value).decode())
    return _library(value, what, path, depth)


def _library(value: Any, what: str, path: str, depth: int) -> Any:
    """Values of classes that would be an import to name."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if name in {"decimal.Decimal", "uuid.UUID"}:
        return _tag(name, str(value))
    if name in {"pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib._local.PosixPath"}:
        return _tag("pathlib.PosixPath", str(value))
    if isinstance(value, str):  # an enum of text, or another kind of str
        return _text(str.__str__(value), what, path)
    if isinstance(value, int):
        return _to(int(value), what, path, depth)
    if isinstance(value, float) and not name.startswith("numpy."):
        return _to(float(value), what, path, depth)
    if name.startswith("numpy.") and hasattr(value, "tolist"):
        # Scalars and arrays come back as plain numbers and lists.
        return _to(value.tolist(), what, path, depth + 1)
    if isinstance(value, list):
        return _to(list(value), what, path, depth)
    if isinstance(value, BaseException):
        raise XComNotSerializable(f"{what} is an exception{_at(path)}: raise it instead of returning it")
    raise XComNotSerializable(
        f"{what} has no JSON form: {name}{_at(path)}. Hand on a path or a plain value instead"
    )


def _tag(name: str, data: Any) -> dict[str, Any]:
    return {CLASS: name, VERSION: 1, DATA: data}


def _text(value: str, what: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise XComNotSerializable(
            f"{what} holds text that is not Unicode (lone surrogates){_at(path)}"
        ) from None
    return value


def _at(path: str) -> str:
    return f" at {path}" if path else ""


def _zone(value: dt.datetime) -> str | None:
    key = getattr(value.tzinfo, "key", None) or getattr(value.tzinfo, "name", None)
    return key if isinstance(key, str) else None


def _read_datetime(data: Any) -> dt.datetime:
    text, zone = data
    value = dt.datetime.fromisoformat(text)
    if zone and value.tzinfo is not None:
        from dagbok.zones import parse_timezone

        value = value.astimezone(parse_timezone(zone))
    return value


def _read_bytes(data: Any) -> bytes:
    import base64

    return base64.b64decode(data)


def _read_by(module: str, name: str) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(module), name)(data)

    return read


_READERS: dict[str, Callable[[Any], Any]] = {
    "builtins.int": int,
    "builtins.float": float,
    "builtins.tuple": lambda data: tuple(from_json(data)),
    "builtins.set": lambda data: set(from_json(data)),
    "builtins.frozenset": lambda data: frozenset(from_json(data)),
    "builtins.bytes": _read_bytes,
    "datetime.datetime": _read_datetime,
    "datetime.date": dt.date.fromisoformat,
    "datetime.time": dt.time.fromisoformat,
    "datetime.timedelta": lambda data: dt.timedelta(microseconds=data),
    "decimal.Decimal": _read_by("decimal", "Decimal"),
    "uuid.UUID": _read_by("uuid", "UUID"),
    "pathlib.PosixPath": _read_by("pathlib", "Path"),
}


def from_json(value: Any) -> Any:
    """Return the value of a JSON form."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        name = value.get(CLASS)
        if name is None:
            return {key: from_json(item) for key, item in value.items()}
        reader = _READERS.get(name) if isinstance(name, str) else None
        if reader is None:
            raise XComNotSerializable(f"an XCom holds a {name!r}, which this version can't read")
        return reader(value.get(DATA))
    return value
