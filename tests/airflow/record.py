"""Asks a real Airflow about every example DAG file of its own, and writes down what it says.

The tests never need it. Run it with the Python of an environment that has Airflow, and `virtualenv`, which
some of the files look for:

    python3.11 -m venv /tmp/airflow
    /tmp/airflow/bin/pip install apache-airflow==2.11.2 apache-airflow-providers-standard==1.21.0 virtualenv
    /tmp/airflow/bin/python tests/airflow/record.py

It writes `answers-<version>.json` beside itself: graphs and schedules, and, of the DAGs that end within 40
seconds, twice the same, how the run and its tasks ended, with XComs and rendered
templates. Answers that are kept are not recorded on a Monday (`clock.py`). `--print` writes to standard output
instead, for `compare.py --live`.
`--only DAG_ID …` records the runs of these DAGs anew, and leaves all other answers as they are.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Json = dict[str, Any]
DATE = dt.datetime(2024, 3, 1, 2, tzinfo=dt.UTC)
SECONDS = 40
LONGEST = 400
# Files whose DAGs are not run here; `partitions.py` asks for the runs of that one.
LEFT_OUT = {"example_dags/example_asset_partition.py": "its runs are of partitions, which dag.test() makes none of"}
FOLDERS = ("example_dags", "providers/standard/example_dags")


def prepare() -> None:
    """Give Airflow a home of its own, with a database, before it is imported."""
    home = tempfile.mkdtemp(prefix="airflow-oracle-")
    os.environ.update(
        AIRFLOW_HOME=home,
        AIRFLOW__CORE__DAGS_FOLDER=f"{home}/dags",
        # Only so are the examples' own plugins loaded.
        AIRFLOW__CORE__LOAD_EXAMPLES="True",
        AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONHASHSEED="0",
    )
    sys.dont_write_bytecode = True
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def example_files(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield each example file, by its path below the package `airflow`."""
    for folder in FOLDERS:
        for path in sorted((package / folder).rglob("*.py")):
            if path.name != "__init__.py":
                yield path.relative_to(package).as_posix(), path


def bag_of(path: Path) -> Any:
    """Return the bag of one file's DAGs."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models import DagBag

        return DagBag(str(path), include_examples=False)
    return DagBag(str(path))


def task_of(task: Any) -> Json:
    """Return what the graph says of a task; what is at its default is left out."""
    group = task.task_group.group_id if task.task_group is not None else None
    said = {
        "operator": task.task_type,
        "upstream": sorted(task.upstream_task_ids),
        "rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
        "retries": task.retries or 0,
        "group": group,
        "mapped": type(task).__name__.endswith("MappedOperator"),
        "setup": task.is_setup,
        "teardown": task.is_teardown,
    }
    return {name: value for name, value in said.items() if value not in (False, None, 0, [], "all_success")}


def schedule_of(dag: Any) -> Any:
    """Return the timetable as Airflow would keep it: its kind and what it is made of."""
    if getattr(dag, "is_subdag", False):
        # Whatever it was given, no run is made by it.
        return {"type": "NullTimetable"}
    try:
        from airflow.serialization.encoders import encode_timetable
    except ImportError:
        from airflow.serialization.serialized_objects import encode_timetable
    told = json.loads(json.dumps(encode_timetable(dag.timetable), default=str))
    return {"type": told["__type"].rpartition(".")[2], **told.get("__var", {})}


def graphs(package: Path) -> Json:
    """Return every file's DAGs."""
    files: Json = {}
    for name, path in example_files(package):
        bag = bag_of(path)
        files[name] = {
            "dags": {
                dag_id: {"schedule": schedule_of(dag), "tasks": {t.task_id: task_of(t) for t in dag.tasks}}
                for dag_id, dag in sorted(bag.dags.items())
            }
        }
        if bag.import_errors:
            files[name]["errors"] = [text.strip().splitlines()[-1] for text in bag.import_errors.values()]
    return files


def jsonable(value: Any) -> Any:
    """Return the value as JSON has it; of what JSON has not, only the type's name."""
    text = json.dumps(value, default=lambda other: f"<{type(other).__name__}>", sort_keys=True)
    return masked(json.loads(text))


