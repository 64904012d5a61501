"""The standard provider's triggers: instants, files, and runs of other DAGs.

They run in a triggerer's process, beside thousands of others; what asks the API does so in a thread.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import AsyncIterator
from glob import glob
from typing import Any

from dagbok.surface.triggers import BaseEventTrigger, BaseTrigger, TaskSuccessEvent, TriggerEvent
from dagbok.timezone import utcnow

_STANDARD = "airflow.providers.standard.triggers"
# However far an instant lies, the clock is looked at this often, in seconds: it may be set meanwhile.
_LOOK = 3600.0


class DateTimeTrigger(BaseTrigger):
    """Fires at an instant, which must know its offset."""

    def __init__(self, moment: dt.datetime, *, end_from_trigger: bool = False) -> None:
        super().__init__()
        if not isinstance(moment, dt.datetime):
            raise TypeError(f"Expected datetime.datetime type for moment. Got {type(moment)}")
        if moment.tzinfo is None:
            raise ValueError("You cannot pass naive datetimes")
        self.moment = moment.astimezone(dt.UTC)
        self.end_from_trigger = end_from_trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {"moment": self.moment, "end_from_trigger": self.end_from_trigger}
        return f"{_STANDARD}.temporal.DateTimeTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep until then."""
        while (left := (self.moment - utcnow()).total_seconds()) > 0:
            await asyncio.sleep(min(left, _LOOK))
        self.log.info("trigger starting")
        if self.end_from_trigger:
            self.log.info("Sensor time condition reached; marking task successful and exiting")
            yield TaskSuccessEvent()
        else:
            yield TriggerEvent(self.moment)


class TimeDeltaTrigger(DateTimeTrigger):
    """Fires after so long; made again, it is a `DateTimeTrigger` of the instant that it was to fire at."""

    def __init__(self, delta: dt.timedelta, *, end_from_trigger: bool = False) -> None:
        super().__init__(moment=utcnow() + delta, end_from_trigger=end_from_trigger)


class FileTrigger(BaseTrigger):
    """Fires when a file is there, or a folder with a file in it; wildcards as of glob."""

    def __init__(
        self, filepath: str, recursive: bool = False, poke_interval: float = 5.0, **kwargs: Any
    ) -> None:
        super().__init__()
        self.filepath, self.recursive, self.poke_interval = filepath, recursive, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {
            "filepath": self.filepath,
            "recursive": self.recursive,
            "poke_interval": self.poke_interval,
        }
        return f"{_STANDARD}.file.FileTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again."""
        while not self._is_there():
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent(True)

    def _is_there(self) -> bool:
        for path in glob(self.filepath, recursive=self.recursive):
            if os.path.isfile(path):
                self.log.info("Found File %s", path)
                return True
            if any(files for _, _, files in os.walk(path)):
                return True
        return False


class FileDeleteTrigger(BaseEventTrigger):
    """Fires when a file is there, and takes it away."""

    def __init__(self, filepath: str, poke_interval: float = 5.0, **kwargs: Any) -> None:
        super().__init__()
        self.filepath, self.poke_interval = filepath, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {"filepath": self.filepath, "poke_interval": self.poke_interval}
        return f"{_STANDARD}.file.FileDeleteTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again."""
        while True:
            try:
                os.unlink(self.filepath)
            except FileNotFoundError:
                await asyncio.sleep(self.poke_interval)
                continue
            yield TriggerEvent(True)
            return


class DirectoryFileDeleteTrigger(FileDeleteTrigger):
    """Fires when a file of this name is in a folder, and takes it away; each looks for its own."""

    def __init__(self, *, directory: str, filename: str, poke_interval: float = 5.0) -> None:
        super().__init__(os.path.join(directory, filename), poke_interval)
        self.directory, self.filename = directory, filename

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {
            "directory": self.directory,
            "filename": self.filename,
            "poke_interval": self.poke_interval,
        }
        return f"{_STANDARD}.file.DirectoryFileDeleteTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; what it saw is the file's path."""
        async for _ in super().run():
            yield TriggerEvent({"filepath": self.filepath})


def _states(states: Any) -> list[str]:
    return [str(getattr(state, "value", state)) for state in states or ()]


