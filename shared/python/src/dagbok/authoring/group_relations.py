"""What a task group says of itself as a node of its DAG's graph: libraries that make groups ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dagbok.authoring.edges import DependencyMixin
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.group import TaskGroup
    from dagbok.authoring.operator import BaseOperator

# Airflow's, for a group that belongs to no DAG.
NO_DAG = "_in_memory_dag_"


class GroupRelations(DependencyMixin):
    """The relations of a group: those of the tasks inside with the tasks outside."""

    _dag: DAG | None
    group_id: Any
    parent_group: TaskGroup | None
    children: dict[str, BaseOperator | TaskGroup]

    def iter_tasks(self) -> Iterator[BaseOperator]:
        """Yield the tasks inside."""
        raise NotImplementedError

    @property
    def dag(self) -> DAG:
        """Its DAG."""
        if self._dag is None:
            raise AirflowException(f"group `{self.group_id}` belongs to no DAG yet")
        return self._dag

    @dag.setter
    def dag(self, dag: DAG) -> None:
        self._dag = dag

    def has_dag(self) -> bool:
        """Whether it belongs to a DAG."""
        return self._dag is not None

    def get_dag(self) -> DAG | None:
        """Its DAG, if it belongs to one."""
        return self._dag

    @property
    def dag_id(self) -> str:
        """Its DAG's id."""
        return NO_DAG if self._dag is None else self._dag.dag_id

    @property
    def node_id(self) -> Any:
        """Its id among tasks and groups."""
        return self.group_id

    @property
    def task_group(self) -> TaskGroup | None:
        """The group around it."""
        return self.parent_group

    @property
    def upstream_task_ids(self) -> set[str]:
        """Ids of tasks outside that come right before tasks inside."""
        inside = {task.task_id: task for task in self.iter_tasks()}
        return {above for task in inside.values() for above in task.upstream_task_ids} - inside.keys()

    @property
    def downstream_task_ids(self) -> set[str]:
        """Ids of tasks outside that come right after tasks inside."""
        inside = {task.task_id: task for task in self.iter_tasks()}
        return {below for task in inside.values() for below in task.downstream_task_ids} - inside.keys()

    @property
    def upstream_list(self) -> list[BaseOperator]:
        """Tasks outside that come right before tasks inside."""
        return self.get_direct_relatives(upstream=True)

    @property
    def downstream_list(self) -> list[BaseOperator]:
        """Tasks outside that come right after tasks inside."""
        return self.get_direct_relatives()

    def get_direct_relative_ids(self, upstream: bool = False) -> set[str]:
        """Ids of the direct upstreams, or downstreams."""
        return self.upstream_task_ids if upstream else self.downstream_task_ids

    def get_direct_relatives(self, upstream: bool = False) -> list[BaseOperator]:
        """Return the direct upstreams, or downstreams."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.get_direct_relative_ids(upstream))]

    def get_task_group_dict(self) -> dict[Any, TaskGroup]:
        """Return itself and the groups inside, at any depth, by their ids."""
        found: dict[Any, Any] = {self.group_id: self}
        for child in self.children.values():
            if isinstance(child, GroupRelations):
                found |= child.get_task_group_dict()
        return found

    def hierarchical_alphabetical_sort(self) -> list[BaseOperator | TaskGroup]:
        """Return its children, groups before tasks, by their labels."""
        children = self.children.values()
        return sorted(children, key=lambda child: (not isinstance(child, GroupRelations), child.label or ""))

    def topological_sort(self) -> list[BaseOperator | TaskGroup]:
        """Return its children, each after those that it comes after."""
        members = {
            key: {task.task_id for task in child.iter_tasks()} if isinstance(child, GroupRelations) else {key}
            for key, child in self.children.items()
        }
        left, ordered = dict(self.children), list[Any]()
        while left:
            ready = [
                key
                for key, child in left.items()
                if not any(child.upstream_task_ids & members[other] for other in left if other != key)
            ]
            if not ready:
                raise AirflowException(f"group `{self.group_id}` has a cycle")
            ordered += [left.pop(key) for key in ready]
        return ordered
