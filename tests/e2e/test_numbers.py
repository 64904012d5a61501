"""What tries leave behind outside of Dagbok, watched while Dagbok is killed: no number is used for two executions.

The moment that matters lies between a fork and the record of its start. A disk that is slow makes it long.
"""

import random
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from apart import Apart, trigger, wait_all
from harness import check_history, standalone, wait_until, write_dag
from proxy import Fault, Way

WITNESS = """
import os, time
from airflow.sdk import dag, task

def say(word, ti):
    line = f"{word} {ti.dag_id} {ti.run_id} {ti.task_id} {ti.try_number}\\n"
    fd = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

@dag(schedule=None)
def seen():
    @task(retries=0)
    def one(n, ti=None):
        say("start", ti)
        time.sleep(0.1)
        say("end", ti)
    for n in range(6):
        one.override(task_id=f"one{n}")(n)
seen()
"""


def judge(lines: list[str], records: list[dict], accepted: set[tuple[str, str]]) -> None:
    """Each execution had a number of its own, each task ended once at least, and the moment was met."""
    said = Counter(lines)
    twice = {line: n for line, n in said.items() if n > 1}
    assert not twice, f"numbers used for two executions: {twice}"
    ended = {re.sub(r" \d+$", "", line.removeprefix("end ")) for line in said if line.startswith("end ")}
    assert len(ended) == 6 * len(accepted)
    check_history(records, accepted)
    lost = [fact["why"] for record in records for fact in record["facts"] if fact["type"] == "TryLost"]
    assert "may_have_begun" in lost, f"the moment was never met: {lost}"


@pytest.fixture
def slow_disk(tmp_path: Path) -> dict[str, str]:
    """The environment of a process to which each sync of a file takes a fifth of a second."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler here: it makes the disk slow")
    shim = tmp_path / "slow_disk.so"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(shim), "SLOW_DISK_MS": "200"}


def test_no_number_is_used_for_two_executions(tmp_path: Path, dags: Path, slow_disk: dict[str, str]) -> None:
    dags.joinpath("seen.py").write_text(WITNESS)
    witness, draw, accepted = tmp_path / "witness", random.Random(1), set()

    def lines() -> list[str]:
        return witness.read_text().splitlines() if witness.exists() else []

    with standalone(tmp_path, dags, env={"WITNESS": str(witness), **slow_disk}) as it:
        it.wait_dag("seen")
        for kill in range(8):
            before = len(lines())
            assert it.trigger("seen", f"r{kill}").status_code == 200
            accepted.add(("seen", f"r{kill}"))
            wait_until("a task's first line", lambda before=before: len(lines()) > before)
            time.sleep(draw.random() * 0.45)
            it.process.kill()
            it.start()
        for _, run in sorted(accepted):
            assert it.api.wait_run("seen", run) == "success"
        judge(lines(), it.api.events(), accepted)
        marks = it.home / "executor" / "begun"
        wait_until("no mark", lambda: marks.is_dir() and not any(mark.stat().st_size for mark in marks.glob("*/*")))


def test_nor_where_the_word_of_a_start_never_left_the_executor(tmp_path: Path) -> None:
    """On NATS the moment lasts as long as an executor's words are on their way: they are lost, and it is killed."""
    draw, accepted = random.Random(2), set[tuple[str, str]]()
    with Apart(tmp_path, proxied=True) as apart:
        write_dag(apart.dags, "seen.py", WITNESS)
        wait_until("the DAG", lambda: apart.api.get("/dags/seen"))
        witness = Path(apart.env["WITNESS"])

        def lines() -> list[str]:
            return witness.read_text().splitlines() if witness.exists() else []

        (executor,) = apart.of("executor")
        for kill in range(5):
            before = len(lines())
            # What it asked for before still comes to it.
            apart.proxies["executor-0"].suffer(Way.WORDS, Fault.LOSE, 3)
            trigger(apart.api, "seen", f"r{kill}", accepted)
            wait_until("a task's first line", lambda before=before: len(lines()) > before)
            time.sleep(draw.random() * 0.3)
            executor.kill()
            executor.start()
        wait_all(apart.api, accepted, patience=60)
        judge(lines(), apart.api.events(), accepted)