class WorkflowTrigger(BaseTrigger):
    """Fires when runs, tasks or a group of another DAG are in the states that decide."""

    def __init__(
        self,
        external_dag_id: str,
        run_ids: list[str] | None = None,
        execution_dates: list[dt.datetime] | None = None,
        logical_dates: list[dt.datetime] | None = None,
        external_task_ids: Any = None,
        external_task_group_id: str | None = None,
        failed_states: Any = None,
        skipped_states: Any = None,
        allowed_states: Any = None,
        poke_interval: float = 2.0,
        soft_fail: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.external_dag_id, self.run_ids = external_dag_id, run_ids
        self.logical_dates = logical_dates or execution_dates
        self.external_task_ids = external_task_ids
        self.external_task_group_id = external_task_group_id
        self.failed_states, self.skipped_states = _states(failed_states), _states(skipped_states)
        self.allowed_states = _states(allowed_states) or ["success"]
        self.poke_interval, self.soft_fail = poke_interval, soft_fail

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {
            "external_dag_id": self.external_dag_id,
            "run_ids": self.run_ids,
            "logical_dates": self.logical_dates,
            "external_task_ids": self.external_task_ids,
            "external_task_group_id": self.external_task_group_id,
            "failed_states": self.failed_states,
            "skipped_states": self.skipped_states,
            "allowed_states": self.allowed_states,
            "poke_interval": self.poke_interval,
            "soft_fail": self.soft_fail,
        }
        return f"{_STANDARD}.external_task.WorkflowTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again."""
        while True:
            status = await asyncio.to_thread(self._status)
            if status is not None:
                yield TriggerEvent({"status": status})
                return
            self.log.info("Sleeping for %s seconds", self.poke_interval)
            await asyncio.sleep(self.poke_interval)

    def _status(self) -> str | None:
        if self.failed_states and self._count(self.failed_states) > 0:
            return "failed"
        if self.skipped_states and self._count(self.skipped_states) > 0:
            return "skipped"
        wanted = len(self.run_ids or self.logical_dates or ())
        return "success" if self._count(self.allowed_states) == wanted else None

    def _count(self, states: list[str]) -> float:
        from dagbok.runtime import past

        which: dict[str, Any] = {"run_ids": self.run_ids, "logical_dates": self.logical_dates}
        if self.external_task_ids:
            counted = past.count_tasks(
                self.external_dag_id, task_ids=self.external_task_ids, states=states, **which
            )
            return counted / len(self.external_task_ids)
        if self.external_task_group_id:
            by_run = past.task_states(
                self.external_dag_id, task_group_id=self.external_task_group_id, **which
            )
            return sum(all(state in states for state in of.values()) for of in by_run.values())
        return past.count_runs(self.external_dag_id, states=states, **which)


class DagStateTrigger(BaseTrigger):
    """Fires when runs of a DAG are in one of some states."""

    def __init__(
        self,
        dag_id: str,
        states: Any,
        run_ids: list[str] | None = None,
        execution_dates: list[dt.datetime] | None = None,
        poll_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.dag_id, self.states, self.run_ids = dag_id, _states(states), run_ids
        self.execution_dates, self.poll_interval = execution_dates, poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes the same one again."""
        arguments = {
            "dag_id": self.dag_id,
            "states": self.states,
            "run_ids": self.run_ids,
            "execution_dates": self.execution_dates,
            "poll_interval": self.poll_interval,
        }
        return f"{_STANDARD}.external_task.DagStateTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask again and again; the event says in which state the runs are."""
        from dagbok.runtime import past

        wanted = len(self.run_ids or self.execution_dates or ())
        while True:
            counted = await asyncio.to_thread(
                past.count_runs, self.dag_id, self.execution_dates, self.run_ids, self.states
            )
            if counted == wanted:
                break
            await asyncio.sleep(self.poll_interval)
        path, data = self.serialize()
        if self.run_ids and len(self.run_ids) == 1:
            state = await asyncio.to_thread(past.run_state, self.dag_id, self.run_ids[0])
            data[self.run_ids[0]] = state
        yield TriggerEvent((path, data))
