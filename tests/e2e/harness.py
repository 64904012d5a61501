"""Drives the real binary as its users do: by its command line, its API, and signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("DAGBOK_BIN", ROOT / "target/debug/dagbok"))
NATS_DIR = Path(os.environ.get("DAGBOK_NATS_DIR", ROOT / ".tools/nats"))
# The tests' own environment runs the tasks, unless told otherwise.
os.environ.setdefault("DAGBOK_PYTHON", sys.executable)
NATS_VERSION = "2.15.1"
PATIENCE = 60.0
# The API is asked often, and without TLS: loading a machine's certificates for each question takes a core from
# what is tested, and measured.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
T = TypeVar("T")


def free_port() -> int:
    """Finds a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, check: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Asks `check` until it answers with something true; fails naming `what` after `patience` seconds."""
    end = time.monotonic() + patience
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except (httpx.HTTPError, AssertionError, OSError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {patience} s (last: {last!r})")


@dataclass
class Process:
    """One process of Dagbok, or the broker, with its output in a file."""

    name: str
    argv: list[str]
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    # What is done to the process before it is Dagbok's.
    before: Callable[[], None] | None = None
    child: subprocess.Popen[bytes] | None = None
    started: int = 0

    @property
    def log(self) -> Path:
        """Where its output goes; every life of it adds to the same file."""
        return self.folder / f"{self.name}.log"

    def start(self) -> Process:
        """Starts it; its output is added to its log."""
        self.started += 1
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                self.argv,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env},
                cwd=self.cwd,
                preexec_fn=self.before,
            )
        return self

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to this process alone."""
        assert self.child is not None
        self.child.send_signal(number)

    def kill(self) -> None:
        """Ends it with SIGKILL and reaps it."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
        if self.child is not None:
            self.child.wait()

    def stop(self, patience: float = 30.0) -> int:
        """Asks it to end and waits; returns its exit code."""
        assert self.child is not None
        if self.child.poll() is None:
            self.child.terminate()
        try:
            return self.child.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {patience} s of SIGTERM; see {self.log}") from None

    def ends(self, patience: float = 30.0) -> int:
        """Waits until it ends by itself; returns its exit code."""
        assert self.child is not None
        return self.child.wait(patience)

    def alive(self) -> bool:
        """Whether it runs."""
        return self.child is not None and self.child.poll() is None


@dataclass
class Cli:
    """The command line against one installation."""

    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, whatever its exit code."""
        return subprocess.run(
            [str(BIN), *self.args, *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def ok(self, *args: str, timeout: float = 120.0) -> str:
        """Runs a command that must succeed; returns its output."""
        done = self.run(*args, timeout=timeout)
        assert done.returncode == 0, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *args: str, timeout: float = 120.0) -> Any:
        """Runs a command with `--json`; returns the one document."""
        return json.loads(self.ok(*args, "--json", timeout=timeout))

    def lines(self, *args: str, timeout: float = 120.0) -> list[Any]:
        """Runs a command with `--json` that prints a document a line."""
        return [json.loads(line) for line in self.ok(*args, "--json", timeout=timeout).splitlines()]


@dataclass
class Api:
    """The REST API of one installation."""

    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **params: Any) -> Any:
        """GETs under /api/v2; fails unless it answers 200."""
        answer = httpx.get(f"{self.url}/api/v2{path}", params=params, timeout=30.0, verify=NO_TLS)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """POSTs JSON under /api/v2."""
        return httpx.post(f"{self.url}/api/v2{path}", json=body, headers=headers, timeout=30.0, verify=NO_TLS)

    def patch(self, path: str, body: Any) -> httpx.Response:
        """PATCHes JSON under /api/v2."""
        return httpx.patch(f"{self.url}/api/v2{path}", json=body, timeout=30.0, verify=NO_TLS)

    def healthy(self) -> bool:
        """Whether the API answers at all."""
        return httpx.get(f"{self.url}/api/v2/monitor/health", timeout=2.0, verify=NO_TLS).status_code == 200

    def events(self) -> list[dict[str, Any]]:
        """The whole log, oldest first."""
        records: list[dict[str, Any]] = []
        with httpx.stream("GET", f"{self.url}/api/v2/dagbok/events", timeout=60.0, verify=NO_TLS) as answer:
            assert answer.status_code == 200
            records.extend(json.loads(line) for line in answer.iter_lines() if line.strip())
        return records

    def state(self, dag_id: str, run_id: str) -> str:
        """A run's state."""
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_run(self, dag_id: str, run_id: str, patience: float = PATIENCE) -> str:
        """Waits for a run's end; returns its state."""

        def ended() -> str | None:
            state = self.state(dag_id, run_id)
            return state if state in ("success", "failed") else None

        return wait_until(f"the end of {dag_id}/{run_id}", ended, patience)