def masked(value: Any) -> Any:
    """Replace what is another on each machine, and how Airflow's own objects write themselves."""
    if isinstance(value, dict):
        return {key: masked(one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    if isinstance(value, str):
        value = value.replace(sys.executable, "<python>").replace(sys.prefix, "<airflow>")
        if re.search(r"LazySelectSequence|LazyXComSequence| object at 0x|/airflow-oracle-", value):
            return "*"
        return value if len(value) <= LONGEST else digest(value)
    return value


def digest(text: str) -> str:
    """Return what stands for a long text: the files are Airflow's, and templates are filled from them."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def outcome(dag_id: str, run: Any, major: int) -> Json:
    """Read from Airflow's database how a run ended."""
    from airflow.models import RenderedTaskInstanceFields, TaskInstance
    from airflow.utils.session import create_session

    try:
        from airflow.models.xcom import XComModel as XCom
    except ImportError:
        from airflow.models.xcom import XCom

    def name(row: Any) -> str:
        return row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"

    def rows(session: Any, model: Any) -> Any:
        return session.query(model).filter_by(dag_id=dag_id, run_id=run.run_id)

    with create_session() as session:
        states = {name(ti): str(getattr(ti.state, "value", ti.state)) for ti in rows(session, TaskInstance)}
        xcoms: Json = {}
        for row in rows(session, XCom):
            # Airflow 2 has done it when the row was read; Airflow 3 takes a text of digits for a number here.
            done = major == 2 or isinstance(row.value, str)
            value = row.value if done else XCom.deserialize_value(row)
            xcoms.setdefault(name(row), {})[row.key] = jsonable(value)
        rendered = {
            name(row): jsonable(row.rendered_fields)
            for row in rows(session, RenderedTaskInstanceFields)
            if row.rendered_fields
        }
    return {
        "state": str(getattr(run.state, "value", run.state)),
        "tasks": states,
        "xcoms": xcoms,
        "rendered": rendered,
    }


def run_apart(path: Path, dag_id: str, major: int) -> Json:
    """Run a DAG in a forked process, and return its outcome or why there is none."""
    # Each run begins with an empty database.
    home = Path(os.environ["AIRFLOW_HOME"])
    for left in home.glob("airflow.db*"):
        left.unlink()
    shutil.copy(home / "empty.db", home / "airflow.db")
    answer = Path(tempfile.mkstemp(prefix="airflow-run-")[1])
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        try:
            told = run_here(path, dag_id, major)
        except BaseException as error:
            told = {"none": f"it raises {type(error).__name__}"}
        answer.write_text(json.dumps(told))
        os._exit(0)
    until = time.monotonic() + SECONDS
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"none": f"it takes more than {SECONDS} s"}
        time.sleep(0.05)
    text = answer.read_text()
    answer.unlink()
    return json.loads(text) if text else {"none": "its process ends"}


def run_here(path: Path, dag_id: str, major: int) -> Json:
    """Run a DAG as `dag.test()` does."""
    from airflow import settings

    settings.reconfigure_orm()
    dag = bag_of(path).dags[dag_id]
    if major == 2:
        return outcome(dag_id, dag.test(execution_date=DATE), major)
    return outcome(dag_id, dag.test(logical_date=DATE), major)


def agreed(first: Any, second: Any) -> Any:
    """Return what two runs have in common; what differs is `*`."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {key: agreed(value, second[key]) for key, value in first.items()}
    return first if first == second else "*"


def main() -> None:
    """Ask about the graphs, then run what can be run, twice."""
    prepare()
    import airflow

    major = int(airflow.__version__.split(".")[0])
    package = Path(airflow.__file__).parent
    only = sys.argv[sys.argv.index("--only") + 1 :] if "--only" in sys.argv else []
    target = HERE / f"answers-{airflow.__version__}.json"
    files = json.loads(target.read_text())["files"] if only else graphs(package)
    home = Path(os.environ["AIRFLOW_HOME"])
    shutil.copy(home / "airflow.db", home / "empty.db")
    told = {"airflow": airflow.__version__, "files": files}
    print_only = "--print" in sys.argv
    # All of them once, and then again: what is written after each is of use if this ends early.
    for again in (False, True):
        for name, dag_id, dag in [(n, i, d) for n, f in files.items() for i, d in f["dags"].items()]:
            if only and dag_id not in only:
                continue
            if name in LEFT_OUT:
                dag["run"] = {"none": LEFT_OUT[name]}
            elif not again:
                dag["run"] = run_apart(package / name, dag_id, major)
            elif "state" in dag["run"]:
                other = run_apart(package / name, dag_id, major)
                same = "none" not in other and other["tasks"] == dag["run"]["tasks"]
                dag["run"] = agreed(dag["run"], other) if same else {"none": "it ends another way each time"}
            state = dag["run"].get("state", dag["run"].get("none"))
            print(name, dag_id, state, file=sys.stderr, flush=True)
            if not print_only:
                target.write_text(compact(told))
    print(json.dumps(told, sort_keys=True) if print_only else target)


def compact(told: Json) -> str:
    """Write one DAG a line."""
    lines = [f'{{"airflow": {json.dumps(told["airflow"])}, "files": {{']
    for name, file in sorted(told["files"].items()):
        rest = json.dumps({key: value for key, value in file.items() if key != "dags"})[1:-1]
        lines.append(f'{json.dumps(name)}: {{{rest + ", " if rest else ""}"dags": {{')
        dags = [f" {json.dumps(i)}: {json.dumps(d, sort_keys=True)}" for i, d in sorted(file["dags"].items())]
        lines += [line + "," for line in dags[:-1]] + dags[-1:] + ["}},"]
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join([*lines, "}}", ""])


if __name__ == "__main__":
    main()
