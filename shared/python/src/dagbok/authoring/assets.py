"""Assets, and datasets as Airflow 2 calls them: what tasks bring up to date and DAGs are scheduled on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

# By name: a file may put something of its own in the place of the module's functions.
from json import dumps
from typing import Any

from dagbok.authoring.timetable_base import Timetable, form_of
from dagbok.exceptions import AirflowTimetableInvalid

# Airflow's own column for names and uris.
LONGEST = 1500


class BaseAsset:
    """What a DAG can be scheduled on; `&` and `|` combine."""

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(self, other) if isinstance(other, BaseAsset) else NotImplemented

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(self, other) if isinstance(other, BaseAsset) else NotImplemented

    def condition(self) -> Any:
        """Return the form of the DAG spec, as a part of what a DAG waits for."""
        return {"One": {"of": self.spec()}}

    def spec(self) -> Any:
        """Return the form of the DAG spec, as an outlet."""
        raise TypeError(f"{self!r} is a condition and no asset")


def _checked(kind: str, what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{kind} {what} must be a string, not {value!r}")
    if not value or value.isspace():
        raise ValueError(f"{kind} {what} cannot be empty")
    if len(value) > LONGEST:
        raise ValueError(f"{kind} {what} cannot exceed {LONGEST} characters")
    return value


def sanitized(uri: str) -> str:
    """Return a uri in the form that Airflow compares: without password, fragment and slash at the end."""
    import urllib.parse  # memory that every task would have to be forked with, where few files name assets

    parsed = urllib.parse.urlsplit(uri)
    scheme = parsed.scheme.lower()
    if not scheme or scheme.startswith("x-"):
        return uri
    if scheme == "airflow":
        raise ValueError("Asset scheme 'airflow' is reserved")
    netloc = parsed.netloc.rpartition("@")[2] if parsed.password else parsed.netloc
    query = urllib.parse.urlencode(sorted(urllib.parse.parse_qsl(parsed.query))) if parsed.query else ""
    path = parsed.path.rstrip("/") or "/"
    whole = parsed._replace(scheme=scheme, netloc=netloc, path=path, query=query, fragment="")
    return urllib.parse.urlunsplit(whole)


class AssetWatcher:
    """A trigger whose events bring an asset up to date, by a name that is the asset's own."""

    def __init__(self, name: str, trigger: Any) -> None:
        from dagbok.surface.triggers import BaseEventTrigger

        if not isinstance(trigger, BaseEventTrigger):
            what = f"{name!r} has a {type(trigger).__name__}"
            raise ValueError(f"the trigger of an AssetWatcher is of a class of BaseEventTrigger; {what}")
        self.name, self.trigger = _checked("AssetWatcher", "name", name), trigger

    def __eq__(self, other: object) -> bool:
        mine = (self.name, self.trigger.serialize())
        return isinstance(other, AssetWatcher) and (other.name, other.trigger.serialize()) == mine

    def __hash__(self) -> int:
        return hash(self.name)


class Asset(os.PathLike[str], BaseAsset):
    """A named piece of data."""

    asset_type = "asset"

    def __init__(
        self,
        name: str | None = None,
        uri: str | None = None,
        *,
        group: str | None = None,
        extra: Mapping[str, Any] | None = None,
        watchers: Iterable[Any] | None = None,
        access_control: Any = None,
    ) -> None:
        kind = type(self).__name__
        if name is None and uri is None:
            raise TypeError(f"{kind}() requires either 'name' or 'uri'")
        self.name = _checked(kind, "name", str(uri) if name is None else name)
        if self.name in {"self", "context"}:
            raise ValueError(f"prohibited name for asset: {self.name}")
        self.uri = sanitized(_checked(kind, "uri", str(uri if uri is not None else name)))
        self.group = self.asset_type if group is None else group
        self.extra: dict[str, Any] = dict(extra or {})
        self.watchers: list[AssetWatcher] = list(watchers or ())
        for watcher in self.watchers:
            if not isinstance(watcher, AssetWatcher):
                what = type(watcher).__name__
                raise ValueError(f"asset `{self.name}` is watched by an AssetWatcher, not by a {what}")

    @staticmethod
    def ref(*, name: str = "", uri: str = "") -> AssetRef:
        """Return a reference to an asset by its name or its uri alone."""
        if bool(name) == bool(uri):
            raise TypeError("an asset is referred to by its name or by its uri")
        return AssetRef(name=name, uri=uri)

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        form: dict[str, Any] = {"name": self.name, "uri": self.uri}
        if self.group != "asset":
            form["group"] = str(self.group)
        if self.extra:
            form["extra"] = dumps(self.extra, sort_keys=True)
        return {"Asset": form}

    def __fspath__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, uri={self.uri!r})"


