"""Sensors. In mode `poke` they keep their slot and look again every so often.

In mode `reschedule` each look is a leg of its own of the try, and the slot is free between them.
Those that can wait in a triggerer (`deferrable=True`) say how in their `execute`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dagbok.authoring.decorated import DecoratedOperator
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from dagbok.operators.arguments import context_arguments

WEEK = 7 * 24 * 3600.0


class PokeReturnValue:
    """What a poke found, with a value for XCom."""

    def __init__(self, is_done: bool, xcom_value: Any = None) -> None:
        self.is_done, self.xcom_value = is_done, xcom_value

    def __bool__(self) -> bool:
        return self.is_done


class BaseSensorOperator(BaseOperator):
    """Calls `poke(context)` every `poke_interval` seconds until it is true or `timeout` seconds are over."""

    ui_color = "#e6f1f2"
    # Whether it can wait in a triggerer: `deferrable` is its argument then.
    _defers = False
    valid_modes = ("poke", "reschedule")

    def __init__(
        self,
        *,
        poke_interval: timedelta | float = 60,
        timeout: timedelta | float = WEEK,
        soft_fail: bool = False,
        mode: str = "poke",
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        silent_fail: bool = False,
        never_fail: bool = False,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in self.valid_modes:
            raise AirflowException(
                f"mode of sensor `{self.task_id}` is {mode!r}; there are poke and reschedule"
            )
        self.poke_interval, self.timeout = _seconds(poke_interval), _seconds(timeout)
        if self.poke_interval < 0 or self.timeout < 0:
            raise AirflowException(
                f"poke_interval and timeout of sensor `{self.task_id}` must not be negative"
            )
        self.soft_fail, self.mode, self.never_fail, self.silent_fail = (
            soft_fail,
            mode,
            never_fail,
            silent_fail,
        )
        self.exponential_backoff = exponential_backoff
        self.max_wait = None if max_wait is None else _seconds(max_wait)
        if deferrable and not self._defers:
            raise AirflowException(
                f"{type(self).__name__} `{self.task_id}` can't be deferred: it takes no `deferrable`"
            )
        # A provider's sensor keeps its own word of it.
        self.deferrable = self._default_deferrable() if deferrable is None else deferrable

    def _default_deferrable(self) -> bool:
        from dagbok.models.configuration import conf

        return self._defers and bool(conf.getboolean("operators", "default_deferrable", fallback=False))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a trigger; one whose time was up is the sensor's timeout."""
        from dagbok.surface.errors import TaskDeferralError, TaskDeferralTimeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except (AirflowException, TaskDeferralError) as error:
            if self.soft_fail or self.never_fail:
                asked = "soft_fail" if self.soft_fail else "never_fail"
                raise AirflowSkipException(f"Skipping due to {asked} is set to True: {error}") from error
            if isinstance(error, TaskDeferralTimeout):
                raise AirflowSensorTimeout(*error.args) from error
            raise

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Look once."""
        raise NotImplementedError(f"{type(self).__name__} defines no poke(context)")

    @property
    def reschedule(self) -> bool:
        """Whether it gives its slot up between two looks."""
        return self.mode == "reschedule"

    def execute(self, context: Any) -> Any:
        """Poke until it is true, or once where it is rescheduled."""
        looked, waited = 1, self._stopwatch(context)
        while True:
            found = self._poke_once(context)
            if found:
                return found.xcom_value if isinstance(found, PokeReturnValue) else None
            if waited() > self.timeout:
                message = f"sensor `{self.task_id}` waited longer than {self.timeout:g} s"
                if self.soft_fail:
                    raise AirflowSkipException(message)
                raise AirflowSensorTimeout(message)
            if self.reschedule:
                pause = self._pause_between_legs(context, waited())
                raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=pause))
            time.sleep(self._pause(context, looked, waited()))
            looked += 1

    def _stopwatch(self, context: Any) -> Callable[[], float]:
        """Return what tells for how many seconds it has waited: where it is rescheduled, in all legs."""
        began, started = _first_start(context), time.monotonic()

        def waited() -> float:
            if self.reschedule:
                return (datetime.now(UTC) - began).total_seconds()
            return time.monotonic() - started

        return waited

    def _pause_between_legs(self, context: Any, waited: float) -> float:
        """Return the wait before the next leg, as Airflow reckons it."""
        if not self.exponential_backoff:
            return self.poke_interval
        # How often it has looked is not kept: it follows from how long it has waited.
        began, looked, reckoned = _first_start(context), 0, 0.0
        while reckoned <= waited:
            looked += 1
            reckoned += self._backoff(began, looked)
        return self._within(self._backoff(began, looked), waited)

    def _pause(self, context: Any, looked: int, waited: float) -> float:
        """Return the wait before the next look without giving the slot up."""
        if not self.exponential_backoff:
            return self.poke_interval
        return self._within(self._backoff(_first_start(context), looked), waited)

    def _within(self, pause: float, waited: float) -> float:
        pause = min(self.timeout - int(waited), pause)
        return max(0.0, pause if self.max_wait is None else min(pause, self.max_wait))

    def _backoff(self, began: datetime, looked: int) -> float:
        """Return a wait that doubles with each look, with a part that differs from sensor to sensor."""
        least = max(int(self.poke_interval * 2 ** min(looked - 2, 60)), 1)
        name = f"{self.dag.dag_id}#{self.task_id}#{began}#{looked}"
        number = int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16)
        return float(min(least + number % least, timedelta.max.total_seconds() - 1))

    def _poke_once(self, context: Any) -> Any:
        from dagbok.runtime.driving import call

        try:
            return call(self.poke, context)
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                asked = "soft_fail" if self.soft_fail else "never_fail"
                raise AirflowSkipException(f"a poke failed, and {asked} says to skip: {error}") from error
            raise
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except Exception:
            if self.silent_fail:
                self.log.exception("a poke failed; silent_fail says to go on")
                return False
            if self.never_fail:
                raise AirflowSkipException("a poke failed, and never_fail says to skip") from None
            raise


def _first_start(context: Any) -> datetime:
    """Return when the try began: its first leg, where this is a later one."""
    ti = context["ti"]
    began: datetime = ti.get_first_reschedule_date(context) or ti.start_date
    return began


def _seconds(value: timedelta | float) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


class PythonSensor(BaseSensorOperator):
    """Waits for a function to return something true."""

    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Any = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.python_callable, self.templates_dict = python_callable, templates_dict
        self.op_args, self.op_kwargs = list(op_args or ()), dict(op_kwargs or {})

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Call the function."""
        full = {**context, "templates_dict": self.templates_dict}
        keywords = context_arguments(self.python_callable, self.op_args, self.op_kwargs, full)
        from dagbok.runtime.driving import call

        found = call(self.python_callable, *self.op_args, **keywords)
        return found if isinstance(found, PokeReturnValue) else bool(found)


class DecoratedSensorOperator(DecoratedOperator, BaseSensorOperator):
    """Waits for a function with @task.sensor."""

    custom_operator_name = "@task.sensor"

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Call the function."""
        args, kwargs = self.call_arguments(context)
        from dagbok.runtime.driving import call

        found = call(self.python_callable, *args, **kwargs)
        return found if isinstance(found, PokeReturnValue) else bool(found)

    def execute(self, context: Any) -> Any:
        """Poke until it is true."""
        return BaseSensorOperator.execute(self, context)
