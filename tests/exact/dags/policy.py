"""A retry policy that gives up, which Airflow has from 3.3 on; and what a task starts by itself."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess

from airflow.sdk import DAG, task
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy


class GiveUp(RetryPolicy):
    """No retry helps."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: object = None
    ) -> RetryDecision:
        return RetryDecision(action=RetryAction.FAIL, reason="the reason it gives")


def _mark(context: dict) -> None:
    with open(os.environ["EXACT_MARK"], "a") as file:
        file.write(f"failed {context['ti'].try_number}\n")


with DAG("gives_up", schedule=None):

    @task(retries=2, retry_delay=dt.timedelta(0), retry_policy=GiveUp(), on_failure_callback=_mark)
    def hopeless() -> None:
        raise ValueError("never")

    hopeless()

with DAG("starts_another", schedule=None):

    @task
    def own_runtime() -> str:
        """Run a file on Dagbok's own runtime, from within a task of exact mode."""
        left = [name for name in os.environ if name.startswith("DAGBOK_") and "EXACT" in name]
        argv = [os.environ["EXACT_DAGBOK"], "dags", "show", os.environ["EXACT_FILE"], "--dag", "by_us", "--json"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
        return f"{json.loads(done.stdout)['dag_id']} {left}" if done.stdout else done.stderr

    own_runtime()
