"""Mapped tasks: `.partial(…).expand(…)` over values that stand in the file, or that other tasks return.

A mapped task is one task of the DAG; its copies are told apart by their map index, and each finds its own
arguments by that (`unmap`): in the file, and in what was returned. How many copies there are follows from
lengths alone (`extents`), which the scheduler knows.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from dagbok.authoring import session
from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY, Json, XComArg

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

# Where a task stands is the task's own; its copies stand where it does.
_PLACE = ("dag", "task_group", "task_id")


def is_mappable(value: Any) -> bool:
    """Whether a value has elements in an order that is sure: a list, a tuple, a dict; no text."""
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes | bytearray)


class Partial:
    """What `.partial(…)` gives; `.expand(…)` or `.expand_kwargs(…)` adds the task."""

    def __init__(self, make: Callable[[Mapped], Any], given: Mapping[str, Any]) -> None:
        self._make, self._given = make, dict(given)

    def expand(self, **mapped: Any) -> Any:
        """Add a task with a copy for each element, or each combination of the elements of several."""
        if not mapped:
            raise TypeError("expand() needs at least one argument; a task that is not mapped is just called")
        self._refuse_twice(mapped)
        return self._make(Product(self._given, mapped))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """Add a task with a copy for each dict of arguments."""
        found = Dicts(self._given, kwargs, strict=strict)
        if strict:
            for element in found.literal():
                self._refuse_twice(element)
        return self._make(found)

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
        _refuse_other_keys(self.values())

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get, as far as they are known."""
        raise NotImplementedError

    def extents(self, place: Mapping[str, int]) -> list[Json]:
        """Return the numbers of elements whose product is the number of copies, for the DAG's spec."""
        raise NotImplementedError

    def element(self, map_index: int, context: Any) -> tuple[dict[str, Any], list[Any]]:
        """Return the arguments of one copy alone, and those of them that no template is looked for in."""
        raise NotImplementedError

    def sources(self) -> Iterator[XComArg]:
        """Yield the values of other tasks that the copies come of."""
        raise NotImplementedError

    def values(self) -> Any:
        """Return all that stands in the file, for the edges that it implies."""
        raise NotImplementedError

    def source_ids(self) -> set[str]:
        """Return the ids of the tasks whose results say how many copies there are."""
        return {one.task_id for source in self.sources() for one, _ in source.iter_references()}

    def spec(self, place: Mapping[str, int]) -> Json:
        """Return how many copies there are, as the DAG's spec says it."""
        extents = self.extents(place)
        if all("Fixed" in one for one in extents):
            lengths = (one["Fixed"]["length"] for one in extents)
            return {"Literal": {"length": functools.reduce(operator.mul, lengths)}}
        return {"Product": {"of": extents}}

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
        if task.mapped_group is not None:
            raise NotImplementedError(
                f"task `{task.task_id}` can't be mapped inside the mapped group "
                f"`{task.mapped_group.group_id}`: operator expansion in an expanded task group is not "
                "supported, nor is it in Airflow; map the group, or the task, over all combinations"
            )
        if task.trigger_rule == "always" and any(self.sources()):
            raise ValueError(
                f"task `{task.task_id}`: Task-generated mapping within a task using 'expand' is not allowed "
                "with trigger rule 'always'."
            )
        task.mapped = self
        task._depend_on_results([self.given, self.values()])
        return task

    def unmap(self, task: BaseOperator, map_index: int, context: Any) -> BaseOperator:
        """Return the operator of one copy, in the place of the task."""
        element, as_they_are = self.element(map_index, context)
        given = {**self.given, **element}
        arguments = {**self.settings, self.into: given} if self.into else {**self.settings, **given}
        arguments = {name: value for name, value in arguments.items() if name not in _PLACE}
        arguments["default_args"] = task._default_args
        with session.apart():
            copy: BaseOperator = self.operator_class(task_id=task.task_id, dag=task.get_dag(), **arguments)
        copy.task_group, copy.label = task.task_group, task.label
        copy.upstream_task_ids, copy.downstream_task_ids = task.upstream_task_ids, task.downstream_task_ids
        copy.task_params = {**task.task_params, **copy.task_params}
        copy.__dict__["_site"] = task._site
        copy.__dict__["_as_they_are"] = as_they_are
        return copy


