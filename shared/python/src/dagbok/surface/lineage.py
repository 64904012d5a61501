"""What `airflow.lineage`, `airflow.stats` and `airflow.listeners` have: accepted, and not collected.

The log says which try read and wrote what; metrics are the server's.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "AUTO",
    "AssetLineageInfo",
    "DatasetLineageInfo",
    "HookLineage",
    "HookLineageCollector",
    "HookLineageReader",
    "LineageBackend",
    "NoOpCollector",
    "NoStatsLogger",
    "Stats",
    "apply_lineage",
    "get_hook_lineage_collector",
    "hookimpl",
    "prepare_lineage",
    "stats",
]

F = TypeVar("F")
AUTO = "auto"


def prepare_lineage(func: F) -> F:
    """Do nothing to a method."""
    return func


apply_lineage = prepare_lineage


def hookimpl(function: Any = None, **options: Any) -> Any:
    """Do nothing to a listener's function."""
    return (lambda wrapped: wrapped) if function is None else function


class LineageBackend:
    """Receives what tasks read and wrote."""

    def send_lineage(
        self, operator: Any, inlets: Any = None, outlets: Any = None, context: Any = None
    ) -> None:
        """Receive it."""
        raise NotImplementedError(f"{type(self).__name__} defines no send_lineage()")


class AssetLineageInfo(NamedTuple):
    """An asset, and how often a hook touched it."""

    asset: Any
    count: int = 1  # type: ignore[assignment]
    context: Any = None


DatasetLineageInfo = AssetLineageInfo


class HookLineage:
    """What hooks touched. Providers derive from it, with slots of their own."""

    def __init__(self, inputs: Any = None, outputs: Any = None, extra: Any = None) -> None:
        self.inputs: list[AssetLineageInfo] = list(inputs or ())
        self.outputs: list[AssetLineageInfo] = list(outputs or ())
        self.extra: list[Any] = list(extra or ())


class HookLineageReader:
    """Reads what hooks touched."""

    def __init__(self, **kwargs: Any) -> None:
        self.lineage_collector = get_hook_lineage_collector()

    def retrieve_hook_lineage(self) -> HookLineage:
        """Return nothing: it is not collected."""
        return self.lineage_collector.collected_assets


class HookLineageCollector:
    """Takes what hooks say that they touched, and keeps none of it."""

    has_collected = False
    # Providers look for it, and add what they think is lacking where it is not there.
    _extra: dict[str, Any] = {}  # noqa: RUF012
    collected_assets = HookLineage()
    collected_datasets = collected_assets

    def add_input_asset(self, *args: Any, **kwargs: Any) -> None:
        """Take a word."""

    add_output_asset = add_extra = add_input_dataset = add_output_dataset = add_input_asset

    def create_asset(self, **kwargs: Any) -> None:
        """Return no asset."""


NoOpCollector = HookLineageCollector
_collector = HookLineageCollector()


def get_hook_lineage_collector() -> HookLineageCollector:
    """Return what takes hooks' words."""
    return _collector


class NoStatsLogger:
    """Takes metrics, and keeps none of them."""

    @classmethod
    def incr(cls, stat: str = "", *args: Any, **kwargs: Any) -> None:
        """Take a metric."""

    decr = gauge = timing = incr

    @classmethod
    @contextlib.contextmanager
    def timer(cls, *args: Any, **kwargs: Any) -> Iterator[dt.datetime]:
        """Time a block for nobody."""
        yield dt.datetime.now(dt.UTC)


Stats: Any = NoStatsLogger
stats: Callable[..., Any] = NoStatsLogger.incr
