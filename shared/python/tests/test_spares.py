"""Processes forked ahead of tries, below real zygotes."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Bench, Folder
from fake_supervisor import WAIT, FakeSupervisor, gone

TASKS = """
def f(**context):
    print(os.getpid(), flush=True)
def sleep(**context):
    print(os.getpid(), flush=True)
    time.sleep(600)
def kinds(**context):
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    print(*sorted(os.readlink(link).partition(":")[0] for link in links if os.path.exists(link)))
with DAG('d', schedule=None) as d:
    PythonOperator(task_id='open', python_callable=kinds)
    PythonOperator(task_id='t', python_callable=f)
    PythonOperator(task_id='sleeper', python_callable=sleep)
    PythonOperator(task_id='where', python_callable=lambda: print(os.getcwd(), os.environ["SAID"]))
"""


@pytest.fixture
def supervisor() -> Iterator[FakeSupervisor]:
    fake = FakeSupervisor(env={"DAGBOK_SPARES_FOR": "30"})
    yield fake
    assert fake.close() == ""


def below(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def spare_of(pid: int, *others: int) -> int:
    """Wait for the one child of a zygote that is none of the others, and waits for its word."""
    deadline = time.monotonic() + WAIT
    while True:
        found = below(pid).difference(others)
        if len(found) == 1 and (waits := next(iter(found))) and _waits(waits):
            return waits
        assert time.monotonic() < deadline, f"no spare among {found}"
        time.sleep(0.002)


def _waits(pid: int) -> bool:
    """Whether a process leads a session of its own and sleeps, for the second time: it has rehearsed before."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    slept = re.search(
        r"^voluntary_ctxt_switches:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
    )
    return fields[0] == "S" and int(fields[3]) == pid and slept is not None and int(slept[1]) >= 2


def ran_as(bench: Bench, task: str = "t", **how: object) -> int:
    result = bench.run(task, **how)
    assert result.state == "success", result.stderr
    assert result.exited["leftovers"] == 0
    return int(result.stdout.split()[-1])


def test_the_next_try_is_the_spare(bench: Bench) -> None:
    bench.load(TASKS)
    zygote = bench.ready["pid"]
    assert below(zygote) == set(), "none before the file is used"
    ran_as(bench)
    for _ in range(5):
        spare = spare_of(zygote)
        assert ran_as(bench) == spare


def test_a_spare_is_its_try_in_all_that_is_asked(bench: Bench, tmp_path: Path) -> None:
    bench.load(TASKS)
    ran_as(bench)
    spare = spare_of(bench.ready["pid"])
    running = bench.start("where", env={"SAID": "so"}, cwd=str(tmp_path))
    assert running.pid == spare
    assert running.finish().stdout.split() == [str(tmp_path), "so"]
    spare = spare_of(bench.ready["pid"])
    sleeper = bench.start("sleeper")
    sleeper.read_until(f"{spare}\n")
    assert bench.control is not None
    bench.control.send({"type": "Kill", "key": sleeper.key, "signal": int(signal.SIGTERM)})
    assert sleeper.finish().state == "failed"
    sleeper = bench.start("sleeper")
    sleeper.read_until("\n")
    bench.control.send({"type": "Tick", "fence_after": 0.05})
    ended = sleeper.finish().exited
    assert (ended["fenced"], ended["signal"]) == (True, 9)


def test_a_spare_that_has_died_costs_nothing(bench: Bench) -> None:
    bench.load(TASKS)
    ran_as(bench)
    spare = spare_of(bench.ready["pid"])
    os.kill(spare, signal.SIGKILL)
    assert gone(spare)
    assert ran_as(bench) != spare
    assert spare_of(bench.ready["pid"]) != spare


