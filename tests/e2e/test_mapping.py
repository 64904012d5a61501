"""Mapped tasks over what stands in the file, and sensors in reschedule mode, by the real binary."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import BIN, Cli, Standalone, check_history, standalone, wait_until

MAPPED = """
import os
from datetime import timedelta
from airflow.sdk import dag, task
from airflow.providers.standard.operators.bash import BashOperator

@dag(schedule=None)
def mapped():
    @task(retries=1, retry_delay=timedelta(0))
    def square(x, ti=None):
        print(f"copy {ti.map_index} has {x}")
        if x == 3 and ti.try_number == 1:
            raise ValueError("not yet")
        return x * x

    @task
    def total(values, ti=None):
        assert ti.xcom_pull("square") == list(values), ti.xcom_pull("square")
        return [sum(values), len(values), values[1]]

    @task
    def nothing(x):
        raise AssertionError(x)

    @task
    def after(values):
        raise AssertionError(values)

    shown = BashOperator.partial(task_id="shown", env={"RUN": "{{ run_id }}"}).expand(
        bash_command=["echo $RUN {{ ti.map_index }}", "echo two"])
    total(square.expand(x=[1, 2, 3, 4])) >> shown
    after(nothing.expand(x=[]))
mapped()
"""


def instances(it: Standalone, dag_id: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The run's task instances by task and map index."""
    found = it.api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
    return {(one["task_id"], one["map_index"]): one for one in found}


def value(it: Standalone, run_id: str, task_id: str, map_index: int = -1) -> Any:
    """What a task of the run returned."""
    path = f"/dags/mapped/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return it.api.get(path, map_index=map_index)["value"]


def test_a_mapped_task_runs_a_copy_for_each_element(running: Standalone, dags: Path) -> None:
    dags.joinpath("mapped.py").write_text(MAPPED)
    running.wait_dag("mapped")
    assert running.trigger("mapped", "r1").status_code == 200
    assert running.api.wait_run("mapped", "r1") == "success"
    found = instances(running, "mapped", "r1")
    squares = [found[("square", n)] for n in range(4)]
    assert ("square", -1) not in found
    assert [one["state"] for one in squares] == ["success"] * 4
    assert [one["try_number"] for one in squares] == [1, 1, 2, 1]
    assert {name: one["state"] for name, one in found.items() if name[0] not in {"square", "shown"}} == {
        ("total", -1): "success",
        ("nothing", -1): "skipped",
        ("after", -1): "skipped",
    }
    assert value(running, "r1", "total") == [30, 4, 4]
    assert [value(running, "r1", "shown", n) for n in (0, 1)] == ["r1 0", "two"]
    shown = running.cli.ok("runs", "show", "mapped", "r1")
    assert all(f"square[{n}]" in shown for n in range(4)), shown
    log = running.cli.ok("tasks", "logs", "mapped", "r1", "square", "--map-index", "3")
    assert "copy 3 has 4" in log
    check_history(running.api.events(), {("mapped", "r1")})


def test_the_live_view_tells_copies_apart(tmp_path: Path, dags: Path) -> None:
    dags.joinpath("mapped.py").write_text(MAPPED)
    told = Cli().run("dags", "test", str(dags / "mapped.py"))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "square[2] | copy 2 has 3" in told.stdout
    assert "square[2] running, try 2" in told.stdout
    rows = [line.split() for line in told.stdout.splitlines()]
    assert ["square[2]", "success", "2"] in [row[:3] for row in rows]
    done = Cli().run("dags", "test", str(dags / "mapped.py"), "--json")
    tasks = json.loads(done.stdout)["tasks"]
    assert tasks["square[3]"]["state"] == "success"
    assert tasks["after"]["state"] == "skipped"
    assert BIN.exists()


SENSOR = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def waiting():
    @task.sensor(mode="reschedule", poke_interval=1, timeout=600, pool_slots=128, retries=0)
    def there(ti=None):
        with open(os.environ["WITNESS"], "a") as file:
            file.write(f"poke {ti.try_number} {ti.task_reschedule_count}\\n")
        return os.path.exists(os.environ["WITNESS"] + ".there")

    @task
    def after():
        return 1
    there() >> after()
waiting()

@dag(schedule=None)
def other():
    @task(pool_slots=128)
    def one():
        return 1
    one()
other()

@dag(schedule=None)
def late():
    @task.sensor(mode="reschedule", poke_interval=1, timeout=2, retries=3)
    def never():
        return False
    never()
late()

