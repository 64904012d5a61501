"""Exact mode's parts that need no Airflow; with one, `make exact` tries the whole."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dagbok.authoring.timetable_base import form_of
from dagbok.exact import comms, describe, expansion, installation, lines, timetables
from dagbok.exceptions import AirflowException

START = Path(installation.__file__).with_name("start.py")


def test_an_installation_without_airflow_says_how_to_get_one() -> None:
    asked = subprocess.run([sys.executable, "-P", str(START), "--about"], capture_output=True, check=True)
    about = json.loads(asked.stdout)
    assert about["airflow"] is None
    assert "pip install apache-airflow-core" in about["trouble"]


@pytest.mark.parametrize(
    ("core", "sdk", "words"),
    [
        ("3.3.2", "1.3.2", None),
        ("3.1.0", "1.1.0", None),
        ("3.0.6", "1.0.6", "it has Airflow 3.0.6; exact mode drives 3.1, 3.2 and 3.3"),
        ("3.4.0", "1.4.0", "it has Airflow 3.4.0"),
        ("3.2.2", None, "without its task runner"),
    ],
)
def test_other_versions_are_refused(
    monkeypatch: pytest.MonkeyPatch, core: str, sdk: str | None, words: str | None
) -> None:
    versions = {installation.CORE: core, installation.SDK: sdk}
    monkeypatch.setattr(installation, "_version", versions.get)
    found = installation.find()
    assert found.version == core
    assert words is None if found.trouble is None else words is not None and words in found.trouble


def test_airflow_two_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_version", {"apache-airflow": "2.11.2"}.get)
    assert "it has Airflow 2.11.2" in str(installation.find().trouble)


def test_a_line_has_its_exception_as_text_and_the_rest_behind_its_message() -> None:
    frames = [{"filename": "a.py", "lineno": 7, "name": "f"}]
    said = {
        "timestamp": "2026-01-01T00:00:00Z",
        "level": "error",
        "event": "it broke",
        "loc": "a.py:9",
        "run_id": "r",
        "reason": "heat",
        "error_detail": [{"exc_type": "ValueError", "exc_value": "no", "frames": frames}],
    }
    told = lines.told_of(said)
    assert told["event"] == "it broke reason=heat"
    assert (told["filename"], told["lineno"]) == ("a.py", 9)
    assert (
        told["exception"] == 'Traceback (most recent call last):\n  File "a.py", line 7, in f\nValueError: no'
    )


def _form(name: str, said: dict[str, object]) -> object:
    return form_of(timetables.timetable({"__type": f"airflow.timetables.{name}", "__var": said}))


def test_airflows_timetables_have_our_forms() -> None:
    cron = {"expression": "0 2 * * *", "timezone": "UTC"}
    assert _form("simple.NullTimetable", {}) == "Manual"
    assert _form("simple.OnceTimetable", {}) == "Once"
    assert _form("interval.CronDataIntervalTimetable", cron) == {
        "CronDataInterval": {"expression": "0 2 * * *"}
    }
    trigger = {**cron, "interval": 0.0, "run_immediately": False}
    assert _form("trigger.CronTriggerTimetable", trigger) == {"CronTrigger": {"expression": "0 2 * * *"}}
    hourly = {"delta": 3600.0, "interval": 0.0}
    assert _form("trigger.DeltaTriggerTimetable", hourly) == {"DeltaTrigger": {"every": 3_600_000_000}}
    monthly = {"delta": {"months": 1}}
    assert _form("interval.DeltaDataIntervalTimetable", monthly) == {
        "DeltaDataInterval": {"every": 0, "months": 1}
    }


def test_a_timetable_of_the_files_own_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        AirflowException, match=r"its timetable is mine.Weekly: .*read this file without exact mode"
    ):
        timetables.timetable({"__type": "mine.Weekly", "__var": {}})


def test_what_a_task_is_mapped_over() -> None:
    class Given:
        value = {"a": [1, 2], "b": {"x": 1}}

    class Task:
        is_mapped = True

        def _get_specified_expand_input(self) -> Given:
            return Given()

    assert expansion.expand_of(Task(), None, {}) == {"Literal": {"length": 2}}


def test_an_alarm_in_the_middle_of_a_frame_is_raised_after_it() -> None:
    class Rang(Exception):
        pass

    def ring(*_: object) -> None:
        raise Rang

    whole = []
    ended = threading.Event()
    # It has the signal unblocked, as threads of a task have, and so takes it where the main thread does not.
    other = threading.Thread(target=ended.wait)
    other.start()
    before = signal.signal(signal.SIGALRM, ring)

    def say() -> None:
        with comms._Unbroken():
            signal.pthread_kill(other.ident or 0, signal.SIGALRM)
            ended.set()
            other.join()
            whole.append("frame")

    try:
        with pytest.raises(Rang):
            say()
    finally:
        signal.signal(signal.SIGALRM, before)
        ended.set()
    assert whole == ["frame"]


def test_a_fixed_offset_is_a_zone_of_hours_and_minutes() -> None:
    nothing = {"__type": "airflow.timetables.simple.NullTimetable", "__var": {}}
    assert timetables.schedule(nothing, 19800)["timezone"] == "+05:30"
    assert timetables.schedule(nothing, "Europe/Stockholm")["timezone"] == "Europe/Stockholm"


def test_schedules_on_assets_are_in_a_word_what_ours_are() -> None:
    on = {"__type": "airflow.timetables.simple.AssetTriggeredTimetable", "__var": {}}
    cron = {"expression": "0 2 * * *", "timezone": "UTC", "interval": 0.0}
    timed = {"__type": "airflow.timetables.trigger.CronTriggerTimetable", "__var": cron}
    both = {"__type": "airflow.timetables.assets.AssetOrTimeSchedule", "__var": {"timetable": timed}}
    assert timetables.schedule(on, "UTC")["text"] == "Asset"
    assert timetables.schedule(both, "UTC")["text"] == "Asset or 0 2 * * *"


def test_conditions_on_assets_have_our_form() -> None:
    one = {"__type": "asset", "name": "one", "uri": "one", "group": "asset", "extra": {}}
    leaves = [one, {"__type": "asset_alias", "name": "x"}, {"__type": "asset_ref", "uri": "s3://x"}]
    assert describe._condition({"__type": "asset_any", "objects": leaves}) == {
        "Any": {
            "of": [
                {"One": {"of": {"Asset": {"name": "one", "uri": "one"}}}},
                {"One": {"of": {"Alias": {"name": "x"}}}},
                {"One": {"of": {"Uri": {"uri": "s3://x"}}}},
            ]
        }
    }


def test_exact_mode_is_not_handed_on_to_what_a_task_starts() -> None:
    code = "import dagbok.exact as e; print(e.is_wanted())"
    env = {**os.environ, "DAGBOK_EXACT": "1"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert told.stdout.strip() == "False"
