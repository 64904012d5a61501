"""`dag.test()`: a run of the DAG by the binary, from the DAG's own file."""

from __future__ import annotations

import datetime as dt
import json
import os
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


def test(
    dag: DAG,
    date: dt.datetime | None,
    conf: dict[str, Any] | None,
    answers: Mapping[str, str | list[str]] | None,
    fields: Mapping[str, Mapping[str, Any]] | None,
) -> TestedRun:
    """Run a DAG once with `dagbok dags test`, on a log that is thrown away; its lines go where ours go."""
    command = [binary(), "dags", "test", dag.fileloc, "--dag", dag.dag_id, "--json"]
    command += ["--python", sys.executable]
    if date is not None:
        aware = date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)
        command += ["--logical-date", aware.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")]
    if conf:
        command += ["--conf", json.dumps(conf)]
    for task_id, options in (answers or {}).items():
        for option in [options] if isinstance(options, str) else options:
            command += ["--answer", f"{task_id}={option}"]
    for task_id, filled in (fields or {}).items():
        command += ["--fields", f"{task_id}={json.dumps(dict(filled))}"]
    sys.stdout.flush()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise AirflowException(f"DAG `{dag.dag_id}` could not be tried; see above") from None
    tasks = {name: str(one["state"]) for name, one in told["tasks"].items()}
    unanswered = {one["task"]: one["subject"] for one in told.get("unanswered", [])}
    return TestedRun(told["dag_id"], told["run_id"], told["state"], tasks, unanswered)
