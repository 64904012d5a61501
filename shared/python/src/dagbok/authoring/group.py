"""Task groups: they prefix ids, hold defaults and stand for their members in edges."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from dagbok.authoring import session
from dagbok.authoring.edges import DependencyMixin, connect
from dagbok.authoring.group_relations import GroupRelations
from dagbok.authoring.ids import check_key
from dagbok.authoring.mapping import Dicts, Mapped, Product
from dagbok.exceptions import DuplicateTaskIdFound, TaskAlreadyInTaskGroup

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.operator import BaseOperator

P = ParamSpec("P")
R = TypeVar("R")


class TaskGroup(GroupRelations):
    """A named part of a DAG; `with TaskGroup("load"):` puts the tasks made inside into it."""

    # What it is expanded over, where it is a mapped group.
    mapped: Mapped | None = None

    def __init__(
        self,
        group_id: str | None,
        prefix_group_id: bool = True,
        parent_group: TaskGroup | None = None,
        dag: DAG | None = None,
        default_args: dict[str, Any] | None = None,
        tooltip: str = "",
        ui_color: str = "CornflowerBlue",
        ui_fgcolor: str = "#000",
        add_suffix_on_collision: bool = False,
        group_display_name: str = "",
        doc_md: str | None = None,
    ) -> None:
        self.prefix_group_id, self.tooltip, self.doc_md = prefix_group_id, tooltip, doc_md
        self.ui_color, self.ui_fgcolor = ui_color, ui_fgcolor
        self.children: dict[str, BaseOperator | TaskGroup] = {}
        self.label, self.group_display_name = group_id, group_display_name or group_id or ""
        if group_id is None:  # a DAG's root
            self.parent_group: TaskGroup | None = None
            self._dag = dag
            self.default_args: dict[str, Any] = {}
            self._group_id: str | None = None
            return
        parent = parent_group or session.current_group()
        if dag is not None and (parent is None or parent.dag_or_none is not dag):
            parent = dag.task_group
        self.parent_group = parent
        self._dag = dag or (parent.dag_or_none if parent is not None else None) or session.current_dag()
        self.default_args = {**(parent.default_args if parent else {}), **(default_args or {})}
        check_key("group_id", group_id)
        full = parent.child_id(group_id) if parent is not None else group_id
        if add_suffix_on_collision and parent is not None:
            full, self.label = parent._free_id(full, group_id)
        self._group_id = full
        if parent is not None:
            parent.add(self)

    def _free_id(self, full: str, label: str) -> tuple[str, str]:
        taken = set(self._dag.used_ids) if self._dag is not None else set(self.children)
        number, candidate = 0, full
        while candidate in taken:
            number += 1
            candidate = f"{full}__{number}"
        return candidate, f"{label}__{number}" if number else label

    @classmethod
    def create_root(cls, dag: DAG) -> TaskGroup:
        """Make the group that holds a DAG's tasks."""
        return cls(group_id=None, dag=dag)

    @property
    def group_id(self) -> str | None:
        """Its id with the prefixes of the groups around it; None for a DAG's root."""
        return self._group_id

    @property
    def is_root(self) -> bool:
        """Whether it is a DAG's root."""
        return self._group_id is None

    @property
    def dag_or_none(self) -> DAG | None:
        """Its DAG, if known."""
        return self._dag

    @property
    def path(self) -> str | None:
        """Its own and the outer groups' labels, joined by dots; None for a DAG's root."""
        if self.is_root or self.label is None:
            return None
        outer = self.parent_group.path if self.parent_group is not None else None
        return f"{outer}.{self.label}" if outer else self.label

    @property
    def mapped_group(self) -> TaskGroup | None:
        """The innermost mapped group that it is in, or is."""
        if self.mapped is not None:
            return self
        return self.parent_group.mapped_group if self.parent_group is not None else None

    def child_id(self, label: str) -> str:
        """Return the id that a task or group of this label has inside."""
        if not self.prefix_group_id or self._group_id is None:
            outer = self.parent_group
            return outer.child_id(label) if outer is not None and not self.is_root else label
        return f"{self._group_id}.{label}"

    def add(self, node: BaseOperator | TaskGroup) -> None:
        """Take a task or a group in."""
        key = node.group_id if isinstance(node, TaskGroup) else node.task_id
        assert key is not None
        if isinstance(node, TaskGroup):
            if self._dag is not None:
                self._dag.use_id(key, f"group `{key}`")
        elif node.task_group is not None and node.task_group is not self:
            raise TaskAlreadyInTaskGroup(f"task `{key}` is already in group `{node.task_group.group_id}`")
        if key in self.children:
            raise DuplicateTaskIdFound(
                f"`{key}` is already in group `{self.group_id or 'of the DAG itself'}`"
            )
        self.children[key] = node

    def iter_tasks(self) -> Iterator[BaseOperator]:
        """Yield the tasks inside, at any depth, in the file's order."""
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield from child.iter_tasks()
            else:
                yield child

    def iter_groups(self) -> Iterator[TaskGroup]:
        """Yield the groups inside, at any depth, outer ones first."""
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield child
                yield from child.iter_groups()

    def has_task(self, task: BaseOperator) -> bool:
        """Whether a task is inside, at any depth."""
        return any(task is inner for inner in self.iter_tasks())

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Tasks inside that have no upstream inside."""
        inside = {task.task_id: task for task in self.iter_tasks()}
        return [task for task in inside.values() if not task.upstream_task_ids & inside.keys()]

    @property
    def leaves(self) -> Sequence[DependencyMixin]:
        """Tasks inside that have no downstream inside; in place of a teardown, what comes before it."""
        inside = {task.task_id: task for task in self.iter_tasks()}
        last = [task for task in inside.values() if not task.downstream_task_ids & inside.keys()]
        found = {leaf.task_id: leaf for task in last for leaf in _before_teardowns(task, inside)}
        return list(found.values())

    def get_roots(self) -> Iterator[DependencyMixin]:
        """Yield the tasks that an edge into the group goes to."""
        yield from self.roots

    def get_leaves(self) -> Iterator[DependencyMixin]:
        """Yield the tasks that an edge out of the group comes from."""
        yield from self.leaves

    def get_child_by_label(self, label: str) -> BaseOperator | TaskGroup:
        """Return the child of a label."""
        return self.children[self.child_id(label)]

    def __enter__(self) -> TaskGroup:
        session.push_group(self)
        return self

    def __exit__(self, *exception: object) -> None:
        session.pop_group()

    def __repr__(self) -> str:
        return f"<TaskGroup: {self.group_id}>"


def _before_teardowns(task: BaseOperator, inside: dict[str, BaseOperator]) -> Iterator[BaseOperator]:
    """Yield a task, or where it is a teardown those before it that nothing else inside comes after."""
    if not task.is_teardown:
        yield task
        return
    for above in (inside[task_id] for task_id in sorted(task.upstream_task_ids & inside.keys())):
        if above.is_teardown:
            yield from _before_teardowns(above, inside)
        elif not above.is_setup:
            others = (above.downstream_task_ids & inside.keys()) - {task.task_id}
            if all(inside[other].is_teardown for other in others):
                yield above


class MappedArgument:
    """What a function of a mapped group gets for an argument: its element, once a copy runs."""

    def __init__(self, mapped: Mapped, name: str) -> None:
        self._mapped, self._name = mapped, name

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield the operators whose results the group is mapped over."""
        for source in self._mapped.sources():
            yield from source.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the element of the copy that runs."""
        ti = context["ti"]
        if id(self._mapped) not in ti.group_arguments:
            ti.group_arguments[id(self._mapped)] = self._mapped.element(ti.map_index, context)[0]
        return ti.group_arguments[id(self._mapped)][self._name]

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"the argument `{self._name}` of a mapped task group is known only when the DAG runs, "
            "so it can't be looped over here; loop over it inside a task"
        )

    def __repr__(self) -> str:
        return f"MappedArgument({self._name})"


class MappedTaskGroup(TaskGroup):
    """A group whose tasks have a copy for each element of what it is mapped over."""

    def __init__(self, mapped: Mapped, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mapped: Mapped = mapped
        outer = self.parent_group.mapped_group if self.parent_group is not None else None
        if outer is not None:
            raise ValueError(
                f"group `{self.group_id}` can't be mapped inside the mapped group `{outer.group_id}`: "
                "Nested Mapped TaskGroups are not yet supported"
            )

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for task in self.iter_tasks():
            if task.trigger_rule == "always":
                raise ValueError(
                    f"task `{task.task_id}`: Task-generated mapping within a mapped task group is not "
                    "allowed with trigger rule 'always'"
                )
        for source in self.mapped.sources():
            for operator, _ in source.iter_references():
                connect(operator, self)


def _expanded(function: Any, settings: dict[str, Any], given: Mapping[str, Any], mapped: Any) -> Any:
    """Fill a group with a copy of each task for each combination of elements."""
    if not mapped:
        raise TypeError("expand() needs at least one argument; a group that is not mapped is just called")
    _check_names(function, mapped)
    _refuse_twice(given, mapped)
    for name, value in mapped.items():
        if isinstance(value, MappedArgument):
            raise ValueError(f"expand(): `{name}`: Nested Mapped TaskGroups are not yet supported")
    return _filled(function, settings, given, Product({}, mapped), list(mapped))


def _check_partial(function: Any, given: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Refuse arguments that the function does not take, or that it has."""
    _check_names(function, more)
    twice = [f"`{name}`" for name in more if name in given]
    if twice:
        raise TypeError(f"{', '.join(twice)} can't be given in partial() twice")


