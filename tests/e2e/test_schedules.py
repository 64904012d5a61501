"""Schedules from the file to the log: promises that are read, what unpausing makes, and runs that assets make."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
from harness import Standalone, standalone, wait_until, write_dag

EVERY_MINUTE = """
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

with DAG("minutely", schedule="* * * * *", start_date=datetime(2024, 1, 1), catchup=False):
    EmptyOperator(task_id="t")
with DAG("several", start_date=datetime(2024, 1, 1), catchup=False, is_paused_upon_creation=True,
         schedule=MultipleCronTriggerTimetable("0 3 * * *", "30 4 1 * *", timezone="Europe/Zurich")):
    EmptyOperator(task_id="t")
with DAG("caught_up", schedule="@daily", start_date=datetime(2024, 1, 1), end_date=datetime(2024, 1, 5), catchup=True,
         is_paused_upon_creation=True):
    EmptyOperator(task_id="t")
"""

ASSETS = """
from airflow.sdk import DAG, Asset, AssetAlias, Metadata, task

left, right = Asset("left", "file:///left"), Asset("right", "file:///right")

with DAG("makes", schedule=None):
    @task(outlets=[left])
    def make():
        yield Metadata(left, {"rows": 3})
    make()

with DAG("takes", schedule=left & right):
    @task
    def take(*, triggering_asset_events):
        return {asset.name: [e.extra for e in events] for asset, events in triggering_asset_events.items()}
    take()

with DAG("reads", schedule=None):
    @task(inlets=[left, Asset.ref(name="right"), AssetAlias("nobody"), Asset("unknown")])
    def read(*, inlet_events):
        of_left, of_alias = inlet_events[left], inlet_events[AssetAlias("nobody")]
        newest = inlet_events[right][-1]
        told = [[e.extra for e in of_left], of_left[0].source_dag_id, newest.extra, list(of_alias)]
        return [*told, len(inlet_events[3])]
    read()
"""

OWN = '''
import time
from datetime import datetime, timedelta, timezone
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.operators.python import PythonOperator
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable


class Seconds(Timetable):
    """Every four seconds, from now on."""

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval(run_after - timedelta(hours=1), run_after)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if last_automated_data_interval is None:
            start = max(restriction.earliest, datetime.now(timezone.utc).replace(microsecond=0))
        else:
            start = last_automated_data_interval.end
        return DagRunInfo.interval(start, start + timedelta(seconds=4))


class Raises(Seconds):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        raise RuntimeError("the calendar is away")


class Hangs(Seconds):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        while True:
            time.sleep(0.05)


for kind in (Seconds, Raises, Hangs):
    with DAG(kind.__name__.lower(), schedule=kind(), start_date=datetime(2024, 1, 1), catchup=False):
        PythonOperator(task_id="t", python_callable=lambda data_interval_start: str(data_interval_start))
'''

WORKDAYS = """
import os
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.python import PythonOperator
from airflow.timetables.base import DagRunInfo, Timetable


