"""What `airflow.utils.helpers` and `airflow.utils.strings` have."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from typing import Any, TypeVar

from dagbok.authoring.edges import chain, cross_downstream
from dagbok.authoring.ids import check_key
from dagbok.exceptions import AirflowException

__all__ = [
    "TRUE_LIKE_VALUES",
    "as_flattened_list",
    "as_tuple",
    "ask_yesno",
    "at_most_one",
    "build_airflow_url_with_query",
    "chain",
    "chunks",
    "convert_camel_to_snake",
    "cross_downstream",
    "exactly_one",
    "get_random_string",
    "is_container",
    "is_empty",
    "merge_dicts",
    "partition",
    "prune_dict",
    "reduce_in_chunks",
    "render_template_as_native",
    "render_template_to_string",
    "to_boolean",
    "validate_group_key",
    "validate_key",
]

T = TypeVar("T")
S = TypeVar("S")
TRUE_LIKE_VALUES = {"on", "t", "true", "y", "yes", "1"}


def validate_key(k: str, max_length: int = 250) -> None:
    """Raise where a text can't be an id."""
    check_key("key", k, max_length)


def validate_group_key(k: str, max_length: int = 200) -> None:
    """Raise where a text can't be a group's id."""
    check_key("key", k, max_length)
    if "." in k:
        raise AirflowException(f"the key {k!r} contains `.`, which parts the groups' names")


def exactly_one(*args: Any) -> bool:
    """Whether one of the values is true, and no other; lists are not taken."""
    if any(is_container(arg) for arg in args):
        raise ValueError("exactly_one takes the values themselves, not a list of them: write *values")
    return sum(map(bool, args)) == 1


def at_most_one(*args: Any) -> bool:
    """Whether none of the values is given and true, or one."""
    return sum(bool(arg) for arg in args if _is_set(arg)) <= 1


def _is_set(value: Any) -> bool:
    from dagbok.authoring.dag import NOTSET

    return value is not NOTSET


def is_container(obj: Any) -> bool:
    """Whether something can be looped over and is no text."""
    return hasattr(obj, "__iter__") and not isinstance(obj, str)


def is_empty(x: Any) -> bool:
    """Whether something has no elements."""
    return len(x) == 0


def as_tuple(obj: Any) -> tuple[Any, ...]:
    """Return the elements of something, or it alone."""
    return tuple(obj) if is_container(obj) else (obj,)


def as_flattened_list(iterable: Iterable[Iterable[T]]) -> list[T]:
    """Return the elements of the elements."""
    return [element for inner in iterable for element in inner]


def chunks(items: list[T], chunk_size: int) -> Iterator[list[T]]:
    """Yield lists of so many elements; the last may be shorter."""
    if chunk_size <= 0:
        raise ValueError("chunk_size must be a positive whole number")
    for start in range(0, len(items), chunk_size):
        yield items[start : start + chunk_size]


def reduce_in_chunks(
    fn: Callable[[S, list[T]], S], iterable: list[T], initializer: S, chunk_size: int = 0
) -> S:
    """Reduce a list some elements at a time; all at once with a size of 0."""
    if not iterable:
        return initializer
    return reduce(fn, chunks(iterable, chunk_size or len(iterable)), initializer)


def merge_dicts(dict1: dict[Any, Any], dict2: dict[Any, Any]) -> dict[Any, Any]:
    """Lay the second dict over a copy of the first, and dicts inside likewise."""
    merged = dict(dict1)
    for key, value in dict2.items():
        below = merged.get(key)
        merged[key] = (
            merge_dicts(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def partition(pred: Callable[[T], bool], iterable: Iterable[T]) -> tuple[Iterable[T], Iterable[T]]:
    """Return the elements for which something does not hold, and those for which it does."""
    first, second = itertools.tee(iterable)
    return itertools.filterfalse(pred, first), filter(pred, second)


def prune_dict(val: Any, mode: str = "strict") -> Any:
    """Return a copy without what is None, at any depth; with mode `truthy` without all that is false."""
    if mode not in {"strict", "truthy"}:
        raise ValueError("the mode of prune_dict is strict or truthy")

    def goes(value: Any) -> bool:
        return value is None if mode == "strict" else not bool(value)

    if isinstance(val, Mapping):
        pruned = {}
        for key, value in val.items():
            if goes(value):
                continue
            inner = prune_dict(value, mode) if isinstance(value, list | dict) else value
            if inner is value or not goes(inner):
                pruned[key] = inner
        return pruned
    if isinstance(val, list):
        kept = (prune_dict(value, mode) if isinstance(value, list | dict) else value for value in val)
        return [value for value in kept if not goes(value)]
    return val


def convert_camel_to_snake(camel_str: str) -> str:
    """Return CamelCase as camel_case."""
    return re.sub(r"(?!^)([A-Z]+)", r"_\1", camel_str).lower()


def build_airflow_url_with_query(query: dict[str, Any]) -> str:
    """Return the address of the runs that a query is about, in the API."""
    from urllib.parse import urlencode

    from dagbok.models.configuration import conf

    return f"{conf.get('webserver', 'base_url').rstrip('/')}/api/v2/dags/~/dagRuns?{urlencode(query)}"


def ask_yesno(question: str, default: bool | None = None) -> bool:
    """Refused: nobody sits before a task."""
    raise AirflowException(f"nobody is there to be asked: {question}")


def render_template_to_string(template: Any, context: Mapping[str, Any]) -> str:
    """Render a Jinja template to text."""
    return str(template.render(**context))


def render_template_as_native(template: Any, context: Mapping[str, Any]) -> Any:
    """Render a Jinja template of a native environment to a value."""
    return template.render(**context)


def get_random_string(length: int = 8, choices: str | None = None) -> str:
    """Return letters and digits drawn by chance."""
    import random
    import string

    return "".join(random.choices(choices or string.ascii_letters + string.digits, k=length))


def to_boolean(astring: str | None) -> bool:
    """Whether a text says yes."""
    return astring is not None and astring.lower() in TRUE_LIKE_VALUES