def _expanded_kwargs(function: Any, settings: dict[str, Any], given: Mapping[str, Any], kwargs: Any) -> Any:
    """Fill a group with a copy of each task for each dict of arguments."""
    parameters = inspect.signature(function).parameters
    if any(it.kind in {it.VAR_POSITIONAL, it.VAR_KEYWORD} for it in parameters.values()):
        raise TypeError("calling expand_kwargs() on task group function with * or ** is not supported")
    mapped = Dicts({}, kwargs)
    _check_names(function, mapped.names())
    _refuse_twice(given, mapped.names())
    return _filled(function, settings, given, mapped, [name for name in parameters if name not in given])


def _filled(
    function: Any, settings: dict[str, Any], given: Mapping[str, Any], mapped: Mapped, names: list[str]
) -> Any:
    arguments = {name: MappedArgument(mapped, name) for name in names}
    with MappedTaskGroup(mapped, **settings) as group:
        result = function(**given, **arguments)
    return result if result is not None else group


def _check_names(function: Any, names: Any) -> None:
    try:
        inspect.signature(function).bind_partial(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"{function.__name__}() is mapped wrongly: {error}") from None


def _refuse_twice(given: Mapping[str, Any], names: Any) -> None:
    twice = [f"`{name}`" for name in names if name in given]
    if twice:
        raise TypeError(f"{', '.join(twice)} can't be mapped and given in partial() as well")


