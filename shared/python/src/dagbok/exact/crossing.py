"""Values of tasks that ran on Dagbok's own runtime, for Airflow's task runner to read.

Most forms are the same. A date or a span of ours is put into Airflow's form; where Airflow has no form for
what ours says (a time of day, a path), its reader is given one.
"""

from __future__ import annotations

from typing import Any

from dagbok.exact import startup
from dagbok.runtime.values import CLASS, DATA, VERSION, from_json, is_airflows

# Of the same name in both, and of another form.
OTHER_FORM = frozenset(["datetime.datetime", "pendulum.datetime.DateTime", "datetime.timedelta"])
# What our runtime hands on, and Airflow's has no form of; an instant of ours is one of its own there.
OURS = frozenset(
    [
        *("builtins.int", "builtins.float", "builtins.bytes"),
        *("datetime.time", "pendulum.time.Time", "pendulum.duration.Duration"),
        *("pathlib.PosixPath", "uuid.UUID", "pendulum.date.Date"),
    ]
)
_FRAMED = range(-(2**63), 2**64)
INSTANT = "dagbok.datetimes.DateTime"


def read(value: Any) -> Any:
    """Return a value's form as Airflow's own deserialization takes it."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = value.get(CLASS)
    if name == INSTANT:
        name, value = "pendulum.datetime.DateTime", {**value, CLASS: "pendulum.datetime.DateTime"}
    if name in OTHER_FORM and not is_airflows(value):
        return startup.serde().serialize(from_json(value))
    return {key: read(item) for key, item in value.items()}


def fitted(value: Any) -> Any:
    """Return a value whose whole numbers fit into a frame; larger ones are in a form that both sides read."""
    if isinstance(value, list | tuple):
        return [fitted(item) for item in value]
    if isinstance(value, dict):
        return {key: fitted(item) for key, item in value.items()}
    if isinstance(value, int) and value not in _FRAMED:
        return {CLASS: "builtins.int", VERSION: 1, DATA: str(value)}
    return value


class _Reader:
    """What Airflow's deserialization asks for a class that it has no form of."""

    def __init__(self, name: str) -> None:
        self._name = name

    def deserialize(self, cls: type, version: int, data: Any) -> Any:
        """Return the value of what stands in our form."""
        return from_json({CLASS: self._name, VERSION: version, DATA: data})


def teach() -> None:
    """Give Airflow's deserialization the classes that our runtime hands on and it has no form of."""
    serde = startup.serde()
    readers = serde._deserializers
    for name in OURS:
        readers.setdefault(name, _Reader(name))
    serde._extra_allowed |= OURS
