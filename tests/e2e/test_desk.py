"""At one's desk: a folder checked as CI would, one task rendered and run by itself, a folder's environment."""

from __future__ import annotations

from pathlib import Path

from harness import Cli, write_dag

GOOD = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.exceptions import AirflowSkipException
from airflow.operators.python import BranchPythonOperator, PythonOperator

def skip():
    raise AirflowSkipException("not today")

with DAG("good", schedule=None, start_date=datetime(2024, 1, 1)):
    shell = BashOperator(task_id="shell", bash_command="echo {{ ds }} {{ dag_run.conf['a'] }}")
    value = PythonOperator(task_id="value", python_callable=lambda ds: {"day": ds})
    PythonOperator(task_id="skips", python_callable=skip)
    BranchPythonOperator(task_id="way", python_callable=lambda: "value") >> [shell, value]
"""


def test_a_folder_is_checked(dags: Path) -> None:
    write_dag(dags, "good.py", GOOD)
    told = Cli().json("dags", "check", str(dags))
    assert (told["ok"], told["files"], told["dags"], told["errors"]) == (True, 1, 1, [])
    write_dag(dags, "bad.py", "from airflow import DAG\nimport nosuchmodule\n")
    done = Cli().run("dags", "check", str(dags))
    assert done.returncode == 7, done.stderr
    assert "bad.py:2: ModuleNotFoundError" in done.stdout
    assert Cli().run("dags", "check", str(dags / "none")).returncode != 0


def test_one_dag_in_two_files_is_an_error_in_both(dags: Path) -> None:
    write_dag(dags, "good.py", GOOD)
    write_dag(dags, "copy.py", "# a copy\n" + GOOD)
    done = Cli().run("dags", "check", str(dags))
    assert done.returncode == 7, done.stderr
    assert "good.py:11: AirflowDagDuplicatedIdException: DAG good is defined in copy.py:12 too" in done.stdout
    assert "copy.py:12: AirflowDagDuplicatedIdException: DAG good is defined in good.py:11 too" in done.stdout


def test_a_task_by_itself(dags: Path) -> None:
    write_dag(dags, "good.py", GOOD)
    file, date = str(dags / "good.py"), ("--logical-date", "2024-03-01")
    told = Cli().json("tasks", "render", file, "shell", *date, "--conf", '{"a": 7}')
    assert told["fields"]["bash_command"] == "echo 2024-03-01 7"
    assert Cli().json("tasks", "test", file, "value", *date)["xcoms"]["return_value"] == {"day": "2024-03-01"}
    skipped = Cli().run("tasks", "test", file, "skips", *date)
    assert (skipped.returncode, skipped.stdout) == (0, "good.skips skipped: not today\n")
    branch = Cli().json("tasks", "test", file, "way", *date)
    assert (branch["state"], branch["skips"]) == ("success", ["shell"])
    done = Cli().run("tasks", "render", file, "shell", *date)
    assert done.returncode == 7
    assert "'a'" in done.stderr


def test_an_environment_that_is_not_here_is_said(dags: Path, tmp_path: Path) -> None:
    write_dag(dags, "good.py", GOOD)
    (dags / "dagbok.lock").write_text("# provider: http\n")
    cli = Cli(env={"DAGBOK_ENVIRONMENTS": str(tmp_path / "environments")})
    done = cli.run("dags", "check", str(dags))
    assert "DBK0046" in done.stderr
    assert "dagbok providers install --dags" in done.stderr
    assert cli.json("providers", "list", "--dags", str(dags))["interpreter"] is None


MARKED = """
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sensors.python import PythonSensor

def fail():
    raise ValueError("it is run")

with DAG("marked", schedule=None, start_date=datetime(2024, 1, 1)):
    wait = PythonSensor(task_id="wait_for_file", python_callable=lambda: False)
    stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
    work = PythonOperator(task_id="work", python_callable=lambda ti: ti.xcom_pull(task_ids="stop"))
    copies = PythonOperator.partial(task_id="copies", python_callable=fail).expand(op_args=[[1], [2]])
    wait >> stop >> work >> copies
"""


def test_tasks_are_marked_success_and_not_run(dags: Path) -> None:
    write_dag(dags, "marked.py", MARKED)
    file = str(dags / "marked.py")
    told = Cli().json("dags", "test", file, "--mark-success-pattern", "wait_for_.*|stop|copies")
    states = {name: task["state"] for name, task in told["tasks"].items()}
    # Neither the sensor's poke, nor what the short circuit would skip, nor what the copies raise.
    assert states == dict.fromkeys(("wait_for_file", "stop", "work", "copies[0]", "copies[1]"), "success")
    assert told["state"] == "success"
    for pattern, why in (("wait(", "unterminated subpattern"), ("wait", "no task of DAG `marked` has such an id")):
        done = Cli().run("dags", "test", file, "--mark-success-pattern", pattern)
        assert (done.returncode, why in done.stderr) == (2, True), done.stderr
