"""Sensors that need nothing but a clock, the disk or a command."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from typing import Any

from dagbok.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from dagbok.models.hook import BaseHook
from dagbok.operators.branch_times import WeekDay
from dagbok.operators.sensor import BaseSensorOperator
from dagbok.timezone import coerce_datetime, parse, utcnow


class _InstantSensor(BaseSensorOperator):
    """Waits until an instant, which it can do in a triggerer."""

    _defers = True
    start_from_trigger = False
    end_from_trigger = False
    # Whether its timeout counts while it is deferred: as in Airflow, not with every one of them.
    _is_bounded = False

    def _instant(self, context: Any) -> dt.datetime:
        raise NotImplementedError

    def execute(self, context: Any) -> Any:
        """Poke, or leave it to a trigger."""
        if not self.deferrable:
            return super().execute(context)
        from dagbok.operators.triggers import DateTimeTrigger

        moment = self._instant(context)
        if self._is_bounded and utcnow() > moment:
            return True
        timeout = dt.timedelta(seconds=self.timeout) if self._is_bounded else None
        trigger = DateTimeTrigger(moment, end_from_trigger=self.end_from_trigger)
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """Come back from the trigger."""


class DateTimeSensor(_InstantSensor):
    """Waits until an instant: a datetime, or text, which may be a template."""

    template_fields: Sequence[str] = ("target_time",)

    def __init__(self, *, target_time: str | dt.datetime, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(target_time, dt.datetime):
            self.target_time = target_time.isoformat()
        elif isinstance(target_time, str):
            self.target_time = target_time
        else:
            raise TypeError(
                f"Expected str or datetime.datetime type for target_time. Got {type(target_time)}"
            )

    def poke(self, context: Any) -> bool:
        """Compare the clock with it; text without an offset is UTC."""
        self.log.info("Checking if the time (%s) has come", self.target_time)
        return bool(utcnow() > parse(self.target_time))

    def _instant(self, context: Any) -> dt.datetime:
        return parse(self.target_time)


class TimeSensor(_InstantSensor):
    """Waits until a time of the day on which the task begins, in the DAG's zone."""

    def __init__(self, *, target_time: dt.time, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_time = target_time

    def poke(self, context: Any) -> bool:
        """Compare the clock with that time of the day of the try's first start."""
        target = self._instant(context)
        self.log.info("Checking if the time (%s) has come", target)
        return bool(utcnow() > target)

    def _instant(self, context: Any) -> dt.datetime:
        ti, zone = context["ti"], self.dag.timezone
        began = ti.get_first_reschedule_date(context) or ti.start_date
        at = dt.datetime.combine(began.astimezone(zone).date(), self.target_time)
        target = coerce_datetime(at, zone)
        assert target is not None
        return target


class TimeDeltaSensor(_InstantSensor):
    """Waits until so long after the end of the run's data interval; a number or text is minutes."""

    template_fields: Sequence[str] = ("delta",)
    _is_bounded = True

    def __init__(self, *, delta: dt.timedelta | int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delta = delta

    def poke(self, context: Any) -> bool:
        """Compare the clock with it; a run without a data interval counts from when it could begin."""
        target = self._instant(context)
        self.log.info("Checking if the time (%s) has come", target)
        return bool(utcnow() > target)

    def _instant(self, context: Any) -> dt.datetime:
        delta = self.delta if isinstance(self.delta, dt.timedelta) else dt.timedelta(minutes=int(self.delta))
        target: dt.datetime = (context.get("data_interval_end") or context["dag_run"].run_after) + delta
        return target


class DayOfWeekSensor(BaseSensorOperator):
    """Waits for a day of the week, in UTC; or asks the run's date for it."""

    def __init__(
        self,
        *,
        week_day: str | Iterable[str] | WeekDay | Iterable[WeekDay],
        use_task_logical_date: bool = False,
        use_task_execution_day: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.week_day = week_day
        self.use_task_logical_date = use_task_logical_date or use_task_execution_day
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def poke(self, context: Any) -> bool:
        """Compare the day."""
        day = utcnow()
        self.log.info(
            "Poking until weekday is in %s, Today is %s", self.week_day, WeekDay(day.isoweekday()).name
        )
        if self.use_task_logical_date:
            day = context.get("logical_date") or context["dag_run"].run_after
        return day.isoweekday() in self._week_day_num


class FSHook(BaseHook):
    """A folder, by a connection whose extra names its `path`; without that connection, the whole disk."""

    conn_name_attr = "fs_conn_id"
    default_conn_name = "fs_default"
    conn_type = "fs"
    hook_name = "File (path)"

    def __init__(self, fs_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__()
        self.basepath = "/"
        try:
            self.basepath = self.get_connection(fs_conn_id).extra_dejson.get("path", "")
        except AirflowNotFoundException:
            # Airflow makes this one connection by itself, with the root as its path.
            if fs_conn_id != self.default_conn_name:
                raise
        self.conn = self.basepath

    def get_conn(self) -> None:
        """Connect to nothing."""

    def get_path(self) -> str:
        """Return the folder."""
        return self.basepath

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the folder is there."""
        if not self.basepath:
            return False, "no path is given"
        found = os.path.exists(self.basepath)
        return found, f"the path {self.basepath} {'exists' if found else 'does not exist'}"


class FileSensor(BaseSensorOperator):
    """Waits for a file, or a folder with a file in it; wildcards as of glob."""

    template_fields: Sequence[str] = ("filepath",)
    ui_color = "#91818a"
    _defers = True

    def __init__(
        self, *, filepath: Any, fs_conn_id: str = "fs_default", recursive: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filepath, self.fs_conn_id, self.recursive = filepath, fs_conn_id, recursive

    @property
    def path(self) -> str:
        """The whole path that is looked for."""
        return os.path.join(FSHook(self.fs_conn_id).get_path(), self.filepath)

    def execute(self, context: Any) -> Any:
        """Look, and leave it to a trigger where that is wanted and nothing is there yet."""
        if not self.deferrable:
            return super().execute(context)
        if self.poke(context):
            return None
        from dagbok.operators.triggers import FileTrigger

        return self.defer(
            trigger=FileTrigger(self.path, recursive=self.recursive, poke_interval=self.poke_interval),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Any, event: bool | None = None) -> None:
        """Come back from the trigger."""
        if not event:
            raise AirflowException(f"{self.task_id} task failed as {self.filepath} not found.")
        self.log.info("%s completed successfully as %s found.", self.task_id, self.filepath)

    def poke(self, context: Any) -> bool:
        """Look."""
        from glob import glob

        full = self.path
        self.log.info("Poking for file %s", full)
        for path in glob(full, recursive=self.recursive):
            if os.path.isfile(path):
                self.log.info("Found File %s", path)
                return True
            if any(files for _, _, files in os.walk(path)):
                return True
        return False


class BashSensor(BaseSensorOperator):
    """Waits for a command to exit with 0; with a `retry_exit_code`, any other code but that fails it."""

    template_fields: Sequence[str] = ("bash_command", "env")
    template_ext = (".sh", ".bash")

    def __init__(
        self,
        *,
        bash_command: Any,
        env: dict[str, str] | None = None,
        output_encoding: str = "utf-8",
        retry_exit_code: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command, self.env, self.output_encoding = bash_command, env, output_encoding
        self.retry_exit_code = retry_exit_code
        self._process: Any = None

    def poke(self, context: Any) -> bool:
        """Run the command in a folder that is gone afterwards, its output to the log."""
        import subprocess
        import tempfile

        from dagbok.runtime.interrupts import held

        with tempfile.TemporaryDirectory(prefix="dagbok-bash-") as scratch:
            with held:
                self._process = subprocess.Popen(
                    ["bash", "-c", self.bash_command],
                    cwd=scratch,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            for line in self._process.stdout:
                self.log.info("%s", line.decode(self.output_encoding, errors="backslashreplace").strip())
            code = self._process.wait()
        self.log.info("Command exited with return code %s", code)
        if code != 0 and self.retry_exit_code is not None and code != self.retry_exit_code:
            raise AirflowFailException(f"Command exited with return code {code}")
        return bool(code == 0)

    def on_kill(self) -> None:
        """Tell the command's process group to end."""
        import signal

        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
