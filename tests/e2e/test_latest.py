"""Runs that are over go on with the newest version of their DAG, whose file changed meanwhile: what stays, what comes,
what goes, and the code that runs, judged by what the tasks did."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import Standalone, check_history, wait_until, write_dag

# `WITNESS.fail.TASK` fails a task; what it writes is told with the word of the code that ran.
HEAD = """
import os
from datetime import datetime

from airflow.sdk import dag, task

WORD = "{word}"


def step(name, **args):
    @task(task_id=name, **args)
    def it(run_id=None):
        witness = os.environ["WITNESS"]
        with open(witness, "a") as told:
            told.write(f"{{run_id}} {{name}} {{WORD}}\\n")
        if os.path.exists(f"{{witness}}.fail.{{name}}"):
            raise ValueError("broken")
        return name

    return it()


@dag(schedule={schedule}, start_date=datetime(2024, 3, 1), catchup=False)
def changing():
{body}


changing()
"""


def text(word: str, *body: str, schedule: str = "None") -> str:
    """A file that defines the DAG `changing`."""
    lines = "\n".join(f"    {line}" for line in body)
    return HEAD.format(word=word, schedule=schedule, body=lines)


FIRST = ("a, b, c = step('a'), step('b'), step('c')", "a >> b >> c")
# `c` is gone, `new` comes before `b`, `d` after it.
SECOND = (
    "a, new, b, d = step('a'), step('new'), step('b', retries=1, retry_delay=0.1), step('d')",
    "a >> new >> b >> d",
)


class Changing:
    """The DAG on a running installation, and what its tasks told."""

    def __init__(self, running: Standalone, dags: Path, tmp_path: Path) -> None:
        """Starts from nothing told."""
        self.running, self.api, self.cli = running, running.api, running.cli
        self.dags, self.folder, self.version = dags, tmp_path, 0

    def write(self, word: str, *body: str, schedule: str = "None") -> None:
        """Another version of the file, read."""
        write_dag(self.dags, "changing.py", text(word, *body, schedule=schedule))
        self.version += 1
        wait_until(f"version {self.version}", lambda: self.newest() == self.version or None)

    def newest(self) -> int | None:
        """The newest version that is registered."""
        found = self.api.get("/dags", dag_id_pattern="changing")["dags"]
        return found[0]["dagbok"]["version"] if found else None

    def told(self) -> Counter[str]:
        """How often each task of each run began, by which code."""
        witness = self.folder / "witness"
        return Counter(witness.read_text().splitlines() if witness.exists() else [])

    def fails(self, task: str, fails: bool = True) -> None:
        """Whether a task fails from now on."""
        sign = self.folder / f"witness.fail.{task}"
        sign.touch() if fails else sign.unlink()

    def runs(self, run_id: str, state: str) -> None:
        """Makes a run, which ends so."""
        assert self.running.trigger("changing", run_id).status_code == 200
        self.ends(run_id, state)

    def ends(self, run_id: str, state: str) -> None:
        """Waits for a run's end, which must be this one."""
        assert self.api.wait_run("changing", run_id) == state, self.states(run_id)

    def states(self, run_id: str) -> dict[str, tuple[str | None, int]]:
        """Each task's state and number of tries; of copies with their number."""
        found = self.api.get(f"/dags/changing/dagRuns/{run_id}/taskInstances")["task_instances"]
        name = {-1: ""}
        return {
            it["task_id"] + name.get(it["map_index"], f"[{it['map_index']}]"): (it["state"], it["try_number"])
            for it in found
        }

    def preview(self, run_id: str, *args: str) -> tuple[list[str], list[str], list[str], tuple[int, int]]:
        """What would run again, what is added, what removed, and from which version to which."""
        told = self.cli.json("runs", "clear", "changing", run_id, "--latest", *args, "--dry-run")
        names = [[it["task_id"] for it in tasks] for tasks in (told["tasks"], told["version"]["added"])]
        removed = [it["task_id"] for it in told["version"]["removed"]]
        return (*names, removed, (told["version"]["from"], told["version"]["to"]))


@pytest.fixture
def changing(running: Standalone, dags: Path, tmp_path: Path) -> Changing:
    """The first version, registered."""
    it = Changing(running, dags, tmp_path)
    it.write("first", *FIRST)
    return it


