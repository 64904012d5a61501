"""Executors that others write: the protocol's document, and `dagbok executor conformance` against several of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from harness import BIN, ROOT, Nats

HERE = ROOT / "tests/executors"
PYTHON = HERE / "executor.py"
MODULES = HERE / "node_modules"
CASES = [
    "hello", "claim", "xcom", "xcom-read", "failure", "fence", "asks", "lease", "logs", "cancel", "out-of-memory",
    "garbage", "cordon", "drain",
]  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Nats]:
    """A broker of the test's own."""
    nats = Nats(tmp_path)
    nats.start()
    yield nats
    nats.process.kill()


def conformance(broker: Nats, command: list[str], *flags: str) -> tuple[int, dict[str, str | None]]:
    """The exit code, and of each case why it failed."""
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


def test_our_own_executor_does_what_the_protocol_asks_for(broker: Nats, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home"), "--lease", "5s"]
    own = [str(BIN), "executor", "--nats", "{nats}", "--namespace", "{namespace}", "--queues", "{queue}", *home]
    code, cases = conformance(broker, own)
    assert cases == dict.fromkeys(CASES)
    assert code == 0


def test_an_executor_of_200_lines_of_python_does_too(broker: Nats) -> None:
    assert len(PYTHON.read_text().splitlines()) <= 200
    code, cases = conformance(broker, python(), "--queue", "science")
    assert cases == dict.fromkeys(CASES)
    assert code == 0


@pytest.mark.skipif(not MODULES.exists(), reason="npm ci --prefix tests/executors")
def test_one_of_as_many_lines_of_javascript_does_too(broker: Nats) -> None:
    where = ["--nats", "{nats}", "--namespace", "{namespace}", "--queue", "{queue}"]
    command = ["node", str(HERE / "executor.mjs"), *where, "--", sys.executable, str(HERE / "tasks.py")]
    code, cases = conformance(broker, command)
    assert cases == dict.fromkeys(CASES)
    assert code == 0


BROKEN = {
    "cancel": ('self.end("ordered", held)', "pass", "is out of its presence"),
    "fence": ('{"key": item["key"],', '{"key": {**item["key"], "try_number": 1},', "the report is of"),
    "asks": ('if not asks or "Refused" not in answer:', "if True:", "the start was refused, and yet"),
    "lease": ('await held["message"].in_progress()', "pass", "it was given to another"),
    "out-of-memory": ("asyncio.create_task(self.watch(held))", "asyncio.create_task(asyncio.sleep(0))", "went on"),
    "cordon": ("if self.cordon or len(self.held)", "if len(self.held)", "took an item all the same"),
    "drain": ('await self.command({"ExecutorLeft"', 'if False: await self.command({"ExecutorLeft"', "ExecutorLeft"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_fails_the_case_that_it_breaks_and_no_other(case: str, broker: Nats, tmp_path: Path) -> None:
    """The same executor with one line that is wrong."""
    right, wrong, why = BROKEN[case]
    text = PYTHON.read_text()
    assert text.count(right) == 1, right
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace(right, wrong))
    code, cases = conformance(broker, python(broken), "--patience", "12s", "--only", f"hello,claim,{case}")
    assert cases["hello"] is None
    assert cases["claim"] is None
    assert why in (cases[case] or "it passed")
    assert code == 1


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
