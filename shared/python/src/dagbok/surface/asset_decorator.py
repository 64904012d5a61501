"""`@asset`: a function that brings an asset up to date, with a DAG of one task that calls it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dagbok.authoring.assets import Asset, AssetAll
from dagbok.authoring.dag import DAG
from dagbok.authoring.taskflow import TaskFactory
from dagbok.operators.python import PythonOperator

__all__ = ["asset"]

# Arguments of a function that name no asset.
_OWN = ("self", "context", "outlet_events")
_defined: dict[str, Asset] = {}


class _AssetMainOperator(PythonOperator):
    """Calls the function of an asset; its arguments are the assets of their names."""

    def __init__(self, *, definition: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._definition = definition

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keywords of the call."""
        own = {"self": self._definition, "context": context, "outlet_events": context.get("outlet_events")}
        found = {}
        for name, parameter in inspect.signature(self.python_callable).parameters.items():
            given = parameter.default is not inspect.Parameter.empty
            found[name] = parameter.default if given else own[name] if name in _OWN else _named(name)
        return found


def _named(name: str) -> Asset:
    return _defined.get(name) or Asset(name=name)


class _AssetDefinition(Asset):
    """An asset with the function that brings it up to date."""


class _Definitions:
    """What `@asset` and `@asset.multi` have in common: the DAG that they make."""

    def __init__(self, schedule: Any, dag_id: str | None, settings: dict[str, Any]) -> None:
        self._schedule, self._dag_id, self._settings = schedule, dag_id, settings

    def _make(self, function: Any, name: str, definition: Any, outlets: list[Any]) -> None:
        with DAG(self._dag_id or name, schedule=self._schedule, catchup=False, **self._settings):
            if isinstance(function, TaskFactory):
                if "outlets" in function.settings:
                    raise TypeError("@task decorator with 'outlets' argument is not supported in @asset")
                function.override(outlets=outlets)()
                return
            wanted = [
                _named(argument)
                for argument, parameter in inspect.signature(function).parameters.items()
                if argument not in _OWN and parameter.default is inspect.Parameter.empty
            ]
            _AssetMainOperator(
                task_id=function.__name__,
                python_callable=function,
                definition=definition,
                inlets=wanted,
                outlets=outlets,
            )


class asset(_Definitions):
    """Turn a function into an asset, and into the DAG that brings it up to date."""

    def __init__(
        self,
        *,
        schedule: Any,
        name: str | None = None,
        uri: Any = None,
        group: str = "asset",
        extra: Mapping[str, Any] | None = None,
        watchers: Iterable[Any] | None = None,
        dag_id: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(schedule, dag_id, settings)
        self._name, self._uri = name, uri
        self._described: dict[str, Any] = {
            "group": group,
            "extra": extra,
            "watchers": list(watchers or ()) or None,
        }

    def __call__(self, function: Callable[..., Any]) -> Asset:
        """Make the asset and its DAG."""
        name = self._name or function.__name__
        uri = name if self._uri is None else str(self._uri)
        made = _AssetDefinition(name=name, uri=uri, **self._described)
        _defined[name] = made
        self._make(function, name, made, [made])
        return made

    class multi(_Definitions):
        """Turn a function into a DAG that brings several assets up to date."""

        def __init__(
            self, *, schedule: Any, outlets: Iterable[Any], dag_id: str | None = None, **settings: Any
        ) -> None:
            super().__init__(schedule, dag_id, settings)
            self._outlets = list(outlets)
            if not self._outlets:
                raise ValueError("no outlets provided")

        def __call__(self, function: Callable[..., Any]) -> AssetAll:
            """Make the DAG; return all of its assets."""
            made = AssetAll(*self._outlets)
            self._make(function, function.__name__, made, self._outlets)
            return made
