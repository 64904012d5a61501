"""Mapped tasks: `.partial(…).expand(…)` over values that stand in the file.

A mapped task is one task of the DAG; its copies are told apart by their map index, and each finds its own
arguments by that in the file (`unmap`). Mapping over what another task returns is refused when the file is
parsed, by name and line.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dagbok.authoring import session
from dagbok.authoring.xcom_arg import XComArg

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

GROUPS = "mapped task groups are"
# Where a task stands is the task's own; its copies stand where it does.
_PLACE = ("dag", "task_group", "task_id")


class Partial:
    """What `.partial(…)` gives; `.expand(…)` or `.expand_kwargs(…)` adds the task."""

    def __init__(self, make: Callable[[Mapped], Any], given: Mapping[str, Any]) -> None:
        self._make, self._given = make, dict(given)

    def expand(self, **mapped: Any) -> Any:
        """Add a task with a copy for each element, or each combination of the elements of several."""
        if not mapped:
            raise TypeError("expand() needs at least one argument; a task that is not mapped is just called")
        for name, value in mapped.items():
            if not isinstance(value, list | dict | XComArg):
                raise ValueError(
                    f"expand(): `{name}` must be a list or a dict, not {type(value).__name__}; "
                    "an argument that is the same for all copies belongs in partial()"
                )
        self._refuse_twice(mapped)
        return self._make(Product(self._given, mapped))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Add a task with a copy for each dict of arguments."""
        if not isinstance(kwargs, list | XComArg):
            raise TypeError(f"expand_kwargs() takes a list of dicts, not {type(kwargs).__name__}")
        for element in kwargs if isinstance(kwargs, list) else ():
            if isinstance(element, dict):
                self._refuse_twice(element)
            elif not isinstance(element, XComArg):
                raise TypeError(
                    f"expand_kwargs() takes a list of dicts, and in it is {type(element).__name__}"
                )
        return self._make(Dicts(self._given, kwargs))

    def _refuse_twice(self, names: Mapping[str, Any]) -> None:
        twice = [f"`{name}`" for name in names if name in self._given]
        if twice:
            raise TypeError(f"{', '.join(twice)} can't be mapped and given in partial() as well")


