"""History is changed, and not rewritten: tasks and runs that somebody marks, tasks that run again with what is around
them, notes; each with who, why, and what was before, and judged by what the tasks did."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import Standalone, check_history, wait_until, write_dag

# What a task does is told by files: `WITNESS.fail.TASK` fails it, `WITNESS.hold.TASK` keeps it running.
CHAIN = """
import os
import time
from datetime import datetime

from airflow.sdk import dag, task


def step(name):
    @task(task_id=name)
    def it(run_id=None):
        witness = os.environ["WITNESS"]
        with open(witness, "a") as told:
            told.write(f"{run_id} {name}\\n")
        while os.path.exists(f"{witness}.hold.{name}"):
            time.sleep(0.02)
        if os.path.exists(f"{witness}.fail.{name}"):
            raise ValueError("broken")
        with open(witness, "a") as told:
            told.write(f"{run_id} {name} done\\n")

    return it()


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def chain():
    a, b, c, d = step("a"), step("b"), step("c"), step("d")
    a >> b >> c
    a >> d


chain()
"""

MAPPED = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def mapped():
    @task
    def part(n):
        with open(os.environ["WITNESS"], "a") as told:
            told.write(f"part {n}\\n")
        if n == 1 and os.path.exists(os.environ["WITNESS"] + ".fail.part"):
            raise ValueError("broken")

    @task
    def total():
        with open(os.environ["WITNESS"], "a") as told:
            told.write("total\\n")

    part.expand(n=[0, 1, 2]) >> total()
mapped()
"""


class History:
    """The chain, on a running installation."""

    def __init__(self, running: Standalone, tmp_path: Path) -> None:
        """Starts from nothing told."""
        self.running, self.api, self.cli, self.folder = running, running.api, running.cli, tmp_path

    def told(self) -> Counter[str]:
        """How often each task of each run began, and ended well."""
        witness = self.folder / "witness"
        return Counter(witness.read_text().splitlines() if witness.exists() else [])

    def began(self, before: Counter[str]) -> Counter[str]:
        """What began since then."""
        new = self.told() - before
        return Counter({line: n for line, n in new.items() if not line.endswith(" done")})

    def fails(self, task: str, fails: bool = True) -> None:
        """Whether a task fails from now on."""
        sign = self.folder / f"witness.fail.{task}"
        sign.touch() if fails else sign.unlink()

    def holds(self, task: str, holds: bool = True) -> None:
        """Whether a task goes on and on from now on."""
        sign = self.folder / f"witness.hold.{task}"
        sign.touch() if holds else sign.unlink()

    def trigger(self, run_id: str, day: int | None = None) -> None:
        """Makes a run, for a day of January."""
        date = None if day is None else f"2026-01-{day:02}T00:00:00Z"
        answer = self.running.trigger("chain", run_id, **({} if date is None else {"logical_date": date}))
        assert answer.status_code == 200, answer.text

    def is_running(self, run_id: str, task: str, times: int = 1) -> None:
        """Waits until a task has begun so often."""
        wait_until(f"{task} of {run_id}", lambda: self.told()[f"{run_id} {task}"] == times)

    def states(self, run_id: str, dag: str = "chain") -> dict[str, str | None]:
        """Each task's state; of copies with their number."""
        found = self.api.get(f"/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"]
        name = {-1: ""}
        return {it["task_id"] + name.get(it["map_index"], f"[{it['map_index']}]"): it["state"] for it in found}

    def changes(self, run_id: str, dag: str = "chain") -> list[dict[str, Any]]:
        """Who changed what of a run."""
        found: list[dict[str, Any]] = self.api.get(f"/dagbok/runs/{dag}/{run_id}/changes")["changes"]
        return found

    def ends(self, run_id: str, state: str) -> None:
        """Waits for a run's end, which must be this one."""
        assert self.api.wait_run("chain", run_id) == state, self.states(run_id)


@pytest.fixture
def chain(running: Standalone, dags: Path, tmp_path: Path) -> History:
    """The DAG a → b → c, a → d, registered."""
    write_dag(dags, "chain.py", CHAIN)
    running.wait_dag("chain")
    return History(running, tmp_path)


def tasks_of(change: dict[str, Any]) -> dict[str, tuple[str, list[tuple[str, int]]]]:
    """What a change says of each task: what became of it, and how it stood."""
    of = change["tasks"]
    return {it["task_id"]: (it["change"], [(was["state"], was["count"]) for was in it["was"]]) for it in of}


