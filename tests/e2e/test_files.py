"""What a DAG file says wrongly is told where it is asked for; what surrounds the process does not matter."""

import json
import signal
from pathlib import Path

import pytest
from harness import Cli, Standalone, standalone, write_dag

GOOD = """
from airflow import DAG
from airflow.operators.bash import BashOperator
with DAG("good", schedule=None):
    BashOperator(task_id="t", bash_command="echo fine")
"""
REFUSED = """
from airflow.operators.python import PythonVirtualenvOperator as V
def f(): pass
with DAG("bad", schedule=None):
    V(task_id="t", python_callable=f, index_urls_from_connection_ids=["x"])
"""
CRON = """
from datetime import datetime
with DAG("cron", schedule="60 * * * *", start_date=datetime(2024, 1, 1)):
    BashOperator(task_id="t", bash_command="x")
"""


def test_a_refused_dag_beside_a_good_one_is_told(tmp_path: Path) -> None:
    file = write_dag(tmp_path, "two.py", GOOD + REFUSED)
    done = Cli().run("dags", "test", str(file))
    assert "fine" in done.stdout
    assert "two.py, line 10: refused: NotSupportedYet: DAG `bad`" in done.stdout
    assert done.returncode == 7, done.stdout + done.stderr
    told = json.loads(Cli().run("dags", "test", str(file), "--json").stdout)
    assert (told["state"], told["refused"][0]["line"]) == ("success", 10)
    # Who asks for one DAG alone gets that one's result, and is told all the same.
    done = Cli().run("dags", "test", str(file), "--dag", "good")
    assert "refused" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    shown = Cli().run("dags", "show", str(file), "--json")
    assert (shown.returncode, json.loads(shown.stdout)["refused"][0]["exception"]) == (7, "NotSupportedYet")


@pytest.mark.parametrize("command", ["test", "show"])
def test_what_the_rules_refuse_is_refused_without_a_scheduler(tmp_path: Path, command: str) -> None:
    alone = write_dag(tmp_path, "cron.py", GOOD.split("with")[0] + CRON)
    done = Cli().run("dags", command, str(alone))
    assert "60" in done.stderr, done.stderr
    assert "cron.py" in done.stderr
    assert done.returncode == 7
    beside = write_dag(tmp_path, "both.py", GOOD + CRON)
    done = Cli().run("dags", command, str(beside))
    assert "BadSchedule" in done.stdout
    assert done.returncode == 7


def test_what_only_an_installation_has_keeps_no_test_waiting(tmp_path: Path) -> None:
    text = GOOD + (
        '    BashOperator(task_id="pool", bash_command="x=1", pool="etl_pool")\n'
        '    BashOperator(task_id="queue", bash_command="x=1", queue="kubernetes")\n'
        '    BashOperator(task_id="slots", bash_command="x=1", pool_slots=200)\n'
    )
    done = Cli().run("dags", "test", str(write_dag(tmp_path, "pools.py", text)))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("etl_pool", "kubernetes", "200"):
        assert name in done.stderr


def test_what_is_not_carried_out_is_shown_with_its_line(tmp_path: Path, dags: Path) -> None:
    text = GOOD.replace("schedule=None", "schedule=None, sla_miss_callback=print")
    file = write_dag(dags, "calls.py", text)
    words = "line 4: sla_miss_callback is not called: alerting tells of a missed sla"
    assert words in Cli().run("dags", "show", str(file)).stdout
    assert words in Cli().run("dags", "test", str(file)).stderr
    with standalone(tmp_path, dags) as running:
        running.wait_dag("good")
        assert words in running.cli.ok("dags", "show", "good")
        assert "NOT CARRIED OUT" in running.cli.ok("dags", "list")
        (told,) = running.api.get("/dags/good")["dagbok"]["not_carried_out"]
        assert (told["line"], told["task_id"]) == (4, None)


def test_a_relative_home_and_an_odd_environment_are_no_matter(tmp_path: Path, dags: Path) -> None:
    """Blocked and ignored signals, Python's own variables, a home named from where one stands."""
    (dags / "q.sql").write_text("select 1\n")
    text = "import os\n" + GOOD.replace('"echo fine"', 'f"cat {os.path.dirname(__file__)}/q.sql"')
    write_dag(dags, "relative.py", text)

    def odd() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))

    env = {
        "PYTHONINSPECT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": "/nowhere/at/all",
        "PYTHONSTARTUP": "/nowhere/at/all.py",
    }
    running = Standalone(tmp_path, dags, env=env)
    running.process.cwd, running.process.before = tmp_path, odd
    running.process.argv[running.process.argv.index(str(running.home))] = "home"
    try:
        running.start()
        running.wait_dag("good")
        assert running.trigger("good", "r1").status_code == 200
        assert running.api.wait_run("good", "r1") == "success"
        assert "select 1" in running.cli.ok("tasks", "logs", "good", "r1", "t")
        assert running.process.stop() == 0
    finally:
        running.process.kill()
    assert not list(dags.rglob("__pycache__"))


def test_a_link_to_what_has_no_end_keeps_nothing_away(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "good.py", GOOD)
    (dags / "system").symlink_to("/proc")
    with standalone(tmp_path, dags) as running:
        running.wait_dag("good")
        assert running.process.stop() == 0
        assert "system" in running.process.log.read_text()