class Standalone:
    """`dagbok standalone` in a folder of its own."""

    def __init__(self, folder: Path, dags: Path, *extra: str, env: dict[str, str] | None = None) -> None:
        """Prepares it; `start` starts it."""
        self.home = folder / "home"
        self.api = Api(free_port())
        self.cli = Cli(["--api", self.api.url])
        argv = [str(BIN), "standalone", "--dags", str(dags), "--home", str(self.home)]
        argv += ["--listen", f"127.0.0.1:{self.api.port}", *extra]
        self.process = Process("standalone", argv, folder, env or {})

    def start(self) -> Standalone:
        """Starts it and waits until the API answers."""
        self.process.start()
        self.wait_ready()
        return self

    def restart(self) -> None:
        """Has it end in order, and begin anew."""
        self.process.stop()
        self.process.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Waits until the API answers; says what the process printed if it ended instead."""

        def ready() -> bool:
            if not self.process.alive():
                raise SystemExit(f"standalone ended: {self.process.log.read_text()[-4000:]}")
            return self.api.healthy()

        wait_until("the API's first answer", ready)

    def wait_dag(self, dag_id: str) -> dict[str, Any]:
        """Waits until a DAG is registered."""
        found: dict[str, Any] = wait_until(f"DAG {dag_id}", lambda: self.api.get(f"/dags/{dag_id}"))
        return found

    def trigger(self, dag_id: str, run_id: str, **body: Any) -> httpx.Response:
        """Triggers a run that gets its logical date from its number of earlier runs."""
        return self.api.post(f"/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, **body})


@contextlib.contextmanager
def standalone(folder: Path, dags: Path, *extra: str, env: dict[str, str] | None = None) -> Iterator[Standalone]:
    """A running installation that is ended when the block is left."""
    it = Standalone(folder, dags, *extra, env=env)
    try:
        yield it.start()
    finally:
        it.process.kill()


# Who asks in the name of what, in deploy/nats/users.conf, for the namespace of that file.
USERS = ("scheduler", "executor", "triggerer", "processor", "ui", "alerting")
NAMESPACE = "default"


STREAMS = [f"KV_dagbok_{NAMESPACE}_state"]
STREAMS += [f"dagbok_{NAMESPACE}_{it}" for it in ("log", "inbox", "work", "triggers", "blobs", "snapshots", "alerts")]


def password(user: str) -> str:
    """The password of a user of the tests' broker."""
    return f"secret of {user}"


class Nats:
    """A real nats-server with JetStream on a free port, its store kept between lives; with the users of deploy/nats
    where asked for."""

    def __init__(
        self,
        folder: Path,
        sync_always: bool = False,
        with_users: bool = False,
        most: int | None = None,
        archives: bool = False,
    ) -> None:
        """Prepares it; `start` starts it. With `most` JetStream may hold so many bytes in files, and its page tells.

        With `archives` the scheduler may do what `users.conf` says that an archive takes.
        """
        binary = NATS_DIR / f"nats-server-{NATS_VERSION}"
        if not binary.exists():
            raise SystemExit(f"{binary} is missing: run tests/nats/install.sh {NATS_DIR}")
        self.port = free_port()
        store = folder / "jetstream"
        sync = "  sync_interval: always\n" if sync_always else ""
        conf = folder / "nats.conf"
        users = ""
        if with_users:
            users = (ROOT / "deploy/nats/users.conf").read_text()
            assert "users: [\n" in users
            if archives:
                others = [it for it in STREAMS if it != f"dagbok_{NAMESPACE}_log"]
                update = ", ".join(f'"$JS.API.STREAM.UPDATE.{it}"' for it in others)
                for denied, instead in [
                    ('"$JS.API.STREAM.UPDATE.>"', update),
                    (f'"$JS.API.STREAM.PURGE.dagbok_{NAMESPACE}_log", ', ""),
                ]:
                    assert users.count(denied) == 1, denied
                    users = users.replace(denied, instead)
            # Somebody who may do everything: whoever breaks things.
            rogue = f'    {{ user: "rogue", password: "{password("rogue")}" }}\n'
            users = users.replace("users: [\n", f"users: [\n{rogue}", 1)
        self.monitor, page = None, ""
        if most is not None:
            sync += f"  max_file_store: {most}\n"
            self.monitor = f"http://127.0.0.1:{free_port()}"
            page = f'http: "{self.monitor.removeprefix("http://")}"\n'
        text = f'host: 127.0.0.1\nport: {self.port}\n{page}jetstream {{\n  store_dir: "{store}"\n{sync}}}\n{users}\n'
        conf.write_text(text)
        env = {f"DAGBOK_{user.upper()}_PASSWORD": f'"{password(user)}"' for user in USERS}
        self.process = Process("nats-server", [str(binary), "-c", str(conf)], folder, env)

    def violations(self) -> list[str]:
        """What somebody was denied, as the server's log has it."""
        return [line for line in self.process.log.read_text().splitlines() if "Violation" in line]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Nats:
        """Starts it and waits until it takes connections."""
        self.process.start()

        def listening() -> bool:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True

        wait_until("the broker", listening)
        return self


