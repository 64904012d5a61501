"""What the tests of provider packages share: a DAG folder with the packages installed, and runs of its DAGs."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import dags
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from harness import Cli

PROVIDERS = [
    "amazon", "http", "common.sql", "sqlite", "postgres", "smtp", "cncf.kubernetes", "docker", "ssh", "sftp", "slack",
    "google",
]  # fmt: skip
DAGS = (
    "s3", "http", "sql", "mail", "pods", "pg", "ssh", "slack", "google", "docker", "pod_spec", "dbt",
)  # fmt: skip
Json = dict[str, Any]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAG folder with the providers installed."""
    made = tmp_path_factory.mktemp("dags")
    for name in DAGS:
        (made / f"{name}_dag.py").write_text(getattr(dags, name.upper()))
    (made / "fill.sql").write_text(dags.FILL)
    Cli().ok("providers", "install", *PROVIDERS, "--dags", str(made), timeout=1800)
    return made


class Run:
    """Runs DAGs of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, dag_id: str, env: dict[str, str], state: str = "success") -> tuple[Json, Json]:
        """Run a DAG; return its tasks' states, and what they handed on as their results."""
        log = self.folder.parent / f"{self.folder.name}-{dag_id}"
        shutil.rmtree(log, ignore_errors=True)
        cli = Cli(env=env)
        file = str(self.folder / f"{dag_id}_dag.py")
        done = cli.run("dags", "test", file, "--logical-date", "2024-03-01", "--keep", str(log), "--json")
        told = json.loads(done.stdout)
        lines = Cli().run("runs", "logs", dag_id, told["run_id"], "--home", str(log)).stdout
        assert told["state"] == state, done.stderr + json.dumps(told, indent=1) + lines
        results = {}
        for record in cli.lines("events", "--home", str(log), "--dag", dag_id):
            for fact in record["facts"]:
                if fact["type"] == "XComPushed" and fact["key"] == "return_value":
                    results[fact["task_id"]] = json.loads(fact["value"]["Inline"])
        return {task: it["state"] for task, it in told["tasks"].items()}, results


@pytest.fixture
def run(folder: Path) -> Run:
    """What runs a DAG of the folder."""
    return Run(folder)


@pytest.fixture
def port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found: int = sock.getsockname()[1]
        return found
