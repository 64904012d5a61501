"""The runs that Airflow's own example of partitions makes, against those that a real Airflow 3.3.2 made of it.

`tests/airflow/partitions.py` recorded them, and asks here what it asked there.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ROOT, standalone

sys.path.insert(0, str(ROOT / "tests/airflow"))
from partitions import FILE, Json, drive

RECORDED = ROOT / "tests/airflow/partitions-3.3.2.json"
EXAMPLE = ROOT / ".tools/airflow/3.3.2/airflow" / FILE


@pytest.mark.skipif(not EXAMPLE.exists(), reason="Airflow's example files are not here; make test fetches them")
def test_runs_of_partitions_are_those_of_airflow(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(EXAMPLE, dags)
    recorded = json.loads(RECORDED.read_text())["dags"]
    env = {"DAGBOK__PROCESSOR__PAUSED_AT_CREATION": "true"}
    with standalone(tmp_path, dags, env=env) as dagbok:
        dagbok.wait_dag("scatter_live_region_to_segments")

        def call(method: str, path: str, body: Json | None) -> Any:
            url = f"{dagbok.api.url}/api/v2{path}"
            answer = httpx.request(method, url, json=body, timeout=30.0)
            assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
            return answer.json()

        known = [dag["dag_id"] for dag in call("GET", "/dags?limit=100", None)["dags"]]
        told = drive(call, known, quiet=5.0, least=sum(len(runs) for runs in recorded.values()))
    differs = {dag_id: (told.get(dag_id), runs) for dag_id, runs in recorded.items() if told.get(dag_id) != runs}
    assert differs == {}
    assert told.keys() == recorded.keys()
