"""References to what another task will have returned, given as arguments, and values made of several.

How many elements `.map(…)`, `.zip(…)` and `.concat(…)` give is known from the results' lengths alone; the
elements are made where they are looked at, in the process of the task that gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from dagbok.authoring.edges import DependencyMixin

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

XCOM_RETURN_KEY = "return_value"
Json = dict[str, Any]


class _NotGiven:
    """Tells "no value" from a given None."""

    def __repr__(self) -> str:
        return "NOTSET"


NOT_GIVEN = _NotGiven()


class XComArg(DependencyMixin):
    """A value that comes of what tasks push; `XComArg(operator)` is what one of them returns."""

    operator: BaseOperator

    def __new__(cls, *args: Any, **kwargs: Any) -> XComArg:
        """Make the plain reference where nothing else is asked for."""
        return super().__new__(PlainXComArg if cls is XComArg else cls)

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield the operators that it comes of, each with the key of what it pushes."""
        raise NotImplementedError

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Its operators."""
        return [operator for operator, _ in self.iter_references()]

    leaves = roots

    def map(self, f: Callable[[Any], Any]) -> XComArg:
        """Return the same with every element changed by a function, in the process of who gets it."""
        return MapXComArg(self, [f])

    def zip(self, *others: XComArg, fillvalue: Any = NOT_GIVEN) -> XComArg:
        """Return tuples of the elements at the same place, as many as the shortest has, or the longest."""
        return ZipXComArg([self, *others], fillvalue)

    def concat(self, *others: XComArg) -> XComArg:
        """Return the elements of all, one after the other."""
        return ConcatXComArg([self, *others])

    def extent(self, place: Mapping[str, int]) -> Json:
        """Return how many elements it has, for the DAG's spec, by the places of tasks there."""
        raise NotImplementedError

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the value for the run of `context`."""
        raise NotImplementedError

    def elements(self, context: Mapping[str, Any]) -> Any:
        """Return the same for who needs few of its elements, as a copy does that is mapped over it."""
        return self.resolve(context)


class PlainXComArg(XComArg):
    """The value that `operator` will push under `key`."""

    def __init__(self, operator: BaseOperator, key: str = XCOM_RETURN_KEY) -> None:
        self.operator = operator
        self.key = key

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield its operator."""
        yield self.operator, self.key

    def as_setup(self) -> XComArg:
        """Mark its operator as a setup."""
        self.operator.as_setup()
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> XComArg:
        """Mark its operator as a teardown."""
        self.operator.as_teardown(setups=setups, on_failure_fail_dagrun=on_failure_fail_dagrun)
        return self

    def __enter__(self) -> Any:
        return self.operator.__enter__()

    def __exit__(self, *exception: object) -> None:
        self.operator.__exit__(*exception)

    def __getitem__(self, key: str) -> XComArg:
        """Return the value of another key of the same task."""
        if not isinstance(key, str):
            raise ValueError(f"an XCom's key is text, not {type(key).__name__}: {key!r}")
        return PlainXComArg(self.operator, key)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"what task `{self.operator.task_id}` returns is not known while the file is read, "
            "so it can't be looped over here; loop over it inside a task"
        )

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainXComArg) and (self.operator, self.key) == (other.operator, other.key)

    def __hash__(self) -> int:
        return hash((id(self.operator), self.key))

    def __repr__(self) -> str:
        return f"XComArg({self.operator.task_id}[{self.key!r}])"

    def __str__(self) -> str:
        """Return a template that pulls the value, so that it can stand inside text."""
        dag = self.operator.dag_or_none
        of_dag = f", dag_id={dag.dag_id!r}" if dag is not None else ""
        return (
            f"{{{{ task_instance.xcom_pull(task_ids={self.operator.task_id!r}{of_dag}, key={self.key!r}) }}}}"
        )

    def map(self, f: Callable[[Any], Any]) -> XComArg:
        """Return the same with every element changed by a function."""
        self._only_of_results("map")
        return super().map(f)

    def zip(self, *others: XComArg, fillvalue: Any = NOT_GIVEN) -> XComArg:
        """Return tuples of the elements at the same place."""
        self._only_of_results("zip")
        return super().zip(*others, fillvalue=fillvalue)

    def concat(self, *others: XComArg) -> XComArg:
        """Return the elements of all, one after the other."""
        self._only_of_results("concat")
        return super().concat(*others)

    def _only_of_results(self, what: str) -> None:
        if self.key != XCOM_RETURN_KEY:
            raise ValueError(
                f"`.{what}()` goes on what a task returns, not on its XCom `{self.key}`: "
                f"task `{self.operator.task_id}`"
            )

    def extent(self, place: Mapping[str, int]) -> Json:
        """Return that it has as many elements as its operator returns, or as it has copies."""
        return {"Of": {"task": place[self.operator.task_id]}}

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Pull the value for the run of `context`; the return value must be there."""
        ti = context["ti"]
        if self._is_of_this_copy(ti):
            value = ti.xcom_pull(
                task_ids=self.operator.task_id,
                key=self.key,
                map_indexes=ti.map_index,
                default=NOT_GIVEN,
            )
        elif self.operator.is_mapped and ti.task.dag.era == 3:
            return ti.copies_of(self.operator.task_id, self.key)
        else:
            value = ti.xcom_pull(task_ids=self.operator.task_id, key=self.key, default=NOT_GIVEN)
        if value is not NOT_GIVEN:
            return value
        if self.key == XCOM_RETURN_KEY:
            return None
        from dagbok.exceptions import XComNotFound

        raise XComNotFound(
            f"task `{self.operator.task_id}` pushed no XCom `{self.key}` in run `{ti.run_id}`; "
            "with multiple_outputs every key of the returned dict is one"
        )

    def elements(self, context: Mapping[str, Any]) -> Any:
        """Return the elements of what a task returned, to be fetched one by one."""
        ti = context["ti"]
        if not self.operator.is_mapped and self.key == XCOM_RETURN_KEY:
            found = ti.elements_of(self.operator.task_id)
            if found is not None:
                return found
        return self.resolve(context)

    def _is_of_this_copy(self, ti: Any) -> bool:
        """Whether the operator stands in the same mapped group, and what it pushed for this copy is meant."""
        theirs = self.operator.mapped_group
        return theirs is not None and ti.task.mapped_group is theirs


class MapXComArg(XComArg):
    """The elements of a value, each changed by one function after the other."""

    def __init__(self, arg: XComArg, callables: Sequence[Callable[[Any], Any]]) -> None:
        for function in callables:
            if getattr(function, "makes_tasks", False):
                raise ValueError("map() argument must be a plain function, not a @task operator")
            if not callable(function):
                raise TypeError(f"map() takes a function, not {type(function).__name__}")
        self.arg, self.callables = arg, list(callables)

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield the operators that it comes of."""
        yield from self.arg.iter_references()

    def map(self, f: Callable[[Any], Any]) -> XComArg:
        """Return the same with one more function."""
        return MapXComArg(self.arg, [*self.callables, f])

    def extent(self, place: Mapping[str, int]) -> Json:
        """Return that it has as many elements as before."""
        return self.arg.extent(place)

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the elements, to be changed when they are looked at."""
        return _Changed(_elements(self.arg.resolve(context), "map"), self.callables)

    def elements(self, context: Mapping[str, Any]) -> Any:
        """Return the elements, to be fetched and changed when they are looked at."""
        return _Changed(_elements(self.arg.elements(context), "map"), self.callables)

    def __repr__(self) -> str:
        names = (f".map({getattr(one, '__name__', one)})" for one in self.callables)
        return f"{self.arg!r}{''.join(names)}"


class ZipXComArg(XComArg):
    """Tuples of the elements at the same place."""

    def __init__(self, args: Sequence[XComArg], fillvalue: Any = NOT_GIVEN) -> None:
        self.args, self.fillvalue = _references(args, "zip"), fillvalue

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield the operators that it comes of."""
        for arg in self.args:
            yield from arg.iter_references()

    def extent(self, place: Mapping[str, int]) -> Json:
        """Return that it has as many elements as the shortest, or with a fill value as the longest."""
        of = [arg.extent(place) for arg in self.args]
        return {"Zip": {"of": of} if self.fillvalue is NOT_GIVEN else {"of": of, "longest": True}}

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the tuples, to be made when they are looked at."""
        values = [_elements(arg.resolve(context), "zip") for arg in self.args]
        return _Zipped(values, self.fillvalue)

    def elements(self, context: Mapping[str, Any]) -> Any:
        """Return the tuples, of elements that are fetched when they are looked at."""
        values = [_elements(arg.elements(context), "zip") for arg in self.args]
        return _Zipped(values, self.fillvalue)

    def __repr__(self) -> str:
        first, *rest = map(repr, self.args)
        fill = [] if self.fillvalue is NOT_GIVEN else [f"fillvalue={self.fillvalue!r}"]
        return f"{first}.zip({', '.join([*rest, *fill])})"


class ConcatXComArg(XComArg):
    """The elements of several values, one after the other."""

    def __init__(self, args: Sequence[XComArg]) -> None:
        self.args = _references(args, "concat")

    def iter_references(self) -> Iterator[tuple[BaseOperator, str]]:
        """Yield the operators that it comes of."""
        for arg in self.args:
            yield from arg.iter_references()

    def concat(self, *others: XComArg) -> XComArg:
        """Return the same with more at the end."""
        return ConcatXComArg([*self.args, *others])

    def extent(self, place: Mapping[str, int]) -> Json:
        """Return that it has as many elements as all together."""
        return {"Concat": {"of": [arg.extent(place) for arg in self.args]}}

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the elements, to be found when they are looked at."""
        return _Joined([_elements(arg.resolve(context), "concat") for arg in self.args])

    def elements(self, context: Mapping[str, Any]) -> Any:
        """Return the elements, to be found and fetched when they are looked at."""
        return _Joined([_elements(arg.elements(context), "concat") for arg in self.args])

    def __repr__(self) -> str:
        first, *rest = map(repr, self.args)
        return f"{first}.concat({', '.join(rest)})"


