"""The zygote's control protocol, and what happens to processes, against real ones."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Bench, Folder
from fake_supervisor import WAIT, FakeSupervisor, Result, alive, gone

Body = Callable[..., Result]

SLEEPER = """
def f(**context):
    print(os.getpid(), flush=True)
    time.sleep(600)
with DAG('d', schedule=None) as d:
    PythonOperator(task_id='t', python_callable=f)
    PythonOperator(task_id='quick', python_callable=lambda: 1)
"""


def test_ready_says_who_it_is(bench: Bench) -> None:
    assert bench.supervisor.base_ready["dags"] == []
    assert bench.supervisor.base_ready["pid"] == bench.supervisor.process.pid
    bench.load(SLEEPER)
    assert bench.ready["dags"] == ["d"]
    assert bench.ready["fork_safe"] is True
    assert bench.ready["why"] is None
    assert bench.ready["load_seconds"] > 0
    assert bench.ready["python"].startswith("3.")


def test_a_file_that_can_not_be_loaded_says_why(bench: Bench) -> None:
    bench.load("\n\nraise RuntimeError('at import')\n")
    error = bench.ready["error"]
    assert bench.ready["type"] == "LoadFailed"
    assert (error["exception"], error["message"], error["file"]) == ("RuntimeError", "at import", "file.py")
    assert error["line"] == 12
    assert bench.control is not None
    assert bench.control.receive() is None, "the zygote of a broken file ends"


def test_sys_exit_at_import_says_so(bench: Bench) -> None:
    bench.load("sys.exit(4)")
    assert bench.ready["type"] == "LoadFailed"
    assert "sys.exit(4)" in bench.ready["error"]["message"]


def test_an_import_that_does_not_end_is_cut_off(bench: Bench) -> None:
    bench.load("while True: pass", timeout=0.3)
    assert "0.3 s" in bench.ready["error"]["message"]


def test_a_missing_file_says_so(supervisor: FakeSupervisor, folder: Folder) -> None:
    _, answer = supervisor.load(folder.path, "absent.py")
    assert answer["error"]["exception"] == "FileNotFoundError"


def test_threads_make_a_fork_unsafe_and_the_base_runs_such_files(bench: Bench) -> None:
    text = (
        SLEEPER
        + "import threading\nthreading.Thread(target=time.sleep, args=(600,), daemon=True, name='mine').start()\n"
    )
    bench.load(text)
    assert bench.ready["fork_safe"] is False
    assert "mine" in bench.ready["why"]
    bench.control = bench.supervisor.base
    how = {"bundle_path": str(bench.folder.path), "file": "file.py"}
    assert bench.run("quick", message=how).state == "success"
    # And an import that fails there is told over the frames.
    bench.folder.write("file.py", "import nothing_like_this\n")
    result = bench.run("quick", message=how, should_retry=True)
    assert result.state == "up_for_retry"
    assert result.error["kind"] == "import_error"
    assert result.error["file"] == "file.py"


def test_pools_that_end_for_a_fork_and_start_again_are_no_obstacle(bench: Bench) -> None:
    pytest.importorskip("numpy")
    bench.load(
        """
        os.environ["OPENBLAS_NUM_THREADS"] = "2"
        import numpy as np
        at_import = len(os.listdir("/proc/self/task"))
        def f(**context):
            a = np.arange(250_000.0).reshape(500, 500) % 17
            product = a @ a
            assert (product[3] == [float(sum(x * y for x, y in zip(a[3], column))) for column in a.T]).all()
            print(at_import, len(os.listdir("/proc/self/task")))
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="t", python_callable=f)
        """
    )
    assert (bench.ready["fork_safe"], bench.ready["why"]) == (True, None)
    running = [bench.start("t", run_id=f"r{n}") for n in range(8)]
    for one in running:
        result = one.finish()
        assert result.state == "success", result.stderr
        at_import, after = result.stdout.split()
        assert after == at_import, "as many threads as were started at the import"


def test_a_native_thread_that_outlives_a_fork_makes_it_unsafe(bench: Bench) -> None:
    bench.load(
        SLEEPER
        + "import ctypes\nlibc = ctypes.CDLL(None)\nmade = ctypes.c_ulong()\n"
        + "assert libc.pthread_create(ctypes.byref(made), None, libc.pause, None) == 0\n"
    )
    assert (bench.ready["fork_safe"], "native" in bench.ready["why"]) == (False, True)


def test_a_dag_or_task_that_is_not_there(bench: Bench) -> None:
    bench.load(SLEEPER)
    assert "no DAG `other`" in bench.run("t", dag_id="other").error["message"]
    assert "no task `absent`" in bench.run("absent").error["message"]


@pytest.mark.parametrize(
    ("code", "expected"), [("os._exit(3)", (3, None)), ("os.kill(os.getpid(), 9)", (None, 9))]
)
def test_a_death_without_a_message(
    task_body: Body, code: str, expected: tuple[int | None, int | None]
) -> None:
    result = task_body(code)
    assert result.terminal is None
    assert (result.exited["exit_code"], result.exited["signal"]) == expected


def test_a_segmentation_fault(task_body: Body) -> None:
    result = task_body("import ctypes; ctypes.string_at(0)")
    assert result.exited["signal"] == signal.SIGSEGV


def test_sigterm_lets_on_kill_run_and_is_told(bench: Bench) -> None:
    bench.load(
        """
        class Op(PythonOperator):
            def on_kill(self):
                print("on_kill ran", flush=True)
        def f():
            print("started", flush=True)
            time.sleep(600)
        with DAG("d", schedule=None) as d:
            Op(task_id="t", python_callable=f)
        """
    )
    running = bench.start("t")
    running.read_until("started")
    bench.control.send({"type": "Kill", "key": running.key, "signal": int(signal.SIGTERM)})
    result = running.finish()
    assert "on_kill ran" in result.stdout
    assert result.error["kind"] == "terminated"
    assert result.state == "failed"
    assert result.exited["exit_code"] == 0


def test_sigterm_ends_the_command_of_a_bash_task(bench: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    bench.load(
        f"with DAG('d', schedule=None) as d:\n    BashOperator(task_id='t', bash_command='echo $$ > {mark}; echo up; sleep 600')"
    )
    running = bench.start("t")
    while not mark.exists() or not mark.read_text().strip():
        running.thread.join(0.01)
    bench.control.send({"type": "Kill", "key": running.key, "signal": int(signal.SIGTERM)})
    assert running.finish().error["kind"] == "terminated"
    assert gone(int(mark.read_text()))


def test_kill_right_after_run_never_gets_lost(bench: Bench) -> None:
    bench.load(SLEEPER)
    for sign in (signal.SIGKILL, signal.SIGTERM) * 5:
        running = bench.start("t")
        bench.control.send({"type": "Kill", "key": running.key, "signal": int(sign)})
        exited = running.finish().exited
        if sign == signal.SIGKILL:
            assert exited["signal"] == 9
        else:
            assert exited["exit_code"] in {0, 128 + 15}


def test_a_kill_for_a_try_that_is_over_is_ignored(bench: Bench) -> None:
    bench.load(SLEEPER)
    running = bench.start("quick")
    running.finish()
    bench.control.send({"type": "Kill", "key": running.key, "signal": 9})
    assert bench.run("quick").state == "success"


def test_the_same_key_twice_and_too_few_descriptors_are_refused(bench: Bench) -> None:
    bench.load(SLEEPER)
    running = bench.start("t")
    reader, writer = os.pipe()
    bench.control.send({"type": "Run", "key": running.key}, [writer] * 4)
    assert "running already" in bench.control.until("ForkFailed")["message"]
    bench.control.send({"type": "Run", "key": "other"}, [writer])
    os.close(writer)
    assert "4 descriptors" in bench.control.until("ForkFailed", "other")["message"]
    assert os.read(reader, 1) == b"", "the zygote keeps no descriptor of a refused message"
    os.close(reader)
    bench.control.send({"type": "Kill", "key": running.key, "signal": 9})
    running.finish()


def test_a_word_that_is_not_known_is_said_and_ignored(folder: Folder) -> None:
    folder.write("file.py", SLEEPER)
    fake = FakeSupervisor()
    control, _ = fake.load(folder.path, "file.py")
    control.send({"type": "Nonsense"})
    assert fake.run(control, folder.path, "d", "quick").state == "success"
    assert "'Nonsense'" in fake.close()


@pytest.mark.parametrize(
    "noise", [b"\xc1\xc1", b"\x00", b"\xff" * 60_000, b"\x81\xa4type", b"\x93\x01\x02\x03"]
)
@pytest.mark.parametrize("state", ["base", "loaded", "busy"])
def test_noise_on_the_control_socket_ends_the_zygote(folder: Folder, noise: bytes, state: str) -> None:
    # It may have been a try to fork, or to kill: the executor, which sees it go, begins with another.
    folder.write("file.py", SLEEPER)
    fake = FakeSupervisor()
    control = fake.base if state == "base" else fake.load(folder.path, "file.py")[0]
    pid = fake.start(control, folder.path, "d", "t").pid if state == "busy" else None
    control.sock.send(noise)
    control.sock.settimeout(WAIT)
    while (said := control.sock.recv(65536)) != b"":
        assert said
    assert pid is None or gone(pid)
    assert "can't understand" in fake.close()


DAEMON = """
def leave():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:  # a daemon: another session, its parent gone
            os.write(writer, str(os.getpid()).encode())
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            {own}
            time.sleep(600)
        os._exit(0)
    os.wait()
    print(os.read(reader, 20).decode(), flush=True)
    {then}
