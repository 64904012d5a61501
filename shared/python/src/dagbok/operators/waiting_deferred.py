"""Sensors that wait for an instant without a slot: what is common to them, and those that always do."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dagbok.operators.sensor import BaseSensorOperator
from dagbok.operators.waiting import DateTimeSensor, TimeDeltaSensor, TimeSensor
from dagbok.timezone import utcnow


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

    _defers = True

    def __init__(
        self, time_to_wait: dt.timedelta | int, deferrable: bool | None = None, **kwargs: Any
    ) -> None:
        super().__init__(deferrable=deferrable, **kwargs)
        minutes = not isinstance(time_to_wait, dt.timedelta)
        self.time_to_wait = dt.timedelta(minutes=int(time_to_wait)) if minutes else time_to_wait  # type: ignore[arg-type]

    def execute(self, context: Any) -> None:
        """Wait, with a slot or without."""
        import time

        from dagbok.operators.triggers import TimeDeltaTrigger

        if self.deferrable:
            self.defer(
                trigger=TimeDeltaTrigger(self.time_to_wait, end_from_trigger=True),
                method_name="execute_complete",
            )
        until = utcnow() + self.time_to_wait
        time.sleep(max(0.0, (until - utcnow()).total_seconds()))

    def execute_complete(self, context: Any, event: Any = None) -> None:
        """Come back from the trigger."""
