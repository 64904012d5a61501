"""Two DAGs, of which one is run by Airflow."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, task

for name in ("by_airflow", "by_us"):
    with DAG(name, schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):

        @task
        def who() -> None:
            import airflow

            is_real = getattr(airflow, "__file__", None)
            print("ran by", airflow.__version__ if is_real else "dagbok")

        who()
