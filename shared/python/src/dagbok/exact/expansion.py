"""What Airflow's mapped tasks and groups are expanded over, as our spec says it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any

from dagbok.exceptions import AirflowException

Json = dict[str, Any]
# Of Airflow's values of tasks, by the name of their class: what holds the values that they are made of.
RETURN_VALUE = "return_value"


def expand_of(task: Any, group: Any, place: Mapping[str, int]) -> Json | None:
    """Return how many copies a task has, by itself or by the mapped group around it; None where it is one."""
    extents: list[Json] = []
    if group is not None:
        extents += _extents(group._expand_input, place)
    if getattr(task, "is_mapped", False):
        if group is not None:
            raise AirflowException(
                f"it is mapped in the mapped group `{group.group_id}`: operator expansion in an expanded "
                "task group is not yet supported"
            )
        extents += _extents(task._get_specified_expand_input(), place)
    if not extents:
        return None
    if all("Fixed" in one for one in extents):
        lengths = (one["Fixed"]["length"] for one in extents)
        return {"Literal": {"length": functools.reduce(operator.mul, lengths)}}
    return {"Product": {"of": extents}}


def _extents(given: Any, place: Mapping[str, int]) -> list[Json]:
    value = given.value
    if isinstance(value, Mapping):
        return [_extent(one, place) for one in value.values()]
    return [_extent(value, place)]


def _extent(value: Any, place: Mapping[str, int]) -> Json:
    kind = type(value).__name__
    if kind == "PlainXComArg":
        if value.key != RETURN_VALUE:
            raise AirflowException(
                f"cannot map over XCom with custom key {value.key!r} from {value.operator.task_id}"
            )
        return {"Of": {"task": place[value.operator.task_id]}}
    if kind == "MapXComArg":
        return _extent(value.arg, place)
    if kind == "ZipXComArg":
        of = [_extent(arg, place) for arg in value.args]
        filled = "NOTSET" not in repr(value.fillvalue) and type(value.fillvalue).__name__ != "ArgNotSet"
        return {"Zip": {"of": of, "longest": True}} if filled else {"Zip": {"of": of}}
    if kind == "ConcatXComArg":
        return {"Concat": {"of": [_extent(arg, place) for arg in value.args]}}
    if not hasattr(value, "__len__"):
        raise AirflowException(f"it is mapped over {kind}, whose length can't be told from the file")
    return {"Fixed": {"length": len(value)}}