# What every history must keep, whatever was killed meanwhile.

TERMINAL = {
    "TrySucceeded",
    "TryFailed",
    "TrySkipped",
    "TryLost",
    "TryCancelled",
    "TryReturned",
    "TryRescheduled",
    "TryDeferred",
}
RUN_ENDS = {"RunSucceeded", "RunFailed", "RunTimedOut", "RunCancelled"}


def check_history(records: list[dict[str, Any]], accepted: set[tuple[str, str]], slots: bool = True) -> None:
    """Holds a log to the promises: see the assertions' texts.

    Where acknowledged reports are taken away, or delivered again, the log hears late of ends, and can't say who used
    which slot: then without `slots`.
    """
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1)), "the log has a gap"
    created: Counter[tuple[str, str]] = Counter()
    ended: Counter[tuple[str, str]] = Counter()
    queued: Counter[tuple[Any, ...]] = Counter()
    finished: Counter[tuple[Any, ...]] = Counter()
    succeeded: set[tuple[Any, ...]] = set()
    for record in records:
        if record["scope"] != "run":
            continue
        run = (record["dag_id"], record["run_id"])
        for fact in record["facts"]:
            kind = fact["type"]
            created[run] += kind == "RunCreated"
            ended[run] += (kind in RUN_ENDS) - (kind == "RunCleared")
            # A mark ends what is not over; what is over it calls otherwise.
            if kind == "RunMarked" and not fact.get("teardowns_left"):
                ended[run] += fact["was"] in ("queued", "running")
            task = (*run, fact.get("task_id"), fact.get("map_index", -1))
            attempt = (*task, fact.get("try_number"), fact.get("leg", 0))
            if kind == "TaskCleared":
                first = fact.get("map_index", -1)
                copies = range(first, first + fact.get("further", 0) + 1)
                succeeded -= {(*run, fact["task_id"], copy) for copy in copies}
            if kind == "TaskQueued":
                assert task not in succeeded, f"{task} succeeded and was queued again (seq {record['seq']})"
                queued[attempt] += 1
            if kind == "TriggerFired" and fact.get("ends_task"):
                # The leg that it ends was never offered.
                queued[attempt] += 1
            if kind in TERMINAL:
                finished[attempt] += 1
            if kind == "TrySucceeded":
                succeeded.add(task)
            if kind == "TaskMarked" and fact["state"] == "success":
                first = fact.get("map_index", -1)
                succeeded |= {(*run, fact["task_id"], first + n) for n in range(fact.get("further", 0) + 1)}
    if slots:
        check_slots(records)
    lost = accepted - set(created)
    assert not lost, f"accepted triggers were lost: {lost}"
    assert all(n == 1 for n in created.values()), "a run was created twice"
    assert created.keys() == ended.keys(), f"runs did not end: {created.keys() - ended.keys()}"
    assert all(n == 1 for n in ended.values()), "a run ended twice"
    odd = {key: n for key, n in queued.items() if n != 1}
    assert not odd, f"tries queued more than once: {odd}"
    odd = {key: finished[key] for key in queued.keys() | finished.keys() if finished[key] != 1 or queued[key] != 1}
    assert not odd, f"tries without exactly one end: {odd}"


