"""Mapped tasks and groups, as two versions of Airflow have them, and sensors in reschedule mode, by the real binary."""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness import BIN, Cli, Standalone, check_history, standalone, wait_until, write_dag

ORACLE = Path(__file__).parent / "oracle"
sys.path.insert(0, str(ORACLE))
import record_mapping  # noqa: E402

MAPPED = """
import os
from datetime import timedelta
from airflow.sdk import dag, task
from airflow.providers.standard.operators.bash import BashOperator

@dag(schedule=None)
def mapped():
    @task(retries=1, retry_delay=timedelta(0), map_index_template="no. {{ ti.map_index }}")
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
    found: list[dict[str, Any]] = []
    while len(found) % 100 == 0:
        page = it.api.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100, offset=len(found))
        found += page["task_instances"]
        if not page["task_instances"]:
            break
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
    assert all(f"square[{n}] (no. {n})" in shown for n in range(4)), shown
    log = running.cli.ok("tasks", "logs", "mapped", "r1", "square", "--map-index", "3")
    assert "copy 3 has 4" in log
    listed = running.cli.ok("tasks", "xcoms", "mapped", "r1", "square")
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
        [f"square[{n}]", "return_value"] for n in range(4)
    ]
    one = ("tasks", "xcoms", "mapped", "r1", "square", "--map-index", "2", "--key", "return_value")
    assert running.cli.ok(*one).strip() == "9"
    check_history(running.api.events(), {("mapped", "r1")})


ELSEWHERE = """
from airflow.sdk import dag, task

@dag(schedule=None)
def elsewhere():
    @task
    def asks(ti=None):
        of = {"dag_id": "mapped", "run_id": "r1"}
        lazy = ti.xcom_pull(task_ids="square", **of)
        some = ti.xcom_pull(task_ids="square", map_indexes=[3, 0], **of)
        return [list(lazy), len(lazy), lazy[2], some, list(lazy[1:3])]
    asks()
elsewhere()
"""


def test_what_copies_of_another_run_handed_on_is_there_once_that_is_over(running: Standalone, dags: Path) -> None:
    dags.joinpath("mapped.py").write_text(MAPPED)
    dags.joinpath("elsewhere.py").write_text(ELSEWHERE)
    for dag_id in ("mapped", "elsewhere"):
        running.wait_dag(dag_id)
    assert running.trigger("mapped", "r1").status_code == 200
    assert running.api.wait_run("mapped", "r1") == "success"
    assert running.trigger("elsewhere", "r1").status_code == 200
    assert running.api.wait_run("elsewhere", "r1") == "success"
    path = "/dags/elsewhere/dagRuns/r1/taskInstances/asks/xcomEntries/return_value"
    assert running.api.get(path)["value"] == [[1, 4, 9, 16], 4, 9, [16, 1], [4, 9]]


def test_one_copy_runs_again_by_itself(running: Standalone, dags: Path) -> None:
    dags.joinpath("mapped.py").write_text(MAPPED)
    running.wait_dag("mapped")
    assert running.trigger("mapped", "r1").status_code == 200
    assert running.api.wait_run("mapped", "r1") == "success"
    before = instances(running, "mapped", "r1")
    clear = ("runs", "clear", "mapped", "r1", "--task", "square", "--map-index", "3")
    told = running.cli.ok(*clear, "--dry-run")
    assert told.splitlines()[1:] == ["  square[3]"], told
    assert running.cli.run(*clear, "--map-index", "9", "--yes").returncode != 0
    running.cli.ok(*clear, "--yes")
    assert running.api.wait_run("mapped", "r1") == "success"
    after = instances(running, "mapped", "r1")
    again = {name for name, one in after.items() if one["try_number"] != before[name]["try_number"]}
    assert again == {("square", 3)}
    # As Airflow's API has it: an id, or a pair of an id and a map index.
    body = {"task_ids": ["total", ["square", 0]], "dry_run": True}
    preview = running.api.post("/dagbok/runs/mapped/r1/clear", body).json()
    named = [(one["task_id"], one["map_index"], one["further"]) for one in preview["tasks"]]
    assert named == [("square", 0, 0), ("total", -1, 0)]
    check_history(running.api.events(), {("mapped", "r1")})


TOO_MANY = """
from airflow.sdk import dag, task

@dag(schedule=None)
def many():
    @task
    def some():
        return list(range(400))

    @task
    def use(x, y):
        raise AssertionError

    use.expand(x=some.override(task_id="left")(), y=some.override(task_id="right")())
