"""Partitions of assets: timetables and mappers, each of which knows the form in which the scheduler reads it.

What becomes of a key is the scheduler's to say: nothing here is called for a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from dagbok.authoring.assets import AssetRef, AssetTriggeredTimetable, BaseAsset, assets_in
from dagbok.authoring.partition_windows import MOST, WaitForAll, WaitPolicy, Window, spec_form
from dagbok.authoring.timetable_base import Timetable
from dagbok.authoring.timetables import CronTriggerTimetable
from dagbok.exceptions import AirflowTimetableInvalid
from dagbok.zones import parse_timezone, zone_name

DAY_TIME = "%Y-%m-%dT%H:%M:%S"
# Directives that the scheduler reads and writes as Python does.
READ = frozenset("YmdHIMSfyjbBaApzZuwGVUW%")
WRITTEN = READ | frozenset("CDeFghklnPRstT")
RUN_OFFSET = 1_000


def _known(text: str, known: frozenset[str], what: str) -> str:
    """Return a format; one with a directive that the scheduler does not have is refused."""
    for at, sign in _directives(text):
        if sign not in known:
            raise AirflowTimetableInvalid(
                f"{what} {text!r} has the directive '%{sign}' at character {at}, which the scheduler does "
                f"not know: it knows {' '.join('%' + one for one in sorted(known))}"
            )
    return text


def _directives(text: str) -> Iterator[tuple[int, str]]:
    at = text.find("%")
    while at >= 0:
        yield at, text[at + 1 : at + 2]
        at = text.find("%", at + 2)


class PartitionMapper:
    """What becomes of the key of an asset's partition."""

    is_rollup: ClassVar[bool] = False
    expected_decoded_type: ClassVar[type] = str

    def __init__(self, *, max_downstream_keys: int | None = None) -> None:
        if max_downstream_keys is not None and (
            not isinstance(max_downstream_keys, int) or max_downstream_keys < 1
        ):
            raise ValueError(
                f"max_downstream_keys must be a positive integer or None, got {max_downstream_keys!r}"
            )
        self.max_downstream_keys = max_downstream_keys

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        raise AirflowTimetableInvalid("PartitionMapper maps nothing: take one of its kinds")


class IdentityMapper(PartitionMapper):
    """The key stays."""

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return "Identity"


