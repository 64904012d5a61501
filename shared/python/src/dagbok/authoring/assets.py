"""Assets and datasets: taken by DAG files as names; their events come in a later version."""

from __future__ import annotations

from typing import Any


class Asset:
    """A named piece of data."""

    _is_asset = True

    def __init__(self, name: str | None = None, uri: str | None = None, **kwargs: Any) -> None:
        if name is None and uri is None:
            raise TypeError("an asset needs a name or a uri")
        self.name, self.uri = name or str(uri), uri or str(name)
        self.group, self.extra = kwargs.get("group", "asset"), kwargs.get("extra") or {}

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(self, other)

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, uri={self.uri!r})"


class Dataset(Asset):
    """Airflow 2's name; its first argument is the uri."""

    def __init__(self, uri: str, extra: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(uri=uri, extra=extra, **kwargs)


class AssetAlias(Asset):
    """A name that tasks give to assets at run time."""


class _Combined:
    _is_asset = True

    def __init__(self, *objects: Any) -> None:
        self.objects = objects

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(self, other)

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(self, other)


class AssetAll(_Combined):
    """All of several."""


class AssetAny(_Combined):
    """Any of several."""
