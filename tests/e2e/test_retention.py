"""What is old goes: runs by their age or number, their files, and records into the archive; and a log that lost
records is not built on."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import httpx
from apart import Apart, trigger, wait_all
from dags import hello
from harness import Cli, Process, Standalone, check_history, standalone, wait_until, write_dag

DAG = """
from datetime import datetime

from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def talker():
    @task
    def talk(dag_run=None):
        print("this is", dag_run.run_id)
        return "x" * 100_000

    talk()


talker()
"""

DAY = 24 * 3600


def kill(running: Standalone) -> None:
    running.process.send(signal.SIGKILL)
    running.process.kill()


def run_all(running: Standalone, names: list[str]) -> None:
    running.wait_dag("talker")
    for name in names:
        assert running.trigger("talker", name).status_code == 200
    for name in names:
        assert running.api.wait_run("talker", name) == "success"


def runs(running: Standalone) -> list[str]:
    return [it["dag_run_id"] for it in running.api.get("/dags/talker/dagRuns")["dag_runs"]]


def blobs(running: Standalone) -> dict[str, Path]:
    files = (running.home / "blobs").glob("??/*")
    return {file.parent.name + file.name: file for file in files if file.parent.name != "new"}


def test_old_records_go_into_the_archive_and_nothing_is_missed(tmp_path: Path, dags: Path) -> None:
    env = {
        "DAGBOK__RETENTION__LOG": "1s",
        "DAGBOK__RETENTION__EVERY": "1s",
        "DAGBOK__RETENTION__ARCHIVE_RECORDS": "20",
        "DAGBOK__SCHEDULER__SNAPSHOT_EVERY": "10",
    }
    write_dag(dags, "talker.py", DAG)
    names = [f"r{n}" for n in range(12)]
    with standalone(tmp_path, dags, env=env) as running:
        for name in names:
            # Killed while records are archived, trimmed and followed.
            run_all(running, [name])
            kill(running)
            running.start()
        archive, log = running.home / "archive", running.home / "log"
        run_all(running, ["last"])
        wait_until("several files of the archive", lambda: len(list(archive.glob("*.arc"))) >= 2)
        wait_until("a log that begins later", lambda: (log / "base").exists())
        whole: list[dict[str, Any]] = running.api.events()
        assert [it["seq"] for it in whole] == list(range(1, len(whole) + 1))
        check_history(whole, {("talker", name) for name in names})

        kill(running)
        shutil.rmtree(running.home / "read-model")
        shutil.rmtree(running.home / "snapshots")
        running.start()
        wait_until("the read model", lambda: len(runs(running)) == len(names) + 1)
        assert running.api.events()[: len(whole)] == whole
        # A run that is only in the archive is taken up again.
        cleared = running.cli.run("runs", "clear", "talker", "r0", "--yes")
        assert cleared.returncode == 0, cleared.stderr
        assert running.api.wait_run("talker", "r0") == "success"
        tries = running.api.get("/dags/talker/dagRuns/r0/taskInstances/talk/tries")["task_instances"]
        assert [it["try_number"] for it in tries] == [1, 2]

        # Without the archive it is said what is missing, and nothing starts.
        assert running.process.stop() == 0
        archive.rename(tmp_path / "aside")
        shutil.rmtree(running.home / "snapshots")
        assert running.process.start().ends() != 0
        assert "read it from the archive" in running.process.log.read_text()
        shutil.rmtree(archive, ignore_errors=True)
        (tmp_path / "aside").rename(archive)
        running.start()
        assert running.api.state("talker", "r1") == "success"


class Signs:
    """What is seen from outside of those that keep the log small, each told apart from before."""

    def __init__(self, running: Standalone) -> None:
        """Looks for the first time."""
        self.running = running
        self.before = self.look()

    def look(self) -> dict[str, object]:
        """The archive's files, the log's base, the snapshot, and how often runs went."""
        home = self.running.home

        def written(file: Path) -> tuple[int, int]:
            found = file.stat() if file.exists() else None
            return (found.st_ino, found.st_mtime_ns) if found else (0, 0)

        return {
            "archived": len(list((home / "archive").glob("*.arc"))),
            "being archived": len(list((home / "archive").iterdir())) if (home / "archive").exists() else 0,
            "trimmed": written(home / "log" / "base"),
            "snapshot": written(home / "snapshots" / "scheduler"),
            "pruned": self.running.process.log.read_text().count("runs went by the rules"),
        }

    def has_come(self, sign: str) -> bool:
        """Whether this one is another than at first."""
        assert self.running.process.alive(), self.running.process.log.read_text()[-2000:]
        return self.look()[sign] != self.before[sign]


def test_kills_while_runs_go_and_the_log_is_trimmed_lose_nothing(tmp_path: Path, dags: Path) -> None:
    env = {
        "DAGBOK__RETENTION__LOG": "1s",
        "DAGBOK__RETENTION__EVERY": "1s",
        "DAGBOK__RETENTION__RUNS": "2s",
        "DAGBOK__RETENTION__ARCHIVE_RECORDS": "12",
        "DAGBOK__SCHEDULER__SNAPSHOT_EVERY": "7",
    }
    write_dag(dags, "talker.py", DAG)
    chance = random.Random(20261128)
    signs = ["archived", "being archived", "trimmed", "snapshot", "pruned"] * 3
    chance.shuffle(signs)
    accepted: set[tuple[str, str]] = set()
    seen: list[dict[str, Any]] = []
    with standalone(tmp_path, dags, env=env) as running:
        for number, sign in enumerate(signs):
            running.wait_dag("talker")
            look = Signs(running)
            for run_id in [f"r{number}a", f"r{number}b"]:
                answer = running.trigger("talker", run_id)
                assert answer.status_code == 200, answer.text
                accepted.add(("talker", run_id))
            if number % 3 == 2:
                # One that is over is taken up again, unless it went meanwhile.
                _, run_id = chance.choice(sorted(accepted))
                cleared = running.cli.run("runs", "clear", "talker", run_id, "--yes")
                assert cleared.returncode in (0, 3, 4), cleared.stderr
            wait_until(f"that it is {sign}", lambda look=look, sign=sign: look.has_come(sign))
            if chance.random() < 0.5:
                now = running.api.events()
                assert now[: len(seen)] == seen, "what was read once reads otherwise"
                seen = now
            kill(running)
            running.start()

        def over() -> bool:
            found = running.api.get("/dags/talker/dagRuns", limit=100)["dag_runs"]
            return all(it["state"] in ("success", "failed") for it in found)

        wait_until("the end of every run", over)
        assert running.process.stop() == 0
        reader = Cli(["--home", str(running.home)])
        whole = reader.lines("events")
        assert whole[: len(seen)] == seen
        check_history(whole, accepted)
        created, deleted = set(), set()
        for record in whole:
            kinds = {fact["type"] for fact in record["facts"]}
            if "RunCreated" in kinds:
                created.add(record["run_id"])
            if "RunDeleted" in kinds:
                deleted.add(record["run_id"])
        assert len(deleted) >= 10, "runs went between the kills"
        left = {it["dag_run_id"] for it in reader.json("runs", "list", "talker", "--limit", "100")["dag_runs"]}
        assert left == created - deleted
        proved = reader.json("archive", "verify")
        assert (proved["ok"], proved["first"], proved["fault"]) == (True, 1, None)
        assert proved["entries"] >= 100, "the archive has most of it"
        assert proved["log_first"] <= proved["last"] + 1
        check_faults_are_found(reader, running.home / "archive", proved)


def check_faults_are_found(reader: Cli, archive: Path, proved: dict[str, Any]) -> None:
    files = sorted(archive.glob("*.arc"))
    middle = files[len(files) // 2]
    whole = middle.read_bytes()
    at = len(whole) - 30
    middle.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    done = reader.run("archive", "verify", "--json")
    assert done.returncode == 9
    said = json.loads(done.stdout)
    assert (said["ok"], said["fault"]["path"]) == (False, str(middle))
    assert said["last"] + 1 == int(middle.name.split("-")[0]), "what stands before it is proved"
    text = reader.run("archive", "verify")
    assert text.returncode == 9
    assert str(middle) in text.stdout
    middle.unlink()
    done = reader.run("archive", "verify", "--json")
    assert done.returncode == 9
    assert "put the archive's files back" in json.loads(done.stdout)["fault"]["message"]
    middle.write_bytes(whole)
    assert reader.json("archive", "verify") == proved
    alone = reader.json("archive", "verify", "--dir", str(archive), "--alone")
    assert (alone["ok"], alone["log_first"], alone["chain"]) == (True, None, proved["chain"])


def test_old_runs_go_with_their_files_and_nothing_else_does(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "talker.py", DAG)
    with standalone(tmp_path, dags) as running:
        run_all(running, ["r1", "r2"])
        facts = [fact for it in running.api.events() for fact in it["facts"]]
        bundle = next(fact["bundle"] for fact in facts if fact["type"] == "RunCreated")
        assert running.process.stop() == 0
        old = set(blobs(running))
        assert bundle in old
        assert len(old) >= 3, "a bundle, logs and a value"
        for file in blobs(running).values():
            os.utime(file, (time.time() - 3 * DAY,) * 2)
        env = {"DAGBOK__RETENTION__RUNS": "2s", "DAGBOK__RETENTION__EVERY": "1s"}
        running.process.env.update(env)
        running.start()
        wait_until("that both are gone", lambda: runs(running) == [])
        wait_until("that their files are gone", lambda: not (old - {bundle}) & set(blobs(running)))
        assert bundle in blobs(running), "new runs need it"
        run_all(running, ["r1"])
        records = running.api.events()
        deleted = [it for it in records if any(fact["type"] == "RunDeleted" for fact in it["facts"])]
        assert {it["reason"] for it in deleted} == {"by the rules of what is kept"}


def test_what_would_go_is_shown_before_it_does(tmp_path: Path, dags: Path) -> None:
    # A folder that is read while it is empty has code of its own, which nobody names either.
    write_dag(dags, "talker.py", DAG)
    # What a try used of the machine is kept beside its log where it was looked at: here it never is.
    with standalone(tmp_path, dags, env={"DAGBOK__EXECUTOR__USAGE_EVERY": "1h"}) as running:
        for name in ["r1", "r2", "r3"]:
            # One after the other: what is kept is what ended last.
            run_all(running, [name])
        facts = [fact for it in running.api.events() if it.get("run_id") in ("r1", "r2") for fact in it["facts"]]
        logs = {fact["log"]["digest"] for fact in facts if fact.get("log")}
        assert len(logs) >= 2, "one of each try"
        nothing = running.cli.json("prune", "--dry-run")
        assert (nothing["runs"], nothing["dags"]) == (0, []), "a year is kept"
        would = running.cli.json("prune", "--keep-runs", "1", "--dry-run")
        assert (would["dry_run"], would["runs"]) == (True, 2)
        assert would["bytes"] > 200_000, "each has a value of 100,000 bytes"
        assert "2 runs" in running.cli.ok("prune", "--keep-runs", "1", "--dry-run")
        assert sorted(runs(running)) == ["r1", "r2", "r3"]
        assert running.cli.run("prune", "--keep-runs", "1").returncode == 2, "nobody is there to agree"
        assert running.cli.run("prune", "--keep-runs", "1", "--dag", "other").returncode == 3
        done = running.cli.json("prune", "--keep-runs", "1", "--yes")
        assert (done["dry_run"], done["runs"]) == (False, 2)
        assert runs(running) == ["r3"]
        young = running.cli.json("prune", "--dry-run")["unnamed"]
        assert (young["blobs"], young["of"]) == (0, len(blobs(running))), "nobody can be about to name them"
        for file in blobs(running).values():
            os.utime(file, (time.time() - 3 * DAY,) * 2)
        unnamed = running.cli.json("prune", "--dry-run")["unnamed"]
        assert unnamed["blobs"] == len(logs), "the logs of two runs: their value is the third's too"
        assert f"files that nothing names: {unnamed['blobs']} of" in running.cli.ok("prune", "--dry-run")
        assert running.cli.json("prune", "--older-than", "0s", "--yes")["runs"] == 1
        assert runs(running) == []


def test_what_nothing_has_any_more_is_forgotten(tmp_path: Path, dags: Path) -> None:
    env = {f"DAGBOK__RETENTION__{what}": "1s" for what in ["DAGS", "VERSIONS", "EXECUTORS"]}
    env["DAGBOK__RETENTION__EVERY"] = "1h"
    file = write_dag(dags, "talker.py", DAG)

    def count(running: Standalone, kind: str) -> int:
        return sum(fact["type"] == kind for it in running.api.events() for fact in it["facts"])

    with standalone(tmp_path, dags, env=env) as running:
        run_all(running, ["r1"])
        write_dag(dags, "talker.py", DAG.replace("catchup=False", "catchup=False, tags=['new']"))
        wait_until("a second version", lambda: count(running, "DagRegistered") == 2)
        assert running.process.stop() == 0
        running.start()

        def forgotten() -> dict[str, Any]:
            found: dict[str, Any] = running.cli.json("prune", "--dry-run")["forgotten"]
            return found

        wait_until("an executor of before", lambda: forgotten()["executors"] == 1)
        assert forgotten()["versions"] == 0, "a run has it"
        running.cli.ok("runs", "delete", "talker", "r1")
        wait_until("a version without a run", lambda: forgotten()["versions"] == 1)
        assert "1 executors that left" in running.cli.ok("prune", "--dry-run")
        assert count(running, "DagVersionsForgotten") == 0, "it was only asked"
        running.cli.ok("prune", "--yes")
        kept = {"runs": 0, "bytes": 0, "more": False}
        nothing = {"dags": [], "versions": 0, "executors": 0, "reports": 0, "backfills": 0, "logs": kept, "xcoms": kept}
        assert forgotten() == nothing
        assert running.api.get("/dags/talker/dagVersions")["total_entries"] == 1

        file.unlink()
        wait_until("a DAG that vanished", lambda: forgotten()["dags"] == ["talker"])
        running.cli.ok("prune", "--yes")
        assert forgotten()["dags"] == []
        assert running.cli.run("dags", "show", "talker").returncode == 3
        # It may come back, and uses no number twice.
        write_dag(dags, "talker.py", DAG)
        run_all(running, ["r1"])
        records = running.api.events()
        facts = [fact for it in records for fact in it["facts"]]
        assert [it["version"] for it in facts if it["type"] == "DagRegistered"] == [1, 2, 3]
        assert [it["try_number"] for it in facts if it["type"] == "TrySucceeded"] == [1, 2]
        kinds = [it["type"] for it in facts if it["type"].endswith("Forgotten")]
        assert sorted(kinds) == ["DagForgotten", "DagVersionsForgotten", "HistoryForgotten"]


HANDS_ON = """
from datetime import datetime, timedelta