def test_a_failed_task_that_is_marked_as_success_lets_the_rest_run(chain: History) -> None:
    chain.fails("b")
    chain.trigger("r1")
    chain.ends("r1", "failed")
    before = chain.told()
    preview = chain.cli.ok("tasks", "mark", "chain", "r1", "b", "success", "--dry-run")
    assert preview.splitlines() == ["would be marked as success:", "  r1 b"]
    assert (chain.api.state("chain", "r1"), chain.changes("r1")) == ("failed", []), "a preview changes nothing"
    chain.cli.ok("tasks", "mark", "chain", "r1", "b", "success", "--reason", "mended by hand")
    chain.ends("r1", "success")
    assert chain.began(before) == {"r1 c": 1}, "what is marked does not run, nor what had"
    assert chain.states("r1") == dict.fromkeys("abcd", "success")
    [change] = chain.changes("r1")
    assert (change["reason"], change["run"], change["was"]) == ("mended by hand", "cleared", "failed")
    assert change["by"]
    assert tasks_of(change) == {
        "b": ("success", [("failed", 1)]),
        "c": ("cleared", [("upstream_failed", 1)]),
    }
    shown = chain.cli.ok("runs", "show", "chain", "r1")
    assert "mended by hand" in shown
    assert "b success (was failed)" in shown, shown
    assert "it stands as success already" in chain.cli.ok("tasks", "mark", "chain", "r1", "b", "success")
    chain.running.process.send(signal.SIGKILL)
    chain.running.process.kill()
    chain.running.start()
    assert [change] == chain.changes("r1")
    check_history(chain.api.events(), {("chain", "r1")})


def test_a_task_that_runs_is_ended_by_a_mark(chain: History) -> None:
    chain.holds("b")
    chain.trigger("r1")
    chain.is_running("r1", "b")
    chain.cli.ok("tasks", "mark", "chain", "r1", "b", "failed", "--reason", "hangs")
    chain.ends("r1", "failed")
    assert chain.states("r1") == {"a": "success", "b": "failed", "c": "upstream_failed", "d": "success"}
    chain.holds("b", False)
    assert tasks_of(chain.changes("r1")[0])["b"] == ("failed", [("running", 1)])
    # What was held would have gone on to its end by now, had it not been ended: the next one does.
    chain.trigger("r2")
    chain.ends("r2", "success")
    assert (chain.told()["r1 b done"], chain.told()["r2 b done"], chain.told()["r1 c"]) == (0, 1, 0)
    check_history(chain.api.events(), {("chain", "r1"), ("chain", "r2")})


def test_what_waits_can_be_skipped_by_airflows_path(chain: History) -> None:
    chain.holds("a")
    chain.trigger("r1")
    chain.is_running("r1", "a")
    path = "/dags/chain/dagRuns/r1/taskInstances/b"
    patch = {"new_state": "skipped", "include_downstream": True, "note": "not this time"}
    would = chain.api.patch(f"{path}/dry_run", patch).json()
    assert [it["task_id"] for it in would["task_instances"]] == ["b", "c"]
    assert (would["total_entries"], chain.states("r1")["b"]) == (2, None)
    done = chain.api.patch(path, patch).json()
    assert {it["task_id"]: it["state"] for it in done["task_instances"]} == {"b": "skipped", "c": "skipped"}
    chain.holds("a", False)
    chain.ends("r1", "success")
    assert chain.states("r1") == {"a": "success", "b": "skipped", "c": "skipped", "d": "success"}
    assert {task: chain.told()[f"r1 {task}"] for task in "abcd"} == {"a": 1, "b": 0, "c": 0, "d": 1}
    change, noted = chain.changes("r1")
    assert (change["reason"], change["run"]) == ("not this time", None)
    assert tasks_of(change) == {"b": ("skipped", [("none", 1)]), "c": ("skipped", [("none", 1)])}
    assert [(it["task_id"], it["change"], it["note"]) for it in noted["tasks"]] == [("b", "noted", "not this time")]
    # What is over is marked all the same: the run is judged anew by it.
    answer = chain.api.patch("/dags/chain/dagRuns/r1/taskInstances/d", {"new_state": "failed"})
    assert answer.status_code == 200, answer.text
    chain.ends("r1", "failed")
    check_history(chain.api.events(), {("chain", "r1")})