@dag(schedule=None)
def softly():
    @task.sensor(mode="reschedule", poke_interval=1, timeout=1, soft_fail=True)
    def never():
        return False
    never()
softly()
"""


def pokes(witness: Path) -> list[str]:
    """What the sensor wrote."""
    return witness.read_text().splitlines() if witness.exists() else []


def facts(it: Standalone, dag_id: str, kind: str) -> list[dict[str, Any]]:
    """The facts of a kind about a DAG's runs."""
    records = [record for record in it.api.events() if record.get("dag_id") == dag_id]
    return [fact for record in records for fact in record["facts"] if fact["type"] == kind]


def test_a_rescheduled_sensor_gives_its_slot_up_and_outlives_kills(tmp_path: Path, dags: Path) -> None:
    witness = tmp_path / "witness"
    dags.joinpath("waiting.py").write_text(SENSOR)
    with standalone(tmp_path, dags, env={"WITNESS": str(witness)}) as it:
        it.wait_dag("waiting")
        assert it.trigger("waiting", "r1").status_code == 200
        wait_until("two pokes", lambda: len(pokes(witness)) >= 2)
        # Each of the two takes the whole pool, and the sensor is not over.
        assert it.trigger("other", "o1").status_code == 200
        assert it.api.wait_run("other", "o1") == "success"
        assert it.api.state("waiting", "r1") == "running"
        for _ in range(2):
            wait_until(
                "a sensor between two pokes",
                lambda: instances(it, "waiting", "r1")[("there", -1)]["state"] == "up_for_reschedule",
            )
            it.process.kill()
            before = len(pokes(witness))
            it.start()
            wait_until("a poke after the kill", lambda before=before: len(pokes(witness)) > before)
        (tmp_path / "witness.there").write_text("")
        assert it.api.wait_run("waiting", "r1") == "success"
        lines = pokes(witness)
        assert {line.split()[1] for line in lines} == {"1"}, "a leg used up a try"
        numbers = Counter(int(line.split()[2]) for line in lines)
        assert numbers == Counter(range(len(lines))), lines
        found = instances(it, "waiting", "r1")
        assert (found[("there", -1)]["state"], found[("there", -1)]["try_number"]) == ("success", 1)
        assert len(facts(it, "waiting", "TryRescheduled")) == len(lines) - 1
        check_history(it.api.events(), {("waiting", "r1"), ("other", "o1")})


@pytest.mark.parametrize(("dag_id", "state"), [("late", "failed"), ("softly", "skipped")])
def test_a_sensors_timeout_counts_from_its_first_leg(running: Standalone, dags: Path, dag_id: str, state: str) -> None:
    dags.joinpath("waiting.py").write_text(SENSOR)
    running.wait_dag(dag_id)
    began = time.monotonic()
    assert running.trigger(dag_id, "r1").status_code == 200
    run = running.api.wait_run(dag_id, "r1")
    assert time.monotonic() - began < 20
    found = instances(running, dag_id, "r1")[("never", -1)]
    # A sensor's timeout is not tried again.
    assert (found["state"], found["try_number"]) == (state, 1)
    assert run == ("failed" if state == "failed" else "success")
    assert len(facts(running, dag_id, "TryRescheduled")) >= 1


REFUSED = """
from airflow.sdk import dag, task, task_group

@dag(schedule=None)
def over_a_result():
    @task
    def make(): return [1]
    @task
    def use(x): ...
    use.expand(x=make())
over_a_result()

@dag(schedule=None)
def kwargs_of_a_result():
    @task
    def make(): return [{"x": 1}]
    @task
    def use(x): ...
    use.expand_kwargs(make())
kwargs_of_a_result()

@dag(schedule=None)
def group():
    @task_group
    def several(x):
        @task
        def use(x): ...
        use(x)
    several.expand(x=[1, 2])
group()
"""


def test_what_is_not_carried_out_is_refused_by_name_and_line(tmp_path: Path, dags: Path) -> None:
    file = dags / "refused.py"
    file.write_text(REFUSED)
    lines = [number for number, text in enumerate(REFUSED.splitlines(), 1) if ".expand" in text]
    names = ["mapping over what task `make` returns is"] * 2 + ["mapped task groups are"]
    for dag_id, line, name in zip(("over_a_result", "kwargs_of_a_result", "group"), lines, names, strict=True):
        told = Cli().run("dags", "show", str(file), "--dag", dag_id)
        assert told.returncode != 0
        assert f"refused.py`, line {line} can't be read" in told.stderr, told.stderr
        assert f"{name} not supported yet" in told.stderr, told.stderr
