"""How soon a task's own code runs in exact mode: `python tests/exact/speed.py [VERSION]`, after `make exact`.

From the executor's start of a try to the first line of the task, with the file's parent process warm; prints a line of
JSON with milliseconds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRIES = 20
DAG = f"""
import datetime as dt
import time

from airflow.sdk import DAG, chain, get_current_context, task

with DAG("speed", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):

    @task
    def begin() -> float:
        return time.time() - get_current_context()["ti"].start_date.timestamp()

    chain(*(begin.override(task_id=f"t{{n}}")() for n in range({TRIES})))
"""


def main() -> None:
    """Measure one version."""
    version = sys.argv[1] if len(sys.argv) > 1 else "3.3.2"
    binary = os.environ.get("DAGBOK_BIN", str(ROOT / "target/release/dagbok"))
    python = ROOT / ".tools" / f"exact-{version}" / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        file, home = Path(folder, "speed.py"), Path(folder, "home")
        file.write_text(DAG)
        test = [binary, "dags", "test", str(file), "--keep", str(home), "--json"]
        subprocess.run(
            [*test, "--runtime", "airflow", "--airflow-python", str(python)], check=True, stdout=subprocess.DEVNULL
        )
        events = subprocess.run([binary, "events", "--home", str(home), "--json"], check=True, capture_output=True)
        took = [
            float(fact["value"]["Inline"]) * 1000
            for line in events.stdout.splitlines()
            for fact in json.loads(line)["facts"]
            if fact["type"] == "XComPushed" and fact["key"] == "return_value"
        ]
    told = {
        "airflow": version,
        "tries": len(took),
        "p50_ms": round(statistics.median(took), 1),
        "most_ms": round(max(took), 1),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