class Mapped:
    """What a mapped task is expanded over, and what its copies have in common."""

    operator_class: type[BaseOperator]

    def __init__(self, given: Mapping[str, Any]) -> None:
        # What all copies have in common: of a function its arguments, else settings too.
        self.given = dict(given)
        self.settings: dict[str, Any] = {}
        self.into: str | None = None

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get."""
        raise NotImplementedError

    def length(self) -> int | None:
        """Return how many copies there are; None where that is known only when the DAG runs."""
        raise NotImplementedError

    def element(self, map_index: int) -> dict[str, Any]:
        """Return the arguments of one copy alone."""
        raise NotImplementedError

    def sources(self) -> list[XComArg]:
        """Return the results of other tasks that it is mapped over."""
        raise NotImplementedError

    def values(self) -> Any:
        """Return all that stands in the file, for the edges that it implies."""
        raise NotImplementedError

    def check_call(self, signature: inspect.Signature, name: str) -> None:
        """Refuse arguments that a function does not take."""
        try:
            signature.bind_partial(**dict.fromkeys(self.names()))
        except TypeError as error:
            raise TypeError(f"{name}() is mapped wrongly: {error}") from None

    def check_arguments(self, kind: type[BaseOperator]) -> None:
        """Refuse arguments that no `__init__` of an operator takes."""
        known: set[str] = set()
        for part in kind.__mro__:
            init = part.__dict__.get("__init__")
            if init is None or part is object:
                continue
            parameters = inspect.signature(init).parameters
            known |= parameters.keys()
            if not any(it.kind is it.VAR_KEYWORD for it in parameters.values()):
                break  # what it does not name it does not take
        unknown = sorted(f"`{name}`" for name in self.names() - known)
        if unknown:
            raise TypeError(f"{kind.__name__} does not take {', '.join(unknown)}")

    def stand_in(
        self,
        base: type[BaseOperator],
        kind: type[BaseOperator],
        settings: dict[str, Any],
        into: str | None = None,
    ) -> BaseOperator:
        """Add the task that stands for all copies in the DAG, with the settings that concern the DAG."""
        self.operator_class, self.settings, self.into = kind, settings, into
        common = settings if into else {**self.given, **settings}
        task = base(**{name: value for name, value in common.items() if name in _settings_of(base)})
        task.mapped = self
        for source in self.sources():
            task._refuse(f"mapping over what task `{source.operator.task_id}` returns is")
        task._depend_on_results([self.given, self.values()])
        return task

    def unmap(self, task: BaseOperator, map_index: int) -> BaseOperator:
        """Return the operator of one copy, in the place of the task."""
        given = {**self.given, **self.element(map_index)}
        arguments = {**self.settings, self.into: given} if self.into else {**self.settings, **given}
        arguments = {name: value for name, value in arguments.items() if name not in _PLACE}
        arguments["default_args"] = task._default_args
        with session.apart():
            copy: BaseOperator = self.operator_class(task_id=task.task_id, dag=task.get_dag(), **arguments)
        copy.task_group, copy.label = task.task_group, task.label
        copy.upstream_task_ids, copy.downstream_task_ids = task.upstream_task_ids, task.downstream_task_ids
        copy.task_params = task.task_params
        copy.__dict__["_site"] = task._site
        return copy


class Product(Mapped):
    """Each combination of the elements of several arguments; those of the last one change fastest."""

    def __init__(self, given: Mapping[str, Any], mapped: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.mapped = dict(mapped)

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get."""
        return {*self.given, *self.mapped}

    def sources(self) -> list[XComArg]:
        """Return the results of other tasks that it is mapped over."""
        return [value for value in self.mapped.values() if isinstance(value, XComArg)]

    def values(self) -> Any:
        """Return all that stands in the file."""
        return self.mapped

    def length(self) -> int | None:
        """Return how many combinations there are."""
        return None if self.sources() else functools.reduce(operator.mul, map(len, self.mapped.values()))

    def element(self, map_index: int) -> dict[str, Any]:
        """Return one combination; of a dict, pairs of key and value."""
        _check(map_index, self.length())
        found, rest = {}, map_index
        for name, value in reversed(self.mapped.items()):
            rest, place = divmod(rest, len(value))
            found[name] = list(value.items())[place] if isinstance(value, dict) else value[place]
        return dict(reversed(found.items()))


class Dicts(Mapped):
    """A dict of arguments for each copy."""

    def __init__(self, given: Mapping[str, Any], kwargs: Any) -> None:
        super().__init__(given)
        self.kwargs = kwargs

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get."""
        elements = self.kwargs if isinstance(self.kwargs, list) else ()
        mapped = (name for element in elements if isinstance(element, dict) for name in element)
        return {*self.given, *mapped}

    def sources(self) -> list[XComArg]:
        """Return the results of other tasks that it is mapped over."""
        elements = self.kwargs if isinstance(self.kwargs, list) else [self.kwargs]
        return [element for element in elements if isinstance(element, XComArg)]

    def values(self) -> Any:
        """Return all that stands in the file."""
        return self.kwargs

    def length(self) -> int | None:
        """Return how many dicts there are."""
        return None if self.sources() else len(self.kwargs)

    def element(self, map_index: int) -> dict[str, Any]:
        """Return one copy's dict."""
        _check(map_index, self.length())
        return dict(self.kwargs[map_index])


def _check(map_index: int, length: int | None) -> None:
    if length is None or not 0 <= map_index < length:
        raise IndexError(
            f"there is no copy {map_index}: the file has {length} elements now, "
            "and a run keeps to those that it began with"
        )


@functools.cache
def _settings_of(base: type[BaseOperator]) -> frozenset[str]:
    return frozenset(inspect.signature(base.__init__).parameters) - {"self", "kwargs"}


def refused_group(base: type[BaseOperator], group_id: str, mapped: Any) -> XComArg:
    """Stand where a mapped group would, and note the refusal."""
    task = base(task_id=group_id)
    task._refuse(GROUPS)
    task._depend_on_results(mapped)
    return XComArg(task)
