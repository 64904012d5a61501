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
from dagbok.runtime.copies import LazyXComSequence
from dagbok.runtime.later import Later, resolved

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
    if type(value) is Later:
        return _to(resolved(value), what, path, depth)
    if isinstance(value, tuple | set | frozenset):
        name = "set" if isinstance(value, set) else "frozenset" if isinstance(value, frozenset) else "tuple"
        items = [_to(item, what, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        if name != "tuple":
            items.sort(key=repr)
        return _tag(f"builtins.{name}", items)
    if isinstance(value, dt.datetime | dt.date | dt.time | dt.timedelta):
        return _moment(value, what, path)
    if isinstance(value, LazyXComSequence):
        return _to(list(value), what, path, depth)
    if isinstance(value, bytes | bytearray | memoryview):
        raise XComNotSerializable(
            f"{what} is {type(value).__name__}{_at(path)}, which has no JSON form, as in Airflow. Hand on "
            "text (.decode(), or base64), or write it to a file and hand on its path"
        )
    return _library(value, what, path, depth)


def _is_itself(value: Any) -> bool:
    other = value
    return bool(value == other)


def _moment(value: Any, what: str, path: str) -> Any:
    """Dates, times and spans. Those of the context and of pendulum come back as that kind."""
    if not _is_itself(value):  # pandas' NaT claims to be a datetime
        raise XComNotSerializable(
            f"{what} is {value}, a missing time{_at(path)}, which has no JSON form. Hand on None instead"
        )
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise XComNotSerializable(
            f"{what} has nanoseconds{_at(path)} ({value}), which a date here can't hold. "
            "Round it to microseconds, or hand on text"
        )
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, dt.timedelta):
        # Read past what a subclass makes of them: pendulum's own leave months out.
        days, seconds, micros = (
            getattr(dt.timedelta, field).__get__(value) for field in ("days", "seconds", "microseconds")
        )
        whole = (days * 86_400 + seconds) * 1_000_000 + micros
        if name == "pendulum.duration.Duration":
            years, months = (getattr(value, field) for field in ("years", "months"))
            return _tag(name, [years, months, whole - (years * 365 + months * 30) * 86_400_000_000])
        return _tag("datetime.timedelta", whole)
    if isinstance(value, dt.datetime):
        kept = name if name in {"dagbok.datetimes.DateTime", "pendulum.datetime.DateTime"} else None
        return _tag(kept or "datetime.datetime", [value.isoformat(), _zone(value)])
    kind = "date" if isinstance(value, dt.date) else "time"
    kept = name if name in {"pendulum.date.Date", "pendulum.time.Time"} else f"datetime.{kind}"
    return _tag(kept, value.isoformat())


def _numpy(value: Any, what: str, path: str, depth: int) -> Any:
    """Scalars and arrays of numpy: they come back as plain numbers, dates and lists."""
    if value.dtype.kind in "mM":
        exact = value.astype(f"{value.dtype.kind}8[us]")
        if not (exact == value).all():
            raise XComNotSerializable(
                f"{what} holds times of numpy{_at(path)} that are missing (NaT), or finer than microseconds. "
                "Hand on None, rounded times or text instead"
            )
        value = exact
    return _to(value.tolist(), what, path, depth + 1)


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
        return _numpy(value, what, path, depth)
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


def _read_instant(data: Any) -> Any:
    from dagbok.datetimes import DateTime

    return DateTime.instance(_read_datetime(data))


def _read_pendulum(kind: str) -> Callable[[Any], Any]:
    """Return a reader of a pendulum value; where pendulum is not installed, of the nearest kind that is."""

    def read(data: Any) -> Any:
        try:
            import pendulum
        except ImportError:
            return _without_pendulum(kind, data)
        if kind == "datetime":
            return pendulum.instance(_read_datetime(data))
        if kind == "duration":
            years, months, micros = data
            return pendulum.duration(years=years, months=months, microseconds=micros)
        if kind == "date":
            plain = dt.date.fromisoformat(data)
            return pendulum.date(plain.year, plain.month, plain.day)
        at = dt.time.fromisoformat(data)
        return pendulum.Time(at.hour, at.minute, at.second, at.microsecond, at.tzinfo)

    return read


def _without_pendulum(kind: str, data: Any) -> Any:
    if kind == "datetime":
        return _read_instant(data)
    if kind == "duration":
        years, months, micros = data
        if years or months:
            raise XComNotSerializable("an XCom holds a duration of months; install pendulum to read it")
        return dt.timedelta(microseconds=micros)
    return (dt.date if kind == "date" else dt.time).fromisoformat(data)


def _read_bytes(data: Any) -> bytes:
    """Read what an earlier version pushed; none is pushed any more."""
    import base64

    return base64.b64decode(data)


def _read_by(module: str, name: str) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(module), name)(data)

    return read


