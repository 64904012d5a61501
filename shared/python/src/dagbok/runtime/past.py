"""What tasks ask about other runs and their tasks. The executor has the API answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from dagbok.datetimes import DateTime
from dagbok.exceptions import DagRunNotFound, SupervisorError
from dagbok.runtime.current import supervisor

Json = dict[str, Any]
_TASK_DATES = ("logical_date", "start_date", "end_date")


def instant(value: Any) -> DateTime | None:
    """Return a date of a frame: an instant, or text as the API writes it."""
    if value is None:
        return None
    return DateTime.instance(dt.datetime.fromisoformat(value) if isinstance(value, str) else value)


def aware(value: dt.datetime) -> dt.datetime:
    """Return a date as a frame can say it, a plain datetime; one without a zone is taken for UTC."""
    value = value.astimezone(dt.UTC) if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    return dt.datetime.combine(value.date(), value.timetz())


def word(value: Any) -> str | None:
    """Return a state or a kind of run as text, whether it is a member of an enum or text already."""
    return None if value is None else str(getattr(value, "value", value))


def ask(kind: str, **fields: Any) -> Json:
    """Ask, leaving out what is not said."""
    said = {name: value for name, value in fields.items() if value is not None}
    answer: Json = supervisor().ask({"type": kind, **said})
    return answer


def _several(value: Any) -> list[Any] | None:
    if value is None:
        return None
    single = isinstance(value, str | dt.datetime) or hasattr(value, "value")
    return [value] if single else list(value)


def _dates(value: Any) -> list[dt.datetime] | None:
    several = _several(value)
    return None if several is None else [aware(date) for date in several]


def _words(value: Any) -> list[str | None] | None:
    several = _several(value)
    return None if several is None else [word(one) for one in several]


def find_runs(
    dag_id: str | Iterable[str] | None,
    run_id: str | Iterable[str] | None,
    logical_date: Any,
    state: Any,
    run_type: Any,
    between: tuple[dt.datetime | None, dt.datetime | None],
) -> list[Json]:
    """Return what is said of the runs that all of this holds for, by their logical dates."""
    first, last = between
    found: list[Json] = []
    for name in _several(dag_id) or ["~"]:
        answer = ask(
            "FindDagRuns",
            dag_id=name,
            run_ids=_words(run_id),
            logical_dates=_dates(logical_date),
            states=_words(state),
            run_type=word(run_type),
            **{"from": None if first is None else aware(first), "to": None if last is None else aware(last)},
        )
        found += answer["dag_runs"]
    return found


def previous_run(dag_id: str, date: dt.datetime | None, state: Any) -> Json | None:
    """Return what is said of the run of the next earlier logical date, in a state where one is named."""
    if date is None:
        return None
    found: Json | None = ask("GetPreviousDagRun", dag_id=dag_id, logical_date=aware(date), state=word(state))[
        "dag_run"
    ]
    return found


def run_state(dag_id: str, run_id: str) -> str:
    """Return the state of a run."""
    try:
        return str(ask("GetDagRunState", dag_id=dag_id, run_id=run_id)["state"])
    except SupervisorError as error:
        if error.code == "NOT_FOUND":
            raise DagRunNotFound(f"DAG `{dag_id}` has no run `{run_id}`") from None
        raise


def count_runs(dag_id: str, logical_dates: Any = None, run_ids: Any = None, states: Any = None) -> int:
    """Return how many runs of a DAG there are for which this holds."""
    answer = ask(
        "GetDRCount",
        dag_id=dag_id,
        logical_dates=_dates(logical_dates),
        run_ids=_words(run_ids),
        states=_words(states),
    )
    return int(answer["count"])


def _of_tasks(
    dag_id: str,
    map_index: int | None,
    task_ids: Any,
    task_group_id: str | None,
    logical_dates: Any,
    run_ids: Any,
) -> Json:
    return {
        "dag_id": dag_id,
        "map_index": map_index,
        "task_ids": _words(task_ids),
        "task_group_id": task_group_id,
        "logical_dates": _dates(logical_dates),
        "run_ids": _words(run_ids),
    }


def count_tasks(
    dag_id: str,
    map_index: int | None = None,
    task_ids: Any = None,
    task_group_id: str | None = None,
    logical_dates: Any = None,
    run_ids: Any = None,
    states: Any = None,
) -> int:
    """Return how many task instances of a DAG there are for which this holds."""
    which = _of_tasks(dag_id, map_index, task_ids, task_group_id, logical_dates, run_ids)
    return int(ask("GetTICount", **which, states=_words(states))["count"])


def task_states(
    dag_id: str,
    map_index: int | None = None,
    task_ids: Any = None,
    task_group_id: str | None = None,
    logical_dates: Any = None,
    run_ids: Any = None,
) -> Json:
    """Return the states of task instances by run id, and by task id (`task_0` for a copy)."""
    which = _of_tasks(dag_id, map_index, task_ids, task_group_id, logical_dates, run_ids)
    states: Json = ask("GetTaskStates", **which)["task_states"]
    return states


class OtherTaskInstance:
    """A task instance of some run, as it was when it was asked for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    duration: float | None
    operator: str | None
    logical_date: DateTime | None
    start_date: DateTime | None
    end_date: DateTime | None

    def __init__(self, details: Mapping[str, Any]) -> None:
        self.__dict__.update(details)
        for name in _TASK_DATES:
            self.__dict__[name] = instant(details.get(name))

    @property
    def execution_date(self) -> DateTime | None:
        """The older name of logical_date."""
        return self.logical_date

    def current_state(self, session: Any = None) -> str | None:
        """Return its state as of now."""
        states = task_states(self.dag_id, self.map_index, [self.task_id], run_ids=[self.run_id])
        return next(iter(states.get(self.run_id, {}).values()), None)

    def xcom_pull(self, task_ids: Any = None, key: str | None = None, **kwargs: Any) -> Any:
        """Return what a task of its run pushed; without one named, what it pushed itself."""
        from dagbok.runtime.current import current_context

        kwargs = {"dag_id": self.dag_id, "run_id": self.run_id, **kwargs}
        if key is not None:
            kwargs["key"] = key
        return current_context()["ti"].xcom_pull(self.task_id if task_ids is None else task_ids, **kwargs)

    def __repr__(self) -> str:
        copy = "" if self.map_index < 0 else f" map_index={self.map_index}"
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id}{copy} [{self.state}]>"


def tasks_of(
    dag_id: str, run_id: str, state: Any = None, task_ids: Any = None, map_index: int | None = None
) -> list[OtherTaskInstance]:
    """Return the task instances of a run."""
    answer = ask(
        "GetTaskInstances",
        dag_id=dag_id,
        run_id=run_id,
        states=[word(one) or "none" for one in several] if (several := _several(state)) is not None else None,
        task_ids=_words(task_ids),
        map_index=map_index,
    )
    return [OtherTaskInstance(one) for one in answer["task_instances"]]


def previous_task(
    dag_id: str, task_id: str, date: dt.datetime | None, map_index: int, state: Any
) -> OtherTaskInstance | None:
    """Return a task instance of the newest earlier run, in a state where one is named."""
    if date is None:
        return None
    answer = ask(
        "GetPreviousTI",
        dag_id=dag_id,
        task_id=task_id,
        logical_date=aware(date),
        map_index=map_index,
        state=word(state),
    )
    found = answer["task_instance"]
    return None if found is None else OtherTaskInstance(found)
