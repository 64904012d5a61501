"""Asks a real Airflow what its partition mappers make of keys, and writes down what it says.

The tests never need it. Run it with the Python of an environment that has Airflow 3.3.2:

    /tmp/airflow/bin/python shared/domain/tests/oracle/record_partitions.py

It writes `partitions.json` beside itself: mappers in the form of the DAG spec, and of each some keys with what
they become, of those the keys that they need, and when they begin.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

from airflow.partition_mappers import (
    AllowedKeyMapper,
    ChainMapper,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    HourWindow,
    IdentityMapper,
    MinimumCount,
    MonthWindow,
    ProductMapper,
    QuarterWindow,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
    WaitForAll,
    WeekWindow,
    YearWindow,
)

HERE = Path(__file__).resolve().parent
TIMES = {
    "hour": StartOfHourMapper,
    "day": StartOfDayMapper,
    "week": StartOfWeekMapper,
    "month": StartOfMonthMapper,
    "quarter": StartOfQuarterMapper,
    "year": StartOfYearMapper,
}
WINDOWS = {
    "hour": HourWindow,
    "day": DayWindow,
    "week": WeekWindow,
    "month": MonthWindow,
    "quarter": QuarterWindow,
    "year": YearWindow,
}
ZONES = ["UTC", "America/New_York", "Asia/Taipei", "Europe/Stockholm", "Australia/Lord_Howe"]
ISO = "%Y-%m-%dT%H:%M:%S"
Form = Any


def window_form(window: Any) -> Form:
    """Return a window as the spec has it."""
    if isinstance(window, SegmentWindow):
        return {"Segments": {"segments": sorted(window._segments)}}
    period = next(name for name, kind in WINDOWS.items() if type(window) is kind)
    backward = window.direction.value == "backward"
    return {"Of": {"period": period, **({"backward": True} if backward else {})}}


def form(mapper: Any) -> Form:
    """Return a mapper as the spec has it."""
    for period, kind in TIMES.items():
        if type(mapper) is kind:
            return {
                "StartOf": {
                    "period": period,
                    "timezone": mapper._timezone.name,
                    "input_format": mapper.input_format,
                    "output_format": mapper.output_format,
                }
            }
    if isinstance(mapper, IdentityMapper):
        return "Identity"
    if isinstance(mapper, ProductMapper):
        return {"Product": {"mappers": [form(it) for it in mapper.mappers], "delimiter": mapper.delimiter}}
    if isinstance(mapper, ChainMapper):
        return {"Chain": {"mappers": [form(it) for it in mapper.mappers]}}
    if isinstance(mapper, AllowedKeyMapper):
        return {"AllowedKey": {"allowed_keys": mapper.allowed_keys}}
    if isinstance(mapper, FixedKeyMapper):
        return {"FixedKey": {"downstream_key": mapper.downstream_key}}
    parts = {"upstream": form(mapper.upstream_mapper), "window": window_form(mapper.window)}
    if isinstance(mapper, RollupMapper):
        policy = mapper.wait_policy
        wait = "All" if isinstance(policy, WaitForAll) else {"MinimumCount": {"n": policy.n}}
        return {"Rollup": {**parts, "wait": wait}}
    return {"FanOut": {**parts, "downstream": form(mapper.downstream_mapper)}}


def mappers(rng: random.Random) -> list[Any]:
    """Return mappers of every kind."""
    made: list[Any] = [IdentityMapper(), FixedKeyMapper("all"), AllowedKeyMapper(["us", "eu"])]
    times = []
    for kind in TIMES.values():
        for zone in ZONES:
            times.append(kind(timezone=zone))
            times.append(kind(timezone=zone, input_format="%Y-%m-%dT%H:%M:%S%z"))
        times.append(kind(input_format="%Y-%m-%d"))
        times.append(kind(input_format="%Y/%m/%d %H"))
    times.append(StartOfHourMapper(output_format="%Y-%m-%dT%H%z", timezone="America/New_York"))
    times.append(StartOfDayMapper(output_format="%d.%m.%Y", timezone="Europe/Stockholm"))
    times.append(StartOfWeekMapper(output_format="week %V of %Y-%m-%d"))
    times.append(StartOfQuarterMapper(output_format="Q{quarter}/%Y"))
    made += times
    for period, window in WINDOWS.items():
        for zone in ZONES:
            for direction in ("forward", "backward"):
                upstream = TIMES[period](timezone=zone)
                made.append(RollupMapper(upstream_mapper=upstream, window=window(direction=direction)))
                below = StartOfHourMapper() if period == "hour" else None
                made.append(
                    FanOutMapper(
                        upstream_mapper=TIMES[period](timezone=zone),
                        window=window(direction=direction),
                        downstream_mapper=below,
                    )
                )
    segments = SegmentWindow(["us", "eu", "apac"])
    made.append(
        RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=segments, wait_policy=MinimumCount(2))
    )
    made.append(
        FanOutMapper(upstream_mapper=IdentityMapper(), window=segments, downstream_mapper=IdentityMapper())
    )
    made.append(
        FanOutMapper(
            upstream_mapper=StartOfDayMapper(), window=DayWindow(), downstream_mapper=IdentityMapper()
        )
    )
    made.append(ProductMapper(IdentityMapper(), StartOfDayMapper()))
    made.append(ProductMapper(StartOfDayMapper(), StartOfHourMapper(), delimiter="::"))
    made.append(ChainMapper(StartOfHourMapper(), StartOfDayMapper(input_format="%Y-%m-%dT%H")))
    made.append(ChainMapper(AllowedKeyMapper(["us"]), FixedKeyMapper("all")))
    return made


def keys(rng: random.Random) -> list[str]:
    """Return keys, of which most mappers take some."""
    found = ["", "us", "eu", "nowhere", "2024-02-30T00:00:00", "2024-3-5T1:2:3", "x|2024-01-01T00:00:00"]
    # Where clocks change.
    edges = ["2024-03-10T02:30:00", "2024-11-03T01:30:00", "2024-03-31T02:30:00", "2024-10-27T02:30:00"]
    found += [*edges, "2024-04-07T01:45:00", "2024-10-06T02:15:00"]
    begin = dt.datetime(2019, 12, 28)
    for _ in range(25):
        at = begin + dt.timedelta(seconds=rng.randrange(0, 2600 * 86400))
        found.append(at.strftime(ISO))
        found.append(at.strftime(ISO) + rng.choice(["+0000", "+0530", "-0800", "+1400"]))
        found.append(at.strftime("%Y-%m-%d"))
        found.append(at.strftime("%Y/%m/%d %H"))
        found.append(f"us|{at.strftime(ISO)}")
        found.append(f"{at.strftime(ISO)}::{at.strftime(ISO)}")
    return found


def said(ask: Any) -> Any:
    """Return what a question is answered, or that it raises."""
    try:
        return ask()
    except Exception:
        return None


def main() -> None:
    """Record."""
    rng = random.Random(7)
    all_keys = keys(rng)
    cases = []
    for mapper in mappers(rng):
        answers = []
        for key in rng.sample(all_keys, 40) + all_keys[:13]:
            down = said(lambda: mapper.to_downstream(key))  # noqa: B023
            down = [down] if isinstance(down, str) else None if down is None else list(down)
            answer: dict[str, Any] = {"key": key, "down": down}
            if down:
                one = down[0]
                date = said(lambda: mapper.to_partition_date(one))  # noqa: B023
                answer["date"] = None if date is None else date.astimezone(dt.UTC).strftime(ISO) + "Z"
                if mapper.is_rollup:
                    needed = said(lambda: mapper.to_upstream(one))  # noqa: B023
                    answer["up"] = None if needed is None else sorted(needed)
            answers.append(answer)
        # Of keys that it does not take a few tell enough.
        refused = [answer for answer in answers if answer["down"] is None][:5]
        taken = [answer for answer in answers if answer["down"] is not None][:8]
        cases.append({"mapper": form(mapper), "answers": [*taken, *refused]})
    (HERE / "partitions.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
