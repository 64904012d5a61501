"""Timetables that a file writes itself: how they are told apart, what they are asked, and what they may do."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder

WORKDAYS = """
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from datetime import timezone

class Workdays(Timetable):
    description = "each workday"

    def __init__(self, hour=0):
        self.hour = hour

    def serialize(self):
        return {"hour": self.hour}

    @property
    def summary(self):
        return f"workdays at {self.hour}"

    def infer_manual_data_interval(self, run_after):
        day = run_after.replace(hour=0, minute=0, second=0, microsecond=0)
        return DataInterval(day - timedelta(days=1), day)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if last_automated_data_interval is not None:
            start = last_automated_data_interval.start + timedelta(days=1)
        elif restriction.earliest is None:
            return None
        else:
            start = restriction.earliest
            if not restriction.catchup:
                today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
                start = max(start, today)
        while start.weekday() > 4:
            start += timedelta(days=1)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start=start, end=start + timedelta(days=1))
"""


def ask(folder: Folder, text: str, last: dict[str, Any], **how: Any) -> dict[str, Any]:
    """The answer about a file, whose timetables are asked."""
    (answer,) = folder.parse(folder.write("file.py", text), last=last, **how)
    return answer


def dag(dag_id: str, timetable: str, said: str = "") -> str:
    text = f"with DAG({dag_id!r}, schedule={timetable}, start_date=datetime(2024, 3, 1), {said}):\n"
    return f"{text}    EmptyOperator(task_id='t')\n"


def dates(foretold: dict[str, Any]) -> list[str]:
    """The logical dates that were foretold."""
    found = []
    for runs in foretold["runs"]:
        start = datetime.fromisoformat(runs["first"]["start"])
        step = timedelta(microseconds=runs.get("step", 0))
        found += [(start + step * n).date().isoformat() for n in range(runs.get("count", 1))]
    return found


def test_it_is_described_by_its_class_and_what_it_says_of_itself(folder: Folder) -> None:
    spec = folder.spec(WORKDAYS + dag("d", "Workdays(3)"))
    form = {"class": "Workdays", "arguments": '{"hour": 3}', "description": "each workday"}
    assert spec["schedule"] == {
        "timetable": {"Python": form},
        "timezone": "UTC",
        "text": "workdays at 3",
    }


def test_it_is_asked_run_after_run_for_a_day_and_five_runs(folder: Folder) -> None:
    # As the processor says it: an interval of the events' schema.
    last = {"d": {"start": "2024-03-06T00:00:00Z", "end": "2024-03-07T00:00:00Z"}}
    text = WORKDAYS + dag("d", "Workdays()", "catchup=True, end_date=datetime(2024, 3, 13)")
    answer = ask(folder, text, last)
    assert answer["errors"] == []
    foretold = answer["foretold"]["d"]
    assert dates(foretold) == ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12", "2024-03-13"]
    assert foretold["after"] == {"start": "2024-03-06T00:00:00Z", "end": "2024-03-07T00:00:00Z"}
    first = ask(folder, text, {"d": None})["foretold"]["d"]
    assert dates(first)[:2] == ["2024-03-01", "2024-03-04"]
    assert "after" not in first


def test_without_catchup_it_begins_by_now_and_then_makes_each(folder: Folder) -> None:
    answer = ask(folder, WORKDAYS + dag("d", "Workdays()", "catchup=False"), {"d": None})
    foretold = answer["foretold"]["d"]
    today = datetime.now(UTC).date()
    assert len(dates(foretold)) >= 5
    assert min(dates(foretold)) >= (today - timedelta(days=1)).isoformat()
    assert foretold["heedless"], "only the first run is asked for by the time"


def test_who_is_not_asked_for_says_nothing(folder: Folder) -> None:
    text = WORKDAYS + dag("d", "Workdays()") + dag("plain", "'@daily'")
    assert ask(folder, text, {})["dags"][0]["dag_id"] == "d"
    assert ask(folder, text, {"plain": None, "gone": None})["foretold"] == {}


OTHERS = """
class Raises(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        raise KeyError("no such day")

class Hangs(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                pass

class Ends(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        os._exit(3)

class Stands(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return DagRunInfo.exact(datetime(2024, 3, 1, tzinfo=timezone.utc))

class Naive(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return DagRunInfo.exact(datetime(2024, 3, 1))
"""


def test_one_that_fails_is_its_dags_error_with_its_line_and_the_others_stand(folder: Folder) -> None:
    kinds = ("Raises", "Hangs", "Ends", "Stands", "Naive", "Workdays")
    text = WORKDAYS + OTHERS + "".join(dag(kind, f"{kind}()") for kind in kinds)
    answer = ask(folder, text, dict.fromkeys(kinds))
    assert [one["dag_id"] for one in answer["dags"]] == list(kinds)
    assert list(answer["foretold"]) == ["Workdays"]
    lines = (folder.path / "file.py").read_text().splitlines()
    errors = {error["message"].split("`")[1]: error for error in answer["errors"]}
    assert set(errors) == set(kinds) - {"Workdays"}
    assert "raise KeyError" in lines[errors["Raises"]["line"] - 1]
    assert errors["Raises"]["exception"] == "KeyError"
    assert "time.sleep" in lines[errors["Hangs"]["line"] - 1]
    assert "longer than" in errors["Hangs"]["message"]
    for kind, why in [("Ends", "ended its process"), ("Stands", "must move on"), ("Naive", "time zone")]:
        assert why in errors[kind]["message"]
        assert lines[errors[kind]["line"] - 1].startswith(f"with DAG('{kind}'"), errors[kind]
    assert all(error["may_heal"] for error in answer["errors"])


def test_many_that_hang_leave_the_file_to_those_that_do_not(folder: Folder) -> None:
    hanging = [f"hangs_{n}" for n in range(60)]
    text = WORKDAYS + OTHERS + "".join(dag(name, "Hangs()") for name in hanging) + dag("good", "Workdays()")
    began = time.monotonic()
    answer = ask(folder, text, dict.fromkeys([*hanging, "good"]))
    # What the processor waits beside the import.
    assert time.monotonic() - began < 30
    assert list(answer["foretold"]) == ["good"]
    assert [error["message"].split("`")[1] for error in answer["errors"]] == hanging
    assert all(error["may_heal"] for error in answer["errors"])


def test_it_is_asked_for_the_runs_between_two_dates(folder: Folder) -> None:
    text = WORKDAYS + OTHERS + dag("d", "Workdays()") + dag("raises", "Raises()") + dag("stands", "Stands()")
    between = {"from": "2024-03-01T00:00:00Z", "to": "2024-03-12T00:00:00Z"}
    answer = ask(folder, text, dict.fromkeys(["d", "raises", "stands"], between))
    days = [f"2024-03-{day:02}" for day in (1, 4, 5, 6, 7, 8, 11, 12)]
    assert dates(answer["foretold"]["d"]) == days
    assert {error["message"].split("`")[1] for error in answer["errors"]} == {"raises", "stands"}
    # What is not due is no part of it, however much of it there is before.
    long = {"from": "2010-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    found = dates(ask(folder, text, {"d": long})["foretold"]["d"])
    today = datetime.now(UTC).date()
    assert found[0] == "2010-01-01"
    assert (today - timedelta(days=5)).isoformat() <= found[-1] < today.isoformat()
    assert len(found) > 4_000


def test_those_that_find_no_time_are_told_of(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.timetable_base import Timetable
    from dagbok.parsing import foretelling

    class Own(Timetable):
        def next_dagrun_info(self, **asked: Any) -> None:
            return None

    monkeypatch.setattr(foretelling, "ALTOGETHER", 0.0)
    made = DAG("d", schedule=Own(), start_date=datetime(2024, 3, 1))
    answers, (error,) = foretelling.foretell([made], {"d": None}, str(folder.path))
    assert answers == {}
    assert error["message"].startswith("DAG `d`: its timetable was not asked")
    assert error["may_heal"]


def test_runs_at_even_distances_are_one_stretch_and_may_be_due_later(folder: Folder) -> None:
    text = (
        WORKDAYS
        + """
class Late(Workdays):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        last = last_automated_data_interval
        start = last.end if last else restriction.earliest
        end = start + timedelta(hours=6)
        return DagRunInfo(run_after=end + timedelta(hours=1), data_interval=DataInterval(start, end))
"""
        + dag("d", "Late()", "catchup=True")
    )
    now = datetime.now(UTC).replace(microsecond=0)
    last = {"start": (now - timedelta(hours=6)).isoformat(), "end": now.isoformat()}
    (runs,) = ask(folder, text, {"d": last})["foretold"]["d"]["runs"]
    assert datetime.fromisoformat(runs["first"]["start"]) == now
    assert datetime.fromisoformat(runs["run_after"]) == now + timedelta(hours=7)
    assert (runs["step"], runs["count"]) == (6 * 3600 * 10**6, 5)


def test_a_run_by_hand_stands_for_what_the_timetable_infers(folder: Folder) -> None:
    text = (
        WORKDAYS
        + """
class Before(Workdays):
    def infer_manual_data_interval(self, *, run_after):
        return DataInterval(run_after - timedelta(hours=2), run_after)

class Silent(Timetable):
    next_dagrun_info = Workdays.next_dagrun_info
"""
        + dag("days", "Workdays()")
        + dag("before", "Before()")
        + dag("silent", "Silent()")
    )
    answer = ask(folder, text, dict.fromkeys(("days", "before", "silent")))
    foretold = answer["foretold"]
    assert answer["errors"] == []
    assert foretold["before"]["manual"] == {"Around": {"start": -7_200_000_000, "end": 0}}
    assert "manual" not in foretold["silent"]
    steps = foretold["days"]["manual"]["Steps"]
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    until = {datetime.fromisoformat(step["from"]): step["interval"] for step in steps}
    assert datetime.fromisoformat(until[today]["end"]) == today


def test_one_that_builds_on_airflows_own_is_refused(folder: Folder) -> None:
    text = (
        WORKDAYS
        + """
from airflow.timetables.interval import CronDataIntervalTimetable
class Mine(CronDataIntervalTimetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
"""
        + dag("d", "Mine('@daily')")
    )
    (error,) = ask(folder, text, {"d": None})["errors"]
    assert "computed by the scheduler" in error["message"]


@pytest.mark.parametrize("era", ["2", "3"])
def test_a_relativedelta_that_sets_fields_is_stepped(folder: Folder, era: str) -> None:
    text = "from dateutil.relativedelta import MO, relativedelta\n" + dag(
        "d", "relativedelta(months=1, day=15)", "catchup=True, end_date=datetime(2024, 7, 1)"
    )
    answer = ask(folder, text, {"d": None}, env={"DAGBOK_SCHEDULE_ERA": era})
    assert answer["errors"] == []
    (spec,) = answer["dags"]
    kind = "DeltaDataIntervalTimetable" if era == "2" else "DeltaTriggerTimetable"
    assert spec["schedule"]["timetable"]["Python"]["class"].endswith(kind)
    foretold = answer["foretold"]["d"]
    firsts = ["2024-03-01", "2024-04-15", "2024-05-15", "2024-06-15"]
    assert dates(foretold) == firsts
    (first, *_) = foretold["runs"]
    assert ("run_after" in first, first["first"]["end"][:10]) == (
        False,
        "2024-04-15" if era == "2" else "2024-03-01",
    )


def test_one_that_can_not_be_scheduled_is_manual(folder: Folder) -> None:
    text = WORKDAYS + "class Never(Workdays):\n    can_be_scheduled = False\n\n" + dag("d", "Never()")
    assert folder.spec(text)["schedule"]["timetable"] == "Manual"


NOW = datetime(2024, 5, 20, 7, 3, 11, tzinfo=UTC)


class _Clock(datetime):
    """Stands at NOW."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW


@pytest.mark.parametrize("era", [2, 3])
def test_steps_of_a_relativedelta_that_sets_fields_are_airflows(
    era: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dateutil import relativedelta

    from dagbok.authoring import delta_steps, session
    from dagbok.authoring.intervals import TimeRestriction
    from dagbok.authoring.timetables import DeltaDataIntervalTimetable, DeltaTriggerTimetable

    monkeypatch.setattr(delta_steps, "datetime", _Clock)
    monkeypatch.setattr(session, "era", lambda: era)
    told = json.loads((Path(__file__).parent / "oracle" / f"set_fields-{era}.json").read_text())
    for said, kind, begins, catchup, runs in told:
        delta = eval(said, vars(relativedelta))
        timetable = (DeltaDataIntervalTimetable if kind == "interval" else DeltaTriggerTimetable)(delta)
        start = datetime.fromisoformat(begins) if begins else None
        asked = TimeRestriction(start, datetime(2027, 1, 1, tzinfo=UTC), catchup)
        last, found = None, []
        for _ in range(5):
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=asked)
            if info is None:
                break
            last = info.data_interval
            found.append([end.isoformat() for end in (last.start, last.end, info.run_after)])
        assert found == runs, (said, kind, begins, catchup)
    assert len(told) == (32 if era == 2 else 64)
