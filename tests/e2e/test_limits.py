"""Published limits, each at its edge by the front door: the edge passes, one more is refused with what to do."""

from pathlib import Path

from dags import hello
from harness import Standalone, wait_until, write_dag

TASKS_PER_DAG = 20_000
CONF_BYTES = 500_000
NOTE_BYTES = 4_096

LONG_CHAIN = """
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator

with DAG("{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=True):
    last = None
    for number in range({length}):
        task = EmptyOperator(task_id=f"step_{{number:05}}")
        if last is not None:
            last >> task
        last = task
"""


def test_the_longest_chain_that_is_promised_gets_in_and_one_task_more_is_refused(
    running: Standalone, dags: Path
) -> None:
    write_dag(dags, "fits.py", LONG_CHAIN.format(dag_id="fits", length=TASKS_PER_DAG))
    write_dag(dags, "long.py", LONG_CHAIN.format(dag_id="long", length=TASKS_PER_DAG + 1))
    wait_until("the long chain", lambda: running.api.get("/dags/fits"), 180)
    assert len(running.api.get("/dags/fits/tasks")["tasks"]) == TASKS_PER_DAG

    def refused() -> str | None:
        errors = running.api.get("/importErrors")["import_errors"]
        return next((error["stack_trace"] for error in errors if "long.py" in error["filename"]), None)

    said = wait_until("the refusal", refused, 180)
    assert f"{TASKS_PER_DAG + 1} tasks" in said, said
    assert "split it" in said, said
    # Its run ends in one record that names every task.
    running.cli.ok("dags", "unpause", "fits")
    assert running.trigger("fits", "r1").status_code == 200
    running.cli.ok("runs", "cancel", "fits", "r1")
    assert running.api.wait_run("fits", "r1") == "failed"


def test_a_conf_and_a_note_at_their_edges(running: Standalone, dags: Path) -> None:
    write_dag(dags, "hello.py", hello("hello"))
    running.wait_dag("hello")
    text = "x" * (CONF_BYTES - len('{"a":""}'))
    answer = running.trigger("hello", "edge", conf={"a": text}, note="n" * NOTE_BYTES)
    assert answer.status_code == 200, answer.text[-500:]
    assert running.api.wait_run("hello", "edge") == "success"
    answer = running.trigger("hello", "over", conf={"a": text + "x"})
    assert answer.status_code in (400, 422), answer.text[-500:]
    assert "at most 500000 are taken" in answer.text, answer.text[-500:]
    answer = running.trigger("hello", "over", note="n" * (NOTE_BYTES + 1))
    assert answer.status_code in (400, 422), answer.text[-500:]
    assert "4096" in answer.text, answer.text[-500:]
