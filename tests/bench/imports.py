"""What the authoring surface costs at import, beyond a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "shared" / "python" / "src"
TIMES = 15
SURFACE = """
from dagbok.compat import activate
activate()
from airflow import DAG
from airflow.decorators import dag, task
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator
"""
_CLOCK = "import time; _0 = time.process_time()\n{}\nprint((time.process_time() - _0) * 1000)"


def surface() -> float:
    """Return the CPU time in milliseconds that a plain DAG file's imports take, the median of several."""
    command = [sys.executable, "-P", "-c", _CLOCK.format(SURFACE)]
    env = {"PYTHONPATH": str(SOURCE), "DAGBOK_AIRFLOW": "shim", "PATH": ""}

    def once() -> float:
        return float(subprocess.run(command, capture_output=True, check=True, env=env).stdout)

    once()  # compiles, where nothing was compiled yet
    return statistics.median(once() for _ in range(TIMES))