class _StartOf(PartitionMapper):
    expected_decoded_type = datetime
    period: ClassVar[str] = ""
    default_output_format: ClassVar[str] = ""

    def __init__(
        self,
        *,
        timezone: Any = "UTC",
        input_format: str = DAY_TIME,
        output_format: str | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.input_format = input_format
        self.output_format = output_format or self.default_output_format
        self.timezone_name = zone_name(parse_timezone(timezone))

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {
            "StartOf": {
                "period": self.period,
                "timezone": self.timezone_name,
                "input_format": _known(self.input_format, READ, "input_format"),
                "output_format": _known(self.output_format, WRITTEN, "output_format"),
            }
        }


class StartOfHourMapper(_StartOf):
    """The hour that a time lies in."""

    period, default_output_format = "hour", "%Y-%m-%dT%H"


class StartOfDayMapper(_StartOf):
    """The day that a time lies in."""

    period, default_output_format = "day", "%Y-%m-%d"


class StartOfWeekMapper(_StartOf):
    """The Monday before a time."""

    period, default_output_format = "week", "%Y-%m-%d (W%V)"


class StartOfMonthMapper(_StartOf):
    """The month that a time lies in."""

    period, default_output_format = "month", "%Y-%m"


class StartOfQuarterMapper(_StartOf):
    """The quarter that a time lies in."""

    period, default_output_format = "quarter", "%Y-Q{quarter}"


class StartOfYearMapper(_StartOf):
    """The year that a time lies in."""

    period, default_output_format = "year", "%Y"


class _Several(PartitionMapper):
    def __init__(
        self,
        mapper0: PartitionMapper,
        mapper1: PartitionMapper,
        /,
        *mappers: PartitionMapper,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.mappers = [mapper0, mapper1, *mappers]


class ProductMapper(_Several):
    """The parts of a key, each with a mapper of its own."""

    def __init__(
        self,
        mapper0: PartitionMapper,
        mapper1: PartitionMapper,
        /,
        *mappers: PartitionMapper,
        delimiter: str = "|",
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(mapper0, mapper1, *mappers, max_downstream_keys=max_downstream_keys)
        self.delimiter = delimiter

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        mappers = [spec_form(mapper, "partition mapper") for mapper in self.mappers]
        return {"Product": {"mappers": mappers, "delimiter": self.delimiter}}


class ChainMapper(_Several):
    """One mapper after the other."""

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {"Chain": {"mappers": [spec_form(mapper, "partition mapper") for mapper in self.mappers]}}


class AllowedKeyMapper(PartitionMapper):
    """The key stays, where it is one of these."""

    def __init__(self, allowed_keys: list[str], *, max_downstream_keys: int | None = None) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.allowed_keys = allowed_keys

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {"AllowedKey": {"allowed_keys": list(self.allowed_keys)}}


class FixedKeyMapper(PartitionMapper):
    """Every key becomes one."""

    def __init__(self, downstream_key: str, *, max_downstream_keys: int | None = None) -> None:
        if not downstream_key or not isinstance(downstream_key, str):
            raise ValueError(
                f"FixedKeyMapper downstream_key must be a non-empty str; got {downstream_key!r}."
            )
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.downstream_key = downstream_key

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {"FixedKey": {"downstream_key": self.downstream_key}}


class RollupMapper(PartitionMapper):
    """Many keys become one, whose run waits for them."""

    is_rollup = True

    def __init__(
        self,
        *,
        upstream_mapper: PartitionMapper,
        window: Window,
        wait_policy: WaitPolicy | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        if upstream_mapper.expected_decoded_type is not window.expected_decoded_type:
            raise TypeError(
                f"{type(window).__name__} expects decoded values of type "
                f"{window.expected_decoded_type.__name__!r}, but {type(upstream_mapper).__name__} decodes to "
                f"{upstream_mapper.expected_decoded_type.__name__!r}. Pair a window and an upstream mapper "
                "whose 'expected_decoded_type' match."
            )
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.upstream_mapper, self.window = upstream_mapper, window
        self.wait_policy = WaitForAll() if wait_policy is None else wait_policy

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        parts = {
            "upstream": spec_form(self.upstream_mapper, "partition mapper"),
            "window": spec_form(self.window, "window"),
        }
        return {"Rollup": {**parts, "wait": spec_form(self.wait_policy, "wait policy")}}


class FanOutMapper(PartitionMapper):
    """One key becomes many."""

    default_downstream_mapper_by_window_name: ClassVar[dict[str, type[_StartOf]]] = {
        "DayWindow": StartOfHourMapper,
        "WeekWindow": StartOfDayMapper,
        "MonthWindow": StartOfDayMapper,
        "QuarterWindow": StartOfMonthMapper,
        "YearWindow": StartOfMonthMapper,
    }

    def __init__(
        self,
        *,
        upstream_mapper: PartitionMapper,
        window: Window,
        downstream_mapper: PartitionMapper | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        if downstream_mapper is None:
            kind = self.default_downstream_mapper_by_window_name.get(type(window).__name__)
            if kind is None:
                raise ValueError(
                    f"{type(self).__name__} has no default downstream_mapper for window type "
                    f"{type(window).__name__}; pass downstream_mapper explicitly."
                )
            downstream_mapper = kind()
        self.upstream_mapper, self.window = upstream_mapper, window
        self.downstream_mapper = downstream_mapper

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        parts = {
            "upstream": spec_form(self.upstream_mapper, "partition mapper"),
            "window": spec_form(self.window, "window"),
        }
        return {"FanOut": {**parts, "downstream": spec_form(self.downstream_mapper, "partition mapper")}}


def _rule(mapper: PartitionMapper) -> dict[str, Any]:
    if not isinstance(mapper, PartitionMapper):
        raise AirflowTimetableInvalid(
            f"a partition mapper is wanted, not {type(mapper).__name__}: {mapper!r}"
        )
    rule: dict[str, Any] = {"mapper": spec_form(mapper, "partition mapper")}
    if mapper.max_downstream_keys is not None:
        rule["max_downstream_keys"] = min(mapper.max_downstream_keys, MOST)
    return rule


class CronPartitionTimetable(CronTriggerTimetable):
    """Cron; a run is made at each tick, for a partition."""

    partitioned = True

    def __init__(
        self,
        cron: str,
        *,
        timezone: Any,
        run_offset: int | None = None,
        run_immediately: bool | timedelta = False,
        key_format: str = DAY_TIME,
    ) -> None:
        super().__init__(cron, timezone, run_immediately=run_immediately)
        if run_offset is not None and not isinstance(run_offset, int):
            raise ValueError("Run offset other than integer not supported yet.")
        if abs(run_offset or 0) > RUN_OFFSET:
            raise ValueError(f"run_offset is {run_offset}; at most {RUN_OFFSET} ticks either way are taken.")
        self.run_offset, self.key_format = run_offset or 0, _known(key_format, WRITTEN, "key_format")

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        form: dict[str, Any] = {"expression": self.expression, "key_format": self.key_format}
        if self.run_offset:
            form["run_offset"] = self.run_offset
        if self._immediately is not None:
            form["run_immediately"] = self._immediately
        return {"CronPartition": form}


class PartitionedAssetTimetable(AssetTriggeredTimetable):
    """Runs as assets are brought up to date, one for each partition."""

    partitioned = True
    summary = "Partitioned Asset"

    def __init__(
        self,
        assets: Any,
        partition_mapper_config: Mapping[BaseAsset, PartitionMapper] | None = None,
        default_partition_mapper: PartitionMapper | None = None,
    ) -> None:
        super().__init__(assets)
        self.partition_mapper_config = dict(partition_mapper_config or {})
        self.default_partition_mapper = default_partition_mapper or IdentityMapper()

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        form: dict[str, Any] = {"default": _rule(self.default_partition_mapper)}
        rules = [
            {"asset": one.spec(), "rule": _rule(mapper)}
            for named, mapper in self.partition_mapper_config.items()
            for one in ([named] if isinstance(named, AssetRef) else assets_in([named]))
        ]
        if rules:
            form["rules"] = rules
        return {"PartitionedAsset": form}


class PartitionedAtRuntime(Timetable):
    """Only by trigger; tasks say which partitions they bring up to date."""

    can_be_scheduled = False
    partitioned_at_runtime = True
    summary = None

    def spec(self) -> Any:
        """Return the form of the DAG spec."""
        return "PartitionedAtRuntime"