class Dataset(Asset):
    """Airflow 2's name; its first argument is the uri, and so is its name."""

    asset_type = "dataset"

    def __init__(self, uri: str, extra: dict[str, Any] | None = None, **kwargs: Any) -> None:
        whole = sanitized(_checked("Dataset", "uri", str(uri)))
        super().__init__(kwargs.pop("name", whole), whole, extra=extra, **kwargs)


class Model(Asset):
    """An asset that is a model."""

    asset_type = "model"


class AssetAlias(BaseAsset):
    """A name that tasks give to assets when they run."""

    def __init__(self, name: str, group: str = "asset") -> None:
        self.name, self.group = name, group
        _checked("AssetAlias", "name", self.name)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.name, other.group) == (self.name, self.group)

    def __hash__(self) -> int:
        return hash((self.name, self.group))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, group={self.group!r})"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return {"Alias": {"name": self.name}}


class AssetRef(BaseAsset):
    """An asset by its name or uri alone."""

    def __init__(self, name: str = "", uri: str = "") -> None:
        self.name, self.uri = name, uri

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.name, other.uri) == (self.name, self.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, uri={self.uri!r})"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return {"Name": {"name": self.name}} if self.name else {"Uri": {"uri": self.uri}}


class _Combined(BaseAsset):
    _kind = ""

    def __init__(self, *objects: Any) -> None:
        if not all(isinstance(one, BaseAsset) for one in objects):
            raise TypeError("expect asset expressions in condition")
        self.objects: tuple[BaseAsset, ...] = objects

    def condition(self) -> Any:
        """Return the form of the DAG spec."""
        return {self._kind: {"of": [one.condition() for one in self.objects]}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.objects == other.objects

    def __hash__(self) -> int:
        return hash((self._kind, self.objects))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.objects))})"


class AssetAll(_Combined):
    """All of several."""

    _kind = "All"

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(*self.objects, other) if isinstance(other, BaseAsset) else NotImplemented


class AssetAny(_Combined):
    """Any of several."""

    _kind = "Any"

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(*self.objects, other) if isinstance(other, BaseAsset) else NotImplemented


class Metadata:
    """What a task yields to say more of an outlet's event."""

    def __init__(
        self, asset: Asset, extra: dict[str, Any] | None = None, alias: AssetAlias | None = None
    ) -> None:
        self.asset, self.alias = asset, alias
        self.extra: dict[str, Any] = {} if extra is None else extra


class AssetTriggeredTimetable(Timetable):
    """Runs as assets are brought up to date."""

    summary = "Asset"

    def __init__(self, assets: Any) -> None:
        self.asset_condition = condition_of(assets)

    def spec(self) -> Any:
        """Return the form of the DAG spec: no clock makes its runs."""
        return "Manual"

    def assets_spec(self) -> Any:
        """Return what a run waits for."""
        return self.asset_condition.condition()


class AssetOrTimeSchedule(AssetTriggeredTimetable):
    """Runs as assets are brought up to date, and by another timetable too."""

    def __init__(self, *, timetable: Timetable, assets: Any = None, datasets: Any = None) -> None:
        super().__init__(assets if assets is not None else datasets)
        if not isinstance(timetable, Timetable) or isinstance(timetable, AssetTriggeredTimetable):
            raise AirflowTimetableInvalid("cannot nest asset timetables")
        self.timetable = timetable
        self.timezone_name, self.active_runs_limit = timetable.timezone_name, timetable.active_runs_limit

    @property
    def summary(self) -> str | None:  # type: ignore[override]
        """What people read in the place of the schedule."""
        return f"Asset or {self.timetable.summary}"

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return form_of(self.timetable)


def condition_of(assets: Any) -> BaseAsset:
    """Return what a file gave as assets to wait for, as one condition."""
    if isinstance(assets, BaseAsset):
        return assets
    several = tuple(assets) if isinstance(assets, list | tuple | set | frozenset) else ()
    if not several or not all(isinstance(one, BaseAsset) for one in several):
        raise AirflowTimetableInvalid("all elements in 'assets' must be assets")
    return AssetAll(*several)


def is_assets(schedule: Any) -> bool:
    """Whether a schedule is made of assets."""
    if isinstance(schedule, BaseAsset):
        return True
    several = isinstance(schedule, list | tuple | set | frozenset)
    return several and bool(schedule) and all(isinstance(one, BaseAsset) for one in schedule)


def assets_in(given: Any) -> list[BaseAsset]:
    """Return the assets among a task's inlets or outlets."""
    several = given if isinstance(given, list | tuple | set | frozenset) else [given]
    return [one for one in several if isinstance(one, BaseAsset) and not isinstance(one, _Combined)]
