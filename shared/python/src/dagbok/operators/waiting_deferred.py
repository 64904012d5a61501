"""Sensors that wait for an instant without a slot: what is common to them, and those that always do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from dagbok.operators.sensor import BaseSensorOperator
from dagbok.operators.waiting import DateTimeSensor, TimeDeltaSensor, TimeSensor


class DateTimeSensorAsync(DateTimeSensor):
    """Waits until an instant, in a triggerer."""

    def __init__(
        self,
        *,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.start_from_trigger, self.end_from_trigger = start_from_trigger, end_from_trigger


class TimeDeltaSensorAsync(TimeDeltaSensor):
    """Waits until so long after the end of the run's data interval, in a triggerer."""

    def __init__(self, *, end_from_trigger: bool = False, **kwargs: Any) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.end_from_trigger = end_from_trigger


class TimeSensorAsync(TimeSensor):
    """Waits until a time of the day, in a triggerer."""

    def __init__(
        self,
        *,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=True, **kwargs)
        self.start_from_trigger, self.end_from_trigger = start_from_trigger, end_from_trigger


class WaitSensor(BaseSensorOperator):
    """Waits for so long from when it begins; a number or text is minutes."""

    template_fields: Sequence[str] = ("time_to_wait",)
    _defers = True

    def __init__(
        self, time_to_wait: dt.timedelta | int, deferrable: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init__(deferrable=deferrable, **kwargs)
        self.time_to_wait = time_to_wait

    def execute(self, context: Any) -> None:
        """Wait, with a slot or without."""
        import time

        from dagbok.operators.triggers import TimeDeltaTrigger

        wait = self.time_to_wait
        if not isinstance(wait, dt.timedelta):
            wait = dt.timedelta(minutes=int(wait))
        if self.deferrable:
            trigger = TimeDeltaTrigger(wait, end_from_trigger=True)
            self.defer(trigger=trigger, method_name="execute_complete")
        time.sleep(max(0.0, wait.total_seconds()))

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """Come back from the trigger."""