@pytest.mark.parametrize(
    "ours",
    [
        "type(decorated.operator).execute = lambda self, context: was(self, context) or note()",
        "type(decorated.operator).post_execute = lambda self, context, result: note()",
        "runner.environment = lambda context: note() or {}",
        "runner.driving = Proxy(runner.driving)",
        "os.write = lambda fd, text, was=os.write: note() or was(fd, text)",
    ],
)
def test_no_code_of_a_file_hears_of_a_rehearsal(bench: Bench, tmp_path: Path, ours: str) -> None:
    heard = tmp_path / "heard"
    bench.load(
        f"""
import logging
from dagbok.runtime import runner
def note():
    with open({str(heard)!r}, "a") as file:
        print(os.getpid(), file=file)
class Proxy:
    def __init__(self, of):
        self.of = of
    def __getattr__(self, name):
        note()
        return getattr(self.of, name)
{TASKS}
    @task
    def decorated():
        logging.warning("said")
        print(os.getpid())
    decorated = decorated()
was = type(decorated.operator).execute
{ours}
"""
    )
    assert bench.ready["type"] == "Ready", bench.ready
    ran = [ran_as(bench, task="decorated")]
    for _ in range(2):
        ran.append(spare_of(bench.ready["pid"]))
        assert ran_as(bench, task="decorated") == ran[-1]
    spare_of(bench.ready["pid"])
    lines = heard.read_text().split()
    assert {int(line) for line in lines} <= set(ran)
    assert lines


def test_no_spare_is_made_where_others_come_anyway(bench: Bench) -> None:
    bench.load(TASKS)
    first, second = bench.start("sleeper", run_id="a"), bench.start("sleeper", run_id="b")
    second.read_until("\n")
    spare = below(bench.ready["pid"]) - {first.pid, second.pid}
    third = bench.start("sleeper", run_id="c")
    third.read_until("\n")
    # One may have been made for the second; with three there is none.
    assert not spare or third.pid in spare
    assert below(bench.ready["pid"]) == {first.pid, second.pid, third.pid}
    for one in (first, second, third):
        os.kill(one.pid, signal.SIGKILL)
        one.finish()
    assert spare_of(bench.ready["pid"])


def test_spares_end_with_who_forked_them_and_after_their_time(folder: Folder) -> None:
    supervisor = FakeSupervisor(env={"DAGBOK_SPARES_FOR": "2"})
    bench = Bench(folder, supervisor).load(TASKS)
    ran_as(bench)
    spare = spare_of(bench.ready["pid"])
    assert gone(spare)
    assert ran_as(bench) != spare
    spare = spare_of(bench.ready["pid"])
    os.kill(bench.ready["pid"], signal.SIGKILL)
    assert gone(spare)
    supervisor.close()


def test_a_task_finds_no_spare_among_its_own(bench: Bench) -> None:
    bench.load(TASKS)
    fresh = bench.run("open").stdout.split()
    assert {"pipe", "socket"} <= set(fresh)
    spare = spare_of(bench.ready["pid"])
    running = bench.start("open")
    assert (running.pid, running.finish().stdout.split()) == (spare, fresh)


def test_a_spare_rehearses_a_try(bench: Bench, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    bench.load(
        f"""
import sys
def hook(event, args):
    if event == "os.putenv":
        with open({str(heard)!r}, "a") as file:
            print(os.getpid(), file=file)
sys.addaudithook(hook)
{TASKS}
"""
    )
    ran_as(bench)
    assert str(spare_of(bench.ready["pid"])) in heard.read_text().split()


def test_spares_may_wait_for_a_month(folder: Folder) -> None:
    supervisor = FakeSupervisor(env={"DAGBOK_SPARES_FOR": str(30 * 86_400)})
    bench = Bench(folder, supervisor).load(TASKS)
    ran_as(bench)
    assert spare_of(bench.ready["pid"]) == ran_as(bench)
    assert supervisor.close() == ""


def test_the_base_forks_none_ahead(bench: Bench) -> None:
    bench.folder.write("file.py", TASKS)
    bench.control = bench.supervisor.base
    how = {"bundle_path": str(bench.folder.path), "file": "file.py"}
    ran_as(bench, message=how)
    sleeper = bench.start("sleeper", message=how)
    sleeper.read_until("\n")
    assert below(bench.supervisor.base_ready["pid"]) == {sleeper.pid}
    os.kill(sleeper.pid, signal.SIGKILL)
    sleeper.finish()
