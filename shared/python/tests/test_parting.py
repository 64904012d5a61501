"""What a try's process says at its last word of what is left to run, below a real zygote."""

from __future__ import annotations

import pytest

from conftest import Bench

TASKS = """
import subprocess, sys, threading
def plain():
    sum(range(1_000_000))
    print("said", end="")
def thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
def child():
    subprocess.Popen(["sleep", "600"])
def waited_for():
    subprocess.run([sys.executable, "-c", "bytearray(256 << 20)"], check=True)
def native():
    # A thread that Python knows nothing of.
    import ctypes
    libc, number = ctypes.CDLL(None), ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(number), None, libc.pause, None)
def called(context):
    print("called back")
with DAG('d', schedule=None) as d:
    for one in (plain, thread, child, waited_for, native):
        PythonOperator(task_id=one.__name__, python_callable=one)
    PythonOperator(task_id='called', python_callable=plain, on_success_callback=called)
    PythonOperator(task_id='fails', python_callable=lambda: 1 / 0)
"""


@pytest.fixture
def loaded(bench: Bench) -> Bench:
    bench.load(TASKS)
    return bench


def test_who_has_nothing_left_to_run_says_what_it_used(loaded: Bench) -> None:
    result = loaded.run("plain")
    (word,) = result.of("SucceedTask")
    used, exited = word["used"], result.exited
    assert 0 < used["user_us"] <= exited["user_us"]
    assert 0 <= used["system_us"] <= exited["system_us"]
    assert 1 << 20 < used["max_rss_bytes"] <= exited["max_rss_bytes"]
    assert result.stdout == "said", "what was buffered is written before"
    assert exited["exit_code"] == 0


def test_what_processes_below_it_used_counts(loaded: Bench) -> None:
    (word,) = loaded.run("waited_for").of("SucceedTask")
    assert word["used"]["max_rss_bytes"] > 256 << 20


@pytest.mark.parametrize("task", ["thread", "child", "native", "called"])
def test_where_something_may_still_speak_its_end_is_waited_for(loaded: Bench, task: str) -> None:
    result = loaded.run(task)
    (word,) = result.of("SucceedTask")
    assert "used" not in word
    assert ("called back" in result.stdout) == (task == "called")


def test_a_failure_says_nothing_of_it(loaded: Bench) -> None:
    result = loaded.run("fails")
    assert "used" not in (result.terminal or {})
