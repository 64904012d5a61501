"""What `airflow.triggers.base` has: the base of triggers, and what they yield.

They run in a triggerer's process (`dagbok.runtime.triggerer`).
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dagbok.models.hook import LoggingMixin

__all__ = [
    "BaseEventTrigger",
    "BaseTaskEndEvent",
    "BaseTrigger",
    "StartTriggerArgs",
    "TaskFailedEvent",
    "TaskSkippedEvent",
    "TaskSuccessEvent",
    "TriggerEvent",
]


class TriggerEvent:
    """What a trigger saw."""

    def __init__(self, payload: Any, **kwargs: Any) -> None:
        self.payload = payload

    def __repr__(self) -> str:
        return f"TriggerEvent<{self.payload!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerEvent) and other.payload == self.payload

    def __hash__(self) -> int:
        return hash(repr(self.payload))


class BaseTaskEndEvent(TriggerEvent):
    """What ends the task without another start of it."""

    task_instance_state: str

    def __init__(self, *, xcoms: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if "payload" in kwargs:
            raise ValueError("Param 'payload' not supported for this class.")
        super().__init__(payload=self.task_instance_state)
        self.xcoms = xcoms


class TaskSuccessEvent(BaseTaskEndEvent):
    """Ends the task as succeeded."""

    task_instance_state = "success"


class TaskFailedEvent(BaseTaskEndEvent):
    """Ends the task as failed."""

    task_instance_state = "failed"


class TaskSkippedEvent(BaseTaskEndEvent):
    """Ends the task as skipped."""

    task_instance_state = "skipped"


@dataclass
class StartTriggerArgs:
    """Where a task begins with a trigger: which, and what is called afterwards."""

    trigger_cls: str
    next_method: str
    trigger_kwargs: dict[str, Any] | None = None
    next_kwargs: dict[str, Any] | None = None
    timeout: timedelta | None = None


class BaseTrigger(abc.ABC, LoggingMixin):
    """Waits for something in the place of a task."""

    supports_triggerer_queue = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.task_instance: Any = None
        self.trigger_id: Any = None

    @abc.abstractmethod
    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and the arguments that make the same trigger again."""

    @abc.abstractmethod
    def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event when it was seen."""

    async def cleanup(self) -> None:
        """Let go of what it holds."""

    def __repr__(self) -> str:
        path, arguments = self.serialize()
        return f"<{path} {', '.join(f'{name}={value}' for name, value in arguments.items())}>"


class BaseEventTrigger(BaseTrigger):
    """A trigger that an asset is watched by."""

    @staticmethod
    def hash(classpath: str, kwargs: dict[str, Any]) -> int:
        """Return the same number for the same trigger."""
        import json

        return hash((classpath, json.dumps(kwargs, sort_keys=True, default=str)))
