"""Scenes of failure. Each plays one out on real processes and then holds the log to its promises."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import dags
from apart import LEASE, Apart, trigger, wait_all
from harness import Standalone, check_history, standalone, wait_until, write_dag


class MayNotMount(Exception):
    """This user may not mount a small file system to fill."""


def standalone_killed(folder: Path, seed: int, kills: int) -> None:
    """Kill -9 of everything at random moments, appends among them."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    folder_dags = folder / "dags"
    write_dag(folder_dags, "chain.py", dags.chain("chain", 5, pause=0.02))
    it = Standalone(folder, folder_dags, env={"WITNESS": str(folder / "witness")})
    accepted: set[tuple[str, str]] = set()
    try:
        it.start().wait_dag("chain")
        for kill in range(kills):
            for number in range(rng.randint(2, 6)):
                trigger(it.api, "chain", f"run-{kill}-{number}", accepted)
            time.sleep(rng.uniform(0.0, 0.6))
            it.process.kill()
            it.start()
        wait_all(it.api, accepted, patience=60)
        check_history(it.api.events(), accepted)
        # The history also holds for who starts afresh from the log alone.
        it.process.stop()
        it.start()
        check_history(it.api.events(), accepted)
    finally:
        it.process.kill()


def restart_is_quick(folder: Path) -> None:
    """Work goes on within 2 s of a restarted standalone."""
    folder_dags = folder / "dags"
    write_dag(folder_dags, "chain.py", dags.chain("chain", 40, pause=0.1))
    it = Standalone(folder, folder_dags, env={"WITNESS": str(folder / "witness")})
    try:
        it.start().wait_dag("chain")
        it.trigger("chain", "r1")
        witness = folder / "witness"
        wait_until("some steps", lambda: witness.exists() and len(witness.read_text().splitlines()) >= 3)
        it.process.kill()
        before = len(witness.read_text().splitlines())
        since = time.monotonic()
        it.process.start()
        wait_until("the next step", lambda: len(witness.read_text().splitlines()) > before, 20)
        took = time.monotonic() - since
        print(f"work went on {took:.2f} s after the restart")
        assert took <= 2.0, took
        it.wait_ready()
        assert it.api.wait_run("chain", "r1") == "success"
        check_history(it.api.events(), {("chain", "r1")})
    finally:
        it.process.kill()


def pids_of_child(log: str) -> list[int]:
    """The child's pid that the sleeper printed."""
    return [int(line.split()[-1]) for line in log.splitlines() if "child" in line and line.split()[-1].isdigit()]


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children_named(word: str) -> list[int]:
    """Processes of this machine whose command line has `word` as an argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in argv and is_running(int(entry.name)):
                found.append(int(entry.name))
    return found


def no_orphans(folder: Path) -> None:
    """What a task started ends with a standalone that is killed."""
    seconds = f"{1000 + os.getpid() % 1000}.{random.randrange(10**6):06}"
    folder_dags = folder / "dags"
    write_dag(
        folder_dags,
        "sleeper.py",
        dags.sleeper("sleeper", 1).replace("(1)", f"({seconds})").replace('"1"', f'"{seconds}"'),
    )
    with standalone(folder, folder_dags) as it:
        it.wait_dag("sleeper")
        it.trigger("sleeper", "r1")
        wait_until("the task's child", lambda: children_named(seconds))
        it.process.kill()
        wait_until("the end of the task's child", lambda: not children_named(seconds), 10)


def services_killed(folder: Path, seed: int, kills: int) -> None:
    """Kill -9 of any service at random moments."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    accepted: set[tuple[str, str]] = set()
    with Apart(folder, schedulers=2, executors=2) as apart:
        write_dag(apart.dags, "chain.py", dags.chain("chain", 4, pause=0.05))
        wait_until("the DAG", lambda: apart.api.get("/dags/chain"))
        for kill in range(kills):
            for number in range(rng.randint(2, 4)):
                trigger(apart.api, "chain", f"run-{kill}-{number}", accepted)
            victim = rng.choice(sorted(apart.services))
            print("killing", victim)
            time.sleep(rng.uniform(0.0, 0.5))
            apart.services[victim].kill()
            time.sleep(rng.uniform(0.0, 2.0))
            apart.services[victim].start()
            wait_until("the API", apart.api.healthy)
        wait_all(apart.api, accepted, patience=120)
        check_history(apart.api.events(), accepted)