class Product(Mapped):
    """Each combination of the elements of several arguments; those of the last one change fastest."""

    def __init__(self, given: Mapping[str, Any], mapped: Mapping[str, Any]) -> None:
        self.mapped = dict(mapped)
        for name, value in mapped.items():
            if not isinstance(value, XComArg) and not is_mappable(value):
                raise ValueError(
                    f"expand(): `{name}` must be a list or a dict, not {type(value).__name__}; "
                    "an argument that is the same for all copies belongs in partial()"
                )
        super().__init__(given)

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get."""
        return {*self.given, *self.mapped}

    def sources(self) -> Iterator[XComArg]:
        """Yield the values of other tasks that the copies come of."""
        return (value for value in self.mapped.values() if isinstance(value, XComArg))

    def values(self) -> Any:
        """Return all that stands in the file."""
        return self.mapped

    def extents(self, place: Mapping[str, int]) -> list[Json]:
        """Return the numbers of elements of each argument."""
        return [_extent(value, place) for value in self.mapped.values()]

    def _resolved(self, context: Any) -> dict[str, Any]:
        return {
            name: value.elements(context) if isinstance(value, XComArg) else value
            for name, value in self.mapped.items()
        }

    def element(self, map_index: int, context: Any) -> tuple[dict[str, Any], list[Any]]:
        """Return one combination; of a dict, pairs of key and value."""
        values = self._resolved(context)
        for name, value in values.items():
            if not is_mappable(value):
                raise TypeError(f"can't map `{name}` over a value of type {type(value).__name__}")
        _check(map_index, functools.reduce(operator.mul, map(len, values.values())), context)
        found, rest = {}, map_index
        for name, value in reversed(values.items()):
            rest, place = divmod(rest, len(value))
            found[name] = _pair(value, place) if isinstance(value, Mapping) else value[place]
        as_they_are = [found[name] for name, value in self.mapped.items() if isinstance(value, XComArg)]
        return dict(reversed(found.items())), as_they_are


class Dicts(Mapped):
    """A dict of arguments for each copy."""

    def __init__(self, given: Mapping[str, Any], kwargs: Any, *, strict: bool = True) -> None:
        self.kwargs, self.strict = kwargs, strict
        if not isinstance(kwargs, XComArg):
            if not is_mappable(kwargs) or isinstance(kwargs, Mapping):
                raise TypeError(f"expand_kwargs() takes a list of dicts, not {type(kwargs).__name__}")
            for element in kwargs:
                if not isinstance(element, Mapping | XComArg):
                    raise TypeError(
                        f"expand_kwargs() takes a list of dicts, and in it is {type(element).__name__}"
                    )
        super().__init__(given)

    def literal(self) -> Iterator[Mapping[str, Any]]:
        """Yield the dicts that stand in the file."""
        elements = () if isinstance(self.kwargs, XComArg) else self.kwargs
        return (element for element in elements if isinstance(element, Mapping))

    def names(self) -> set[str]:
        """Return the names of all arguments that copies get, as far as the file says them."""
        return {*self.given, *(name for element in self.literal() for name in element)}

    def sources(self) -> Iterator[XComArg]:
        """Yield the values of other tasks that the copies come of."""
        elements = [self.kwargs] if isinstance(self.kwargs, XComArg) else self.kwargs
        return (element for element in elements if isinstance(element, XComArg))

    def values(self) -> Any:
        """Return all that stands in the file."""
        return self.kwargs

    def extents(self, place: Mapping[str, int]) -> list[Json]:
        """Return how many dicts there are."""
        return [_extent(self.kwargs, place)]

    def element(self, map_index: int, context: Any) -> tuple[dict[str, Any], list[Any]]:
        """Return one copy's dict."""
        dicts = self.kwargs
        if isinstance(dicts, XComArg):
            dicts = dicts.elements(context)
            if not isinstance(dicts, Sequence):
                raise ValueError(f"expand_kwargs() expects a list[dict], not {_kind(dicts)}")
        _check(map_index, len(dicts), context)
        found = dicts[map_index]
        literal = isinstance(found, Mapping) and not isinstance(self.kwargs, XComArg)
        if isinstance(found, XComArg):
            found = found.resolve(context)
        if not isinstance(found, Mapping):
            raise ValueError(f"expand_kwargs() expects a list[dict], not list[{_kind(found)}]")
        for name in found:
            if not isinstance(name, str):
                raise ValueError(
                    f"expand_kwargs() input dict keys must all be str, but {name!r} is of type {_kind(name)}"
                )
        twice = sorted(f"`{name}`" for name in found if name in self.given)
        if twice and self.strict:
            raise TypeError(f"{', '.join(twice)} can't be mapped and given in partial() as well")
        return dict(found), [] if literal else list(found.values())


def _pair(value: Mapping[Any, Any], place: int) -> Any:
    """Return the pair of key and value at a place of a dict, which may lie elsewhere."""
    one = getattr(value, "one", None)
    return one(place) if one is not None else next(islice(value.items(), place, None))


def _kind(value: Any) -> str:
    kind: str = getattr(value, "kind", type(value).__name__)
    return "None" if value is None else kind


def _extent(value: Any, place: Mapping[str, int]) -> Json:
    return value.extent(place) if isinstance(value, XComArg) else {"Fixed": {"length": len(value)}}


def _refuse_other_keys(value: Any) -> None:
    """Refuse to map over anything but what tasks return, as Airflow does."""
    if isinstance(value, XComArg):
        for one, key in value.iter_references():
            if key != XCOM_RETURN_KEY:
                raise ValueError(
                    f"cannot map over XCom with custom key {key!r} from task `{one.task_id}`; "
                    "only over what it returns"
                )
    elif isinstance(value, Mapping):
        for item in value.values():
            _refuse_other_keys(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_other_keys(item)


def _check(map_index: int, length: int, context: Any) -> None:
    if context is not None and "expanded_ti_count" in context:
        context["expanded_ti_count"] = length  # a name of the older era
    if not 0 <= map_index < length:
        raise IndexError(
            f"there is no copy {map_index}: there are {length} elements now, "
            "and a run keeps to those that it began with"
        )


@functools.cache
def _settings_of(base: type[BaseOperator]) -> frozenset[str]:
    return frozenset(inspect.signature(base.__init__).parameters) - {"self", "kwargs"}
