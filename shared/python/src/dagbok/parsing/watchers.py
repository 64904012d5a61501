"""What watches the assets that a DAG is scheduled on, for its spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagbok.authoring.assets import Asset, BaseAsset
from dagbok.exceptions import AirflowException
from dagbok.runtime.deferring import in_text

Json = dict[str, Any]


def watchers(condition: BaseAsset) -> list[Json]:
    """Return each watcher once: its name, its asset, and what makes its trigger."""
    found: list[Json] = []
    for asset in _assets(condition):
        names = [watcher.name for watcher in asset.watchers]
        if len(set(names)) < len(names):
            raise AirflowException(f"two watchers of the asset `{asset.name}` have one name")
        for watcher in asset.watchers:
            path, arguments = watcher.trigger.serialize()
            what = f"an argument of the trigger {path} of the watcher `{watcher.name}`"
            one: Json = {
                "name": watcher.name,
                "asset": {"name": asset.name, "uri": asset.uri},
                "trigger": {"class_path": path, "kwargs": {"Inline": in_text(arguments, what)}},
            }
            if one not in found:
                found.append(one)
    return found


def _assets(condition: Any) -> Iterator[Asset]:
    if isinstance(condition, Asset):
        yield condition
    for one in getattr(condition, "objects", ()):
        yield from _assets(one)