def _read_decimal(data: Any) -> Any:
    """Read text of ours, or a number, as Airflow writes it."""
    from decimal import Decimal

    return Decimal(str(data))


def _read_zone(data: Any) -> dt.tzinfo:
    from dagbok.zones import parse_timezone

    return parse_timezone(data)


_READERS: dict[str, Callable[[Any], Any]] = {
    "builtins.int": int,
    "builtins.float": float,
    "builtins.tuple": lambda data: tuple(from_json(data)),
    "builtins.set": lambda data: set(from_json(data)),
    "builtins.frozenset": lambda data: frozenset(from_json(data)),
    "builtins.bytes": _read_bytes,
    "datetime.datetime": _read_datetime,
    "dagbok.datetimes.DateTime": _read_instant,
    "pendulum.datetime.DateTime": _read_pendulum("datetime"),
    "pendulum.date.Date": _read_pendulum("date"),
    "pendulum.time.Time": _read_pendulum("time"),
    "pendulum.duration.Duration": _read_pendulum("duration"),
    "datetime.date": dt.date.fromisoformat,
    "datetime.time": dt.time.fromisoformat,
    "datetime.timedelta": lambda data: dt.timedelta(microseconds=data),
    "decimal.Decimal": _read_decimal,
    "uuid.UUID": _read_by("uuid", "UUID"),
    "pathlib.PosixPath": _read_by("pathlib", "Path"),
    "pendulum.tz.timezone.FixedTimezone": _read_zone,
    "pendulum.tz.timezone.Timezone": _read_zone,
    "zoneinfo.ZoneInfo": _read_zone,
}


# What Airflow's task runner writes in another form, which a run has where it runs some of its tasks: from
# this version of the form on.
AIRFLOWS = 2


def is_airflows(form: Mapping[str, Any]) -> bool:
    """Whether a date or a span is in Airflow's form, and not in ours."""
    version = form.get(VERSION)
    return isinstance(version, int) and version >= AIRFLOWS


def _airflows_datetime(data: Any) -> dt.datetime:
    zone = from_json(data["tz"])
    named = zone[0] if isinstance(zone, list | tuple) else zone
    if named is None:
        return dt.datetime.fromtimestamp(data["timestamp"])
    from dagbok.zones import parse_timezone

    return dt.datetime.fromtimestamp(data["timestamp"], parse_timezone(named))


def _airflows_instant(data: Any) -> Any:
    value = _airflows_datetime(data)
    try:
        import pendulum
    except ImportError:
        from dagbok.datetimes import DateTime

        return DateTime.instance(value)
    return pendulum.instance(value, tz=value.tzinfo)


_AIRFLOWS_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime.datetime": _airflows_datetime,
    "pendulum.datetime.DateTime": _airflows_instant,
    "datetime.timedelta": lambda data: dt.timedelta(seconds=float(data)),
}


def _read_number(data: Any) -> Any:
    return data


def _reader(form: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    name = form[CLASS]
    if not isinstance(name, str):
        return None
    if name.startswith("numpy."):  # only Airflow writes a number's own kind
        return _read_number if isinstance(form.get(DATA), int | float) else None
    return (_AIRFLOWS_READERS.get(name) if is_airflows(form) else None) or _READERS.get(name)


def from_json(value: Any) -> Any:
    """Return the value of a JSON form: ours, or that of Airflow's task runner."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        name = value.get(CLASS)
        if name is None:
            return {key: from_json(item) for key, item in value.items()}
        reader = _reader(value)
        if reader is None:
            raise XComNotSerializable(f"an XCom holds a {name!r}, which this version can't read")
        return reader(value.get(DATA))
    return value
