"""What `dagbok executor conformance` asks an executor to run. An executor that reads no DAG files has six tasks of the
same names that do the same."""

import json
import os
import time
from datetime import datetime

from airflow.sdk import dag, get_current_context, task


def witness(word: str) -> None:
    """Append a line to the file that the run's conf names: `begin` or `end`, the task, the try, the process."""
    context = get_current_context()
    ti = context["ti"]
    with open(context["dag_run"].conf["witness"], "a") as file:
        file.write(json.dumps([word, ti.task_id, ti.run_id, ti.try_number, os.getpid()]) + "\n")


@task
def succeed() -> dict[str, int]:
    """Say a line, and hand on a value."""
    witness("begin")
    print("said by succeed")
    witness("end")
    return {"answer": 42}


@task
def fail() -> None:
    """Fail by the user's fault."""
    witness("begin")
    raise ValueError("it was meant to fail")


@task
def read() -> object:
    """Hand on what `succeed` handed on in this run."""
    witness("begin")
    value = get_current_context()["ti"].xcom_pull(task_ids="succeed")
    witness("end")
    return value


@task
def brief() -> None:
    """Say a line, take as many seconds as the run's conf says, and succeed."""
    witness("begin")
    print("said by brief", flush=True)
    time.sleep(float(get_current_context()["dag_run"].conf.get("seconds", 1)))
    witness("end")


@task
def slow() -> None:
    """Say a line, and take ten minutes."""
    witness("begin")
    print("said by slow", flush=True)
    time.sleep(600)
    witness("end")


@task
def hog() -> None:
    """Use up to 1 GiB of memory, slowly enough to be seen."""
    witness("begin")
    held = []
    for _ in range(64):
        held.append(b"x" * (16 << 20))
        time.sleep(0.1)
    witness("end")


@dag(start_date=datetime(2024, 1, 1), schedule=None)
def conformance() -> None:
    """Have them all."""
    succeed()
    fail()
    read()
    brief()
    slow()
    hog()


conformance()
