"""What a task sees in the newer era; it writes that down where $ORACLE_OUT says."""

import json
import os
from datetime import datetime

from airflow.sdk import DAG, BaseOperator, Param

TEMPLATES = [
    "{{ ds }}|{{ ds_nodash }}|{{ ts }}|{{ ts_nodash }}|{{ ts_nodash_with_tz }}",
    "{{ logical_date }}|{{ data_interval_start }}|{{ data_interval_end }}",
    "{{ params.p }}|{{ params.q }}|{{ dag.dag_id }}|{{ task.task_id }}|{{ ti.try_number }}|{{ task_instance_key_str }}",
    "{{ macros.ds_add(ds, 5) }}|{{ logical_date | ts_nodash }}|{{ run_id.split('_')[0] }}",
    "two newlines\n\n",
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
    "context_newer",
    schedule="0 2 * * *",
    start_date=datetime(2024, 1, 1),
    params={"p": Param(1, type="integer"), "q": "text"},
) as dag:
    Show(task_id="show", what=TEMPLATES)
