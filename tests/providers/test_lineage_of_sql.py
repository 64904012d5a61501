"""What SQL reads and writes, as Airflow's provider of OpenLineage parses it in a task's process, in the events sent.

Sqlite's hook says nothing of its database, so a hook of the file's own does: parser, operator and models are as they
are published.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness import Cli, Standalone, free_port, wait_until

from test_lineage import check, listening

DAG = """
from datetime import datetime

from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.sqlite.hooks.sqlite import SqliteHook

COLUMNS = [
    ("main", "a", "id", 1, "INT"), ("main", "a", "price", 2, "INT"),
    ("main", "b", "id", 1, "INT"), ("main", "b", "cost", 2, "INT"),
]


class Named(SqliteHook):
    def get_openlineage_database_info(self, connection):
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        return DatabaseInfo(scheme="sqlite", authority="shop", information_schema_table_name="main.columns")

    def get_openlineage_database_dialect(self, connection):
        return "sqlite"

    def get_openlineage_default_schema(self):
        return "main"


class Query(SQLExecuteQueryOperator):
    def get_db_hook(self):
        return Named(sqlite_conn_id=self.conn_id)


with DAG(
    "sqls", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
    default_args={"conn_id": "db"},
):
    make = SQLExecuteQueryOperator(task_id="make", sql=[
        "CREATE TABLE a (id INT, price INT)", "CREATE TABLE b (id INT, cost INT)",
        "CREATE TABLE columns (table_schema, table_name, column_name, ordinal_position INT, udt_name)",
        *(f"INSERT INTO columns VALUES {row!r}" for row in COLUMNS),
    ])
    copy = Query(task_id="copy", sql="INSERT INTO b SELECT id, price AS cost FROM a")
    bad = Query(task_id="bad", sql="INSERT INTO b SELECT id FROM nowhere")
    odd = Query(task_id="odd", sql="SELECT FROM WHERE x", trigger_rule="all_done")
    make >> copy >> bad >> odd
"""


def test_sql_is_parsed_by_the_provider_and_told(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "sqls.py").write_text(DAG)
    Cli().ok("providers", "install", "openlineage", "common.sql", "sqlite", "--dags", str(dags), timeout=1800)
    port = free_port()
    conn = {"conn_type": "sqlite", "host": str(tmp_path / "shop.db")}
    env = {"OPENLINEAGE_URL": f"http://127.0.0.1:{port}", "AIRFLOW_CONN_DB": json.dumps(conn)}
    standalone = Standalone(tmp_path, dags, env=env)
    with listening(port) as server:
        try:
            standalone.start().wait_dag("sqls")
            standalone.api.post("/dags/sqls/dagRuns", {"dag_run_id": "r1", "logical_date": None})
            wait_until("the end", lambda: ("FAIL", "sqls") in server.said("r1"), patience=120)
        finally:
            standalone.process.kill()
    events = server.of("r1")
    for body in events:
        check(body)
    ends = {body["job"]["name"]: body for body in events if body["eventType"] != "START"}
    copy = ends["sqls.copy"]
    assert copy["eventType"] == "COMPLETE"
    (read,), (written,) = copy["inputs"], copy["outputs"]
    assert (read["namespace"], read["name"]) == ("sqlite://shop", "main.a")
    assert (written["namespace"], written["name"]) == ("sqlite://shop", "main.b")
    assert [field["name"] for field in read["facets"]["schema"]["fields"]] == ["id", "price"]
    assert [field["name"] for field in written["facets"]["schema"]["fields"]] == ["id", "cost"]
    columns = written["facets"]["columnLineage"]["fields"]
    came = {name: [(of["name"], of["field"]) for of in it["inputFields"]] for name, it in columns.items()}
    assert came == {"id": [("main.a", "id")], "cost": [("main.a", "price")]}
    assert copy["job"]["facets"]["sql"]["query"] == "INSERT INTO b SELECT id, price AS cost FROM a"
    assert ends["sqls.make"]["inputs"] == ends["sqls.make"]["outputs"] == []
    bad = ends["sqls.bad"]
    assert bad["eventType"] == "FAIL"
    assert "errorMessage" in bad["run"]["facets"]
    assert bad["job"]["facets"]["sql"]["query"].endswith("FROM nowhere")
    assert ends["sqls.odd"]["run"]["facets"]["extractionError"]["failedTasks"] == 1
