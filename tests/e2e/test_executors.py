"""Executors that others write: the protocol's document, and `dagbok executor conformance` against several of them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from harness import BIN, ROOT, Nats, Process, wait_until

HERE = ROOT / "tests/executors"
PYTHON = HERE / "executor.py"
MODULES = HERE / "node_modules"
CASES = [
    "hello", "claim", "xcom", "xcom-read", "failure", "fence", "asks", "again", "lease", "logs", "cancel",
    "out-of-memory", "room", "garbage", "cordon", "drain",
]  # fmt: skip


@contextlib.contextmanager
def brokers(folder: Path) -> Iterator[Nats]:
    """A broker, and an end to what was started on it."""
    nats = Nats(folder)
    nats.start()
    try:
        yield nats
    finally:
        nats.process.kill()
        # What a broken executor left running is told by its environment, which the suite gave it.
        for each in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"DAGBOK_CONFORMANCE_NATS={nats.url}".encode() in each.read_bytes().split(b"\0"):
                    os.kill(int(each.parent.name), signal.SIGKILL)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Nats]:
    """A broker of the test's own."""
    with brokers(tmp_path) as nats:
        yield nats


# The exit code, and of each case why it failed.
Found = tuple[int, dict[str, str | None]]


def conformance(broker: Nats, command: list[str], *flags: str) -> Found:
    """What the suite finds of the executor that a command starts."""
    suite = [str(BIN), "--json", "executor", "conformance", "--nats", broker.url, *flags, "--", *command]
    done = subprocess.run(suite, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    cases = json.loads(done.stdout)["cases"]
    assert all(case["passed"] == (case["why"] is None) for case in cases)
    return done.returncode, {case["case"]: case["why"] for case in cases}


def python(script: Path = PYTHON) -> list[str]:
    """The command that starts the executor in Python."""
    where = ["--nats", "{nats}", "--namespace", "{namespace}", "--queue", "{queue}"]
    return [sys.executable, str(script), *where, str(HERE / "tasks.py")]


def own(folder: Path) -> Found:
    """Our own executor."""
    home = ["--home", str(folder / "home"), "--lease", "5s"]
    where = ["--nats", "{nats}", "--namespace", "{namespace}", "--queues", "{queue}"]
    with brokers(folder) as broker:
        return conformance(broker, [str(BIN), "executor", *where, *home])


def in_python(folder: Path) -> Found:
    """The one in Python."""
    with brokers(folder) as broker:
        return conformance(broker, python(), "--queue", "science")


def in_javascript(folder: Path) -> Found:
    """The one in JavaScript."""
    where = ["--nats", "{nats}", "--namespace", "{namespace}", "--queue", "{queue}"]
    with brokers(folder) as broker:
        return conformance(
            broker, ["node", str(HERE / "executor.mjs"), *where, "--", sys.executable, str(HERE / "tasks.py")]
        )


WHOLE: dict[str, Callable[[Path], Found]] = {"our own": own, "in Python": in_python, "in JavaScript": in_javascript}


@pytest.fixture(scope="module")
def trials(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Found]]]:
    """What the suite found, by who was tried: all that the chosen tests ask for, three at a time; they mostly wait."""
    mine = [item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function)]
    chosen = [item.callspec.params["trial"] for item in mine if "trials" in item.fixturenames]
    with ThreadPoolExecutor(3) as pool:
        started = {}
        for name in chosen:
            if name == "in JavaScript" and not MODULES.exists():
                continue
            trial = WHOLE.get(name) or functools.partial(broken, name)
            started[name] = pool.submit(trial, tmp_path_factory.mktemp("trial"))
        yield started


@pytest.mark.parametrize("trial", WHOLE)
def test_one_that_keeps_the_protocol_passes_every_case(trial: str, trials: dict[str, Future[Found]]) -> None:
    if trial not in trials:
        pytest.skip("npm ci --prefix tests/executors")
    code, cases = trials[trial].result()
    assert cases == dict.fromkeys(CASES)
    assert code == 0


def test_the_one_in_python_has_200_lines() -> None:
    assert len(PYTHON.read_text().splitlines()) <= 200


