"""Assets and datasets: how files of both eras name them, what tasks say of them, and what runs see."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from conftest import Bench, Folder

OLDER = """
from airflow.datasets import Dataset, DatasetAlias
from airflow.datasets.metadata import Metadata
from airflow.timetables.datasets import DatasetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable
"""
NEWER = """
from airflow.sdk import Asset, AssetAlias, AssetAll, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable, Metadata
"""


def spec(folder: Folder, schedule: str, imports: str = NEWER, task: str = "") -> Any:
    """The spec of a DAG with this schedule."""
    text = f"{imports}with DAG('d', schedule={schedule}, start_date=datetime(2024, 1, 1)):\n"
    return folder.spec(f"{text}    EmptyOperator(task_id='t', {task})\n", env={"DAGBOK_SCHEDULE_ERA": "3"})


def one(name: str, uri: str) -> Any:
    return {"One": {"of": {"Asset": {"name": name, "uri": uri}}}}


@pytest.mark.parametrize(
    ("schedule", "condition"),
    [
        ("Asset('a')", one("a", "a")),
        ("[Asset('a', 's3://b/c')]", {"All": {"of": [one("a", "s3://b/c")]}}),
        ("(Asset('a'), Asset('b'))", {"All": {"of": [one("a", "a"), one("b", "b")]}}),
        ("Asset('a') & Asset('b') & Asset('c')", {"All": {"of": [one("a", "a"), one("b", "b"), one("c", "c")]}}),
        (
            "Asset('a') | (Asset('b') & AssetAlias('x'))",
            {
                "Any": {
                    "of": [
                        one("a", "a"),
                        {"All": {"of": [one("b", "b"), {"One": {"of": {"Alias": {"name": "x"}}}}]}},
                    ]
                }
            },
        ),
        ("AssetAny(Asset.ref(name='a'), Asset.ref(uri='s3://b'))",
         {"Any": {"of": [{"One": {"of": {"Name": {"name": "a"}}}}, {"One": {"of": {"Uri": {"uri": "s3://b"}}}}]}}),
    ],
)  # fmt: skip
def test_schedules_on_assets_are_conditions(folder: Folder, schedule: str, condition: Any) -> None:
    found = spec(folder, schedule)
    assert found["asset_condition"] == condition
    assert found["schedule"]["timetable"] == "Manual"
    assert found["schedule"]["text"] == "Asset"


def test_time_or_assets_have_both(folder: Folder) -> None:
    said = "AssetOrTimeSchedule(timetable=CronTriggerTimetable('0 1 * * *', timezone='UTC'), assets=[Asset('a')])"
    found = spec(folder, said)
    assert found["schedule"]["timetable"] == {"CronTrigger": {"expression": "0 1 * * *"}}
    assert found["schedule"]["text"] == "Asset or 0 1 * * *"
    assert found["asset_condition"] == {"All": {"of": [one("a", "a")]}}
    older = said.replace("AssetOr", "DatasetOr").replace("assets=[Asset(", "datasets=[Dataset(")
    (dataset,) = spec(folder, older, OLDER)["asset_condition"]["All"]["of"]
    assert dataset["One"]["of"]["Asset"] == {"name": "a", "uri": "a", "group": "dataset"}


def test_outlets_and_inlets_are_told(folder: Folder) -> None:
    (task,) = spec(
        folder,
        "None",
        task="outlets=[Asset('a', extra={'k': 1}, group='g'), AssetAlias('x')], inlets=Asset('b')",
    )["tasks"]
    told = {"Asset": {"name": "a", "uri": "a", "group": "g", "extra": '{"k": 1}'}}
    assert task["outlets"] == [told, {"Alias": {"name": "x"}}]
    assert task["inlets"] == [{"Asset": {"name": "b", "uri": "b"}}]


def test_uris_are_compared_in_one_form(folder: Folder) -> None:
    found = spec(folder, "[Dataset('S3://me:secret@Bucket/path/?b=2&a=1#part')]", OLDER)
    (asset,) = found["asset_condition"]["All"]["of"]
    assert asset["One"]["of"]["Asset"]["uri"] == "s3://Bucket/path?a=1&b=2"
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("Asset('')", "cannot be empty"),
        ("Asset('airflow://x')", "'airflow' is reserved"),
        ("Asset('self')", "prohibited name"),
        ("Asset()", "requires either"),
        ("[Asset('a'), 'b']", "a list of assets"),
        ("AssetAll(Asset('a'), 'b')", "expect asset expressions"),
        ("Asset('a', watchers=[object()])", "is watched by an AssetWatcher"),
        (
            "AssetOrTimeSchedule(timetable=CronTriggerTimetable('0 1 * * *', timezone='UTC'), assets=[])",
            "must be assets",
        ),
    ],
)
def test_what_is_no_asset_is_refused_with_its_line(folder: Folder, schedule: str, why: str) -> None:
    dag = f"with DAG('d', schedule={schedule}):\n"
    error = folder.error(f"{NEWER}{dag}    EmptyOperator(task_id='t')\n")
    assert why in error["message"]
    lines = (folder.path / "file.py").read_text().splitlines()
    assert lines[error["line"] - 1].startswith("with DAG(")


TASKS = """
a, b, any_one = Asset("a", "s3://a/b"), Asset("b"), AssetAlias("any")

