"""Sensors that poke: they keep their slot and look again every so often. Other modes are refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from dagbok.authoring.decorated import DecoratedOperator
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import AirflowException, AirflowSensorTimeout, AirflowSkipException
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
        deferrable: bool = False,
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
        self.deferrable = deferrable
        if deferrable:
            self._refuse("deferrable sensors are")

    def poke(self, context: Any) -> bool | PokeReturnValue:
        """Look once."""
        raise NotImplementedError(f"{type(self).__name__} defines no poke(context)")

    def execute(self, context: Any) -> Any:
        """Poke until it is true."""
        started, tries = time.monotonic(), 0
        while True:
            found = self._poke_once(context)
            if found:
                return found.xcom_value if isinstance(found, PokeReturnValue) else None
            if time.monotonic() - started > self.timeout:
                message = f"sensor `{self.task_id}` waited longer than {self.timeout:g} s"
                if self.soft_fail:
                    raise AirflowSkipException(message)
                raise AirflowSensorTimeout(message)
            time.sleep(self._pause(tries))
            tries += 1

    def _poke_once(self, context: Any) -> Any:
        from dagbok.runtime.driving import call

        try:
            return call(self.poke, context)
        except (AirflowSkipException, AirflowSensorTimeout):
            raise
        except Exception:
            if self.silent_fail:
                self.log.exception("a poke failed; silent_fail says to go on")
                return False
            if self.never_fail:
                raise AirflowSkipException("a poke failed, and never_fail says to skip") from None
            raise

    def _pause(self, tries: int) -> float:
        pause = self.poke_interval * (2**tries if self.exponential_backoff else 1)
        return float(pause if self.max_wait is None else min(pause, self.max_wait))


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


class _SensorDecoratedOperator(DecoratedOperator, BaseSensorOperator):
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