def test_a_run_is_marked_while_it_runs_and_after(chain: History) -> None:
    chain.holds("b")
    chain.trigger("r1")
    chain.is_running("r1", "b")
    wait_until("d", lambda: chain.states("r1")["d"] == "success")
    chain.cli.ok("runs", "mark", "chain", "r1", "success", "--reason", "enough")
    chain.ends("r1", "success")
    assert chain.states("r1") == {"a": "success", "b": "success", "c": "skipped", "d": "success"}
    chain.holds("b", False)
    assert chain.api.patch("/dags/chain/dagRuns/r1", {"state": "failed"}).json()["state"] == "failed"
    chain.cli.ok("runs", "mark", "chain", "r1", "failed")
    chain.cli.ok("runs", "mark", "chain", "r1", "success", "--reason", "it was well")
    assert chain.api.state("chain", "r1") == "success"
    said = [(it["run"], it["was"], it["reason"]) for it in chain.changes("r1")]
    assert said == [("success", "running", "enough"), ("failed", "success", None), ("success", "failed", "it was well")]
    chain.holds("b")
    chain.trigger("r2")
    chain.is_running("r2", "b")
    chain.cli.ok("runs", "cancel", "chain", "r2", "--reason", "too late")
    chain.ends("r2", "failed")
    chain.holds("b", False)
    said = [(it["run"], it["was"], it["reason"]) for it in chain.changes("r2")]
    assert said == [("cancelled", "running", "too late")]
    assert (chain.told()["r1 b done"], chain.told()["r1 c"], chain.told()["r2 b done"]) == (0, 0, 0)
    # Airflow's way to have all of it run again.
    before = chain.told()
    assert chain.api.patch("/dags/chain/dagRuns/r1", {"state": "queued"}).json()["state"] in ("queued", "running")
    chain.ends("r1", "success")
    assert chain.began(before) == {f"r1 {task}": 1 for task in "abcd"}
    check_history(chain.api.events(), {("chain", "r1"), ("chain", "r2")})


def test_a_preview_lists_exactly_what_runs_again(chain: History) -> None:
    for day, run_id in ((1, "r1"), (2, "r2"), (3, "r3")):
        chain.trigger(run_id, day)
        chain.ends(run_id, "success")

    def listed(*args: str) -> Counter[str]:
        preview = chain.cli.json("runs", "clear", "chain", "r2", *args, "--dry-run")
        runs = {"r2": preview["tasks"], **{it["dag_run_id"]: it["tasks"] for it in preview["others"]}}
        return Counter(f"{run} {task['task_id']}" for run, tasks in runs.items() for task in tasks)

    for args, expected in [
        (("--task", "b"), {"r2 b"}),
        (("--task", "b", "--downstream"), {"r2 b", "r2 c"}),
        (("--task", "b", "--upstream"), {"r2 a", "r2 b"}),
        (("--task", "b", "--upstream", "--downstream"), {"r2 a", "r2 b", "r2 c"}),
        (("--task", "d", "--past"), {"r1 d", "r2 d"}),
        (("--task", "c", "--future"), {"r2 c", "r3 c"}),
        (("--past", "--future"), {f"{run} {task}" for run in ("r1", "r2", "r3") for task in "abcd"}),
    ]:
        before, would = chain.told(), listed(*args)
        assert would == dict.fromkeys(expected, 1), args
        assert chain.told() == before, "a preview runs nothing"
        chain.cli.ok("runs", "clear", "chain", "r2", *args, "--yes", "--reason", f"because of {args[0]}")
        for run_id in {line.split()[0] for line in expected}:
            chain.ends(run_id, "success")
        assert chain.began(before) == would, args
    reasons = [it["reason"] for it in chain.changes("r3")]
    assert reasons == ["because of --task", "because of --past"]
    check_history(chain.api.events(), {("chain", run_id) for run_id in ("r1", "r2", "r3")})


