"""Where tries run: what they use is seen, they are held to limits, and each has a place of its own."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Standalone, wait_until, write_dag

HEAD = """
import os, pathlib, subprocess, sys, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

HERE = pathlib.Path(os.environ["PLACE"])
OPTIONS = dict(schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)


def until(name):
    while not (HERE / name).exists():
        time.sleep(0.05)
"""

EATER = (
    HEAD
    + """
def eat():
    held = bytearray(os.urandom(1 << 20) * 80)
    child = subprocess.Popen(["sleep", "600"])
    (HERE / "eating").touch()
    until("enough")
    child.kill()
    child.wait()


with DAG("eater", **OPTIONS):
    PythonOperator(task_id="eat", python_callable=eat, executor_config={"memory": "2Gi"})
"""
)

HOG = (
    HEAD
    + """
def hog(most, nap):
    held = []
    for _ in range(most):
        held.append(os.urandom(1 << 20))
        time.sleep(nap)
    until("never")


with DAG("hog", **OPTIONS):
    PythonOperator(task_id="hog", python_callable=hog, op_args=[MOST, NAP], retries=0, executor_config=CONFIG)
"""
)

PLACE = (
    HEAD
    + """
import json, pwd


def say(name):
    told = {
        "adj": int(open("/proc/self/oom_score_adj").read()),
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "pid": os.getpid(),
    }
    pathlib.Path("scratch").write_text("x" * 1000)
    told["read"] = len(pathlib.Path(__file__).read_text())
    with open(HERE / "said" / name, "w") as file:
        json.dump(told, file)


def stay():
    say("stay")
    until("never")


with DAG("place", **OPTIONS):
    PythonOperator(task_id="self", python_callable=say, op_args=["self"])
    PythonOperator(task_id="other", python_callable=say, op_args=["other"], run_as_user="nobody", retries=0)
    PythonOperator(task_id="unknown", python_callable=say, op_args=["unknown"], run_as_user="no-such-user", retries=0)
    PythonOperator(task_id="gpu", python_callable=say, op_args=["gpu"], executor_config={"gpus": 1})
with DAG("stay", **OPTIONS):
    PythonOperator(task_id="stay", python_callable=stay)
"""
)


CROWD = (
    HEAD
    + """
with DAG("crowd", **OPTIONS):
    for n in range(12):
        asks = {"cpu": 0.5 + n % 3 * 0.5, "resources": {"licence": n % 2}}
        PythonOperator(task_id=f"t{n}", python_callable=time.sleep, op_args=[0.2], executor_config=asks)
with DAG("large", **OPTIONS):
    PythonOperator(task_id="t", python_callable=time.sleep, op_args=[0], executor_config={"cpu": 9})
"""
)


LINE = (
    HEAD
    + """
def hold(name):
    (HERE / name).touch()
    until(f"end-{name}")


licence = {"resources": {"licence": 1}}
with DAG("line", **OPTIONS):
    for name in "ab":
        PythonOperator(task_id=name, python_callable=hold, op_args=[name], executor_config=licence)
with DAG("plain", **OPTIONS):
    PythonOperator(task_id="t", python_callable=time.sleep, op_args=[0])