class _GroupFactory:
    """A function that fills a group each time it is called."""

    def __init__(
        self, function: Callable[..., Any], kwargs: dict[str, Any], given: dict[str, Any] | None = None
    ) -> None:
        self.function, self.given = function, given or {}
        self.kwargs = {"group_id": function.__name__, "add_suffix_on_collision": True, **kwargs}
        self.kwargs.setdefault("tooltip", inspect.getdoc(function) or "")
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Fill a group; return what the function returned where that is tasks, else the group."""
        with TaskGroup(**self.kwargs) as group:
            result = self.function(*args, **{**self.given, **kwargs})
        return result if isinstance(result, DependencyMixin | list | tuple | dict) else group

    def override(self, **kwargs: Any) -> _GroupFactory:
        """Return the same with other settings."""
        return _GroupFactory(self.function, {**self.kwargs, **kwargs}, self.given)

    def partial(self, **kwargs: Any) -> _GroupFactory:
        """Return the same with arguments that are the same for all copies of a mapped group."""
        _check_partial(self.function, self.given, kwargs)
        return _GroupFactory(self.function, self.kwargs, {**self.given, **kwargs})

    def expand(self, **mapped: Any) -> Any:
        """Fill a mapped group: a copy for each element, or each combination of several."""
        return _expanded(self.function, self.kwargs, self.given, mapped)

    def expand_kwargs(self, kwargs: Any) -> Any:
        """Fill a mapped group: a copy for each dict of arguments."""
        return _expanded_kwargs(self.function, self.kwargs, self.given, kwargs)


@overload
def task_group(group_id: Callable[P, R]) -> Callable[P, Any]: ...
@overload
def task_group(
    group_id: str | None = None, **kwargs: Any
) -> Callable[[Callable[P, R]], Callable[P, Any]]: ...
def task_group(group_id: Any = None, **kwargs: Any) -> Any:
    """Turn a function into one that puts the tasks that it makes into a group."""
    if callable(group_id):
        return _GroupFactory(group_id, kwargs)
    if group_id is not None:
        kwargs["group_id"] = group_id
    return lambda function: _GroupFactory(function, kwargs)