def test_a_cleared_run_goes_on_with_the_file_as_it_is_now(changing: Changing) -> None:
    changing.fails("b")
    changing.runs("r1", "failed")
    changing.write("second", *SECOND)
    before = changing.told()
    assert before == {"r1 a first": 1, "r1 b first": 1}
    assert changing.preview("r1", "--only-failed") == (["b"], ["new", "d"], ["c"], (1, 2))
    assert (changing.told(), changing.api.state("changing", "r1")) == (before, "failed"), "a preview changes nothing"
    shown = changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--only-failed", "--dry-run")
    for line in ("version 2 of the DAG, until now on 1", "  b\n", "new (is added)", "d (is added)", "c (is removed"):
        assert line in shown, shown
    changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--only-failed", "--yes", "--reason", "mended")
    # It fails twice more: retries are those of the new version.
    changing.ends("r1", "failed")
    assert changing.told() - before == {"r1 new second": 1, "r1 b second": 2}
    # What is gone shows, with its history.
    assert changing.states("r1") == {
        "a": ("success", 1),
        "new": ("success", 1),
        "b": ("failed", 3),
        "d": ("upstream_failed", 0),
        "c": ("removed", 0),
    }
    changing.fails("b", False)
    before = changing.told()
    changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--only-failed", "--yes")
    changing.ends("r1", "success")
    assert changing.told() - before == {"r1 b second": 1, "r1 d second": 1}
    run = changing.api.get("/dags/changing/dagRuns/r1")
    assert [it["version_number"] for it in run["dag_versions"]] == [2]
    tries = changing.api.get("/dags/changing/dagRuns/r1/taskInstances/b/tries")["task_instances"]
    assert [it["dag_version"]["version_number"] for it in tries] == [1, 2, 2, 2]
    first, second = changing.api.get("/dagbok/runs/changing/r1/changes")["changes"]
    assert (first["reason"], first["version_was"], first["version"], second["version"]) == ("mended", 1, 2, None)
    said = {(it["task_id"], it["change"]) for it in first["tasks"]}
    assert said == {("c", "removed"), ("new", "added"), ("d", "added"), ("b", "cleared")}
    shown = changing.cli.ok("runs", "show", "changing", "r1")
    assert "version 2 (was 1)" in shown, shown
    why = changing.cli.run("why", "changing", "r1", "c")
    assert "removed" in why.stdout + why.stderr
    # All of it is kept, and folded anew, by whoever starts next.
    states = changing.states("r1")
    changing.running.process.stop()
    changing.running.start()
    assert changing.states("r1") == states
    changing.write("third", *FIRST)
    assert changing.preview("r1") == (["a", "b"], ["c"], ["new", "d"], (2, 3))
    changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--yes")
    changing.ends("r1", "success")
    assert changing.states("r1") == {
        "a": ("success", 2),
        "b": ("success", 5),
        "c": ("success", 1),
        "new": ("removed", 1),
        "d": ("removed", 1),
    }
    check_history(changing.api.events(), {("changing", "r1")})


def test_airflows_paths_take_the_latest_version(changing: Changing) -> None:
    changing.fails("b")
    changing.runs("r1", "failed")
    changing.runs("r2", "failed")
    changing.fails("b", False)
    changing.write("second", *SECOND)
    clear: dict[str, Any] = {"dag_run_id": "r1", "run_on_latest_version": True}
    would = changing.api.post("/dags/changing/clearTaskInstances", clear).json()
    named = [(it["task_id"], it["state"], it["dag_version"]["version_number"]) for it in would["task_instances"]]
    # What is gone is named as the version has it that had it.
    assert named == [("b", "failed", 2), ("new", None, 2), ("d", None, 2), ("c", "removed", 1)]
    before = changing.told()
    done = changing.api.post("/dags/changing/clearTaskInstances", {**clear, "dry_run": False})
    assert done.status_code == 200, done.text
    assert [it["task_id"] for it in done.json()["task_instances"]] == ["b", "new", "d", "c"]
    changing.ends("r1", "success")
    assert changing.told() - before == {f"r1 {task} second": 1 for task in ("new", "b", "d")}
    before = changing.told()
    body = {"dry_run": True, "run_on_latest_version": True}
    would = changing.api.post("/dags/changing/dagRuns/r2/clear", body).json()["task_instances"]
    assert [it["task_id"] for it in would if it["state"] == "removed"] == ["c"], would
    body["dry_run"] = False
    assert changing.api.post("/dags/changing/dagRuns/r2/clear", body).status_code == 200
    changing.ends("r2", "success")
    assert changing.told() - before == {f"r2 {task} second": 1 for task in ("a", "new", "b", "d")}
    # Without it a run keeps its own.
    changing.write("third", *FIRST)
    before = changing.told()
    assert changing.api.post("/dags/changing/dagRuns/r2/clear", {"dry_run": False}).status_code == 200
    changing.ends("r2", "success")
    assert changing.told() - before == {f"r2 {task} second": 1 for task in ("a", "new", "b", "d")}
    check_history(changing.api.events(), {("changing", "r1"), ("changing", "r2")})


