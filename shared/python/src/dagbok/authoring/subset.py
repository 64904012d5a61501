"""`DAG.partial_subset`: a DAG of some of another's tasks, with what comes before or after them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.group import TaskGroup
    from dagbok.authoring.operator import BaseOperator


def partial_subset(
    dag: DAG,
    named: str | re.Pattern[str] | Iterable[Any],
    downstream: bool,
    upstream: bool,
    direct_upstream: bool,
) -> DAG:
    """Return a copy with the tasks that are named, by ids or by a pattern of them, and those around them."""
    matched = [task for task in dag.tasks if _is_named(task.task_id, named)]
    chosen = {task.task_id for task in matched}
    for task in matched:
        if upstream:
            chosen |= task.get_flat_relative_ids(upstream=True)
        elif direct_upstream:
            chosen |= task.upstream_task_ids
        if downstream:
            chosen |= task.get_flat_relative_ids()
    return _copy(dag, chosen)


def _is_named(task_id: str, named: Any) -> bool:
    if isinstance(named, str | re.Pattern):
        return re.search(named, task_id) is not None
    return task_id in {one if isinstance(one, str) else one.task_id for one in named}


def _copy(dag: DAG, chosen: set[str]) -> DAG:
    part = copy.copy(dag)
    part.__dict__.pop("mapped_over", None)  # it was worked out of all tasks
    part.task_dict, part.used_ids, part.partial = {}, {}, True
    groups: dict[int, TaskGroup] = {}
    part.task_group = _group(dag.task_group, part, groups)
    for task in dag.tasks:
        if task.task_id in chosen:
            _take(part, task, chosen, groups)
    return part


def _take(part: DAG, task: BaseOperator, chosen: set[str], groups: dict[int, TaskGroup]) -> None:
    one = copy.copy(task)
    # Past the operator's own care for what is set on it: this is no new task.
    one.__dict__.update(
        _dag=part,
        upstream_task_ids=task.upstream_task_ids & chosen,
        downstream_task_ids=task.downstream_task_ids & chosen,
        task_group=_group(task.task_group or part.task_group, part, groups),
    )
    part.task_dict[one.task_id] = one
    part.used_ids[one.task_id] = f"task `{one.task_id}`"
    around = one.task_group
    assert around is not None
    around.children[one.task_id] = one


def _group(group: TaskGroup, part: DAG, groups: dict[int, TaskGroup]) -> TaskGroup:
    """Return the copy of a group, in the copies of those around it."""
    made = groups.get(id(group))
    if made is None:
        made = copy.copy(group)
        groups[id(group)] = groups[id(made)] = made
        made.children, made._dag = {}, part
        if group.parent_group is not None:
            made.parent_group = _group(group.parent_group, part, groups)
            made.parent_group.children[str(made.group_id)] = made
            part.used_ids[str(made.group_id)] = f"group `{made.group_id}`"
    return made