def test_only_what_failed_runs_again_in_all_runs(chain: History) -> None:
    chain.fails("b")
    for day, run_id in ((1, "r1"), (2, "r2")):
        chain.trigger(run_id, day)
        chain.ends(run_id, "failed")
    chain.fails("b", False)
    before = chain.told()
    # Airflow's path: only what failed, and only a preview, where nothing else is said.
    body: dict[str, Any] = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
    path = "/dags/chain/clearTaskInstances"
    would = chain.api.post(path, body).json()
    named = [f"{it['dag_run_id']} {it['task_id']}" for it in would["task_instances"]]
    assert named == ["r1 b", "r1 c", "r2 b", "r2 c"]
    assert [it["state"] for it in would["task_instances"]] == ["failed", "upstream_failed"] * 2
    assert chain.told() == before
    assert chain.api.post(path, {**body, "end_date": "2026-01-01T12:00:00Z"}).json()["total_entries"] == 2
    done = chain.api.post(path, {**body, "dry_run": False, "note": "mended"})
    assert done.status_code == 200, done.text
    for run_id in ("r1", "r2"):
        chain.ends(run_id, "success")
        assert [it["reason"] for it in chain.changes(run_id)] == ["mended"]
    assert chain.began(before) == dict.fromkeys(named, 1)
    # And a whole run by its own path: a preview unless it says otherwise.
    before = chain.told()
    would = chain.api.post("/dags/chain/dagRuns/r1/clear", {}).json()
    assert [it["task_id"] for it in would["task_instances"]] == list("abcd") or would["total_entries"] == 4
    assert (chain.told(), chain.api.state("chain", "r1")) == (before, "success")
    run = chain.api.post("/dags/chain/dagRuns/r1/clear", {"dry_run": False}).json()
    assert run["dag_run_id"] == "r1"
    chain.ends("r1", "success")
    assert chain.began(before) == {f"r1 {task}": 1 for task in "abcd"}


def test_clearing_what_runs_is_refused_or_begins_it_anew(chain: History) -> None:
    chain.holds("b")
    chain.trigger("r1")
    chain.is_running("r1", "b")
    refused = chain.cli.run("runs", "clear", "chain", "r1", "--task", "b", "--yes")
    assert refused.returncode != 0
    assert "--kill" in refused.stderr, refused.stderr
    assert "b of r1" in refused.stderr, refused.stderr
    body = {"dag_run_id": "r1", "task_ids": ["b"], "only_failed": False, "dry_run": False}
    path = "/dags/chain/clearTaskInstances"
    assert chain.api.post(path, {**body, "prevent_running_task": True}).status_code == 409
    assert (chain.states("r1")["b"], chain.changes("r1")) == ("running", [])
    would = chain.cli.ok("runs", "clear", "chain", "r1", "--task", "b", "--kill", "--dry-run")
    assert "b (is ended first" in would, would
    chain.cli.ok("runs", "clear", "chain", "r1", "--task", "b", "--kill", "--yes", "--reason", "hangs")
    chain.is_running("r1", "b", 2)
    done = chain.api.post(path, body)
    assert done.status_code == 200, done.text
    chain.is_running("r1", "b", 3)
    chain.holds("b", False)
    chain.ends("r1", "success")
    told = chain.told()
    assert (told["r1 b"], told["r1 b done"], told["r1 a"], told["r1 c"]) == (3, 1, 1, 1)
    tries = chain.api.get("/dags/chain/dagRuns/r1/taskInstances/b")["try_number"]
    assert tries == 3
    said = [(it["reason"], tasks_of(it)) for it in chain.changes("r1")]
    assert said == [(why, {"b": ("cleared", [("running", 1)])}) for why in ("hangs", None)]
    check_history(chain.api.events(), {("chain", "r1")})


def test_a_note_is_written_changed_and_taken_away(chain: History) -> None:
    chain.trigger("r1", day=1)
    chain.ends("r1", "success")
    chain.cli.ok("runs", "note", "chain", "r1", "looks odd")
    assert chain.api.get("/dags/chain/dagRuns/r1")["note"] == "looks odd"
    assert chain.api.patch("/dags/chain/dagRuns/r1", {"note": "is right"}).json()["note"] == "is right"
    chain.cli.ok("runs", "note", "chain", "r1")
    assert chain.api.get("/dags/chain/dagRuns/r1")["note"] is None
    said = [(it["note"], it["note_was"]) for it in chain.changes("r1")]
    assert said == [("looks odd", None), ("is right", "looks odd"), (None, "is right")]
    assert chain.api.state("chain", "r1") == "success"
    assert chain.api.patch("/dags/chain/dagRuns/r1", {"note": "x" * 100_000}).status_code == 422