def scheduler_replaced(folder: Path) -> None:
    """A stand-by goes on within 10 s of a scheduler that was killed."""
    with Apart(folder, schedulers=2) as apart:
        write_dag(apart.dags, "chain.py", dags.chain("chain", 60, pause=0.1))
        wait_until("the DAG", lambda: apart.api.get("/dags/chain"))
        trigger(apart.api, "chain", "r1", set())
        witness = folder / "witness"
        wait_until("some steps", lambda: witness.exists() and len(witness.read_text().splitlines()) >= 3)
        leaders = [it for it in apart.of("scheduler") if '"message":"leading"' in it.log.read_text()]
        assert len(leaders) == 1, "one leads"
        leaders[0].kill()
        time.sleep(0.5)
        before, since = len(witness.read_text().splitlines()), time.monotonic()
        wait_until("the next step", lambda: len(witness.read_text().splitlines()) > before, 30)
        took = time.monotonic() - since + 0.5
        print(f"work went on {took:.2f} s after the kill")
        assert took <= 10.0, took
        assert apart.api.wait_run("chain", "r1") == "success"
        check_history(apart.api.events(), {("chain", "r1")})


def executor_replaced(folder: Path) -> None:
    """A killed executor's try runs elsewhere within a lease and 5 s, without using up retries."""
    with Apart(folder, executors=1) as apart:
        write_dag(apart.dags, "sleeper.py", dags.sleeper("sleeper", 3))
        wait_until("the DAG", lambda: apart.api.get("/dags/sleeper"))
        trigger(apart.api, "sleeper", "r1", set())
        wait_until("the start", lambda: "TryStarted" in str(apart.api.events()))
        spare = apart.service("executor-9", apart.env)
        apart.services["executor-9"] = spare.start()
        apart.services["executor-0"].kill()
        since = time.monotonic()
        wait_until("the second start", lambda: str(apart.api.events()).count("'TryStarted'") == 2, LEASE + 10)
        took = time.monotonic() - since
        print(f"started again {took:.2f} s after the kill")
        assert took <= LEASE + 5, took
        assert apart.api.wait_run("sleeper", "r1") == "success"
        check_history(apart.api.events(), {("sleeper", "r1")})


def long_task_is_left_alone(folder: Path) -> None:
    """A task that takes longer than two leases is nobody's loss while its executor is there."""
    with Apart(folder, executors=1) as apart:
        write_dag(apart.dags, "sleeper.py", dags.sleeper("sleeper", 2.5 * LEASE))
        wait_until("the DAG", lambda: apart.api.get("/dags/sleeper"))
        trigger(apart.api, "sleeper", "r1", set())
        assert apart.api.wait_run("sleeper", "r1") == "success"
        records = apart.api.events()
        check_history(records, {("sleeper", "r1")})
        assert "'TryLost'" not in str(records), "a try was given up though its executor was there"
        for service in apart.of("scheduler"):
            assert "can't be read" not in service.log.read_text()


def executor_frozen(folder: Path) -> None:
    """An executor frozen past its lease kills what it holds, and its late word changes nothing."""
    with Apart(folder, executors=1) as apart:
        write_dag(apart.dags, "chain.py", dags.chain("chain", 3, pause=1.0))
        wait_until("the DAG", lambda: apart.api.get("/dags/chain"))
        trigger(apart.api, "chain", "r1", set())
        wait_until("the start", lambda: "TryStarted" in str(apart.api.events()))
        frozen = apart.services["executor-0"]
        frozen.send(signal.SIGSTOP)
        spare = apart.service("executor-9", apart.env)
        apart.services["executor-9"] = spare.start()
        wait_until("the loss", lambda: "'TryLost'" in str(apart.api.events()), LEASE + 10)
        frozen.send(signal.SIGCONT)
        assert apart.api.wait_run("chain", "r1") == "success"
        time.sleep(LEASE)  # the late word, if one comes, comes now
        check_history(apart.api.events(), {("chain", "r1")})
        assert frozen.alive(), "it goes on working"