def plain(): return 1
def says(*, outlet_events):
    outlet_events[a].extra = {"rows": 3}
    outlet_events[any_one].add(Asset("made"), extra={"n": 1})
def yields():
    yield Metadata(a, {"rows": 4})
    yield Metadata(b, {"n": 2}, any_one)
    return "done"
def bad(*, outlet_events): outlet_events[a].extra = {"x": object()}
def fails(*, outlet_events):
    outlet_events[a].extra = {"rows": 3}
    raise ValueError("no")
def reads(*, triggering_asset_events):
    found = triggering_asset_events[a]
    by_alias = triggering_asset_events[any_one]
    assert [e.asset for e in by_alias] == [b]
    return [len(triggering_asset_events), found[0].extra["rows"], found[0].source_run_id, found[0].timestamp.isoformat()]
def asks(*, inlet_events):
    found = inlet_events[a]
    newest = found[-1]
    few = inlet_events[0].after(datetime(2024, 3, 1)).before("2024-03-02T00:00:00+00:00").ascending(False).limit(2)
    by_name, by_alias = inlet_events[Asset.ref(name="b")], inlet_events[any_one]
    told = [newest.extra["n"], newest.source_run_id, newest.timestamp.isoformat(), newest.source_aliases[0].name]
    told += [len(found), [event.extra["n"] for event in few], list(by_name), len(by_alias), len(inlet_events)]
    return told + [[event.source_run_id for event in inlet_events[a].extra("n", 1).limit(1)]]
def asks_others(*, inlet_events): inlet_events[Asset("other")]

with DAG("d", schedule=None) as d:
    for f in (plain, says, yields, bad, fails):
        PythonOperator(task_id=f.__name__, python_callable=f, outlets=[a, any_one])
    for f in (reads, asks, asks_others):
        PythonOperator(task_id=f.__name__, python_callable=f, inlets=[a, b, any_one])
"""


def outlets(result: Any) -> Any:
    """What the try told of assets."""
    (end,) = result.of("SucceedTask")
    return end["outlet_events"]


def test_a_success_tells_its_outlets_with_what_was_said_of_them(bench: Bench) -> None:
    bench.load(NEWER + TASKS, env={"DAGBOK_SCHEDULE_ERA": "3"})
    assert outlets(bench.run("plain")) == [{"name": "a", "uri": "s3://a/b", "extra": None}]
    made = {"name": "made", "uri": "made", "extra": '{"n": 1}', "aliases": ["any"]}
    assert outlets(bench.run("says")) == [{"name": "a", "uri": "s3://a/b", "extra": '{"rows": 3}'}, made]
    named = {"name": "b", "uri": "b", "extra": '{"n": 2}', "aliases": ["any"]}
    yielded = bench.run("yields")
    assert outlets(yielded) == [{"name": "a", "uri": "s3://a/b", "extra": '{"rows": 4}'}, named]
    assert yielded.of("SetXCom")[-1]["value"] == "done"
    assert not bench.run("fails").of("SucceedTask")
    failed = bench.run("bad")
    assert "has no JSON form" in failed.of("TaskError")[0]["message"]


def test_a_run_sees_the_events_that_made_it(bench: Bench) -> None:
    bench.load(NEWER + TASKS, env={"DAGBOK_SCHEDULE_ERA": "3"})
    at = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    source = {"source_dag_id": "m", "source_run_id": "r1", "source_task_id": "t", "source_map_index": -1}
    events = [
        {"name": "a", "uri": "s3://a/b", "timestamp": at, "extra": {"rows": 3}, "aliases": [], **source},
        {"name": "b", "uri": "b", "timestamp": at, "extra": None, "aliases": ["any"]},
    ]
    result = bench.run("reads", asset_events=events)
    assert result.of("SetXCom")[-1]["value"] == [3, 3, "r1", "2024-03-01T00:00:00+00:00"]


def test_a_task_sees_what_happened_to_its_inlets(bench: Bench) -> None:
    def event(n: int) -> dict[str, Any]:
        at = f"2024-03-01T0{n}:00:00Z"
        source = {
            "source_dag_id": "m",
            "source_run_id": f"r{n}",
            "source_task_id": "t",
            "source_map_index": -1,
        }
        return {
            "name": "a",
            "uri": "s3://a/b",
            "timestamp": at,
            "extra": {"n": n},
            "source_aliases": ["any"],
            **source,
        }

    asked: list[dict[str, Any]] = []

    def answer(frame: dict[str, Any]) -> dict[str, Any]:
        asked.append(frame)
        events = [event(n) for n in range(4)] if frame.get("name") != "b" else []
        events = events if frame.get("ascending", True) else events[::-1]
        return {"type": "AssetEventsResult", "asset_events": events[: frame.get("limit")]}

    bench.load(NEWER + TASKS, env={"DAGBOK_SCHEDULE_ERA": "3"})
    bench.supervisor.answers.update(GetAssetEventByAsset=answer, GetAssetEventByAssetAlias=answer)
    result = bench.run("asks")
    newest = [3, "r3", "2024-03-01T03:00:00+00:00", "any"]
    assert result.of("SetXCom")[-1]["value"] == [*newest, 4, [3, 2], [], 4, 3, ["r1"]]
    # Of the last one only that is asked for.
    assert asked[0] == {
        "type": "GetAssetEventByAsset", "name": "a", "uri": "s3://a/b", "ascending": False, "limit": 1,
    }  # fmt: skip
    assert asked[2]["after"] == dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    assert asked[2]["before"] == dt.datetime(2024, 3, 2, tzinfo=dt.UTC)
    assert {it["type"]: it.get("alias_name") for it in asked}["GetAssetEventByAssetAlias"] == "any"
    assert bench.run("asks_others").of("TaskError")[0]["exception"] == "KeyError"


def test_the_older_era_finds_them_by_uri(bench: Bench) -> None:
    bench.load(
        f"""{OLDER}
