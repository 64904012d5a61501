"""How operators get their arguments: keywords only, default_args matched over the whole MRO.

Every class of an operator's MRO takes from `default_args` what its own `__init__` names, so that a
subclass without `**kwargs` still gets `retries` on its base.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from dagbok.authoring import session
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

T = TypeVar("T")
Former = Callable[[dict[str, Any], frozenset[str]], None]


@functools.cache
def _named_parameters(init: Callable[..., None]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names that an `__init__` takes, and those of them that have no default."""
    named, required = [], []
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
            continue
        named.append(parameter.name)
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return frozenset(named), tuple(required)


def _with_defaults(init: Callable[..., None], former: Former | None) -> Callable[..., None]:
    """Wrap one class's `__init__` so that it takes what it names from the instance's default_args.

    `former` puts arguments that an older release of a provider took into their present form.
    """

    @functools.wraps(init)
    def wrapper(self: BaseOperator, *args: Any, **kwargs: Any) -> None:
        if args:
            raise AirflowException(
                f"{type(self).__name__} takes keyword arguments only; give each argument its name"
            )
        named, required = _named_parameters(init)
        for name, value in self._default_args.items():
            if name in named and name not in kwargs:
                kwargs[name] = value
        if former is not None:
            former(kwargs, named)
        missing = [name for name in required if name not in kwargs]
        if missing:
            task = f" (task `{kwargs['task_id']}`)" if "task_id" in kwargs else ""
            names = ", ".join(f"`{name}`" for name in missing)
            raise AirflowException(f"{type(self).__name__}{task}: missing argument {names}")
        init(self, **kwargs)

    return wrapper


def merged_default_args(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lay a DAG's, its groups' and the call's own default_args over each other; params apart."""
    dag = kwargs.get("dag") or session.current_dag()
    group = kwargs.get("task_group") or session.current_group()
    merged: dict[str, Any] = dict(dag.default_args) if dag is not None else {}
    if group is not None and (dag is None or group.dag_or_none in {dag, None}):
        merged.update(group.default_args)
    merged.update(kwargs.get("default_args") or {})
    params = dict(merged.pop("params", None) or {})
    merged.pop("default_args", None)
    return merged, params


def _former(module: str, name: str) -> Former | None:
    if not module.startswith("airflow.providers."):
        return None
    from dagbok.compat.former import former_arguments

    return former_arguments(module, name)


class BaseOperatorMeta(ABCMeta):
    """Gives operators their default_args and draws the edges that their arguments imply."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> BaseOperatorMeta:
        """Make the class, its own `__init__` wrapped."""
        init = namespace.get("__init__")
        if init is not None:
            namespace["__init__"] = _with_defaults(init, _former(namespace.get("__module__", ""), name))
        return super().__new__(mcs, name, bases, namespace, **kwargs)

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        """Make an operator and let it join its DAG and group."""
        operator: Any = cls.__new__(cls)
        default_args, default_params = merged_default_args(kwargs)
        operator.__dict__["_default_args"] = default_args
        operator.__dict__["_default_params"] = default_params
        operator.__dict__["_site"] = session.call_site()
        operator.__init__(*args, **kwargs)
        operator._finish_init()
        return operator  # type: ignore[no-any-return]


def apply_defaults(function: T) -> T:
    """Do nothing: operators of old files wear this decorator, and every `__init__` has it built in."""
    return function
