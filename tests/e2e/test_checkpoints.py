"""A training that is killed goes on where it was: after kills of its process, for its memory, and of its machine."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from apart import Apart, trigger
from harness import Api, Standalone, wait_until, write_dag

TRAINING = """
import json, os, signal, time
from datetime import datetime
from airflow.sdk import DAG, get_current_context, task

SIDE = os.environ["WITNESS"]


def note(**what):
    with open(SIDE, "a") as out:
        out.write(json.dumps(what) + "\\n")


with DAG("training", start_date=datetime(2024, 1, 1), schedule=None) as dag:

    @task(retries=3, retry_delay=0.1{more})
    def train(steps=10):
        ti = get_current_context()["ti"]
        kept = ti.checkpoint
        weights = kept.path / "weights.json"
        step = json.loads(weights.read_text())["step"] if weights.exists() else 0
        assert step == kept.get("step", 0), (step, kept.get("step"))
        note(begins=step, number=ti.try_number, pid=os.getpid())
        for step in range(step + 1, steps + 1):
            note(step=step, number=ti.try_number)
            ti.progress(step / steps, f"step {{step}} of {{steps}}")
            weights.write_text(json.dumps({{"step": step}}))
            kept.set("step", step)
            kept.save()
            # Whoever looks at this finds no JSON.
            weights.write_text("{{")
            {die}
        return step

    train()
"""

KILLS_ITSELF = """if step in (4, 7) and ti.try_number == (1 if step == 4 else 2):
                os.kill(os.getpid(), signal.SIGKILL)"""
EATS = """if step == 4 and ti.try_number == 1:
                hog = []
                while True:
                    hog.append(bytearray(b"x" * (8 << 20)))
                    time.sleep(0.02)"""
WAITS = """while step == 4 and ti.try_number == 1:
                time.sleep(1)"""


def training(die: str, more: str = "") -> str:
    return TRAINING.format(die=die, more=more)


def told(folder: Path) -> list[dict[str, Any]]:
    file = folder / "witness"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def steps_of(folder: Path) -> list[int]:
    return [line["step"] for line in told(folder) if "step" in line]


def begins_of(folder: Path) -> list[tuple[int, int]]:
    return [(line["number"], line["begins"]) for line in told(folder) if "begins" in line]


def facts_of(api: Api, kind: str) -> list[dict[str, Any]]:
    return [fact for record in api.events() for fact in record["facts"] if fact["type"] == kind]


def task_of(api: Api, run_id: str = "r1") -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/dags/training/dagRuns/{run_id}/taskInstances/train")
    return found


def kept_of(api: Api) -> dict[str, Any]:
    kept = task_of(api)["dagbok"]["checkpoint"]
    return kept["values"] if kept else {}


def test_a_training_killed_twice_goes_on_where_it_was(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "training.py", training(KILLS_ITSELF))
    running.wait_dag("training")
    running.trigger("training", "r1")
    assert running.api.wait_run("training", "r1") == "success"
    assert begins_of(tmp_path) == [(1, 0), (2, 4), (3, 7)]
    assert steps_of(tmp_path) == list(range(1, 11)), "no step was made twice, and none left out"
    shown = task_of(running.api)["dagbok"]
    assert shown["checkpoint"] is None, "a task that is done keeps nothing"
    assert (shown["progress"]["fraction"], shown["progress"]["text"]) == (1.0, "step 10 of 10")
    kept = facts_of(running.api, "CheckpointKept")
    assert kept[-1]["files"]["files"] == 1
    assert {fact["try_number"] for fact in kept} == {1, 2, 3}
    assert len(facts_of(running.api, "TryProgressed")) <= 6, "not each word is a fact"
    wait_until("no directory is left on the disk", lambda: not list(running.home.rglob("*.checkpoint")))


def test_a_training_out_of_memory_goes_on_where_it_was(running: Standalone, dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "training.py", training(EATS, ', executor_config={"memory": "250Mi"}'))
    running.wait_dag("training")
    running.trigger("training", "r1")
    assert running.api.wait_run("training", "r1") == "success"
    assert begins_of(tmp_path) == [(1, 0), (2, 4)]
    assert steps_of(tmp_path) == list(range(1, 11))
    failed = facts_of(running.api, "TryFailed")
    assert [fact["failure"]["kind"] for fact in failed] == ["out_of_memory"]


def test_what_is_kept_and_how_far_it_is_are_shown_and_a_clear_goes_on_from_it(
    running: Standalone, dags: Path, tmp_path: Path
) -> None:
    """What failed for good is cleared once its cause is gone; one that did well begins anew."""
    text = training(
        "if step == 4 and not os.path.exists(SIDE + '.mended'):\n                raise ValueError('no luck')"
    )
    write_dag(dags, "training.py", text.replace("retries=3", "retries=0"))
    running.wait_dag("training")
    running.trigger("training", "r1")
    assert running.api.wait_run("training", "r1") == "failed"
    shown = task_of(running.api)["dagbok"]
    assert (shown["checkpoint"]["files"], shown["checkpoint"]["values"]) == (1, {"step": 4})
    assert shown["checkpoint"]["bytes"] == len('{"step": 4}')
    assert shown["progress"]["text"] == "step 4 of 10"
    (tmp_path / "witness.mended").touch()
    running.cli.ok("runs", "clear", "training", "r1", "--yes")
    assert running.api.wait_run("training", "r1") == "success"
    assert begins_of(tmp_path) == [(1, 0), (2, 4)]
    running.cli.ok("runs", "clear", "training", "r1", "--yes")
    wait_until("it begins anew", lambda: begins_of(tmp_path)[-1] == (3, 0))
    assert running.api.wait_run("training", "r1") == "success"


def test_another_executor_goes_on_where_one_was_that_is_gone_with_its_machine(tmp_path: Path) -> None:
    it = Apart(tmp_path, executors=1)
    other = it.service("executor-1", it.env)
    (it.dags / "training.py").write_text(training(WAITS))
    with it:
        wait_until("the DAG", lambda: it.api.get("/dags/training"))
        accepted: set[tuple[str, str]] = set()
        wait_until("a scheduler decides", lambda: trigger(it.api, "training", "r1", accepted) or accepted)
        wait_until("four steps are made", lambda: steps_of(tmp_path)[-1:] == [4])
        wait_until("the fourth is kept", lambda: kept_of(it.api).get("step") == 4)
        shown = it.cli.ok("runs", "show", "training", "r1")
        assert any(f"{n}0 %: step {n} of 10" in shown for n in (1, 4)), shown
        (one,) = it.of("executor")
        one.kill()
        first = told(tmp_path)[0]["pid"]
        wait_until("its task is gone with it", lambda: not Path(f"/proc/{first}").exists())
        other.start()
        try:
            assert it.api.wait_run("training", "r1", 90) == "success"
        finally:
            other.kill()
        assert begins_of(tmp_path) == [(1, 0), (2, 4)]
        assert Counter(steps_of(tmp_path)) == dict.fromkeys(range(1, 11), 1)
        lost = [fact["type"] for fact in facts_of(it.api, "TryLost")]
        assert lost == ["TryLost"]