"""
)


@contextmanager
def started(folder: Path, dag: str, before: Callable[[], None] | None = None, **env: str) -> Iterator[Standalone]:
    """An installation with one file, which looks at its tries each second."""
    dags = folder / "dags"
    (folder / "said").mkdir(parents=True)
    (folder / "said").chmod(0o777)
    write_dag(dags, "file.py", dag)
    more = {"PLACE": str(folder), "DAGBOK__EXECUTOR__USAGE_EVERY": "1s", **env}
    it = Standalone(folder, dags, env=more)
    it.process.before = before
    try:
        yield it.start()
    finally:
        it.process.kill()


def pid_of(it: Standalone) -> int:
    assert it.process.child is not None
    return it.process.child.pid


def usage(it: Standalone, dag: str, task: str) -> dict[str, Any]:
    found: dict[str, Any] = it.api.get(f"/dagbok/usage/{dag}/r1/{task}/1")
    return found


def failed(it: Standalone, dag: str, task: str) -> dict[str, Any]:
    found: dict[str, Any] = it.api.get(f"/dags/{dag}/dagRuns/r1/taskInstances/{task}/tries/1")
    return found["dagbok"]["failure"] or {}


def test_what_a_try_uses_is_seen_while_it_runs_and_kept(tmp_path: Path) -> None:
    with started(tmp_path, EATER) as it:
        it.wait_dag("eater")
        it.trigger("eater", "r1")
        wait_until("it eats", lambda: (tmp_path / "eating").exists())
        live = wait_until(
            "it was looked at", lambda: next((u for u in [usage(it, "eater", "eat")] if len(u["at_ms"]) > 1), None)
        )
        assert not live["complete"]
        assert live["memory"][-1] > 80 << 20
        assert live["peak_bytes"] >= max(live["memory"])
        assert live["memory_limit"] == 2 << 30
        assert max(live["processes"]) >= 2
        table = it.cli.ok("tasks", "usage", "eater", "r1")
        assert "eat" in table
        assert "2048.0 MiB" in table
        assert "memory" in it.cli.ok("tasks", "usage", "eater", "r1", "eat")
        (tmp_path / "enough").touch()
        assert it.api.wait_run("eater", "r1") == "success"
        kept = usage(it, "eater", "eat")
        assert kept["complete"]
        assert kept["at_ms"][: len(live["at_ms"])] == live["at_ms"]
        assert kept["began_at"] == live["began_at"]
        one = it.api.get("/dags/eater/dagRuns/r1/taskInstances/eat/tries/1")
        assert one["dagbok"]["usage"]["max_rss_bytes"] >= max(kept["memory"])
        told = it.cli.ok("tasks", "usage", "eater", "r1", "eat")
        assert "at its end" in told
        shown = it.cli.ok("executors", "show", it.api.get("/dagbok/executors")["executors"][0]["executor"])
        assert "limits" in shown


def test_a_try_above_its_limit_is_ended_and_the_failure_names_limit_peak_and_process(tmp_path: Path) -> None:
    dag = HOG.replace("MOST", "600").replace("NAP", "0.01").replace("CONFIG", '{"memory": "200Mi"}')
    with started(tmp_path, dag) as it:
        it.wait_dag("hog")
        it.trigger("hog", "r1")
        assert it.api.wait_run("hog", "r1") == "failed"
        failure = failed(it, "hog", "hog")
        assert failure["kind"] == "out_of_memory"
        assert "limit of 200 MiB" in failure["message"]
        assert "(process " in failure["message"]
        record = next(fact for fact in facts(it, "TryFailed"))
        why = record["failure"]["out_of_memory"]
        assert why["limit_bytes"] == 200 << 20
        # Up to a quarter of a second passes between two looks.
        assert why["peak_bytes"] > 200 << 20 or why["by"] == "limit"
        assert why["by"] in {"executor", "limit"}
        assert why["pid"] > 0
        assert why["process"]
        series = usage(it, "hog", "hog")
        assert series["memory_limit"] == 200 << 20
        assert series["peak_bytes"] >= max(series["memory"], default=0)


def facts(it: Standalone, kind: str) -> list[dict[str, Any]]:
    """All facts of a kind on the log."""
    all_facts = (fact for record in it.api.events() for fact in record["facts"])
    return [fact for fact in all_facts if fact["type"] == kind]


def test_one_huge_request_is_refused_where_no_cgroup_holds_it(tmp_path: Path) -> None:
    dag = HOG.replace("held.append(os.urandom(1 << 20))", "held.append(bytearray(8 << 30))")
    dag = dag.replace("MOST", "1").replace("NAP", "0").replace("CONFIG", '{"memory": "200Mi"}')
    with started(tmp_path, dag) as it:
        it.wait_dag("hog")
        it.trigger("hog", "r1")
        assert it.api.wait_run("hog", "r1") == "failed"
        assert failed(it, "hog", "hog")["kind"] == "out_of_memory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a task as somebody else")
def test_a_try_has_a_place_of_its_own(tmp_path: Path) -> None:
    # Another user is to come through all that pytest made for this one.
    root = Path(tempfile.gettempdir())
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == root or root not in folder.parents:
            break
        folder.chmod(0o755)
    env = {"DAGBOK__EXECUTOR__GPUS": "gpu-7", "DAGBOK__NATS__PASSWORD": "hush", "MINE": "yes"}
    with started(tmp_path, PLACE, **env) as it:
        it.wait_dag("place")
        it.trigger("place", "r1")
        assert it.api.wait_run("place", "r1") == "failed"
        said = {name: json_of(tmp_path / "said" / name) for name in ("self", "other", "gpu")}
        mine = int(Path(f"/proc/{pid_of(it)}/oom_score_adj").read_text())
        for one in said.values():
            assert one["adj"] > mine
            assert one["env"]["MINE"] == "yes"
            assert not any(name.startswith("DAGBOK__NATS") for name in one["env"])
            assert not Path(one["cwd"]).exists(), "it is removed after the try"
            assert one["read"] > 100
        assert len({one["cwd"] for one in said.values()}) == len(said)
        assert said["self"]["user"] == "root"
        assert said["other"]["user"] == "nobody"
        assert said["gpu"]["env"]["CUDA_VISIBLE_DEVICES"] == "gpu-7"
        assert said["self"]["env"]["CUDA_VISIBLE_DEVICES"] == ""
        failure = failed(it, "place", "unknown")
        assert "names `no-such-user`, whom this machine does not know" in failure["message"]
        assert failure["fault"] == "user"
        log = it.cli.lines("tasks", "logs", "place", "r1", "unknown")
        assert any("names `no-such-user`, whom this machine does not know" in line["event"] for line in log)
        assert not (tmp_path / "said" / "unknown").exists()


def json_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_a_killed_executor_left_is_removed_and_a_living_try_keeps_its_folder(tmp_path: Path) -> None:
    env = {"DAGBOK__EXECUTOR__LEASE": "5s"}
    with started(tmp_path, PLACE, **env) as it:
        it.wait_dag("stay")
        it.trigger("stay", "r1")
        said = tmp_path / "said" / "stay"
        wait_until("it works", said.exists)
        cwd = Path(wait_until("it says where", lambda: said.stat().st_size and json_of(said)["cwd"]))
        assert (cwd / "scratch").exists()
        it.process.kill()
        assert (cwd / "scratch").exists()
        said.unlink()
        it.start()
        wait_until("the next try works", lambda: said.exists() and said.stat().st_size > 0)
        again = Path(json_of(said)["cwd"])
        wait_until("what was left is removed", lambda: not cwd.exists(), patience=60)
        assert (again / "scratch").exists()


def test_no_more_is_given_out_than_there_is_and_the_log_shows_it(tmp_path: Path) -> None:
    env = {
        "DAGBOK__EXECUTOR__CPUS": "2",
        "DAGBOK__EXECUTOR__RESOURCES": "{licence = 1}",
        "DAGBOK__EXECUTOR__SLOTS": "12",
    }
    with started(tmp_path, CROWD, **env) as it:
        it.wait_dag("crowd")
        it.wait_dag("large")
        it.trigger("large", "r1")
        it.trigger("crowd", "r1")
        assert it.api.wait_run("crowd", "r1") == "success"
        [joined] = facts(it, "ExecutorJoined")
        assert joined["resources"] == {"cpu_milli": 2000, "custom": {"licence": 1}}
        [spec] = [fact["spec"] for fact in facts(it, "DagRegistered") if fact["spec"]["dag_id"] == "crowd"]
        asks = {task["task_id"]: task["resources"] for task in spec["tasks"]}
        used, most = {"cpu": 0, "licence": 0}, {"cpu": 0, "licence": 0}
        for record in it.api.events():
            for fact in record["facts"]:
                sign = {"TryStarted": 1, "TrySucceeded": -1}.get(fact["type"])
                if sign and record.get("dag_id") == "crowd":
                    asked = asks[fact["task_id"]]
                    used["cpu"] += sign * asked["cpu_milli"]
                    used["licence"] += sign * asked.get("custom", {}).get("licence", 0)
                    most = {name: max(most[name], used[name]) for name in used}
        assert used == {"cpu": 0, "licence": 0}
        assert most["cpu"] <= 2000
        assert most["licence"] == 1
        assert most["cpu"] > 1500, "as many as fit run at once"
        why = it.cli.ok("why", "large", "r1", "t")
        assert "asks for more than the executor that pulls from the queue default could ever give" in why
        assert "9000m of CPU, where it has 2000m" in why
        told = facts(it, "TryReturned") + [one for one in facts(it, "TaskQueued") if one["try_number"] > 1]
        assert not told, "who waits for room is no other try"


def test_who_waits_for_a_resource_holds_no_slot_and_why_names_who_has_it(tmp_path: Path) -> None:
    env = {"DAGBOK__EXECUTOR__RESOURCES": "{licence = 1}", "DAGBOK__EXECUTOR__SLOTS": "2"}
    with started(tmp_path, LINE, **env) as it:
        it.wait_dag("line")
        it.wait_dag("plain")
        it.trigger("line", "r1")
        first = wait_until("one has it", lambda: [one for one in "ab" if (tmp_path / one).exists()])[0]
        other = "b" if first == "a" else "a"
        # Only one slot is left, and the other waits.
        it.trigger("plain", "r1")
        assert it.api.wait_run("plain", "r1") == "success"
        why = it.cli.ok("why", "line", "r1", other)
        assert "what it asks for is in use" in why
        assert "1 of `licence`, where free is 0" in why
        assert f"line r1 {first}" in why or f"line.r1.{first}" in why or first in why.split("free is 0")[1]
        (tmp_path / f"end-{first}").touch()
        wait_until("the other has it", (tmp_path / other).exists)
        (tmp_path / f"end-{other}").touch()
        assert it.api.wait_run("line", "r1") == "success"
        assert not facts(it, "TryReturned")
        assert {one["try_number"] for one in facts(it, "TaskQueued")} == {1}


def test_the_kernel_kills_the_try_and_not_the_executor(tmp_path: Path) -> None:
    with memory_group(700 << 20) as group:
        dag = HOG.replace("MOST", "4000").replace("NAP", "0").replace("CONFIG", "None")
        # Looked at seldom, so that nobody but the kernel is fast enough.
        join = lambda: (group / "cgroup.procs").write_text("0") and None  # noqa: E731
        with started(tmp_path, dag, join, DAGBOK__EXECUTOR__USAGE_EVERY="30s") as it:
            it.wait_dag("hog")
            assert str(pid_of(it)) in (group / "cgroup.procs").read_text().split()
            it.trigger("hog", "r1")
            assert it.api.wait_run("hog", "r1") == "failed"
            failure = failed(it, "hog", "hog")
            assert failure["kind"] == "out_of_memory", failure
            assert "have 700 MiB together" in failure["message"]
            assert it.process.alive()


def test_a_cgroup_holds_a_try_to_its_limit_and_ends_what_it_started(tmp_path: Path) -> None:
    """Where version 2 can be had with the memory controller."""
    root = next((at for at in ROOTS if "memory" in controllers(at)), None)
    if root is None:
        told = {str(at): " ".join(controllers(at)) or "nothing" for at in ROOTS}
        pytest.skip(f"no cgroup version 2 with the memory controller is here: {told}")
    (root / "cgroup.subtree_control").write_text("+memory +pids")
    group = root / f"dagbok-test-{os.getpid()}"
    group.mkdir()
    try:
        dag = HOG.replace("MOST", "600").replace("NAP", "0.001").replace("CONFIG", '{"memory": "200Mi"}')
        join = lambda: (group / "cgroup.procs").write_text("0") and None  # noqa: E731
        with started(tmp_path, dag, join) as it:
            it.wait_dag("hog")
            [executor] = it.api.get("/dagbok/executors")["executors"]
            assert executor["isolation"].startswith("a cgroup for each try, which bounds memory")
            it.trigger("hog", "r1")
            assert it.api.wait_run("hog", "r1") == "failed"
            [record] = facts(it, "TryFailed")
            why = record["failure"]["out_of_memory"]
            assert why["by"] == "limit"
            assert why["limit_bytes"] == 200 << 20
            assert why["peak_bytes"] <= 201 << 20
            tries = next((group / "dagbok-tries").iterdir())
            wait_until("its group is gone", lambda: not any(path.is_dir() for path in tries.iterdir()))
    finally:
        (group / "cgroup.kill").write_text("1")
        for path in sorted(group.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
        group.rmdir()


ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def controllers(root: Path) -> list[str]:
    file = root / "cgroup.controllers"
    return file.read_text().split() if file.exists() else []


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A memory cgroup with a limit."""
    for root, file in [("memory", "memory.limit_in_bytes"), ("", "memory.max")]:
        group = Path("/sys/fs/cgroup") / root / f"dagbok-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / file).write_text(str(limit))
            break
        except OSError as error:
            print(f"no memory cgroup can be made at {group}: {error}")
            if group.exists():
                group.rmdir()
    else:
        pytest.skip("no memory cgroup can be made here, so the kernel's own kill is not seen")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_until("the group is empty", lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()
