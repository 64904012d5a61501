"""Order, cycles and weights of a DAG's graph, on its tasks' places in the file."""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from dagbok.authoring.dag import DAG
from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.weights import BUILT_IN, PriorityWeightStrategy, Untried
from dagbok.exceptions import AirflowDagCycleException, AirflowException
from dagbok.timezone import rfc3339

T = TypeVar("T")
MAX_WEIGHT, MIN_WEIGHT = 2**31 - 1, -(2**31)
WEIGHT_RULES = ("downstream", "upstream", "absolute")


class AboutTask(Exception):
    """What was raised while one task was looked at; the cause is the error itself."""

    def __init__(self, task: BaseOperator) -> None:
        super().__init__(task)
        self.task = task


def topological(dag: DAG) -> list[BaseOperator]:
    """Return upstreams before downstreams, otherwise in the file's order."""
    tasks = dag.tasks
    place = {task.task_id: index for index, task in enumerate(tasks)}
    waiting = [len(task.upstream_task_ids) for task in tasks]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    ordered: list[BaseOperator] = []
    while ready:
        task = tasks[heapq.heappop(ready)]
        ordered.append(task)
        for task_id in task.downstream_task_ids:
            index = place[task_id]
            waiting[index] -= 1
            if waiting[index] == 0:
                heapq.heappush(ready, index)
    if len(ordered) < len(tasks):
        cycle = " -> ".join(find_cycle(tasks, waiting))
        raise AirflowDagCycleException(f"the edges form a cycle: {cycle}; take one of them away")
    return ordered


def find_cycle(tasks: Sequence[BaseOperator], waiting: Sequence[int]) -> list[str]:
    """Return the ids of one cycle, the first again at the end."""
    left = {task.task_id: task for task, count in zip(tasks, waiting, strict=True) if count}
    # Everything left has an upstream that is left too: going up must come round.
    task_id = next(iter(left))
    seen: dict[str, int] = {}
    path: list[str] = []
    while task_id not in seen:
        seen[task_id] = len(path)
        path.append(task_id)
        task_id = min(left[task_id].upstream_task_ids & left.keys())
    around = path[seen[task_id] :][::-1]
    start = around.index(min(around, key=list(left).index))
    around = around[start:] + around[:start]
    return [*around, around[0]]


def effective_weights(ordered: Sequence[BaseOperator]) -> list[int]:
    """Return each task's priority weight after its weight rule, within 32 bits."""
    below = _reachable(ordered, upstream=False)
    above = _reachable(ordered, upstream=True)
    own_weights = [_about(task, _own_weight) for task in ordered]
    rules = [_about(task, _weight_rule) for task in ordered]
    masks: dict[int, int] = {}
    for index, own in enumerate(own_weights):
        masks[own] = masks.get(own, 0) | (1 << index)

    def total(members: int) -> int:
        return sum(weight * (members & mask).bit_count() for weight, mask in masks.items())

    weights = []
    for index, (task, own, rule) in enumerate(zip(ordered, own_weights, rules, strict=True)):
        if isinstance(rule, PriorityWeightStrategy):
            weight = _about(task, _asked(rule))
        else:
            others = {"downstream": below, "upstream": above}.get(rule)
            weight = own if others is None else own + total(others[index])
        weights.append(max(MIN_WEIGHT, min(MAX_WEIGHT, weight)))
    return weights


def _about(task: BaseOperator, look: Callable[[BaseOperator], T]) -> T:
    """Look at a task; what is raised there names it."""
    try:
        return look(task)
    except BaseException as error:
        raise AboutTask(task) from error


def _weight_rule(task: BaseOperator) -> str | PriorityWeightStrategy:
    """Return the name of a plain rule, or the object that is one."""
    rule: object = task.weight_rule
    if rule is None:
        return "absolute"
    if not isinstance(rule, PriorityWeightStrategy):
        name = str(getattr(rule, "value", rule))
        if name in WEIGHT_RULES:
            return name
        rule = _named_rule(name)
    return BUILT_IN.get(type(rule), rule)


def _named_rule(path: str) -> PriorityWeightStrategy:
    """Make the rule whose class is called so, module first."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name) if module else None
    except (ImportError, AttributeError):
        found = None
    if not isinstance(found, type) or not issubclass(found, PriorityWeightStrategy):
        raise AirflowException(
            f"its weight_rule is {path!r}; there are {', '.join(WEIGHT_RULES)}, "
            "and classes of PriorityWeightStrategy by their full name"
        )
    return found()


def _asked(rule: PriorityWeightStrategy) -> Callable[[BaseOperator], int]:
    """Return what asks a rule of the file's own for a task's weight."""

    def ask(task: BaseOperator) -> int:
        weight = rule.get_weight(Untried(task))
        if not isinstance(weight, int):
            raise AirflowException(
                f"its weight_rule {type(rule).__name__} must give a whole number, not {weight!r}"
            )
        return int(weight)

    return ask


def _own_weight(task: BaseOperator) -> int:
    if not isinstance(task.priority_weight, int):
        raise AirflowException(f"its priority_weight must be a whole number, not {task.priority_weight!r}")
    return int(task.priority_weight)


def _reachable(ordered: Sequence[BaseOperator], *, upstream: bool) -> list[int]:
    """Return for each task the set of tasks above or below it, as bits."""
    place = {task.task_id: index for index, task in enumerate(ordered)}
    reach = [0] * len(ordered)
    order = range(len(ordered)) if upstream else range(len(ordered) - 1, -1, -1)
    for index in order:
        members = 0
        for task_id in ordered[index].get_direct_relative_ids(upstream):
            other = place[task_id]
            members |= reach[other] | (1 << other)
        reach[index] = members
    return reach


def date_range(dag: DAG) -> tuple[datetime | None, datetime | None]:
    """Return the DAG's dates; without, its tasks' first start, and last end where every task has one."""
    starts = [task.start_date for task in dag.tasks if task.start_date]
    ends = [task.end_date for task in dag.tasks if task.end_date]
    every = bool(ends) and len(ends) == len(dag.tasks)
    return dag.start_date or min(starts, default=None), dag.end_date or (max(ends) if every else None)


def own_dates(task: BaseOperator, of_dag: tuple[datetime | None, datetime | None]) -> dict[str, str]:
    """Return when a task begins and ends within its DAG's dates, where that is not when the DAG does."""
    starts = [date for date in (task.start_date, task.dag.start_date) if date]
    ends = [date for date in (task.end_date, task.dag.end_date) if date]
    own = (max(starts, default=None), min(ends, default=None))
    named = zip(("start_date", "end_date"), own, of_dag, strict=True)
    return {name: rfc3339(date) for name, date, other in named if date is not None and date != other}