class Workdays(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if os.path.exists(os.environ["WITNESS"]):
            raise RuntimeError("the calendar is away")
        last = last_automated_data_interval
        start = restriction.earliest if last is None else last.end
        while start.weekday() > 4:
            start += timedelta(days=1)
        return DagRunInfo.interval(start, start + timedelta(days=1))


with DAG("workdays", schedule=Workdays(), start_date=datetime(2024, 3, 1), is_paused_upon_creation=True):
    PythonOperator(task_id="t", python_callable=lambda data_interval_start: str(data_interval_start))
"""

BAD = """
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator

def made(name, **how):
    with DAG(name, **how):
        EmptyOperator(task_id="t")

made("never", schedule="0 0 30 2 *", start_date=datetime(2024, 1, 1))
made("backwards", schedule="@daily", start_date=datetime(2024, 1, 2), end_date=datetime(2024, 1, 1))
made("typo", schedule="60 * * * *", start_date=datetime(2024, 1, 1))
made("good", schedule=None)
"""


def test_what_comes_next_is_read_from_promises(running: Standalone, dags: Path) -> None:
    write_dag(dags, "minutely.py", EVERY_MINUTE)
    running.wait_dag("minutely")
    found = running.api.get("/dagbok/dags/minutely/expectedRuns", limit=5)
    assert found["total_entries"] >= 1_440
    due = [datetime.fromisoformat(run["run_after"]) for run in found["expected_runs"]]
    assert [later - sooner for sooner, later in pairwise(due)] == [timedelta(minutes=1)] * 4
    said = running.cli.ok("dags", "next-execution", "minutely", "-n", "3").split("\n")
    assert len([line for line in said if " (in " in line]) == 3, said
    # Paused, and promised all the same.
    several = running.cli.json("dags", "next-execution", "several", "-n", "2")
    assert several["is_paused"]
    first = datetime.fromisoformat(several["expected_runs"][0]["run_after"]).astimezone(UTC)
    assert first.minute in {0, 30}


def test_unpausing_says_what_it_makes_and_makes_that(running: Standalone, dags: Path) -> None:
    write_dag(dags, "minutely.py", EVERY_MINUTE)
    running.wait_dag("caught_up")
    preview = running.cli.json("dags", "unpause", "caught_up", "--dry-run")
    assert (preview["runs"], preview["first_logical_date"]) == (5, "2024-01-01T00:00:00Z")
    assert running.api.get("/dags/caught_up")["is_paused"]
    said = running.cli.ok("dags", "unpause", "caught_up")
    assert "5 runs, from 2024-01-01T00:00:00Z to 2024-01-05T00:00:00Z" in said
    runs = wait_until(
        "the runs",
        lambda: (found := running.api.get("/dags/caught_up/dagRuns"))["total_entries"] == 5 and found,
    )
    assert runs["total_entries"] == 5


def test_assets_make_runs_that_know_what_made_them(running: Standalone, dags: Path) -> None:
    write_dag(dags, "assets.py", ASSETS)
    running.wait_dag("takes")
    assets = {asset["name"]: asset for asset in running.api.get("/assets")["assets"]}
    assert assets["left"]["producing_tasks"] == [{"dag_id": "makes", "task_id": "make"}]
    assert assets["right"]["scheduled_dags"] == [{"dag_id": "takes"}]
    running.trigger("makes", "r1")
    assert running.api.wait_run("makes", "r1") == "success"
    (queued,) = running.api.get("/dags/takes/assets/queuedEvents")["queued_events"]
    assert queued["asset_id"] == assets["left"]["id"]
    assert running.api.get("/dags/takes/dagRuns")["total_entries"] == 0
    answer = running.api.post("/assets/events", {"asset_id": assets["right"]["id"], "extra": {"by": "hand"}})
    assert answer.status_code == 200, answer.text
    (run,) = wait_until("a run", lambda: running.api.get("/dags/takes/dagRuns")["dag_runs"])
    assert run["run_type"] == "asset_triggered"
    assert run["dag_run_id"].startswith("asset_triggered__")
    assert running.api.wait_run("takes", run["dag_run_id"]) == "success"
    path = f"/dags/takes/dagRuns/{run['dag_run_id']}"
    value = running.api.get(f"{path}/taskInstances/take/xcomEntries/return_value")["value"]
    told = {"left": [{"rows": 3}], "right": [{"by": "hand"}]}
    assert value == told or json.loads(value) == told
    # A task reads what happened to its inlets, whoever made its run.
    running.trigger("reads", "r1")
    assert running.api.wait_run("reads", "r1") == "success"
    read = running.api.get("/dags/reads/dagRuns/r1/taskInstances/read/xcomEntries/return_value")["value"]
    assert read == [[{"rows": 3}], "makes", {"by": "hand"}, [], 0]
    events = running.api.get(f"{path}/upstreamAssetEvents")["asset_events"]
    assert [event["name"] for event in events] == ["left", "right"]
    assert events[0]["source_run_id"] == "r1"
    assert [made["run_id"] for made in events[0]["created_dagruns"]] == [run["dag_run_id"]]
    assert running.api.get("/dags/takes/assets/queuedEvents")["total_entries"] == 0


def test_a_repeated_event_is_answered_with_itself(running: Standalone, dags: Path) -> None:
    write_dag(dags, "assets.py", ASSETS)
    running.wait_dag("takes")
    (left,) = [asset for asset in running.api.get("/assets")["assets"] if asset["name"] == "left"]

    def tell(key: str, n: int) -> dict[str, object]:
        answer = running.api.post(
            "/assets/events", {"asset_id": left["id"], "extra": {"n": n}}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    first, second = tell("k1", 1), tell("k2", 2)
    assert (first["extra"], second["extra"]) == ({"n": 1}, {"n": 2})
    assert tell("k1", 1) == first
    assert running.api.get("/assets/events")["total_entries"] == 2
    write_dag(dags, "assets.py", ASSETS.replace("left & right", "right"))
    wait_until("another condition", lambda: not running.api.get("/dags/takes/assets/queuedEvents")["queued_events"])


def test_schedules_that_can_make_no_run_are_refused(running: Standalone, dags: Path) -> None:
    write_dag(dags, "bad.py", BAD)
    running.wait_dag("good")

    def refused() -> str | None:
        errors = running.api.get("/importErrors")["import_errors"]
        return next((error["stack_trace"] for error in errors if "bad.py" in error["filename"]), None)

    said = wait_until("the refusal", refused)
    assert "no date matches `0 0 30 2 *`" in said
    assert "lies before its start_date" in said
    assert "minute field `60`" in said


def test_a_trigger_that_is_sent_again_makes_one_run(running: Standalone, dags: Path) -> None:
    write_dag(dags, "assets.py", ASSETS)
    running.wait_dag("makes")

    def ask(key: str, note: str) -> str:
        url = f"{running.api.url}/api/v2/dags/makes/dagRuns"
        answer = httpx.post(url, json={"logical_date": None, "note": note}, headers={"Idempotency-Key": key})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    first = ask("k1", "a")
    assert ask("k1", "a") == first
    assert len({first, ask("k2", "a"), ask("k1", "b")}) == 3
    assert running.api.get("/dags/makes/dagRuns")["total_entries"] == 3


def test_a_timetable_of_the_files_own_is_followed_and_a_bad_one_keeps_nothing_up(
    running: Standalone, dags: Path
) -> None:
    file = write_dag(dags, "own.py", OWN)
    running.wait_dag("seconds")

    def runs() -> list[dict] | None:
        found = running.api.get("/dags/seconds/dagRuns", order_by="id", state="success")["dag_runs"]
        return found if len(found) >= 2 else None

    first, second = wait_until("two runs by its timetable", runs)[:2]
    ends = [datetime.fromisoformat(run["data_interval_end"]) for run in (first, second)]
    assert ends[1] - ends[0] == timedelta(seconds=4)
    assert second["data_interval_start"] == first["data_interval_end"]
    assert first["dag_run_id"].startswith("scheduled__")
    expected = running.api.get("/dagbok/dags/seconds/expectedRuns", limit=5)["expected_runs"]
    due = [datetime.fromisoformat(run["run_after"]) for run in expected]
    assert [later - sooner for sooner, later in pairwise(due)] == [timedelta(seconds=4)] * 4

    errors = running.api.get("/importErrors")["import_errors"]
    (told,) = [error["stack_trace"] for error in errors if error["filename"].endswith("own.py")]
    for part in ("the calendar is away", "`hangs`", "longer than 5 s"):
        assert part in told
    line = file.read_text().split("\n").index('        raise RuntimeError("the calendar is away")') + 1
    assert f"line {line}" in told, told

    by_hand = running.trigger("seconds", "by-hand", logical_date="2024-05-05T12:00:00Z").json()
    assert by_hand["data_interval_start"] == "2024-05-05T11:00:00Z"
    detail = running.api.get("/dags/seconds")
    assert detail["timetable_summary"] == "Seconds"

    # Asked again after its last run, it goes on from there.
    file.write_text(file.read_text().replace("seconds=4", "seconds=3"))

    def is_faster() -> bool:
        expected = running.api.get("/dagbok/dags/seconds/expectedRuns", limit=3)["expected_runs"]
        due = [datetime.fromisoformat(run["run_after"]) for run in expected]
        return len(due) == 3 and all(y - x == timedelta(seconds=3) for x, y in pairwise(due))

    wait_until("what the changed timetable foretells", is_faster)
    errors = running.api.get("/importErrors")["import_errors"]
    assert not [error for error in errors if "DAG `seconds`" in error["stack_trace"]], errors


def test_a_backfill_asks_a_timetable_of_the_files_own_for_its_dates(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "workdays.py", WORKDAYS)
    witness = tmp_path / "witness"
    with standalone(tmp_path, dags, env={"WITNESS": str(witness)}) as running:
        running.wait_dag("workdays")
        span = ("workdays", "--from-date", "2024-01-05", "--to-date", "2024-01-10")
        plan = running.cli.json("backfill", "create", *span, "--dry-run")
        days = [f"2024-01-{day:02}" for day in (5, 8, 9, 10)]
        assert [it["logical_date"][:10] for it in plan["backfills"]] == days
        witness.touch()
        refused = running.cli.run("backfill", "create", *span)
        assert refused.returncode != 0
        assert "the calendar is away" in refused.stderr
        witness.unlink()
        running.cli.ok("dags", "unpause", "workdays")
        made = running.cli.json("backfill", "create", *span)
        wait_until("its end", lambda: running.api.get(f"/backfills/{made['id']}")["completed_at"])
        runs = running.api.get("/dags/workdays/dagRuns", run_type="backfill", order_by="logical_date")["dag_runs"]
        assert [(run["logical_date"][:10], run["state"]) for run in runs] == [(day, "success") for day in days]
        asked = {"dag_id": "workdays", "from_date": "1924-01-01T00:00:00Z", "to_date": "2024-01-01T00:00:00Z"}
        many = running.api.post("/backfills/dry_run", asked)
        assert (many.status_code, "10000" in many.text) == (422, True), many.text
        # A file that is gone is asked by nobody.
        (dags / "workdays.py").unlink()
        wait_until("it is gone", lambda: running.api.get("/dags", dag_id_pattern="workdays")["dags"] == [])
        gone = running.api.post("/backfills/dry_run", asked)
        assert (gone.status_code, "no DAG" in gone.text) == (404, True), gone.text
