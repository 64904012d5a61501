"""`@asset`: a function that brings an asset up to date, with a DAG of one task around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dagbok.authoring.assets import Asset, AssetAll, AssetRef, BaseAsset
from dagbok.authoring.dag import DAG
from dagbok.authoring.taskflow import TaskFactory
from dagbok.operators.python import PythonOperator

# What the function is given under these names; every other argument without a default is an asset that it
# reads.
_GIVEN = ("self", "context", "outlet_events")
_OF_DAG = (
    "schedule",
    "is_paused_upon_creation",
    "dag_id",
    "dag_display_name",
    "description",
    "params",
    "on_success_callback",
    "on_failure_callback",
    "access_control",
    "owner_links",
    "tags",
)


class _AssetMainOperator(PythonOperator):
    """Calls the function with the assets that its arguments name."""

    def __init__(self, *, own: Asset | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._own = own

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keywords of the call."""
        return dict(self._given(context))

    def _given(self, context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, parameter in inspect.signature(self.python_callable).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                yield name, parameter.default
            elif name == "self":
                yield name, self._own if self._own is not None else known(self.python_callable.__name__)
            elif name == "context":
                yield name, context
            elif name == "outlet_events":
                yield name, context["outlet_events"]
            else:
                yield name, known(name)


_known: dict[str, Asset] = {}


def known(name: str) -> Asset:
    """Return the asset of a name, as this file makes it; others go by their names."""
    return _known.get(name) or Asset(name)


class AssetDefinition(Asset):
    """The asset that a function brings up to date."""

    def __init__(
        self, function: Callable[..., Any], settings: Mapping[str, Any], of_dag: Mapping[str, Any]
    ) -> None:
        name = settings.get("name") or _name(function)
        uri = settings.get("uri")
        how = {key: settings[key] for key in ("group", "extra", "watchers") if key in settings}
        super().__init__(name, str(name if uri is None else uri), **how)
        _known[self.name] = self
        self.function = function
        _make_dag(function, self.name, of_dag, [self], self)


class MultiAssetDefinition(AssetAll):
    """The assets that one function brings up to date."""

    def __init__(
        self, function: Callable[..., Any], outlets: list[BaseAsset], of_dag: Mapping[str, Any]
    ) -> None:
        super().__init__(*outlets)
        self.name, self.function = _name(function), function
        _known.update({one.name: one for one in outlets if isinstance(one, Asset)})
        _make_dag(function, self.name, of_dag, outlets, None)


def _name(function: Any) -> str:
    return str(function.function.__name__ if isinstance(function, TaskFactory) else function.__name__)


def _make_dag(
    function: Any, name: str, of_dag: Mapping[str, Any], outlets: list[BaseAsset], own: Asset | None
) -> None:
    """Make the DAG around the function, which no run catches up."""
    settings = {"dag_id": name, **{key: value for key, value in of_dag.items() if value is not None}}
    with DAG(**settings, catchup=False):
        if isinstance(function, TaskFactory):
            if "outlets" in function.settings:
                raise TypeError("@task decorator with 'outlets' argument is not supported in @asset")
            function.override(outlets=outlets)()
            return
        reads = _arguments(function)
        _AssetMainOperator(
            task_id=function.__name__,
            own=own,
            python_callable=function,
            inlets=[AssetRef(name=name) for name in reads],
            outlets=outlets,
        )


def _arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names of the assets that a function reads; refuse what can't be given to it."""
    reads = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise TypeError(f"wildcard '*{name}' is not supported in @asset")
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TypeError(f"wildcard '**{name}' is not supported in @asset")
        needed = parameter.default is parameter.empty
        if parameter.kind is parameter.POSITIONAL_ONLY and needed:
            raise TypeError(f"positional-only argument '{name}' without a default is not supported in @asset")
        if needed and name not in _GIVEN:
            reads.append(name)
    return reads


def _split(given: dict[str, Any], own: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is said of the asset, and of its DAG."""
    if "schedule" not in given:
        raise TypeError("@asset needs `schedule`")
    if unknown := sorted(given.keys() - {*own, *_OF_DAG}):
        raise TypeError(f"@asset has no argument {', '.join(unknown)}")
    return (
        {key: given[key] for key in own if key in given},
        {key: given[key] for key in _OF_DAG if key in given},
    )


def _check_not_nested(function: Any) -> None:
    plain = function.function if isinstance(function, TaskFactory) else function
    if plain.__name__ != plain.__qualname__:
        raise ValueError("nested function not supported")


class _Multi:
    """`@asset.multi`: one function for several assets."""

    def __call__(self, *, outlets: Any, **given: Any) -> Callable[[Any], MultiAssetDefinition]:
        several = list(outlets)
        if not several:
            raise ValueError("no outlets provided")
        _, of_dag = _split(given, ())

        def make(function: Any) -> MultiAssetDefinition:
            _check_not_nested(function)
            return MultiAssetDefinition(function, several, of_dag)

        return make


class _AssetDecorator:
    """`@asset`: one function for the asset of its name."""

    multi = _Multi()

    def __call__(self, **given: Any) -> Callable[[Any], AssetDefinition]:
        settings, of_dag = _split(given, ("name", "uri", "group", "extra", "watchers"))

        def make(function: Any) -> AssetDefinition:
            _check_not_nested(function)
            return AssetDefinition(function, settings, of_dag)

        return make


asset = _AssetDecorator()
