"""Asset events in the context: those that made the run, and what is to be said with a task's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagbok.authoring.assets import Asset, AssetAlias, AssetRef, BaseAsset, Metadata, assets_in
from dagbok.datetimes import DateTime
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

Json = dict[str, Any]
# As the rules have it.
EXTRA_BYTES, EVENTS, PARTITION_KEY = 8 << 10, 100, 250
# Partitions that one try may bring up to date, and what all its events may take, in bytes of JSON.
PARTITIONS, EVENTS_BYTES = 2_000, 400_000


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
        self.partition_key = details.get("partition_key")

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
        self.partition_keys: set[str] = set()

    def add_partitions(self, keys: str | list[str]) -> None:
        """Say which partitions of the asset the task brought up to date; each has an event of its own."""
        if isinstance(self.key, AssetAlias):
            raise TypeError(
                "add_partitions() is not supported on asset alias outlet events; "
                "partition keys can only be attached to a concrete asset."
            )
        said = [keys] if isinstance(keys, str) else list(keys)
        for key in said:
            if not key.strip():
                raise ValueError(f"partition_key must not be empty or whitespace-only; got {key!r}.")
            if len(key) > PARTITION_KEY:
                raise ValueError(f"partition_key must be at most {PARTITION_KEY} characters; got {len(key)}.")
        if (many := len(self.partition_keys.union(said))) > PARTITIONS:
            raise ValueError(
                f"a task may bring {PARTITIONS} partitions up to date; with these it would be {many} of "
                f"{self.key!r}: "
                "let a mapped task's copies share the work"
            )
        self.partition_keys.update(said)

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


class InletEvents(Mapping[Any, "EventsOf"]):
    """`inlet_events`: of each of the task's inlets what happened to it, looked up when it is asked for."""

    def __init__(self, inlets: list[BaseAsset]) -> None:
        self._inlets = inlets

    def __getitem__(self, key: Any) -> EventsOf:
        if isinstance(key, int):
            return EventsOf(self._inlets[key])
        if isinstance(key, str):
            key = Asset(key)
        for inlet in self._inlets:
            if _means(inlet, key):
                return EventsOf(inlet)
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inlets)

    def __len__(self) -> int:
        return len(self._inlets)


def _means(inlet: BaseAsset, key: Any) -> bool:
    """Return whether an inlet is what is asked for; each may be a reference by name or uri."""
    if isinstance(inlet, AssetAlias) or isinstance(key, AssetAlias):
        return isinstance(inlet, AssetAlias) and isinstance(key, AssetAlias) and inlet.name == key.name
    if not isinstance(key, Asset | AssetRef):
        raise TypeError(f"Key should be either an asset or an asset alias, not {type(key)}")
    if isinstance(inlet, Asset):
        return _is(inlet, key) if isinstance(key, AssetRef) else inlet.uri == key.uri
    return isinstance(inlet, AssetRef) and (_is(key, inlet) if isinstance(key, Asset) else inlet == key)