def broker_away(folder: Path, seconds: float) -> None:
    """The broker is stopped and started again; nothing running is killed, nothing is lost."""
    accepted: set[tuple[str, str]] = set()
    with Apart(folder, schedulers=2, executors=1) as apart:
        write_dag(apart.dags, "chain.py", dags.chain("chain", 4, pause=0.5))
        write_dag(apart.dags, "sleeper.py", dags.sleeper("sleeper", seconds + 4))
        wait_until("the DAGs", lambda: apart.api.get("/dags/sleeper") and apart.api.get("/dags/chain"))
        trigger(apart.api, "sleeper", "long", accepted)
        trigger(apart.api, "chain", "r1", accepted)
        wait_until("the starts", lambda: str(apart.api.events()).count("'TryStarted'") >= 2)
        apart.nats.process.stop()
        time.sleep(seconds)
        apart.nats.start()
        wait_all(apart.api, accepted, patience=90)
        records = apart.api.events()
        check_history(records, accepted)
        assert "'TryLost'" not in str(records), "the broker's absence killed or lost a try"
        for dag_id, run_id in accepted:
            assert apart.api.state(dag_id, run_id) == "success"


def two_schedulers(folder: Path, seed: int) -> None:
    """Two that both lead: the log takes the words of one at a time."""
    rng = random.Random(seed)
    accepted: set[tuple[str, str]] = set()
    apart = Apart(folder, schedulers=2, executors=1)
    for it in apart.of("scheduler"):
        it.argv.append("--ignore-lease")
    with apart:
        write_dag(apart.dags, "chain.py", dags.chain("chain", 4))
        wait_until("the DAG", lambda: apart.api.get("/dags/chain"))
        for number in range(10):
            trigger(apart.api, "chain", f"r{number}", accepted)
            time.sleep(rng.uniform(0, 0.05))
            # What changes nothing, or can't be, must be said by who has seen the whole log.
            for paused in (True, False):
                changed = apart.api.patch("/dags/chain", {"is_paused": paused})
                assert changed.status_code == 200, changed.text
                assert changed.json()["is_paused"] is paused, f"r{number}: {changed.text}"
        wait_all(apart.api, accepted, patience=60)
        check_history(apart.api.events(), accepted)
        assert all('"message":"leading"' in it.log.read_text() for it in apart.of("scheduler")), "both led"


def disk_full(folder: Path) -> None:
    """The log's disk is full for a while: what was accepted stays, and work goes on when there is room."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        raise MayNotMount(mounted.stderr.strip())
    accepted: set[tuple[str, str]] = set()
    try:
        folder_dags = folder / "dags"
        write_dag(folder_dags, "chain.py", dags.chain("chain", 3))
        it = Standalone(disk, folder_dags, env={"WITNESS": str(folder / "witness")})
        it.process.folder = folder
        try:
            it.start().wait_dag("chain")
            trigger(it.api, "chain", "before", accepted)
            assert it.api.wait_run("chain", "before") == "success"
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as out:
                try:
                    while True:
                        out.write(b"\0" * 65536)
                except OSError:
                    pass
            for number in range(3):
                trigger(it.api, "chain", f"full-{number}", accepted)
            filler.unlink()
            wait_until("the API", it.api.healthy)

            def accepted_again() -> bool:
                answer = it.trigger("chain", "after")
                # An earlier try of ours may have been decided while its answer was lost.
                if answer.status_code in (200, 202, 409):
                    accepted.add(("chain", "after"))
                    return True
                print("after the disk was full:", answer.status_code, answer.text)
                return False

            wait_until("an accepted trigger", accepted_again, 30)
            wait_all(it.api, accepted, patience=60)
            check_history(it.api.events(), accepted)
        finally:
            it.process.kill()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