def test_a_note_on_a_task_is_written_changed_and_taken_away(chain: History) -> None:
    chain.holds("b")
    chain.trigger("r1")
    chain.is_running("r1", "b")
    path = "/dags/chain/dagRuns/r1/taskInstances"

    def note(task: str) -> str | None:
        found: str | None = chain.api.get(f"{path}/{task}")["note"]
        return found

    # On what has not begun, on what runs, and on what is over: nothing else needs to change with it.
    chain.cli.ok("tasks", "note", "chain", "r1", "c", "mind the gap")
    patched = chain.api.patch(f"{path}/b", {"note": "takes long"})
    assert patched.status_code == 200, patched.text
    assert [(it["task_id"], it["state"], it["note"]) for it in patched.json()["task_instances"]] == [
        ("b", "running", "takes long")
    ]
    assert (note("b"), note("c"), chain.states("r1")["c"]) == ("takes long", "mind the gap", None)
    chain.holds("b", False)
    chain.ends("r1", "success")
    assert (note("b"), note("c")) == ("takes long", "mind the gap"), "notes stay with what the task does"
    assert chain.api.patch(f"{path}/a", {"note": "well"}).status_code == 200
    chain.cli.ok("tasks", "note", "chain", "r1", "b")
    assert (note("a"), note("b")) == ("well", None)
    changed = [it for change in chain.changes("r1") for it in change["tasks"]]
    said = [(it["task_id"], it.get("note"), it.get("note_was")) for it in changed]
    assert said == [
        ("c", "mind the gap", None),
        ("b", "takes long", None),
        ("a", "well", None),
        ("b", None, "takes long"),
    ]
    assert chain.told()["r1 b"] == 1, "a note runs nothing"
    for body, status in [({}, 422), ({"note": "x" * 100_000}, 422)]:
        assert chain.api.patch(f"{path}/a", body).status_code == status
    assert chain.api.patch(f"{path}/nope", {"note": "x"}).status_code == 404
    check_history(chain.api.events(), {("chain", "r1")})


def test_a_copy_is_marked_and_the_rest_goes_by_it(running: Standalone, dags: Path, tmp_path: Path) -> None:
    history = History(running, tmp_path)
    history.fails("part")
    write_dag(dags, "mapped.py", MAPPED)
    running.wait_dag("mapped")
    assert running.trigger("mapped", "r1").status_code == 200
    assert running.api.wait_run("mapped", "r1") == "failed"
    before = history.told()
    running.cli.ok("tasks", "mark", "mapped", "r1", "part", "success", "--map-index", "1")
    assert running.api.wait_run("mapped", "r1") == "success"
    assert history.told() - before == {"total": 1}
    assert history.states("r1", "mapped") == {**{f"part[{n}]": "success" for n in range(3)}, "total": "success"}
    # All copies at once: one entry, with how they stood.
    running.cli.ok("tasks", "mark", "mapped", "r1", "part", "skipped")
    assert running.api.wait_run("mapped", "r1") == "success"
    last = history.changes("r1", "mapped")[-1]["tasks"][0]
    assert (last["further"], last["was"]) == (2, [{"state": "success", "count": 3}])
    check_history(running.api.events(), {("mapped", "r1")})


def test_what_is_wrong_is_said_and_changes_nothing(chain: History) -> None:
    chain.trigger("r1", day=1)
    chain.ends("r1", "success")
    tasks = "/dags/chain/dagRuns/r1/taskInstances"
    clear = "/dags/chain/clearTaskInstances"
    for method, path, body, status in [
        (chain.api.patch, f"{tasks}/nope", {"new_state": "failed"}, 404),
        (chain.api.patch, f"{tasks}/b", {"new_state": "running"}, 422),
        (chain.api.patch, f"{tasks}/b/3", {"new_state": "failed"}, 404),
        (chain.api.patch, "/dags/chain/dagRuns/nope/taskInstances/b", {"new_state": "failed"}, 404),
        (chain.api.patch, "/dags/chain/dagRuns/r1", {"state": "running"}, 422),
        (chain.api.post, clear, {"only_failed": True, "only_running": True}, 422),
        (chain.api.post, clear, {"task_ids": []}, 422),
        (chain.api.post, clear, {"dag_run_id": "r1", "start_date": "2026-01-01T00:00:00Z"}, 422),
        (chain.api.post, clear, {"dag_run_id": "r1", "task_ids": ["nope"]}, 404),
        (chain.api.post, clear, {"dag_run_id": "nope"}, 404),
        (chain.api.post, "/dags/nope/clearTaskInstances", {}, 404),
        (chain.api.post, "/dags/chain/dagRuns/nope/clear", {"dry_run": False}, 404),
    ]:
        answer = method(path, body)
        assert answer.status_code == status, (path, body, answer.status_code, answer.text)
        assert answer.json()["detail"]
    assert chain.cli.run("tasks", "mark", "chain", "r1", "b", "running").returncode == 2
    assert chain.cli.run("runs", "mark", "chain", "nope", "failed").returncode == 3
    assert chain.changes("r1") == []
