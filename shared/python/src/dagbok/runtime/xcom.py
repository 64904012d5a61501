"""XComs of the running task over the frames."""

from __future__ import annotations

from typing import Any

from dagbok.exceptions import AirflowException, SupervisorError
from dagbok.runtime.copies import Elements, ElementsOfDict, ElementsOfList, LazyXComSequence
from dagbok.runtime.supervisor import Supervisor
from dagbok.runtime.values import from_json, to_json


def get_value(
    supervisor: Supervisor,
    key: str,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int | None = None,
    include_prior_dates: bool = False,
) -> tuple[Any, bool]:
    """Return a value and whether one was pushed: None can be."""
    request = {
        "type": "GetXCom",
        "key": key,
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "include_prior_dates": include_prior_dates,
    }
    try:
        answer = supervisor.ask(request)
    except SupervisorError as error:
        if error.code == "XCOM_NOT_FOUND":
            return None, False
        raise
    return from_json(answer.get("value")), True


def get_copies(supervisor: Supervisor, key: str, dag_id: str, run_id: str, task_id: str) -> LazyXComSequence:
    """Return the values of a mapped task's copies, to be fetched when they are looked at."""
    of = {"key": key, "dag_id": dag_id, "run_id": run_id, "task_id": task_id}

    def count() -> int:
        return int(supervisor.ask({"type": "GetXComCount", **of})["len"])

    def fetch(start: int, most: int | None) -> list[Any]:
        stop = None if most is None else start + most
        answer = supervisor.ask({"type": "GetXComSequenceSlice", **of, "start": start, "stop": stop})
        return [from_json(value) for value in answer["root"]]

    return LazyXComSequence(count, fetch)


def get_elements(
    supervisor: Supervisor, key: str, dag_id: str, run_id: str, task_id: str, place: int
) -> Elements | None:
    """Return the elements of a list, tuple or dict that a task pushed.

    `place` is fetched at once and others when they are looked at. None where it pushed something else, or
    nothing.
    """
    of = {"key": key, "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": -1}

    def ask(place: int) -> dict[str, Any]:
        answer: dict[str, Any] = supervisor.ask({"type": "GetXComElement", **of, "place": place})
        return answer

    def element(place: int, answer: dict[str, Any]) -> Any:
        if not answer["is_there"]:
            raise IndexError(f"there is no element {place} of what task `{task_id}` pushed")
        found = answer["element"]
        return (found[0], from_json(found[1])) if answer["kind"] == "dict" else from_json(found)

    try:
        answer = ask(place)
    except SupervisorError as error:
        if error.code == "XCOM_NOT_FOUND":
            return None
        raise
    kind = answer["kind"]
    if kind == "other":
        return None
    make = ElementsOfDict if kind == "dict" else ElementsOfList
    first = (place, element(place, answer)) if answer["is_there"] else (-1, None)
    return make(
        kind,
        answer["len"],
        first,
        lambda place: element(place, ask(place)),
        lambda: get_value(supervisor, key, dag_id, run_id, task_id, -1)[0],
    )


def set_value(
    supervisor: Supervisor, key: str, value: Any, ti: Any, mapped_length: int | None = None
) -> None:
    """Push a value; one that has no JSON form, or is refused for its size, is an error that says so.

    `mapped_length` is how many copies of other tasks it makes.
    """
    if not isinstance(key, str) or not key:
        raise AirflowException(f"an XCom's key is text that is not empty, not {key!r}")
    request = {
        "type": "SetXCom",
        "key": key,
        "value": to_json(value, f"the XCom `{key}` of task `{ti.task_id}`"),
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "mapped_length": mapped_length,
    }
    supervisor.ask(request)
