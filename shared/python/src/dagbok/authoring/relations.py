"""Where a task stands in its DAG's graph: its DAG, and the tasks before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagbok.authoring.edges import DependencyMixin
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.group import TaskGroup
    from dagbok.authoring.mapping import Mapped
    from dagbok.authoring.operator import BaseOperator


class Relations(DependencyMixin):
    """What a task knows of its graph; the task itself is the subclass."""

    task_id: str
    owner: str
    upstream_task_ids: set[str]
    downstream_task_ids: set[str]
    task_group: TaskGroup | None
    mapped: Mapped | None
    task_params: dict[str, Any]
    _dag: DAG | None

    @property
    def params(self) -> Any:
        """The DAG's params with its own over them."""
        from dagbok.authoring.params import ParamsDict

        return ParamsDict(None if self._dag is None else self._dag.params).overlaid(self.task_params)

    @params.setter
    def params(self, given: Any) -> None:
        self.task_params = dict(given.items() if given else ())

    @property
    def dag_or_none(self) -> DAG | None:
        """Its DAG, if it has joined one."""
        return self._dag

    @property
    def dag(self) -> DAG:
        """Its DAG."""
        if self._dag is None:
            raise AirflowException(f"task `{self.task_id}` belongs to no DAG yet")
        return self._dag

    @dag.setter
    def dag(self, dag: DAG) -> None:
        if self._dag is dag:
            return
        if self._dag is not None:
            raise AirflowException(f"task `{self.task_id}` already belongs to DAG `{self._dag.dag_id}`")
        dag.add_task(self)  # type: ignore[arg-type]
        self._dag = dag

    def has_dag(self) -> bool:
        """Whether it has joined a DAG."""
        return self._dag is not None

    def get_dag(self) -> DAG | None:
        """Its DAG, if it has joined one."""
        return self._dag

    @property
    def dag_id(self) -> str:
        """Its DAG's id; of one without a DAG, an id of its own."""
        return self._dag.dag_id if self._dag is not None else f"adhoc_{self.owner}"

    @property
    def node_id(self) -> str:
        """Its id among tasks and groups."""
        return self.task_id

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Itself."""
        return [self]

    @property
    def leaves(self) -> Sequence[DependencyMixin]:
        """Itself."""
        return [self]

    @property
    def upstream_list(self) -> list[BaseOperator]:
        """Direct upstreams."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.upstream_task_ids)]

    @property
    def downstream_list(self) -> list[BaseOperator]:
        """Direct downstreams."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.downstream_task_ids)]

    @property
    def mapped_group(self) -> TaskGroup | None:
        """The innermost mapped group that it is in."""
        return self.task_group.mapped_group if self.task_group is not None else None

    @property
    def expansion(self) -> Mapped | None:
        """What its copies come of: its own, or its mapped group's; None where it has none."""
        return self.mapped or (self.mapped_group.mapped if self.mapped_group is not None else None)

    def get_direct_relative_ids(self, upstream: bool = False) -> set[str]:
        """Ids of the direct upstreams, or downstreams."""
        return self.upstream_task_ids if upstream else self.downstream_task_ids

    def get_direct_relatives(self, upstream: bool = False) -> list[BaseOperator]:
        """Return the direct upstreams, or downstreams."""
        return self.upstream_list if upstream else self.downstream_list

    def get_flat_relatives(self, upstream: bool = False) -> list[BaseOperator]:
        """Return everything above, or below."""
        return [self.dag.get_task(task_id) for task_id in sorted(self.get_flat_relative_ids(upstream))]

    def get_flat_relative_ids(self, upstream: bool = False) -> set[str]:
        """Ids of everything above, or below."""
        found: set[str] = set()
        waiting = list(self.get_direct_relative_ids(upstream))
        while waiting:
            task_id = waiting.pop()
            if task_id not in found:
                found.add(task_id)
                waiting.extend(self.dag.get_task(task_id).get_direct_relative_ids(upstream))
        return found
