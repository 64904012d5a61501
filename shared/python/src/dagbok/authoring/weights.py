"""Weight rules as objects: what a class of the file makes of a task's weight, asked while it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator


class PriorityWeightStrategy(ABC):
    """A rule that says how much a task weighs. It must need nothing but the task."""

    @abstractmethod
    def get_weight(self, ti: Any) -> int:
        """Return the weight of a task that was not tried yet."""
        raise NotImplementedError("must be implemented by a subclass")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PriorityWeightStrategy:
        """Make one of what `serialize` returned."""
        return cls(**data)

    def serialize(self) -> dict[str, Any]:
        """Return the arguments that make one like this."""
        return {}

    def __eq__(self, other: object) -> bool:
        """Whether the other is of this kind, with the same arguments."""
        return isinstance(other, type(self)) and self.serialize() == other.serialize()

    def __hash__(self) -> int:
        """As all of its kind."""
        return hash(type(self))


class Untried:
    """What a weight rule is shown: a task instance that no run has yet."""

    def __init__(self, task: BaseOperator) -> None:
        self.task = task
        self.task_id, self.dag_id = task.task_id, task.dag.dag_id
        self.run_id: str | None = None
        self.map_index, self.try_number = -1, 0
        self.max_tries = task.retries
        self.state: str | None = None


class _AbsolutePriorityWeightStrategy(PriorityWeightStrategy):
    """Its own weight alone."""

    def get_weight(self, ti: Any) -> int:
        return int(ti.task.priority_weight)


class _DownstreamPriorityWeightStrategy(PriorityWeightStrategy):
    """With the weights of all tasks below it."""

    def get_weight(self, ti: Any) -> int:
        below = ti.task.get_flat_relatives(upstream=False)
        return int(ti.task.priority_weight + sum(task.priority_weight for task in below))


class _UpstreamPriorityWeightStrategy(PriorityWeightStrategy):
    """With the weights of all tasks above it."""

    def get_weight(self, ti: Any) -> int:
        above = ti.task.get_flat_relatives(upstream=True)
        return int(ti.task.priority_weight + sum(task.priority_weight for task in above))


# The plain rules have a quicker way, over all tasks at once.
BUILT_IN: dict[type[PriorityWeightStrategy], str] = {
    _AbsolutePriorityWeightStrategy: "absolute",
    _DownstreamPriorityWeightStrategy: "downstream",
    _UpstreamPriorityWeightStrategy: "upstream",
}