from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def talker():
    @task
    def talk(dag_run=None):
        print("this is", dag_run.run_id)
        return "x" * 100_000

    @task(retries=2, retry_delay=timedelta(hours=1))
    def reads(text):
        print("it has", len(text))

    @task
    def asks(ti=None):
        print("it was told", len(ti.xcom_pull(task_ids="talk")))

    said = talk()
    reads(said)
    said >> asks()


talker()
"""


def gone(running: Standalone, *args: str) -> str:
    """What a command says of something that is forgotten."""
    done = running.cli.run(*args)
    assert done.returncode == 3, done
    return done.stderr


def test_logs_and_xcoms_go_before_their_runs(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "talker.py", HANDS_ON)
    env = {"DAGBOK__EXECUTOR__USAGE_EVERY": "1h", "DAGBOK__RETENTION__EVERY": "1h"}
    with standalone(tmp_path, dags, env=env) as running:
        run_all(running, ["r1", "r2"])
        facts = [fact for it in running.api.events() for fact in it["facts"]]
        logs = {fact["log"]["digest"] for fact in facts if fact.get("log")}
        assert len(logs) == 6, "one of each try"
        nothing = running.cli.json("prune", "--dry-run")["forgotten"]
        assert (nothing["logs"]["runs"], nothing["xcoms"]["runs"]) == (0, 0), "they go with their runs"
        assert running.process.stop() == 0
        running.process.env.update({"DAGBOK__RETENTION__LOGS": "1s", "DAGBOK__RETENTION__XCOMS": "1s"})
        running.start()

        def would() -> dict[str, Any]:
            found: dict[str, Any] = running.cli.json("prune", "--dry-run")["forgotten"]
            return found

        wait_until("that both are old", lambda: would()["logs"]["runs"] == 2)
        assert would()["xcoms"] == {"runs": 2, "bytes": 2 * 100_002, "more": False}
        assert would()["logs"]["bytes"] > 100
        shown = running.cli.ok("prune", "--dry-run")
        assert "the logs of 2 runs that stay" in shown
        assert "the XComs of 2 runs that stay" in shown
        assert running.cli.ok("runs", "logs", "talker", "r1"), "it was only asked"
        running.cli.ok("prune", "--yes")
        # Killed once the fact is there, and before what it frees has gone.
        kill(running)
        running.start()
        assert sorted(runs(running)) == ["r1", "r2"], "the runs stay"
        text = gone(running, "tasks", "logs", "talker", "r1", "talk")
        assert "was kept until 20" in text
        assert "by retention.logs" in text
        path = "/dags/talker/dagRuns/r1/taskInstances/talk/xcomEntries"
        said = httpx.get(f"{running.api.url}/api/v2{path}/return_value")
        assert (said.status_code, "by retention.xcoms" in said.json()["detail"]) == (404, True)
        assert running.api.get(path)["kept_until"]
        told = running.cli.run("tasks", "xcoms", "talker", "r1", "talk")
        assert (told.returncode, "by retention.xcoms, and is forgotten" in told.stderr) == (0, True), told
        assert "nothing" not in told.stdout, "never that nothing was handed on"
        told = running.cli.run("runs", "logs", "talker", "r1", "--follow")
        assert ("talk: " in told.stderr, "by retention.logs" in told.stderr) == (True, True), told
        for file in blobs(running).values():
            os.utime(file, (time.time() - 3 * DAY,) * 2)
        unnamed = running.cli.json("prune", "--dry-run")["unnamed"]
        assert unnamed["blobs"] == len(logs) + 1, "all logs, and the value that both runs handed on"

        # Of a run that is cleared: who asks for what is forgotten fails by that; who runs again hands it on anew.
        clear = ("runs", "clear", "talker", "r1", "--task", "reads", "--task", "asks")
        assert "by retention.xcoms, and are forgotten" in running.cli.ok(*clear, "--dry-run")
        running.cli.ok(*clear, "--yes")
        assert running.api.wait_run("talker", "r1") == "failed"
        for task in ["reads", "asks"]:
            text = running.cli.ok("tasks", "logs", "talker", "r1", task)
            assert "the XCom `return_value` of task `talk` was kept until 20" in text, text
        running.cli.ok("runs", "clear", "talker", "r1", "--yes")
        assert running.api.wait_run("talker", "r1") == "success"
        assert "it has 100000" in running.cli.ok("tasks", "logs", "talker", "r1", "reads")


def test_what_one_scheduler_archived_is_read_by_the_others(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with Apart(tmp_path, schedulers=2, archive=archive) as apart:
        write_dag(apart.dags, "hello.py", hello("hello"))
        wait_until("the DAG", lambda: apart.api.get("/dags/hello"))
        accepted: set[tuple[str, str]] = set()
        for n in range(8):
            trigger(apart.api, "hello", f"r{n}", accepted)
        wait_all(apart.api, accepted, patience=60)
        wait_until("several files of the archive", lambda: len(list(archive.glob("*.arc"))) >= 2, 60)
        whole = apart.api.events()

        # Who said last that it leads.
        def leads(one: Process) -> bool:
            said = [line for line in one.log.read_text().splitlines() if "lead" in line and "scheduler" in line]
            return bool(said) and "standing by" not in said[-1]

        wait_until("who leads", lambda: any(leads(it) for it in apart.of("scheduler")), 30)
        next(it for it in apart.of("scheduler") if leads(it)).kill()
        # An API that knows nothing yet reads it all, from the archive first.
        ui = apart.services["ui"]
        assert ui.stop() == 0
        shutil.rmtree(tmp_path / "ui")
        ui.start()
        wait_until("the API", apart.api.healthy)
        wait_until("all runs", lambda: apart.api.get("/dags/hello/dagRuns")["total_entries"] == len(accepted), 60)
        assert apart.api.events()[: len(whole)] == whole
        # And another scheduler takes up a run that lies in the archive alone.
        cleared = apart.cli.run("runs", "clear", "hello", "r0", "--yes")
        assert cleared.returncode == 0, cleared.stderr
        assert apart.api.wait_run("hello", "r0") == "success"
        tries = apart.api.get("/dags/hello/dagRuns/r0/taskInstances/hello/tries")["task_instances"]
        assert [it["try_number"] for it in tries] == [1, 2]
        check_history(apart.api.events(), accepted)


def test_a_log_that_lost_records_is_not_built_on(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "talker.py", DAG)
    run_all(running, ["r1"])
    assert running.process.stop() == 0
    backup = tmp_path / "backup"
    shutil.copytree(running.home / "log", backup)
    running.start()
    run_all(running, ["r2"])
    assert running.process.stop() == 0
    shutil.move(running.home / "log", tmp_path / "newer")
    shutil.copytree(backup, running.home / "log")

    assert running.process.start().ends() == 9
    said = running.process.log.read_text()
    assert "DBK0037" in said
    assert "records are missing" in said
    assert "--accept-shorter-log" in said

    # What was lost is put back: all is as it was.
    shutil.move(running.home / "log", tmp_path / "older")
    shutil.copytree(tmp_path / "newer", running.home / "log")
    running.start()
    assert sorted(runs(running)) == ["r1", "r2"]
    assert running.process.stop() == 0

    # Or given up, by a word.
    shutil.rmtree(running.home / "log")
    shutil.copytree(backup, running.home / "log")
    running.process.argv.append("--accept-shorter-log")
    running.start()
    assert runs(running) == ["r1"]
    assert running.trigger("talker", "r2").status_code == 200, "nobody knows of it any more"
    assert running.api.wait_run("talker", "r2") == "success"
    assert running.process.stop() == 0
    running.process.argv.remove("--accept-shorter-log")
    running.start()
    assert sorted(runs(running)) == ["r1", "r2"]


def test_an_empty_log_under_a_home_that_knows_of_records_is_refused(running: Standalone, dags: Path) -> None:
    write_dag(dags, "talker.py", DAG)
    run_all(running, ["r1"])
    assert running.process.stop() == 0
    shutil.rmtree(running.home / "log")
    assert running.process.start().ends() == 9
    shutil.rmtree(running.home / "snapshots")
    assert running.process.start().ends() == 9, "the read model knows as well"


def test_another_log_under_a_home_is_folded_afresh(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "talker.py", DAG)
    run_all(running, ["a1", "a2"])
    assert running.process.stop() == 0
    shutil.copytree(running.home, tmp_path / "a")
    shutil.rmtree(running.home)
    running.start()
    run_all(running, ["b1"])
    assert running.process.stop() == 0
    shutil.rmtree(tmp_path / "a" / "log")
    shutil.copytree(running.home / "log", tmp_path / "a" / "log")
    shutil.rmtree(running.home)
    shutil.copytree(tmp_path / "a", running.home)
    running.start()
    wait_until("the read model of the other log", lambda: runs(running) == ["b1"])
    assert running.trigger("talker", "a1").status_code == 200, "it was never there"
    assert running.trigger("talker", "b1").status_code == 409, "it was"
    assert running.api.wait_run("talker", "a1") == "success"
    assert (running.home / "snapshots" / "scheduler-set-aside").exists()
