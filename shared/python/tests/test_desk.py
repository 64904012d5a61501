"""At one's desk: a task rendered and run by itself, `DagBag`, SubDAGs, the package by which providers ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fake_supervisor import SOURCE, parse

FILE = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator

def work(ti, ds, params):
    ti.xcom_push("key", ds)
    print("printed")
    return [params["n"], ti.xcom_pull(task_ids="shell")]

with DAG("d", schedule="30 2 * * *", start_date=datetime(2024, 1, 1), params={"n": 1}):
    BashOperator(task_id="shell", bash_command="echo {{ data_interval_start }} {{ dag_run.conf.get('a') }}")
    PythonOperator(task_id="work", python_callable=work)
    BashOperator(task_id="bad", bash_command="{{ 1 / 0 }}")
"""


def desk(folder: Path, what: str, task: str, *more: str) -> Any:
    """Ask as the command line does."""
    (folder / "f.py").write_text(FILE)
    command = [sys.executable, "-P", "-m", "dagbok.desk", what, "--folder", str(folder), "--file", "f.py"]
    command += ["--task", task, "--date", "2024-03-01T02:00:00+00:00", *more]
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "DAGBOK_AIRFLOW": "shim"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, env=env, check=False).stdout)


def test_render(tmp_path: Path) -> None:
    told = desk(tmp_path, "render", "shell", "--conf", '{"a": 5}')
    assert told["dag_id"] == "d"
    # The last day that was over at two o'clock.
    assert told["fields"]["bash_command"] == "echo 2024-02-28 02:30:00+00:00 5"
    assert desk(tmp_path, "render", "bad")["exception"] == "ZeroDivisionError"
    assert "has no task `none`" in desk(tmp_path, "render", "none")["message"]


def test_run(tmp_path: Path) -> None:
    told = desk(tmp_path, "test", "work")
    assert told["xcoms"] == {"key": "2024-03-01", "return_value": [1, None]}
    assert told["state"] == "success"


