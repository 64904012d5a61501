"""What a task sees in the older era; it writes that down where $ORACLE_OUT says."""

import json
import os
from datetime import datetime, timedelta

from airflow import DAG
from airflow.models import BaseOperator
from airflow.models.param import Param
from airflow.operators.python import PythonOperator

TEMPLATES = [
    "{{ ds }}|{{ ds_nodash }}|{{ ts }}|{{ ts_nodash }}|{{ ts_nodash_with_tz }}",
    "{{ yesterday_ds }}|{{ tomorrow_ds }}|{{ prev_ds }}|{{ next_ds }}|{{ yesterday_ds_nodash }}|{{ next_ds_nodash }}",
    "{{ logical_date }}|{{ execution_date }}|{{ data_interval_start }}|{{ data_interval_end }}",
    "{{ prev_execution_date }}|{{ next_execution_date }}",
    "{{ params.p }}|{{ params.q }}|{{ dag.dag_id }}|{{ task.task_id }}|{{ ti.try_number }}|{{ task_instance_key_str }}",
    "{{ macros.ds_add(ds, 5) }}|{{ macros.ds_format(ds, '%Y-%m-%d', '%d.%m.%y') }}|{{ logical_date | ds_nodash }}",
    "{{ logical_date.add(days=-1).to_date_string() }}|{{ logical_date.strftime('%H') }}|{{ macros.timedelta(days=1) }}",
    "{{ twice('ab') }}|{{ 'x' | loud }}",
    "one newline\n",
    "two newlines\n\n",
    "line{# comment #}\r\nline\n",
    "{% for i in [1, 2] %}{{ i }}{% endfor %}\n\n",
    {"{{ ds }}": "{{ ds }}", "deep": ["{{ ds }}", ("{{ ds }}", {"x": "{{ ds }}"})]},
]


class Show(BaseOperator):
    template_fields = ("what",)

    def __init__(self, what, **kwargs):
        super().__init__(**kwargs)
        self.what = what

    def execute(self, context):
        with open(os.path.join(os.environ["ORACLE_OUT"], f"{self.dag_id}.{self.task_id}.json"), "w") as out:
            json.dump({"rendered": self.what, "keys": sorted(context)}, out)


with DAG(
    "context_older",
    schedule="0 2 * * *",
    start_date=datetime(2024, 1, 1),
    catchup=False,
    params={"p": Param(1, type="integer"), "q": "text"},
    user_defined_macros={"twice": lambda text: text * 2},
    user_defined_filters={"loud": str.upper},
) as dag:
    Show(task_id="show", what=TEMPLATES)

with DAG(
    "native_older",
    schedule=timedelta(days=1),
    start_date=datetime(2024, 1, 1),
    catchup=False,
    render_template_as_native_obj=True,
) as native:
    Show(
        task_id="show",
        what=[
            "{{ ds_nodash }}",
            "{{ '007' }}",
            "{{ [1, 2] }}",
            "5",
            "{{ ds }}",
            "{{ {'a': 1} }}",
            "text",
            "{{ 1 }}{{ 2 }}",
        ],
    )
    PythonOperator(task_id="unused", python_callable=print)
