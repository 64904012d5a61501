"""What a task keeps for its next try, and how far it says that it has come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dagbok.desk.alone import NobodyElse
from dagbok.runtime.checkpoint import Checkpoint, Progress
from fake_supervisor import FakeSupervisor, Result

Json = dict[str, Any]


class Keeper:
    """An executor's part: a directory, values, and whatever it was told."""

    def __init__(self, path: Path, values: dict[str, str] | None = None, kept: bool = True) -> None:
        self.path, self.values, self.kept = path, values or {}, kept
        self.asked: list[Json] = []
        self.waits: list[int] = []

    def ask(self, body: Json) -> Json | None:
        self.asked.append(body)
        if body["type"] == "GetCheckpoint":
            return {"type": "CheckpointResult", "path": str(self.path), "values": self.values}
        if body["type"] == "SetProgress":
            return None
        if body["type"] == "SaveCheckpoint" and self.waits:
            return {"type": "CheckpointSaved", "kept": False, "why": "too soon", "wait_ms": self.waits.pop(0)}
        return {"type": "CheckpointSaved", "kept": self.kept, "why": None}

    def of(self, kind: str) -> list[Json]:
        return [body for body in self.asked if body["type"] == kind]


def keeper(path: Path, **more: Any) -> tuple[Any, Checkpoint]:
    it: Any = Keeper(path, **more)
    return it, Checkpoint(it)


def test_nothing_is_asked_before_it_is_used_and_the_directory_once(tmp_path: Path) -> None:
    it, checkpoint = keeper(tmp_path)
    assert it.asked == []
    assert checkpoint.path == tmp_path
    assert checkpoint.path == tmp_path
    assert checkpoint.get("step") is None
    assert it.asked == [{"type": "GetCheckpoint", "directory": True}]
    assert checkpoint.save() is True
    assert it.asked[1:] == [{"type": "SaveCheckpoint"}]


def test_the_executor_hears_once_that_the_directory_is_used(tmp_path: Path) -> None:
    it, checkpoint = keeper(tmp_path, values={"step": "7"})
    assert checkpoint.get("step") == 7
    assert checkpoint.set("step", 8)
    assert it.of("GetCheckpoint") == [{"type": "GetCheckpoint"}], "values alone"
    assert checkpoint.path == checkpoint.path == tmp_path
    assert it.of("GetCheckpoint")[1:] == [{"type": "GetCheckpoint", "directory": True}]
    assert checkpoint.get("step") == 8, "its values are the task's own meanwhile"


def test_a_save_that_comes_too_soon_waits_for_its_time(tmp_path: Path) -> None:
    it: Any = Keeper(tmp_path)
    slept: list[float] = []
    checkpoint = Checkpoint(it, sleep=slept.append)
    it.waits = [2_500, 10]
    assert checkpoint.save() is True
    assert slept == [2.5, 0.01]
    it.waits = [2_500]
    assert checkpoint.save(wait=False) is False
    assert len(slept) == 2


def test_values_are_those_of_the_try_before_and_change_at_once(tmp_path: Path) -> None:
    it, checkpoint = keeper(tmp_path, values={"step": "7", "best": '{"loss": 0.25}'})
    assert checkpoint.get("step", 0) == 7
    assert checkpoint.get("best") == {"loss": 0.25}
    assert checkpoint.get("other", "none") == "none"
    assert checkpoint.set("step", 8)
    assert checkpoint.get("step") == 8
    checkpoint.delete("best")
    checkpoint.delete("best")
    assert checkpoint.get("best") is None
    assert it.of("SetCheckpointValue") == [
        {"type": "SetCheckpointValue", "key": "step", "value": "8"},
        {"type": "SetCheckpointValue", "key": "best", "value": None},
    ]


def test_a_value_that_is_not_kept_is_not_there(tmp_path: Path) -> None:
    it, checkpoint = keeper(tmp_path, values={"step": "7"}, kept=False)
    assert checkpoint.set("step", "x" * 100_000) is False
    assert checkpoint.get("step") == 7
    assert checkpoint.save() is False
    with pytest.raises(TypeError, match="`step`"):
        checkpoint.set("step", object())
    with pytest.raises(TypeError, match="key"):
        checkpoint.set("", 1)
    assert len(it.of("SetCheckpointValue")) == 1


def words(it: Keeper) -> list[str]:
    return [body["text"] for body in it.of("SetProgress")]


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_progress_that_waits_is_told_with_no_further_call() -> None:
    it: Any = Keeper(Path())
    progress = Progress(it)
    began = time.monotonic()
    for step in range(10_000):
        progress.say(step / 10_000, f"step {step}")
    took = time.monotonic() - began
    assert words(it)[0] == "step 0", "the first one at once"
    wait_until("the last one is told", lambda: words(it)[-1] == "step 9999")
    assert len(words(it)) <= 3 + took / Progress.EVERY, "and few between"
    told = [int(word.split()[1]) for word in words(it)]
    assert told == sorted(told), "no older one comes after"
    wait_until("no thread stays", lambda: progress._thread is None)
    before = len(it.asked)
    progress.end()
    progress.say(0.9999, "step 9999")
    assert len(it.asked) == before, "what was told is not told again"