def _references(args: Sequence[Any], what: str) -> list[XComArg]:
    for arg in args:
        if not isinstance(arg, XComArg):
            raise TypeError(
                f"{what}() takes what other tasks return, not {type(arg).__name__}; "
                "a list that stands in the file can be returned by a task"
            )
    return list(args)


def _elements(value: Any, what: str) -> Any:
    if not isinstance(value, Sequence | Mapping):
        raise ValueError(f"XCom {what} expects sequence or dict, not {type(value).__name__}")
    return value


class _Changed(Sequence[Any]):
    def __init__(self, value: Any, callables: Sequence[Callable[[Any], Any]]) -> None:
        self._value, self._callables = value, callables

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        value = self._value[place]
        for function in self._callables:
            value = function(value)
        return value

    def __len__(self) -> int:
        return len(self._value)


class _Zipped(Sequence[Any]):
    def __init__(self, values: Sequence[Any], fillvalue: Any) -> None:
        self._values, self._fillvalue = values, fillvalue

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place >= len(self):
            raise IndexError(place)
        return tuple(self._at(value, place) for value in self._values)

    def _at(self, value: Any, place: Any) -> Any:
        try:
            return value[place]
        except (IndexError, KeyError):
            return self._fillvalue

    def __len__(self) -> int:
        lengths = map(len, self._values)
        return min(lengths) if self._fillvalue is NOT_GIVEN else max(lengths)


class _Joined(Sequence[Any]):
    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        rest = place if place >= 0 else len(self) + place
        for value in self._values:
            if rest < 0:
                break
            if rest < len(value):
                return value[rest] if isinstance(value, Sequence) else next(islice(iter(value), rest, None))
            rest -= len(value)
        raise IndexError(f"there is no element {place}")

    def __len__(self) -> int:
        return sum(map(len, self._values))


def operators_in(value: Any) -> Iterator[BaseOperator]:
    """Yield the operators whose results stand anywhere inside a value."""
    references = getattr(value, "iter_references", None)
    if references is not None and not isinstance(value, type):
        yield from (operator for operator, _ in references())
    elif isinstance(value, str | bytes | int | float):
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from operators_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from operators_in(item)
    elif hasattr(type(value), "template_fields") and not isinstance(value, DependencyMixin):
        for name in value.template_fields:
            yield from operators_in(getattr(value, name, None))
