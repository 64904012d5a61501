"""Asset events in the context: those that made the run, and what is to be said with a task's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dagbok.authoring.assets import Asset, AssetAlias, AssetRef, BaseAsset, Metadata, assets_in
from dagbok.datetimes import DateTime
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

Json = dict[str, Any]
# As the rules have it.
EXTRA_BYTES, EVENTS = 8 << 10, 100


class AssetEvent:
    """One event of an asset, as the run that it made sees it."""

    def __init__(self, details: Json) -> None:
        self.asset = Asset(details["name"], details["uri"])
        self.extra: Json = details.get("extra") or {}
        self.timestamp = DateTime.instance(details["timestamp"])
        self.source_dag_id = details.get("source_dag_id")
        self.source_run_id = details.get("source_run_id")
        self.source_task_id = details.get("source_task_id")
        self.source_map_index = details.get("source_map_index", -1)
        self.source_aliases = [AssetAlias(name) for name in details.get("aliases") or ()]

    dataset = property(lambda self: self.asset, doc="The older name of asset.")
    uri = property(lambda self: self.asset.uri, doc="The asset's uri.")

    def __repr__(self) -> str:
        return f"<AssetEvent {self.asset.uri} {self.timestamp.isoformat()}>"


def _name(key: Any) -> tuple[str, str]:
    """Return what an asset or alias is known by."""
    if isinstance(key, Asset):
        return ("asset", key.uri)
    if isinstance(key, AssetAlias):
        return ("alias", key.name)
    raise TypeError(f"Key should be either an asset or an asset alias, not {type(key)}")


class TriggeringEvents(Mapping[Any, list[AssetEvent]]):
    """The events that made the run, by asset and alias; of the older era by uri."""

    def __init__(self, events: list[AssetEvent], older: bool) -> None:
        self._older = older
        self._keys: dict[tuple[str, str], BaseAsset] = {}
        self._events: dict[tuple[str, str], list[AssetEvent]] = {}
        for event in events:
            for key in (event.asset, *event.source_aliases):
                self._keys.setdefault(_name(key), key)
                self._events.setdefault(_name(key), []).append(event)

    def __getitem__(self, key: Any) -> list[AssetEvent]:
        if isinstance(key, str):
            return self._events[("asset", key)]
        if isinstance(key, AssetRef):
            found = (one for one in self._keys.values() if isinstance(one, Asset) and _is(one, key))
            key = next(found, None)
            if key is None:
                raise KeyError(key)
        return self._events[_name(key)]

    def __iter__(self) -> Iterator[Any]:
        for (kind, name), key in self._keys.items():
            if not self._older:
                yield key
            elif kind == "asset":
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is(asset: Asset, ref: AssetRef) -> bool:
    return asset.name == ref.name if ref.name else asset.uri == ref.uri


class OutletEvent:
    """What is to be said with an outlet's event; of an alias which assets it stands for."""

    def __init__(self, key: BaseAsset) -> None:
        self.key = key
        self.extra: Json = {}
        self.asset_alias_events: list[Json] = []

    def add(self, asset: Any, extra: Json | None = None) -> None:
        """Let the alias stand for an asset, whose event this becomes."""
        if not isinstance(self.key, AssetAlias):
            return
        if isinstance(asset, str):
            asset = Asset(asset)
        self.asset_alias_events.append({"alias": self.key.name, "asset": asset, "extra": extra or {}})


class OutletEvents(Mapping[Any, OutletEvent]):
    """`outlet_events`: by asset or alias, made as it is asked for."""

    def __init__(self, outlets: list[BaseAsset]) -> None:
        self._outlets = outlets
        self._events: dict[tuple[str, str], OutletEvent] = {}

    def __getitem__(self, key: Any) -> OutletEvent:
        if isinstance(key, int):
            key = self._outlets[key]
        if isinstance(key, str):
            key = Asset(key)
        if isinstance(key, AssetRef):
            found = (one for one in self._outlets if isinstance(one, Asset) and _is(one, key))
            key = next(found, None) or Asset(key.name or None, key.uri or None)
        return self._events.setdefault(_name(key), OutletEvent(key))

    def __iter__(self) -> Iterator[Any]:
        return (event.key for event in self._events.values())

    def __len__(self) -> int:
        return len(self._events)

    def take(self, yielded: Any) -> None:
        """Take in what a task yielded: metadata of an outlet."""
        if not isinstance(yielded, Metadata):
            return
        if yielded.alias is not None:
            self[yielded.alias].add(yielded.asset, yielded.extra)
        else:
            self[yielded.asset].extra.update(yielded.extra)