many()
"""


def test_a_product_that_is_too_large_says_so(running: Standalone, dags: Path) -> None:
    dags.joinpath("many.py").write_text(TOO_MANY)
    running.wait_dag("many")
    assert running.trigger("many", "r1").status_code == 200
    assert running.api.wait_run("many", "r1") == "failed"
    found = instances(running, "many", "r1")[("use", -1)]
    assert found["state"] == "upstream_failed"
    words = "the task `use` would have 160000 copies (400 × 400), and the limit is 100000 for each task of a run"
    assert words in found["dagbok"]["message"], found
    assert words in running.cli.ok("runs", "show", "many", "r1")


# Elements that a task may return for others to be mapped over: `shared/protocol/src/limits.rs`.
MAX_MAP_LENGTH = 1_024

LONG = """
from airflow.decorators import dag, task


@dag(schedule=None, max_active_tasks=4)
def long():
    @task(retries=0)
    def within():
        return list(range({within}))

    @task(retries=0)
    def beyond():
        return list(range({beyond}))

    @task
    def each(n):
        pass

    each.override(task_id="of_within").expand(n=within()) >> each.override(task_id="of_beyond").expand(n=beyond())


long()
"""


def test_a_result_that_others_are_mapped_over_has_so_many_elements(running: Standalone, dags: Path) -> None:
    write_dag(dags, "long.py", LONG.format(within=MAX_MAP_LENGTH, beyond=MAX_MAP_LENGTH + 1))
    running.wait_dag("long")
    assert running.trigger("long", "r1").status_code == 200
    path = "/dags/long/dagRuns/r1/taskInstances"

    def ended() -> bool:
        shown = running.api.get(path, task_id="within")["task_instances"]
        return running.api.get(f"{path}/beyond")["state"] == "failed" and shown is not None

    wait_until("the end of what returned too much", ended)
    said = running.cli.ok("tasks", "logs", "long", "r1", "beyond")
    assert str(MAX_MAP_LENGTH) in said, said
    wait_until("the end of the other", lambda: running.api.get(f"{path}/within")["state"] == "success")
    copies = running.api.get(f"{path}/of_within/listMapped", limit=1)["total_entries"]
    assert copies == MAX_MAP_LENGTH
    running.cli.ok("runs", "cancel", "long", "r1")


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
def nested():
    @task
    def use(x): ...
    @task_group
    def several(x):
        use.expand(x=[1, 2])
    several.expand(x=[1, 2])
nested()
"""


def test_what_is_not_carried_out_is_refused_by_name_and_line(dags: Path) -> None:
    file = dags / "refused.py"
    file.write_text(REFUSED)
    told = Cli().run("dags", "show", str(file))
    assert told.returncode != 0
    assert "refused.py`, line 10" in told.stderr, told.stderr
    assert "can't be mapped inside the mapped group `several`" in told.stderr, told.stderr


# Where the two versions of Airflow, or we, make something else of a DAG, and why.
BY_ALL = "2.11 judges by the copies of the whole group, 3.3 and we by those of the same index (decision 60)"
UNSKIPPED = "3.3, its scheduler too, looks for what a copy in a group decided under the index -1, and skips nothing"
OTHERWISE: dict[tuple[int, str], str] = {
    (2, "two_inside_a_group"): BY_ALL,
    (2, "rules_inside_a_group"): BY_ALL,
    (2, "rules_inside_a_group_over_a_result"): BY_ALL,
    (3, "rules_inside_a_group_over_a_result"): "before there are copies, Airflow waits for any of the upstream's",
    (3, "a_branch_inside_a_group"): UNSKIPPED,
    (3, "a_short_circuit_inside_a_group"): UNSKIPPED,
}


def recorded(dag_id: str, era: int) -> dict[str, Any]:
    """What a real Airflow made of a DAG of `oracle/mapping_shapes.py`."""
    found: dict[str, Any] = json.loads((ORACLE / f"mapping-{era}.json").read_text())[dag_id]
    return found


@pytest.mark.parametrize("era", [2, 3])
def test_mapping_of_every_shape_ends_as_in_airflow(tmp_path: Path, dags: Path, era: int) -> None:
    witness = tmp_path / "witness"
    dags.joinpath("shapes.py").write_text(record_mapping.source(era))
    names = list(json.loads((ORACLE / f"mapping-{era}.json").read_text()))
    with standalone(tmp_path, dags, env={"WITNESS": str(witness)}) as it:
        it.wait_dag(names[-1])
        for name in names:
            assert it.trigger(name, "r1").status_code == 200, name
        ours = {}
        for name in names:
            run = it.api.wait_run(name, "r1", patience=240)
            states = {f"{task}[{index}]": one["state"] for (task, index), one in instances(it, name, "r1").items()}
            got = record_mapping.received(witness, name)
            ours[name] = {"run": run, "states": dict(sorted(states.items())), "got": dict(sorted(got.items()))}

        otherwise = [name for name in names if ours[name] != recorded(name, era) and (era, name) not in OTHERWISE]
        alike = [name for name in names if ours[name] == recorded(name, era) and (era, name) in OTHERWISE]
        assert alike == [], "these end as in Airflow"
        assert otherwise == [], "\n".join(f"{name}: {ours[name]}\n not {recorded(name, era)}" for name in otherwise)