def test_copies_follow_the_file(changing: Changing) -> None:
    def mapped(word: str, count: int) -> None:
        changing.write(
            word,
            "@task",
            "def part(n):",
            "    with open(os.environ['WITNESS'], 'a') as told:",
            "        told.write(f'part {n} {WORD}\\n')",
            f"part.expand(n={list(range(count))}) >> step('last')",
        )

    mapped("two", 2)
    changing.runs("r1", "success")
    mapped("four", 4)
    before = changing.told()
    told = changing.cli.json("runs", "clear", "changing", "r1", "--latest", "--task", "last", "--dry-run")
    [added] = told["version"]["added"]
    assert (added["task_id"], added["map_index"], added["further"]) == ("part", 2, 1)
    changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--task", "last", "--yes")
    changing.ends("r1", "success")
    assert changing.told() - before == {"part 2 four": 1, "part 3 four": 1, "r1 last four": 1}
    mapped("one", 1)
    changing.cli.ok("runs", "clear", "changing", "r1", "--latest", "--task", "last", "--yes")
    changing.ends("r1", "success")
    states = {name: state for name, (state, _) in changing.states("r1").items()}
    assert states == {"part[0]": "success", **{f"part[{n}]": "removed" for n in (1, 2, 3)}, "last": "success"}


def test_what_there_is_nothing_to_go_on_with_is_refused(changing: Changing) -> None:
    changing.fails("b")
    changing.runs("r1", "failed")
    body = {"dry_run": False, "run_on_latest_version": True}
    path = "/dags/changing/dagRuns/r1/clear"
    # A file that is broken keeps the version that it had.
    write_dag(changing.dags, "changing.py", "from airflow.sdk import dag\ndef broken(:\n")
    wait_until("the error", lambda: changing.api.get("/importErrors")["total_entries"] == 1 or None)
    assert changing.api.post(path, body).status_code == 200
    changing.ends("r1", "failed")
    (changing.dags / "changing.py").unlink()
    wait_until("the DAG is gone", lambda: not changing.api.get("/dags", dag_id_pattern="changing")["dags"] or None)
    gone = changing.api.post(path, body)
    assert (gone.status_code, "no DAG" in gone.text) == (404, True), gone.text
    changing.fails("b", False)
    changing.write("second", *SECOND)
    # The code of the version is gone from the store: nothing is begun with it.
    bundle = changing.api.get("/dags/changing")["bundle_version"]
    blobs = [it for it in changing.folder.rglob(f"*{bundle[-48:]}*") if it.is_file()]
    assert blobs, f"{bundle} lies nowhere below {changing.folder}"
    hidden = [(it, it.with_name("hidden-" + it.name)) for it in blobs]
    for blob, elsewhere in hidden:
        blob.rename(elsewhere)
    refused = changing.api.post(path, body)
    assert (refused.status_code, "is gone" in refused.text) == (409, True), refused.text
    assert changing.api.state("changing", "r1") == "failed"
    for blob, elsewhere in hidden:
        elsewhere.rename(blob)
    assert changing.api.post(path, body).status_code == 200
    changing.ends("r1", "success")
    check_history(changing.api.events(), {("changing", "r1")})


def test_a_run_that_goes_on_keeps_its_version(changing: Changing) -> None:
    changing.running.cli.ok("dags", "pause", "changing")
    assert changing.running.trigger("changing", "r1").status_code == 200
    changing.write("second", *SECOND)
    refused = changing.cli.run("runs", "clear", "changing", "r1", "--latest", "--yes")
    assert (refused.returncode != 0, "is not over" in refused.stderr) == (True, True), refused.stderr
    changing.running.cli.ok("dags", "unpause", "changing")
    changing.ends("r1", "success")
    assert changing.told() == {f"r1 {task} first": 1 for task in "abc"}


def test_a_backfill_reruns_with_the_latest_version(changing: Changing) -> None:
    changing.write("first", *FIRST, schedule="'@hourly'")
    dates = ("--from-date", "2024-03-01", "--to-date", "2024-03-01T01:00:00Z")

    def backfill(*args: str) -> None:
        found = changing.cli.json("backfill", "create", "changing", *dates, *args)
        path = f"/backfills/{found['id']}"
        wait_until("its end", lambda: changing.api.get(path)["completed_at"])

    backfill()
    before = changing.told()
    changing.write("second", *SECOND, schedule="'@hourly'")
    backfill("--reprocess-behavior", "completed")
    # The schedule's own run of now is not meant.
    again = Counter({line: n for line, n in (changing.told() - before).items() if line.startswith("backfill__")})
    assert sum(again.values()) == 8
    assert {line.split(maxsplit=1)[1] for line in again} == {f"{task} second" for task in ("a", "new", "b", "d")}
    runs = changing.api.get("/dags/changing/dagRuns", run_type="backfill")["dag_runs"]
    assert [[it["version_number"] for it in run["dag_versions"]] for run in runs] == [[changing.version]] * 2