# What is broken, which case must find it, each right line with the wrong one, and what it must say.
BROKEN: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "is deaf to orders": ("cancel", [('self.end("ordered", held)', "pass")], "is out of its presence"),
    "goes on with what it lets go": (
        "cancel",
        [
            ('self.end("ordered", held)', 'await self.held.pop(json.dumps(word["Kill"]["key"]))["message"].ack_sync()'),
            ('"pid": it["pid"]} for it', '"pid": None} for it'),
        ],
        "is gone",
    ),
    "reports under another key": (
        "fence",
        [('told = {"key": item["key"],', 'told = {"key": {**item["key"], "try_number": 1},')],
        "the report is of",
    ),
    "runs what is refused": (
        "asks",
        [('if not asks or "Refused" not in answer:', "if True:")],
        "the start was refused, and yet",
    ),
    "does not ask again": (
        "again",
        [('asks, start = nth > 1 or item.get("ask")', 'asks, start = item.get("ask")')],
        "was refused, and yet",
    ),
    "does not say again": (
        "again",
        [('"inputs": {}, "again": again}', '"inputs": {}, "again": False}')],
        "does not say `again`",
    ),
    "runs what it has not": (
        "room",
        [('if wants.get("labels") or wants.get("gpus")', 'if wants.get("gpus")')],
        "asks for a label that it has not",
    ),
    "gives out what it has not": (
        "room",
        [('wants.get("gpus") or wants.get("custom"):', 'wants.get("gpus"):')],
        "asks for a resource that it has not",
    ),
    "acknowledges first": (
        "claim",
        [("await self.run(held)", 'await self.nc.request(message.reply, b"+ACK") and await self.run(held)')],
        "is acknowledged while its task runs",
    ),
    "renews nothing": ("lease", [('await held["message"].in_progress()', "pass")], "it was given to another"),
    "looks at no memory": (
        "out-of-memory",
        [("asyncio.create_task(self.watch(held))", "asyncio.create_task(asyncio.sleep(0))")],
        "went on",
    ),
    "works while cordoned": (
        "cordon",
        [("if self.cordon or len(self.held)", "if len(self.held)")],
        "took an item all the same",
    ),
    "says no goodbye": (
        "drain",
        [('await self.command({"ExecutorLeft"', 'if False: await self.command({"ExecutorLeft"')],
        "ExecutorLeft",
    ),
    "takes more while it drains": (
        "drain",
        [
            ("while not self.leaving:", "while not self.leaving or self.held:"),
            ("if self.cordon or len(self.held)", "if len(self.held)"),
        ],
        "it was draining, and took an item",
    ),
}  # fmt: skip


def broken(fault: str, folder: Path) -> Found:
    """The one in Python with a line or two that are wrong."""
    case, lines, _ = BROKEN[fault]
    text = PYTHON.read_text()
    for right, wrong in lines:
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    script = folder / "broken.py"
    script.write_text(text)
    only = ",".join(dict.fromkeys(["hello", "claim", case]))
    with brokers(folder) as broker:
        return conformance(broker, python(script), "--patience", "12s", "--only", only)


@pytest.mark.parametrize("trial", BROKEN)
def test_a_broken_one_fails_the_case_that_it_breaks_and_no_other(trial: str, trials: dict[str, Future[Found]]) -> None:
    case, _, why = BROKEN[trial]
    code, cases = trials[trial].result()
    assert all(cases[other] is None for other in ("hello", "claim") if other != case), cases
    assert why in (cases[case] or "it passed")
    assert code == 1


def test_the_suite_keeps_away_from_a_namespace_that_is_in_use_and_takes_its_own_away_when_it_is_ended(
    broker: Nats, tmp_path: Path
) -> None:
    scheduler = Process("scheduler", [str(BIN), "scheduler", "--nats", broker.url, "--namespace", "used"], tmp_path)
    scheduler.start()
    try:
        wait_until("the namespace is there", lambda: "used" in namespaces(broker))
        suite = [str(BIN), "executor", "conformance", "--nats", broker.url, "--namespace", "used"]

        def refused() -> bool:
            done = subprocess.run(suite, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode == 4 and "is in use" in done.stderr

        wait_until("it refuses", refused)
    finally:
        scheduler.stop()
    own = subprocess.Popen(
        [str(BIN), "executor", "conformance", "--nats", broker.url], stderr=subprocess.PIPE, text=True
    )
    wait_until("one of its own is there", lambda: any(name.startswith("conformance-") for name in namespaces(broker)))
    assert own.stderr is not None
    assert "start the executor now" in own.stderr.readline()
    own.send_signal(signal.SIGINT)
    assert own.wait(60) == 130
    assert namespaces(broker) == ["used"]


def namespaces(broker: Nats) -> list[str]:
    """Names of those that the server has."""
    command = [str(BIN), "--json", "namespaces", "list", "--nats", broker.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [it["namespace"] for it in json.loads(done.stdout)]


def test_one_that_does_not_start_fails_with_its_own_words(broker: Nats) -> None:
    command = ["sh", "-c", "echo there is no such broker; exit 7"]
    code, cases = conformance(broker, command, "--patience", "2s", "--only", "hello,claim")
    assert code == 1
    assert "there is no such broker" in (cases["claim"] or "")


def document() -> dict[str, Any]:
    """The protocol's document."""
    found: dict[str, Any] = json.loads((ROOT / "schemas/executor-protocol.json").read_text())
    return found


@pytest.mark.skipif(not MODULES.exists(), reason="npm ci --prefix tests/executors")
def test_the_protocol_is_a_valid_asyncapi_3_document() -> None:
    schema = json.loads((MODULES / "@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text())
    jsonschema.Draft7Validator(schema).validate(document())


def test_every_reference_of_the_protocol_is_there_and_every_address_is_explained() -> None:
    whole = document()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                found: Any = whole
                for step in reference.removeprefix("#/").split("/"):
                    found = found[step]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(whole)
    for channel in whole["channels"].values():
        if address := channel["address"]:
            named = {part.split("}")[0] for part in address.split("{")[1:]}
            assert named == set(channel["parameters"])
    told = json.dumps(whole["info"]) + json.dumps(whole["channels"])
    assert all(word in told for word in ("lease", "Fence", "cordon", "drain", "MessagePack", "SHA-256", "ack_wait"))