class EventsOf(Sequence[AssetEvent]):
    """The events of one asset, or of those that an alias stood for; the oldest first, unless told otherwise.

    Nothing is asked before it is looked at; of the last ones only those are.
    """

    def __init__(self, of: BaseAsset) -> None:
        self._of = of
        self._asked: Json = {}
        self._extra: Json = {}
        self._found: list[AssetEvent] | None = None

    def _with(self, **asked: Any) -> EventsOf:
        self._asked, self._found = {**self._asked, **asked}, None
        return self

    def after(self, after: Any) -> EventsOf:
        """Take those from this time on."""
        return self._with(after=_time(after))

    def before(self, before: Any) -> EventsOf:
        """Take those until this time."""
        return self._with(before=_time(before))

    def ascending(self, ascending: bool = True) -> EventsOf:
        """Let the oldest come first, or the newest."""
        return self._with(ascending=ascending)

    def limit(self, limit: int) -> EventsOf:
        """Take so many at most."""
        return self._with(limit=limit)

    def extra(self, key: str, value: Any) -> EventsOf:
        """Take those that were told this of."""
        self._extra = {**self._extra, key: value}
        return self._with()

    def _ask(self, **how: Any) -> list[AssetEvent]:
        from dagbok.runtime.past import ask

        kind, which = "GetAssetEventByAsset", dict[str, Any]()
        if isinstance(self._of, AssetAlias):
            kind, which = "GetAssetEventByAssetAlias", {"alias_name": self._of.name}
        elif isinstance(self._of, Asset):
            which = {"name": self._of.name, "uri": self._of.uri}
        elif isinstance(self._of, AssetRef):
            which = {"name": self._of.name or None, "uri": self._of.uri or None}
        asked = {**self._asked, **how}
        # Of those that were told something, the limit counts only them.
        limit = asked.pop("limit", None) if self._extra else None
        found = ask(kind, **which, **asked)["asset_events"]
        events = [AssetEvent(_details(event)) for event in found]
        return [it for it in events if self._extra.items() <= it.extra.items()][:limit]

    def _all(self) -> list[AssetEvent]:
        if self._found is None:
            self._found = self._ask()
        return self._found

    def __getitem__(self, at: Any) -> Any:
        if (
            isinstance(at, int)
            and at < 0
            and self._found is None
            and "limit" not in self._asked
            and not self._extra
        ):
            last = self._ask(ascending=not self._asked.get("ascending", True), limit=-at)
            return last[-at - 1]
        return self._all()[at]

    def __iter__(self) -> Iterator[AssetEvent]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<events of {self._of!r}>"


def _time(value: Any) -> Any:
    from dagbok.runtime.past import aware

    return aware(dt.datetime.fromisoformat(value) if isinstance(value, str) else value)


def _details(event: Json) -> Json:
    """Return an event of the API in the words in which a run is told of those that made it."""
    said = dt.datetime.fromisoformat(event["timestamp"])
    return {**event, "timestamp": said, "aliases": event.get("source_aliases")}


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
            by_ref: Json = {"ref": outlet.spec(), "extra": _json(outlet, _extra(said, outlet))}
            made.extend(_partitioned(by_ref, _keys(said, outlet)))
        elif isinstance(outlet, Asset):
            made.extend(_partitioned(_event(outlet, _extra(said, outlet)), _keys(said, outlet)))
    return _within(made)


def _within(made: list[Json]) -> list[Json]:
    """Return the events; raise where there are more than a record has room for."""
    from json import dumps

    plain = sum(1 for one in made if one.get("partition_key") is None)
    partitions = len(made) - plain
    if plain > EVENTS:
        raise AirflowException(f"it brings {plain} assets up to date; at most {EVENTS} are taken")
    if partitions > PARTITIONS:
        raise AirflowException(
            f"it brings {partitions} partitions up to date; at most {PARTITIONS} are taken of one try: "
            "let a mapped task's copies share the work"
        )
    size = sum(len(dumps(one)) for one in made) if partitions else 0
    if size > EVENTS_BYTES:
        raise AirflowException(
            f"the events of {partitions} partitions take {size} bytes of JSON, at most "
            f"{EVENTS_BYTES} are taken: say less with each (the extra goes with every one), or let a "
            "mapped task's copies share the work"
        )
    return made


def _keys(said: dict[tuple[str, str], OutletEvent], outlet: Asset | AssetRef) -> list[str]:
    """Return the partitions that the task said of an outlet, sorted."""
    if isinstance(outlet, Asset):
        event = said.get(_name(outlet))
        return sorted(event.partition_keys) if event is not None else []
    keys = ((one.key, one.partition_keys) for one in said.values())
    found = (of for key, of in keys if isinstance(key, Asset) and _is(key, outlet))
    return sorted(next(found, set()))


def _partitioned(event: Json, keys: list[str]) -> list[Json]:
    """Return an event for each partition; the one where none was said."""
    return [{**event, "partition_key": key} for key in keys] or [event]


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
