"""What is special about a mapped task's copy while it runs, and about tasks that others are mapped over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from dagbok.authoring.mapping import is_mappable
from dagbok.exceptions import (
    UnmappableXComLengthPushed,
    UnmappableXComTypePushed,
    XComForMappingNotPushed,
)
from dagbok.runtime.context import Context, make_context

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.runtime.supervisor import Supervisor

# As Airflow's column for it.
NAME_LENGTH = 250


def become_copy(context: Context) -> None:
    """Put the operator of the copy that runs, with arguments of its own, in the place of the mapped task."""
    task, ti = context["task"], context["ti"]
    if task.mapped is None:
        return
    ti.task = task.unmap(ti.map_index, context)
    count = context.get("expanded_ti_count")
    context.update(make_context(ti.task, ti, context["dag_run"]))
    if count is not None:
        context["expanded_ti_count"] = count


def length_to_map(task: BaseOperator, value: Any, limit: int) -> int | None:
    """Return how many copies of others a task's result makes; None where it makes none."""
    in_file = task.dag.get_task(task.task_id)
    if in_file.mapped is not None or task.task_id not in task.dag.mapped_over:
        return None
    if value is None:
        raise XComForMappingNotPushed
    # A mapping that is no dict has no order that is sure, as Airflow sees it.
    if not is_mappable(value) or (hasattr(value, "keys") and not isinstance(value, dict)):
        raise UnmappableXComTypePushed(value)
    if len(value) > limit:
        raise UnmappableXComLengthPushed(value, limit)
    return len(value)


def tell_name(context: Context, supervisor: Supervisor, *, strict: bool) -> None:
    """Tell what people call this copy, by its `map_index_template`; what is wrong with that fails the try."""
    template = context["map_index_template"]
    if template is None:
        return
    with contextlib.nullcontext() if strict else contextlib.suppress(Exception):
        ti = context["ti"]
        name = ti.task.get_template_env().from_string(template).render(context)[:NAME_LENGTH]
        if name and name != ti.rendered_map_index:
            ti.rendered_map_index = name
            supervisor.tell({"type": "SetRenderedMapIndex", "rendered_map_index": name})
