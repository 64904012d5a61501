"""Holds the DAG files to what Dagbok makes of them. Run it with `pytest`, where `dagbok` is on the PATH."""

import json
import subprocess
from pathlib import Path

DAGS = Path(__file__).parents[1] / "dags"


def test_every_file_can_be_read():
    done = subprocess.run(["dagbok", "dags", "check", str(DAGS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_first_runs_to_its_end():
    command = ["dagbok", "dags", "test", str(DAGS / "first.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["state"] == "success"
