"""Operators that are known and can't run today: their DAG is refused, the rest of the file still loads."""

from __future__ import annotations

import functools
from typing import Any

from dagbok.authoring.defaults import BaseOperatorMeta
from dagbok.authoring.operator import BaseOperator

_KEPT = ("task_id", "dag", "task_group", "trigger_rule", "retries", "retry_delay", "default_args")


@functools.cache
def refused_operator(name: str) -> type[BaseOperator]:
    """Make a class that takes any arguments and notes that it is not supported yet."""

    def __init__(self: BaseOperator, **kwargs: Any) -> None:
        BaseOperator.__init__(self, **{key: kwargs[key] for key in _KEPT if key in kwargs})
        self._refuse(f"{name} is")
        for value in kwargs.values():
            self._depend_on_results(value)

    def execute(self: BaseOperator, context: Any) -> Any:
        from dagbok.exceptions import NotSupportedYet

        raise NotSupportedYet(f"{name} is not supported yet: task `{self.task_id}`")

    namespace = {
        "__init__": __init__,
        "execute": execute,
        "__doc__": f"Stands for {name}, which is refused.",
        "__module__": __name__,
    }
    made: Any = BaseOperatorMeta(name, (BaseOperator,), namespace)
    refused: type[BaseOperator] = made
    return refused