with DAG("d", schedule=None) as d:
    PythonOperator(task_id="t", python_callable=leave)
"""


@pytest.mark.parametrize("then", ["return 1", "os.kill(os.getpid(), 9)", "time.sleep(600)"])
def test_a_daemonised_grandchild_does_not_outlive_its_try(bench: Bench, then: str) -> None:
    bench.load(DAEMON.format(own="", then=then))
    running = bench.start("t", timeout=0.5 if "sleep" in then else None)
    running.read_until("\n")
    result = running.finish()
    assert result.exited["leftovers"] == 1
    assert not alive(int(result.stdout.split()[0]))


def test_a_whole_tree_of_leftovers_is_counted_and_killed(task_body: Body) -> None:
    result = task_body(
        """
        children = [subprocess.Popen(["sh", "-c", "setsid sleep 600 & sleep 600"], stdout=subprocess.DEVNULL) for _ in range(3)]
        deadline = time.monotonic() + 10
        def below():
            return subprocess.run(["pgrep", "-c", "-P", ",".join(str(c.pid) for c in children)], capture_output=True, text=True).stdout.strip()
        while below() != "6" and time.monotonic() < deadline:
            time.sleep(0.01)
        """
    )
    assert result.state == "success"
    assert result.exited["leftovers"] >= 6


def test_a_child_that_ended_by_itself_is_no_leftover(task_body: Body) -> None:
    result = task_body("subprocess.Popen(['true']); time.sleep(0.1)")
    assert result.exited["leftovers"] == 0


def test_one_try_ending_leaves_the_others_alone(bench: Bench) -> None:
    bench.load(
        SLEEPER
        + "    PythonOperator(task_id='d', python_callable=lambda: (subprocess.Popen(['sleep', '600']), time.sleep(600)))\n"
    )
    slow = [bench.start("t"), bench.start("d")]
    slow[0].read_until("\n")
    for _ in range(5):
        assert bench.run("quick").exited["leftovers"] == 0
    assert all(alive(one.pid) for one in slow)
    for one in slow:
        bench.control.send({"type": "Kill", "key": one.key, "signal": 9})
        one.finish()


def test_the_end_of_the_control_socket_kills_everything(bench: Bench) -> None:
    bench.load(DAEMON.format(own="", then="time.sleep(600)"))
    running = bench.start("t")
    running.read_until("\n")
    daemon = int(running._outputs[0])
    bench.control.close()
    assert gone(running.pid)
    assert gone(daemon)
    assert gone(bench.ready["pid"])


def test_a_killed_zygote_takes_its_tries_along(bench: Bench) -> None:
    bench.load(DAEMON.format(own="", then="time.sleep(600)"))
    running = bench.start("t")
    running.read_until("\n")
    os.kill(bench.ready["pid"], signal.SIGKILL)
    assert gone(running.pid)
    assert gone(int(running._outputs[0])), "the base zygote ends what its dead child leaves"


def test_silence_after_a_tick_fences_and_no_tick_does_not(bench: Bench) -> None:
    bench.load(SLEEPER)
    unfenced = bench.start("t")
    unfenced.read_until("\n")
    bench.control.send({"type": "Tick", "fence_after": 0.3})
    exited = unfenced.finish().exited
    assert exited["fenced"] is True
    assert exited["signal"] == 9
    # It goes on serving.
    assert bench.run("quick").state == "success"


def test_ticks_hold_the_fence_off(bench: Bench) -> None:
    bench.load(SLEEPER)
    running = bench.start("t")
    for _ in range(6):
        bench.control.send({"type": "Tick", "fence_after": 0.4})
        running.thread.join(0.1)
    assert alive(running.pid)
    bench.control.send({"type": "Kill", "key": running.key, "signal": 9})
    assert running.finish().exited["fenced"] is False


def test_sigterm_and_sigint_do_not_end_a_zygote(bench: Bench) -> None:
    bench.load(SLEEPER)
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(bench.ready["pid"], sign)
        os.kill(bench.supervisor.process.pid, sign)
    assert bench.run("quick").state == "success"


def test_a_try_of_a_thousand_task_dag_does_no_work_for_the_others(bench: Bench) -> None:
    """Counts page faults, which touching a thousand tasks would drive up; time would be noise."""
    text = """
    import resource
    def f():
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    with DAG("d", schedule=None) as d:
        for i in range({n}):
            PythonOperator(task_id=f"t{{i}}", python_callable=f)
    """
    faults = {}
    for n in (1, 1000):
        bench.load(textwrap.dedent(text).format(n=n))
        results = [int(bench.run("t0").stdout) for _ in range(5)]
        faults[n] = sorted(results)[2]
    assert faults[1000] < faults[1] * 1.5 + 100, faults


def test_stdout_lines_come_as_they_are_written(bench: Bench) -> None:
    bench.load(
        "def f():\n    print('now')\n    time.sleep(600)\nwith DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=f)"
    )
    running = bench.start("t")
    running.read_until("now\n")
    bench.control.send({"type": "Kill", "key": running.key, "signal": 9})
    running.finish()


def test_random_numbers_differ_between_tries(bench: Bench) -> None:
    bench.load(
        "import random\nwith DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=lambda: print(random.random()))"
    )
    assert len({bench.run("t").stdout for _ in range(4)}) == 4


def test_a_task_never_holds_another_tries_or_the_zygotes_sockets(bench: Bench) -> None:
    bench.load(
        """
        def f():
            for name in sorted(os.listdir("/proc/self/fd"), key=int):
                try:
                    print(name, os.readlink(f"/proc/self/fd/{name}"))
                except OSError:
                    pass
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="t", python_callable=f)
            PythonOperator(task_id="slow", python_callable=lambda: time.sleep(600))
        """
    )
    slow = bench.start("slow")
    result = bench.run("t")
    targets = [line.split()[1] for line in result.stdout.splitlines()]
    assert sum(target.startswith("socket:") for target in targets) == 1, result.stdout
    assert targets[0] == "/dev/null"
    bench.control.send({"type": "Kill", "key": slow.key, "signal": 9})
    slow.finish()


def test_a_killed_base_zygote_takes_its_own_tries_along(bench: Bench) -> None:
    bench.folder.write("file.py", SLEEPER)
    bench.control = bench.supervisor.base
    running = bench.start("t", message={"bundle_path": str(bench.folder.path), "file": "file.py"})
    running.read_until("\n")
    bench.supervisor.process.kill()
    assert gone(running.pid)


def test_a_daemon_of_a_running_try_is_left_alone_when_another_ends(bench: Bench) -> None:
    quick = "    PythonOperator(task_id='quick', python_callable=lambda: 1)\n"
    bench.load(DAEMON.format(own="", then="time.sleep(600)") + quick)
    running = bench.start("t")
    running.read_until("\n")
    daemon = int(running._outputs[0])
    for _ in range(3):
        assert bench.run("quick").exited["leftovers"] == 0
    assert alive(daemon)
    bench.control.send({"type": "Kill", "key": running.key, "signal": 9})
    assert running.finish().exited["leftovers"] == 1
    assert not alive(daemon)


def test_sigterm_while_the_callbacks_run_changes_nothing(bench: Bench) -> None:
    bench.load(
        """
        def after(context):
            print("begun", flush=True)
            time.sleep(0.5)
            print("ended", flush=True)
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="t", python_callable=lambda: 1, on_success_callback=after)
        """
    )
    running = bench.start("t")
    running.read_until("begun")
    bench.control.send({"type": "Kill", "key": running.key, "signal": int(signal.SIGTERM)})
    result = running.finish()
    assert result.stdout == "begun\nended\n"
    assert result.state == "success"
    assert result.exited["exit_code"] == 0


def test_the_zygote_gathers_no_descriptors(bench: Bench) -> None:
    bench.load(SLEEPER)
    bench.run("quick")
    before = os.listdir(f"/proc/{bench.ready['pid']}/fd")
    for _ in range(10):
        bench.run("quick")
    assert os.listdir(f"/proc/{bench.ready['pid']}/fd") == before