class EventList(list[AssetEvent]):
    """Events of one asset or alias, oldest first; narrowed as Airflow narrows them."""

    def after(self, after: Any) -> EventList:
        """Return those from an instant on."""
        return EventList(event for event in self if event.timestamp >= _instant(after))

    def before(self, before: Any) -> EventList:
        """Return those up to an instant."""
        return EventList(event for event in self if event.timestamp <= _instant(before))

    def ascending(self, ascending: bool = True) -> EventList:
        """Return them with the oldest first, or last."""
        return EventList(sorted(self, key=lambda event: event.timestamp, reverse=not ascending))

    def limit(self, limit: int) -> EventList:
        """Return so many from the begin."""
        return EventList(self[:limit])

    def extra(self, key: str, value: Any) -> EventList:
        """Return those whose extra has this value."""
        return EventList(event for event in self if event.extra.get(key) == value)


def _instant(value: Any) -> DateTime:
    from dagbok.timezone import parse

    return DateTime.instance(parse(value) if isinstance(value, str) else value)


class InletEvents(Mapping[Any, EventList]):
    """`inlet_events`: the events of each asset and alias that is an inlet, asked for when looked at."""

    def __init__(self, inlets: Any) -> None:
        self._inlets = assets_in(inlets)

    def __getitem__(self, key: Any) -> EventList:
        if isinstance(key, int):
            key = self._inlets[key]
        elif not any(self._same(key, inlet) for inlet in self._inlets):
            raise KeyError(key)
        from dagbok.runtime.past import ask, instant

        said = (
            {"alias_name": key.name}
            if isinstance(key, AssetAlias)
            else {"name": key.name or None, "uri": key.uri or None}
        )
        kind = "GetAssetEventByAssetAlias" if isinstance(key, AssetAlias) else "GetAssetEventByAsset"
        told = ask(kind, **said)["asset_events"]
        return EventList(
            AssetEvent({**one, "timestamp": instant(one["timestamp"]), "aliases": one.get("source_aliases")})
            for one in told
        )

    @staticmethod
    def _same(key: Any, inlet: BaseAsset) -> bool:
        if isinstance(key, AssetRef) or isinstance(inlet, AssetRef):
            asset, ref = (inlet, key) if isinstance(key, AssetRef) else (key, inlet)
            if isinstance(asset, Asset) and isinstance(ref, AssetRef):
                return _is(asset, ref)
            return bool(key == inlet)
        return _name(key) == _name(inlet)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inlets)

    def __len__(self) -> int:
        return len(self._inlets)


def told(task: BaseOperator, events: OutletEvents | None) -> list[Json]:
    """Return the events that a task's success makes, in the form of the supervisor."""
    made: list[Json] = []
    said = events._events if events is not None else {}
    for outlet in assets_in(task.outlets):
        if isinstance(outlet, AssetAlias):
            event = said.get(_name(outlet))
            said_of_it = event.asset_alias_events if event is not None else []
            made.extend(_event(one["asset"], one["extra"], one["alias"]) for one in said_of_it)
        elif isinstance(outlet, AssetRef):
            made.append({"ref": outlet.spec(), "extra": _json(outlet, _extra(said, outlet))})
        elif isinstance(outlet, Asset):
            made.append(_event(outlet, _extra(said, outlet)))
    if len(made) > EVENTS:
        raise AirflowException(f"it brings {len(made)} assets up to date; at most {EVENTS} are taken")
    return made


def _extra(said: dict[tuple[str, str], OutletEvent], outlet: Asset | AssetRef) -> Json:
    if isinstance(outlet, Asset):
        event = said.get(_name(outlet))
        return event.extra if event is not None else {}
    keys = ((one.key, one.extra) for one in said.values())
    found = (extra for key, extra in keys if isinstance(key, Asset) and _is(key, outlet))
    return next(found, {})


def _event(asset: Asset, extra: Json, alias: str | None = None) -> Json:
    event: Json = {"name": asset.name, "uri": asset.uri, "extra": _json(asset, extra)}
    if alias is not None:
        event["aliases"] = [alias]
    return event


def _json(asset: BaseAsset, extra: Json) -> str | None:
    from json import dumps

    if not extra:
        return None
    try:
        text = dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AirflowException(f"the extra of {asset!r} has no JSON form: {error}") from None
    if len(text.encode()) > EXTRA_BYTES:
        raise AirflowException(
            f"the extra of {asset!r} has {len(text.encode())} bytes of JSON, at most {EXTRA_BYTES} are "
            "taken: put the data where the next task can read it, and its place in the extra"
        )
    return text
