"""What a task keeps for its next try, and how far it says that it has come."""

from __future__ import annotations

from collections.abc import Callable
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

    def ask(self, body: Json) -> Json | None:
        self.asked.append(body)
        if body["type"] == "GetCheckpoint":
            return {"type": "CheckpointResult", "path": str(self.path), "values": self.values}
        if body["type"] == "SetProgress":
            return None
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
    assert it.asked == [{"type": "GetCheckpoint"}]
    assert checkpoint.save() is True
    assert it.asked[1:] == [{"type": "SaveCheckpoint"}]


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


def test_progress_is_told_in_bursts_and_then_once_a_second() -> None:
    it: Any = Keeper(Path())
    now = [100.0]
    progress = Progress(it, clock=lambda: now[0])
    for step in range(1_000):
        progress.say(step / 1_000, f"step {step}")
        now[0] += 0.01
    told = it.of("SetProgress")
    assert [body["text"] for body in told[:10]] == [f"step {n}" for n in range(10)]
    assert 18 <= len(told) <= 21
    assert told[-1]["text"] != "step 999"
    progress.end()
    assert it.of("SetProgress")[-1] == {"type": "SetProgress", "fraction": 0.999, "text": "step 999"}
    before = len(it.asked)
    progress.end()
    progress.say(0.999, "step 999")
    assert len(it.asked) == before, "what was told is not told again"


@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan"), True, "0.5", None])
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
        """
    )
    assert result.state == "success", result
    assert (tmp_path / "weights").read_text() == "w"
    assert it.of("SetCheckpointValue")[0]["value"] == "4"
    told = it.of("SetProgress")
    assert told[-1] == {"type": "SetProgress", "fraction": 0.99, "text": "part 99"}
    assert len(told) < 20
    assert result.requests[-1]["type"] == "SucceedTask"