def check_slots(records: list[dict[str, Any]]) -> None:
    """No executor ever runs more than it has: tries against its slots, and what they ask for against what it counts."""
    has: dict[str, tuple[int, dict[str, Any]]] = {}
    asks: dict[tuple[str, str], dict[str, Any]] = {}
    running: dict[tuple[Any, ...], str] = {}
    for record in records:
        for fact in record["facts"]:
            kind = fact["type"]
            if kind == "ExecutorJoined":
                has[record["executor"]] = fact["slots"], fact.get("resources", {})
            if kind == "DagRegistered":
                for task in fact["spec"]["tasks"]:
                    asks[fact["spec"]["dag_id"], task["task_id"]] = task.get("resources", {})
            if record["scope"] != "run":
                continue
            copy = (record["dag_id"], fact.get("task_id"), record["run_id"], fact.get("map_index", -1))
            attempt = (*copy, fact.get("try_number"), fact.get("leg", 0))
            if kind in TERMINAL:
                running.pop(attempt, None)
            if kind != "TryStarted" or fact["executor"] not in has:
                continue
            executor = running[attempt] = fact["executor"]
            slots, resources = has[executor]
            held = [other for other, by in running.items() if by == executor]
            assert len(held) <= slots, f"{executor} has {slots} slots and runs {held} (seq {record['seq']})"
            asked = [asks.get(other[:2], {}) for other in held]
            for name in ("memory", "cpu_milli", "gpus"):
                used = sum(one.get(name) or 0 for one in asked)
                # Memory and CPU that are not said are not counted; of the rest there is none then.
                most = resources.get(name, 0 if name == "gpus" else None)
                assert most is None or used <= most, f"{executor} gave out {used} of {name} (seq {record['seq']})"
            for name in {name for one in asked for name in one.get("custom", {})}:
                used = sum(one.get("custom", {}).get(name, 0) for one in asked)
                most = resources.get("custom", {}).get(name, 0)
                assert used <= most, f"{executor} gave out {used} of {name} (seq {record['seq']})"
            wants = asks.get(copy[:2], {}).get("labels", {})
            has_labels = resources.get("labels", {})
            assert wants.items() <= has_labels.items(), f"{executor} is {has_labels}, not {wants} (seq {record['seq']})"


def check_effects(effects: Path, records: list[dict[str, Any]]) -> int:
    """Holds what tasks did, as they noted it themselves, to the log: see the assertions' texts. Returns the starts."""
    starts: Counter[tuple[str, ...]] = Counter()
    ends: Counter[tuple[str, ...]] = Counter()
    newest: dict[tuple[str, ...], int] = {}
    for line in effects.read_text().splitlines():
        what, *attempt = line.split(" ")
        (starts if what == "start" else ends)[tuple(attempt)] += 1
        # Lines are appended by all: one of a try after the start of a later one is of two that ran at once.
        task, number = tuple(attempt[:-1]), int(attempt[-1])
        assert number >= newest.get(task, 0), f"{task} went on with try {number} beside try {newest[task]}"
        newest[task] = number
    odd = {attempt: n for attempt, n in starts.items() if n != 1}
    assert not odd, f"tries that began more than once: {odd}"
    assert not ends.keys() - starts.keys(), "a try ended that never began"
    succeeded: dict[tuple[str, ...], int] = {}
    for record in records:
        for fact in record["facts"]:
            if fact["type"] == "TrySucceeded":
                task = (record["run_id"], fact["task_id"], str(fact.get("map_index", -1)))
                succeeded[task] = fact["try_number"]
    for *task, number in starts:
        last = succeeded.get(tuple(task))
        assert last is None or int(number) <= last, f"{task} began try {number} though try {last} had succeeded"
    missing = {(*task, str(number)) for task, number in succeeded.items()} - set(ends)
    assert not missing, f"tries that succeeded and did not end: {missing}"
    return sum(starts.values())


def write_dag(folder: Path, name: str, text: str) -> Path:
    """Writes a DAG file whole, so that a watcher never reads half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / name, folder / f".{name}.new"
    draft.write_text(text)
    draft.replace(path)
    return path


def eprint(*args: object) -> None:
    """Prints to standard error."""
    print(*args, file=sys.stderr, flush=True)
