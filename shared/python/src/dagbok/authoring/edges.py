"""Edges between tasks and groups: `>>`, `<<`, chain, cross_downstream, labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

T = TypeVar("T")


class DependencyMixin:
    """Anything that can stand at the end of an edge."""

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Tasks that an edge into this one goes to."""
        raise NotImplementedError

    @property
    def leaves(self) -> Sequence[DependencyMixin]:
        """Tasks that an edge out of this one comes from."""
        raise NotImplementedError

    def set_upstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Draw edges from `other`, one or many, to this."""
        for node in as_nodes(other):
            connect(node, self)

    def set_downstream(self, other: Any, edge_modifier: Any = None) -> None:
        """Draw edges from this to `other`, one or many."""
        for node in as_nodes(other):
            connect(self, node)

    def as_setup(self) -> DependencyMixin:
        """Mark a task as a setup."""
        raise NotImplementedError(f"{type(self).__name__} can't be a setup: only tasks can")

    def as_teardown(
        self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None
    ) -> DependencyMixin:
        """Mark a task as a teardown."""
        raise NotImplementedError(f"{type(self).__name__} can't be a teardown: only tasks can")

    def __rshift__(self, other: T) -> T:
        self.set_downstream(other)
        return other

    def __lshift__(self, other: T) -> T:
        self.set_upstream(other)
        return other

    def __rrshift__(self, other: Any) -> DependencyMixin:
        self.__lshift__(other)
        return self

    def __rlshift__(self, other: Any) -> DependencyMixin:
        self.__rshift__(other)
        return self


class EdgeModifier(DependencyMixin):
    """A label on an edge; it joins what is left of it to what is right of it."""

    def __init__(self, label: str | None = None) -> None:
        self.label = label
        self._before: list[DependencyMixin] = []
        self._after: list[DependencyMixin] = []

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Itself: both ends are not known before the line is whole."""
        return [self]

    @property
    def leaves(self) -> Sequence[DependencyMixin]:
        """Itself."""
        return [self]

    def joined(self, before: DependencyMixin | None, after: DependencyMixin | None) -> None:
        """Take another end, and draw the edges that are complete with it."""
        if before is not None:
            self._before.append(before)
            for node in self._after:
                connect(before, node)
        if after is not None:
            self._after.append(after)
            for node in self._before:
                connect(node, after)


def Label(label: str) -> EdgeModifier:
    """Put a name on an edge, between its two arrows."""
    return EdgeModifier(label)


def as_nodes(other: Any) -> list[DependencyMixin]:
    """Flatten one node or any nesting of iterables of nodes."""
    if isinstance(other, DependencyMixin):
        return [other]
    if isinstance(other, Iterable) and not isinstance(other, str | bytes):
        return [node for item in other for node in as_nodes(item)]
    raise AirflowException(
        f"an edge needs tasks, groups or lists of them at both ends, not {type(other).__name__}: {other!r}"
    )


def connect(before: DependencyMixin, after: DependencyMixin) -> None:
    """Draw the edges between two nodes."""
    if isinstance(before, EdgeModifier):
        before.joined(None, after)
        return
    if isinstance(after, EdgeModifier):
        after.joined(before, None)
        return
    for leaf in before.leaves:
        for root in after.roots:
            _connect_tasks(leaf, root)  # type: ignore[arg-type]


def _connect_tasks(before: BaseOperator, after: BaseOperator) -> None:
    dag = before.dag_or_none or after.dag_or_none
    for task in (before, after):
        if dag is not None and task.dag_or_none is None:
            task.dag = dag
    if before.dag_or_none is not after.dag_or_none:
        raise AirflowException(
            f"tasks `{before.task_id}` and `{after.task_id}` belong to two DAGs; an edge can't join them"
        )
    before.downstream_task_ids.add(after.task_id)
    after.upstream_task_ids.add(before.task_id)


def chain(*tasks: Any) -> None:
    """Join neighbours: one to one, one to many, and lists of the same length pairwise."""
    for before, after in pairwise(tasks):
        if isinstance(before, DependencyMixin):
            before.set_downstream(after)
        elif isinstance(after, DependencyMixin):
            after.set_upstream(before)
        else:
            befores, afters = list(before), list(after)
            if len(befores) != len(afters):
                raise AirflowException(
                    f"chain joins neighbouring lists pairwise, so they must have the same length; "
                    f"here are {len(befores)} and {len(afters)}"
                )
            for one, other in zip(befores, afters, strict=True):
                one.set_downstream(other)


def chain_linear(*elements: Any) -> None:
    """Join each element, one or many, to all of the next."""
    if len(elements) < 2:
        raise ValueError("chain_linear needs at least two elements")
    filled = [nodes for nodes in map(as_nodes, elements) if nodes]
    for before, after in pairwise(filled):
        cross_downstream(before, after)


def cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    """Join every one of the first to every one of the second."""
    for task in as_nodes(from_tasks):
        task.set_downstream(to_tasks)