def reads(*, triggering_dataset_events):
    return {{uri: [event.extra for event in events] for uri, events in triggering_dataset_events.items()}}
with DAG("d", schedule=None) as d:
    PythonOperator(task_id="reads", python_callable=reads)
"""
    )
    at = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    event = {"name": "s3://a/b", "uri": "s3://a/b", "timestamp": at, "extra": {"rows": 3}, "aliases": ["any"]}
    result = bench.run("reads", asset_events=[event])
    assert result.of("SetXCom")[-1]["value"] == {"s3://a/b": [{"rows": 3}]}


WATCHED = """
from airflow.providers.standard.triggers.file import DirectoryFileDeleteTrigger, FileDeleteTrigger
from airflow.sdk import Asset, AssetWatcher, DAG
from airflow.providers.standard.operators.empty import EmptyOperator
one = Asset("one", watchers=[AssetWatcher(name="w", trigger=FileDeleteTrigger(filepath="/tmp/x"))])
two = Asset("two", uri="s3://b/two", watchers=[
    AssetWatcher(name="v", trigger=DirectoryFileDeleteTrigger(directory="/tmp", filename="y", poke_interval=2))])
"""


def test_watchers_of_the_assets_that_a_dag_is_scheduled_on(folder: Folder) -> None:
    found = folder.spec(
        f"{WATCHED}with DAG('d', schedule=(one & two) | one):\n    EmptyOperator(task_id='t', outlets=[two])\n"
    )
    kinds = "airflow.providers.standard.triggers.file"
    first, second = found["watchers"]
    assert (first["name"], first["asset"]) == ("w", {"name": "one", "uri": "one"})
    assert first["trigger"]["class_path"] == f"{kinds}.FileDeleteTrigger"
    assert json.loads(first["trigger"]["kwargs"]["Inline"]) == {"filepath": "/tmp/x", "poke_interval": 5.0}
    assert (second["name"], second["asset"]["uri"]) == ("v", "s3://b/two")
    plain = folder.spec(
        f"{WATCHED}with DAG('d', schedule=None):\n    EmptyOperator(task_id='t', outlets=[two])\n"
    )
    assert "watchers" not in plain, "what is only brought up to date is not watched"
    twice = "Asset('a', watchers=[*one.watchers, *one.watchers])"
    error = folder.error(f"{WATCHED}with DAG('d', schedule={twice}):\n    EmptyOperator(task_id='t')\n")
    assert "two watchers of the asset `a` have one name" in error["message"]
    wrong = "AssetWatcher(name='w', trigger=print)"
    error = folder.error(f"{WATCHED}{wrong}\n")
    assert "of a class of BaseEventTrigger" in error["message"]
