"""What `airflow.lineage`, `airflow.stats` and `airflow.listeners` have: accepted, and not collected.

The log says which try read and wrote what; metrics are the server's. What hooks say that they touched is
collected where somebody wants lineage, and nowhere else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import logging
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


class CollectsAssets(HookLineageCollector):
    """Keeps which assets hooks say that they touched, each once, and none of what else they say."""

    def __init__(self) -> None:
        self._touched: tuple[dict[str, AssetLineageInfo], ...] = ({}, {})

    def add_input_asset(self, context: Any = None, **said: Any) -> None:
        """Take an asset that was read."""
        self._keep(self._touched[0], context, said)

    def add_output_asset(self, context: Any = None, **said: Any) -> None:
        """Take an asset that was written."""
        self._keep(self._touched[1], context, said)

    add_input_dataset, add_output_dataset = add_input_asset, add_output_asset

    def add_extra(self, *args: Any, **kwargs: Any) -> None:
        """Take a word on something else."""

    def create_asset(self, **said: Any) -> Any:
        """Return the asset by its URI or name, or as the provider that knows the scheme makes it."""
        from dagbok.authoring.assets import Asset

        named = {key: said[key] for key in ("uri", "name") if said.get(key)}
        if named:
            return Asset(**named)
        module = _FACTORIES.get(str(said.get("scheme")))
        if module is None:
            return None
        kwargs = said.get("asset_kwargs") or said.get("dataset_kwargs") or {}
        return importlib.import_module(f"airflow.providers.{module}").create_asset(**kwargs)

    def _keep(self, kept: dict[str, AssetLineageInfo], context: Any, said: dict[str, Any]) -> None:
        if len(kept) >= _MOST:
            return
        try:
            asset = self.create_asset(**said)
        except Exception as error:
            logging.getLogger(__name__).debug("an asset that a hook names is left out: %s", error)
            return
        if asset is not None:
            kept.setdefault(asset.uri, AssetLineageInfo(asset, context=context))

    @property
    def collected_assets(self) -> HookLineage:  # type: ignore[override]
        """What was touched so far."""
        return HookLineage(*(kept.values() for kept in self._touched))

    @property
    def has_collected(self) -> bool:  # type: ignore[override]
        """Whether there is any."""
        return any(self._touched)


# Assets of one side that are kept; Airflow's `max_assets_per_collector`.
_MOST = 100
# Which modules make assets of a scheme, as the packages of providers say.
_FACTORIES = {
    "bigquery": "google.assets.bigquery",
    "file": "common.io.assets.file",
    "gcs": "google.assets.gcs",
    "gs": "google.assets.gcs",
    "s3": "amazon.aws.assets.s3",
}
NoOpCollector = HookLineageCollector
_collector = HookLineageCollector()


def collect() -> None:
    """Keep from now on what hooks say that they touched."""
    global _collector
    _collector = CollectsAssets()


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