def test_the_end_of_a_try_tells_what_waits_at_once() -> None:
    it: Any = Keeper(Path())
    progress = Progress(it)
    progress.EVERY = 1_000.0  # type: ignore[misc]
    for step in range(100):
        progress.say(step / 100, f"step {step}")
    progress.end()
    assert words(it) == ["step 0", "step 99"]


def test_an_end_that_can_t_be_told_is_no_error_of_the_task(caplog: pytest.LogCaptureFixture) -> None:
    it: Any = Keeper(Path())
    progress = Progress(it)
    progress.EVERY = 1_000.0  # type: ignore[misc]
    progress.say(0.1, "a")
    progress.say(0.2, "b")

    def fails(body: Json) -> None:
        raise UnicodeError(str(body))

    it.ask = fails
    progress.end()
    assert "can't be told" in caplog.text


def test_a_forked_process_tells_its_own(tmp_path: Path) -> None:
    it: Any = Keeper(Path())
    progress = Progress(it)
    progress.say(0.1, "a")
    holds, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with progress._lock:
            holds.set()
            ends.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    # A thread that the forked process does not have has the lock.
    child = os.fork()
    if child == 0:
        progress._clock = lambda: 1e12
        progress.say(0.2, "b")
        progress.end()
        (tmp_path / "words").write_text(" ".join(words(it)))
        os._exit(0)
    ends.set()
    thread.join()
    os.waitpid(child, 0)
    assert (tmp_path / "words").read_text() == "a b"


class Single(float):
    """Another library's number."""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (1, 1.0),
        (Fraction(1, 4), 0.25),
        (Single(0.5), 0.5),
        (1.0000000000000002, 1.0),
        (-1e-9, 0.0),
    ],
)
def test_progress_takes_any_real_number_and_what_rounding_makes(said: Any, told: float) -> None:
    it: Any = Keeper(Path())
    Progress(it).say(said, None)
    assert it.of("SetProgress") == [{"type": "SetProgress", "fraction": told, "text": None}]
    assert type(it.asked[0]["fraction"]) is float


def test_a_text_that_has_no_utf_8_is_told_even_so() -> None:
    it: Any = Keeper(Path())
    Progress(it).say(0.5, "caf\udce9")
    assert words(it) == ["caf?"]


@pytest.mark.parametrize("fraction", [-0.1, 1.01, 10**400, float("nan"), True, "0.5", None])
def test_progress_goes_from_0_to_1(fraction: Any) -> None:
    it: Any = Keeper(Path())
    with pytest.raises((TypeError, ValueError), match="progress"):
        Progress(it).say(fraction, None)
    with pytest.raises(TypeError, match="text"):
        Progress(it).say(0.5, 5)  # type: ignore[arg-type]
    assert it.asked == []


def test_at_ones_desk_there_is_an_empty_one() -> None:
    alone: Any = NobodyElse()
    checkpoint = Checkpoint(alone)
    assert list(checkpoint.path.iterdir()) == []
    (checkpoint.path / "weights").write_text("x")
    assert checkpoint.save()
    assert checkpoint.set("step", 1)
    assert checkpoint.get("step") == 1
    Progress(alone).say(1, "done")


def test_a_try_uses_both_by_its_context(
    task_body: Callable[..., Result], supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    it = Keeper(tmp_path, values={"step": "3"})
    for kind in ("GetCheckpoint", "SaveCheckpoint", "SetCheckpointValue", "SetProgress"):
        supervisor.answers[kind] = it.ask
    result = task_body(
        """
        from airflow.sdk import get_current_context
        ti = get_current_context()["ti"]
        assert ti is context["ti"]
        step = ti.checkpoint.get("step", 0)
        (ti.checkpoint.path / "weights").write_text("w")
        ti.checkpoint.set("step", step + 1)
        assert ti.checkpoint.save()
        for n in range(100):
            ti.progress(n / 100, f"part {n}")
        ti.progress(1.0, "the end, with half a pair: \\udce9")
        """
    )
    assert result.state == "success", result
    assert (tmp_path / "weights").read_text() == "w"
    assert it.of("SetCheckpointValue")[0]["value"] == "4"
    told = it.of("SetProgress")
    assert told[-1] == {"type": "SetProgress", "fraction": 1.0, "text": "the end, with half a pair: ?"}
    assert len(told) < 20
    assert result.requests[-1]["type"] == "SucceedTask"