def run_python(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a file as a person does who has the package."""
    (folder / "main.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "DAGBOK_AIRFLOW": "shim"}
    command = [sys.executable, *arguments, str(folder / "main.py")]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def test_dag_test_asks_the_binary(tmp_path: Path) -> None:
    fake = tmp_path / "dagbok"
    fake.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        "print(json.dumps({'dag_id': 'm', 'run_id': 'r', 'state': 'success', 'tasks': {'t': {'state': 'success'}}}))\n"
        "print(sys.argv[1:], file=sys.stderr)\n"
    )
    fake.chmod(0o755)
    text = f"""
import os
os.environ["DAGBOK_BIN"] = {str(fake)!r}
from datetime import datetime
from airflow import DAG
with DAG("m", schedule=None) as dag:
    pass
if __name__ == "__main__":
    run = dag.test(datetime(2024, 3, 1), run_conf={{"a": 1}}, answers={{"t": ["x", "y"]}})
    print(run.state, run.tasks)
"""
    done = run_python(tmp_path, text, "-m", "dagbok")
    assert done.stdout == "success {'t': 'success'}\n", done.stderr
    for part in ("--dag", "'m'", "2024-03-01T00:00:00.000000Z", '{"a": 1}', "main.py", "'t=x'", "'t=y'"):
        assert part in done.stderr


def test_dag_test_names_what_is_marked_and_where_secrets_lie(tmp_path: Path) -> None:
    fake = tmp_path / "dagbok"
    fake.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "print(json.dumps({'dag_id': 'm', 'run_id': 'r', 'state': 'success', 'tasks': {}}))\n"
        "print(sys.argv[1:], file=sys.stderr)\n"
        "said = {name: os.environ[name] for name in os.environ if name.startswith('AIRFLOW__SECRETS__')}\n"
        "print(json.dumps(said), file=sys.stderr)\n"
    )
    fake.chmod(0o755)
    text = f"""
import os, re
os.environ["DAGBOK_BIN"] = {str(fake)!r}
from airflow import DAG
from airflow.operators.empty import EmptyOperator
with DAG("m", schedule=None) as dag:
    for name in ("wait_for_a", "wait_for_b", "work", "no_wait_for_c"):
        EmptyOperator(task_id=name)
if __name__ == "__main__":
    dag.test(mark_success_pattern=re.compile("wait_for_.*|WORK", re.I))
    dag.test(mark_success_pattern="wait")
    dag.test(conn_file_path="c.json", variable_file_path="v.yaml")
    dag.test(mark_success_pattern="wait(")
"""
    done = run_python(tmp_path, text, "-m", "dagbok")
    marked, secrets, *others = done.stderr.splitlines()
    assert "'--mark-success-pattern=wait_for_a|wait_for_b|work'" in marked
    assert secrets == "{}"
    assert "--mark-success-pattern" not in "".join(others[:3])
    files = json.loads(others[3])
    assert files["AIRFLOW__SECRETS__BACKEND"] == "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    assert files["AIRFLOW__SECRETS__BACKENDS_ORDER"].startswith("custom,")
    named = json.loads(files["AIRFLOW__SECRETS__BACKEND_KWARGS"])
    assert named["connections_file_path"].endswith("/c.json")
    assert named["variables_file_path"].endswith("/v.yaml")
    assert "unterminated subpattern" in done.stderr


def test_dag_bag(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "good.py").write_text(FILE)
    (dags / "bad.py").write_text("from airflow import DAG\nimport nosuchmodule\n")
    (dags / "loop.py").write_text(
        "from airflow import DAG\nfrom airflow.operators.empty import EmptyOperator\n"
        "with DAG('loop', schedule=None):\n    a, b = EmptyOperator(task_id='a'), EmptyOperator(task_id='b')\n"
        "    a >> b >> a\n"
    )
    (dags / "other.py").write_text("raise SystemExit('no DAG in it')\n")
    text = f"""
from airflow.models import DagBag
bag = DagBag({str(dags)!r}, include_examples=False)
print(sorted(bag.dag_ids), sorted(name.rpartition("/")[2] for name in bag.import_errors))
print(len(bag.get_dag("d").tasks), bag.get_dag("none"), bag.size())
"""
    done = run_python(tmp_path, text, "-m", "dagbok")
    assert done.stdout.splitlines() == ["['d'] ['bad.py', 'loop.py']", "3 None 1"], done.stderr


def test_a_subdag_is_a_dag_that_one_task_runs(tmp_path: Path) -> None:
    (tmp_path / "sub.py").write_text("""
from datetime import datetime
from airflow import DAG
from airflow.operators.dummy import DummyOperator
from airflow.operators.subdag import SubDagOperator

def inner(parent, name):
    with DAG(f"{parent}.{name}", schedule_interval="@daily", start_date=datetime(2024, 1, 1)) as dag:
        DummyOperator(task_id="x")
    return dag

with DAG("outer", schedule_interval="@daily", start_date=datetime(2024, 1, 1)) as dag:
    SubDagOperator(task_id="part", subdag=inner("outer", "part")) >> DummyOperator(task_id="after")
""")
    (answer,) = parse(tmp_path, "sub.py")
    assert answer["errors"] == []
    dags = {dag["dag_id"]: dag for dag in answer["dags"]}
    assert dags.keys() == {"outer", "outer.part"}
    assert dags["outer"]["tasks"][0]["operator"] == "SubDagOperator"
    assert dags["outer.part"]["schedule"]["timetable"] == "Manual"
    assert dags["outer.part"]["is_paused_upon_creation"] is False


def test_what_moved_is_found_by_the_package_that_real_airflow_always_has(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        "from airflow.providers.common.compat.sdk import DAG, Context, TriggerRule, timezone, BaseHook\n"
        "with DAG('d', schedule=None): pass\nassert TriggerRule.ALL_DONE == 'all_done'\ntimezone.utcnow()\n"
    )
    (answer,) = parse(tmp_path, "f.py", env={"DAGBOK_AIRFLOW": "shim"})
    assert answer["errors"] == []


def test_the_fixture_reads_renders_and_fails_with_the_files_own_error(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "good.py").write_text(
        "from airflow import DAG\nfrom airflow.operators.bash import BashOperator\n"
        "with DAG('good', schedule=None):\n    BashOperator(task_id='t', bash_command='echo {{ ds }}')\n"
    )
    (tmp_path / "broken.py").write_text("from airflow import DAG\nimport nosuchmodule\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["dagbok.testing"]\n')
    (tmp_path / "test_dags.py").write_text(
        "from datetime import datetime, timezone\nfrom airflow.models import DagBag\n"
        "def test_all(dagbok):\n    assert dagbok.dag_bag().import_errors == {}\n"
        "def test_one(dagbok):\n    dag = dagbok.dag('dags/good.py')\n"
        "    date = datetime(2024, 3, 1, tzinfo=timezone.utc)\n"
        "    assert dagbok.render(dag, 't', date)['bash_command'] == 'echo 2024-03-01'\n"
        "def test_broken(dagbok):\n    dagbok.dag('broken.py')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "DAGBOK_AIRFLOW": "shim"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "No module named 'nosuchmodule'" in done.stdout
