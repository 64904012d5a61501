"""`dag.test()`: a run of the DAG by the binary, from the DAG's own file."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG


@dataclass(frozen=True)
class TestedRun:
    """How a run that was tried ended, and each of its tasks."""

    dag_id: str
    run_id: str
    state: str
    tasks: dict[str, str]
    # What tasks asked and nobody answered, by task.
    unanswered: dict[str, str] = field(default_factory=dict)


def binary() -> str:
    """Return where `dagbok` is: `DAGBOK_BIN`, beside this interpreter, or on the PATH."""
    beside = Path(sys.executable).parent / "dagbok"
    found = os.environ.get("DAGBOK_BIN") or (str(beside) if beside.is_file() else shutil.which("dagbok"))
    if not found:
        raise AirflowException("dag.test() needs the program `dagbok` on the PATH, or its path in DAGBOK_BIN")
    return found


@dataclass(frozen=True)
class Asked:
    """What a run is tried with."""

    date: dt.datetime | None
    conf: dict[str, Any] | None
    # A regular expression, as text or compiled.
    mark_success: Any
    answers: Mapping[str, str | list[str]]
    fields: Mapping[str, Mapping[str, Any]]
    # Of Airflow's local secrets backend, by the names of its arguments.
    secret_files: Mapping[str, str | None] = field(default_factory=dict)

    def flags(self) -> list[str]:
        """Return what the command line is told."""
        flags = []
        if self.date is not None:
            aware = self.date if self.date.tzinfo is not None else self.date.replace(tzinfo=dt.UTC)
            flags += ["--logical-date", aware.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")]
        if self.conf:
            flags += ["--conf", json.dumps(self.conf)]
        for task_id, options in self.answers.items():
            for option in [options] if isinstance(options, str) else options:
                flags += ["--answer", f"{task_id}={option}"]
        for task_id, filled in self.fields.items():
            flags += ["--fields", f"{task_id}={json.dumps(dict(filled))}"]
        return flags

    def marked(self, dag: DAG) -> list[str]:
        """Return the flags for tasks that are marked success; none where the pattern matches none."""
        if self.mark_success is None:
            return []
        pattern = re.compile(self.mark_success)
        named = [re.escape(task_id) for task_id in dag.task_ids if pattern.fullmatch(task_id)]
        return [f"--mark-success-pattern={'|'.join(named)}"] if named else []

    def environment(self) -> dict[str, str]:
        """Return the environment of the run: the files named are looked in before anything else."""
        files = {name: path for name, path in self.secret_files.items() if path}
        if not files:
            return dict(os.environ)
        return {
            **os.environ,
            "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(
                {name: os.path.abspath(path) for name, path in files.items()}
            ),
            "AIRFLOW__SECRETS__BACKENDS_ORDER": "custom,environment_variable,folder,metastore",
        }


def test(dag: DAG, asked: Asked) -> TestedRun:
    """Run a DAG once with `dagbok dags test`, on a log that is thrown away; its lines go where ours go."""
    if dag.partial:
        raise AirflowException(
            f"a part of DAG `{dag.dag_id}` can't be run by itself: the file has the whole one; test that, "
            "with mark_success_pattern for the tasks that are not to run"
        )
    command = [binary(), "dags", "test", dag.fileloc, "--dag", dag.dag_id, "--json"]
    command += ["--python", sys.executable, *asked.flags(), *asked.marked(dag)]
    sys.stdout.flush()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=asked.environment())
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise AirflowException(f"DAG `{dag.dag_id}` could not be tried; see above") from None
    tasks = {name: str(one["state"]) for name, one in told["tasks"].items()}
    unanswered = {one["task"]: one["subject"] for one in told.get("unanswered", [])}
    return TestedRun(told["dag_id"], told["run_id"], told["state"], tasks, unanswered)
