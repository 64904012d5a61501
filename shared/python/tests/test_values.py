"""Properties: frames and XCom values come back as they went."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import socket
import threading
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagbok.datetimes import DateTime
from dagbok.exceptions import XComNotSerializable
from dagbok.runtime.frames import FrameError, FrameStream, encode
from dagbok.runtime.values import from_json, to_json

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])) | st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1970, 1, 2)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(messages=st.lists(plain, min_size=1, max_size=3), cuts=st.lists(st.integers(1, 50), max_size=20))
def test_frames_come_back_however_they_are_cut(messages: list[Any], cuts: list[int]) -> None:
    ours, theirs = socket.socketpair()
    data = b"".join(map(encode, messages))

    def drip() -> None:
        rest = data
        for cut in cuts:
            ours.sendall(rest[:cut])
            rest = rest[cut:]
        ours.sendall(rest)

    writer = threading.Thread(target=drip)
    writer.start()
    stream = FrameStream(theirs.fileno())
    assert [stream.receive() for _ in messages] == messages
    writer.join()
    ours.close()
    with pytest.raises(FrameError):
        stream.receive()
    theirs.close()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_a_frame_error_or_a_message(noise: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, noise)
    os.close(writer)
    try:
        FrameStream(reader).receive()
    except FrameError:
        pass
    finally:
        os.close(reader)


exact = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])) | st.dates() | st.times() | st.timedeltas() | st.uuids()
    | st.decimals(allow_nan=False) | st.datetimes() | st.datetimes(timezones=st.just(dt.UTC))
    | st.datetimes(timezones=st.timezones(), min_value=dt.datetime(1950, 1, 1), allow_imaginary=False)
)  # fmt: skip
values = st.recursive(
    exact,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda k: not k.startswith("__")), inner, max_size=3)
    ),
    max_leaves=12,
) | st.sets(st.integers()) | st.frozensets(st.text(st.characters(exclude_categories=["Cs"])))  # fmt: skip


def test_a_time_that_no_clock_showed_comes_back_as_the_instant_it_stands_for() -> None:
    skipped = dt.datetime(2002, 3, 31, 2, 0, tzinfo=ZoneInfo("Asia/Barnaul"))
    back = from_json(json.loads(json.dumps(to_json(skipped), allow_nan=False)))
    assert back.timestamp() == skipped.timestamp()
    assert (back.hour, back.tzinfo) == (3, skipped.tzinfo)


@settings(deadline=None, max_examples=300)
@given(values)
def test_values_come_back_through_json(value: Any) -> None:
    wire = to_json(value)
    back = from_json(json.loads(json.dumps(wire, allow_nan=False)))
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, dt.datetime):
        assert back.utcoffset() == value.utcoffset()


class Own:
    pass


def test_what_has_no_form_is_named_with_its_place() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value, words in [
        ({"a": [1, Own()]}, r"Own at \['a'\]\[1\]"),
        (loop, "holds itself"),
        ("\ud800", "surrogates"),
        ({"__classname__": 1}, "reserved"),
        (ValueError("x"), "raise it instead"),
        (lambda: None, "function"),
        ({"a": b"x"}, r"bytes at \['a'\], which has no JSON form, as in Airflow"),
    ]:
        with pytest.raises(XComNotSerializable, match=words):
            to_json(value, "the XCom `k`")
    with pytest.raises(XComNotSerializable, match="os.system"):
        from_json({"__classname__": "os.system", "__data__": "true"})


def test_bytes_that_an_earlier_version_pushed_are_read() -> None:
    assert from_json({"__classname__": "builtins.bytes", "__version__": 1, "__data__": "eA=="}) == b"x"


def test_numbers_beyond_64_bits_and_not_finite() -> None:
    assert from_json(to_json([2**64, -(2**70), float("inf")])) == [2**64, -(2**70), float("inf")]
    assert from_json(to_json(decimal.Decimal("1.10"))) == decimal.Decimal("1.10")


def test_instants_have_pendulums_common_methods_without_importing_it() -> None:
    day = DateTime(2024, 1, 31, 5, 6, 7, tzinfo=dt.UTC)
    assert day.add(months=1) == dt.datetime(2024, 2, 29, 5, 6, 7, tzinfo=dt.UTC)
    assert day.subtract(days=31, hours=5).to_date_string() == "2023-12-31"
    assert day.start_of("month").isoformat() == "2024-01-01T00:00:00+00:00"
    assert day.in_timezone("Asia/Tokyo").hour == 14
    assert day.to_iso8601_string() == "2024-01-31T05:06:07Z"
    assert type(day - dt.timedelta(days=1)) is DateTime


@given(
    st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2100, 1, 1), timezones=st.sampled_from([dt.UTC])),
    st.integers(-500, 500), st.integers(-500, 500), st.integers(-5000, 5000), st.sampled_from(["UTC", "Europe/Stockholm", "America/Sao_Paulo"]),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_add_agrees_with_pendulum(value: dt.datetime, months: int, days: int, hours: int, zone: str) -> None:
    pendulum = pytest.importorskip("pendulum")
    from dagbok.timezone import parse_timezone

    ours = DateTime.instance(value.astimezone(parse_timezone(zone)))
    theirs = pendulum.instance(value).in_timezone(zone)
    for units in ({"months": months}, {"days": days}, {"hours": hours}):
        assert ours.add(**units).timestamp() == theirs.add(**units).timestamp(), units


def test_instants_of_the_context_and_of_pendulum_come_back_as_such() -> None:
    import pendulum

    at = dt.datetime(2024, 3, 5, 1, 2, 3, 4, tzinfo=dt.UTC)
    for value in [
        DateTime.instance(at), pendulum.instance(at), pendulum.datetime(2024, 3, 5, tz="Europe/Berlin"),
        pendulum.date(2024, 1, 2), pendulum.time(1, 2, 3), pendulum.duration(days=-3, hours=4),
        pendulum.duration(years=1, months=-2, seconds=5), at, at.date(),
    ]:  # fmt: skip
        found = from_json(json.loads(json.dumps(to_json({"at": [value]}))))["at"][0]
        assert (type(found), found) == (type(value), value)
    assert from_json(to_json(DateTime.instance(at))).add(days=1).to_date_string() == "2024-03-06"


def test_times_that_would_not_come_back_are_refused_where_they_are_handed_on() -> None:
    pd = pytest.importorskip("pandas")
    np = pytest.importorskip("numpy")
    rows = pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None])}).to_dict("records")
    with pytest.raises(XComNotSerializable, match=r"missing time at \[1\]\['t'\]"):
        to_json(rows)
    for value in (pd.Timestamp("2024-01-01") + pd.Timedelta(1, "ns"), pd.Timedelta(1, "ns")):
        with pytest.raises(XComNotSerializable, match="nanoseconds"):
            to_json(value)
    day = np.datetime64("2024-01-01T00:00:00.000000000")
    assert from_json(to_json(day)) == dt.datetime(2024, 1, 1)
    assert from_json(to_json(np.array([day]))) == [dt.datetime(2024, 1, 1)]
    for value in (day + np.timedelta64(1, "ns"), np.datetime64("NaT"), np.array(["NaT"], "datetime64[us]")):
        with pytest.raises(XComNotSerializable, match="finer than microseconds"):
            to_json(value)


def test_what_airflows_task_runner_wrote_is_read() -> None:
    def form(name: str, version: int, data: object) -> dict[str, object]:
        return {"__classname__": name, "__version__": version, "__data__": data}

    zone = form("builtins.tuple", 1, ["Europe/Stockholm", "zoneinfo.ZoneInfo", 1, True])
    at = dt.datetime(2026, 7, 2, 3, 4, 5, 678901, tzinfo=ZoneInfo("Europe/Stockholm"))
    read = from_json(form("datetime.datetime", 2, {"timestamp": at.timestamp(), "tz": zone}))
    assert (read, read.tzinfo.key) == (at, "Europe/Stockholm")
    offset = form("builtins.tuple", 1, [19800, "pendulum.tz.timezone.FixedTimezone", 1, True])
    read = from_json(form("datetime.datetime", 2, {"timestamp": 0.0, "tz": offset}))
    assert read.isoformat() == "1970-01-01T05:30:00+05:30"
    assert from_json(form("datetime.datetime", 2, {"timestamp": 0.0, "tz": None})).tzinfo is None
    assert from_json(form("datetime.timedelta", 2, 1.5)) == dt.timedelta(seconds=1.5)
    assert from_json(form("decimal.Decimal", 1, 1.25)) == decimal.Decimal("1.25")
    assert from_json(form("datetime.date", 2, "2026-01-02")) == dt.date(2026, 1, 2)
    assert from_json(form("numpy.int64", 1, 7)) == 7
    with pytest.raises(XComNotSerializable):
        from_json(form("numpy.ndarray", 1, [7]))
