"""Mapped tasks, which are refused: what stands in for them so that the rest of a file still loads."""

from __future__ import annotations

from typing import Any

from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.xcom_arg import XComArg

FEATURE = "mapped tasks are"


class MappedPlaceholder(BaseOperator):
    """Stands where a mapped task would; its DAG is refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refuse(FEATURE)


def mapped_placeholder(task_id: str, depends_on: Any = None) -> XComArg:
    """Note the refusal on the current DAG and return something that edges can be drawn to."""
    placeholder = MappedPlaceholder(task_id=task_id)
    placeholder._depend_on_results(depends_on)
    return XComArg(placeholder)


class PartialOperator:
    """What `Operator.partial(…)` gives; `.expand` makes the placeholder."""

    def __init__(self, operator_class: type[BaseOperator], kwargs: dict[str, Any]) -> None:
        self.operator_class = operator_class
        self.kwargs = kwargs

    def expand(self, **mapped: Any) -> BaseOperator:
        """Refused when the DAG is parsed."""
        return mapped_placeholder(self.kwargs["task_id"], [self.kwargs, mapped]).operator

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> BaseOperator:
        """Refused when the DAG is parsed."""
        return mapped_placeholder(self.kwargs["task_id"], [self.kwargs, kwargs]).operator
