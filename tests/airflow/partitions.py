"""Asks a real Airflow 3.3 which runs its own example of partitions makes, and writes that down.

`dag.test()` makes no runs of partitions, so all of Airflow's services run, on a database of their own, and are asked by
their REST API; the test asks Dagbok the same by the same calls. Run it with the Python of an environment that has it:

    python3.11 -m venv /tmp/airflow
    /tmp/airflow/bin/pip install apache-airflow-core==3.3.2 apache-airflow-providers-standard==1.21.0
    /tmp/airflow/bin/python tests/airflow/partitions.py

It writes `partitions-<version>.json` beside itself: by DAG its runs, each with its partition and how its tasks ended.
`--print` writes to standard output instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILE = "example_dags/example_asset_partition.py"
Json = dict[str, Any]
# Method, path and body; the answer.
Call = Callable[[str, str, Json | None], Any]

# DAGs that are asked for a run, some for one of a partition.
TRIGGERS = [
    ("ingest_regional_sales", None),
    ("multi_region_player_stats", None),
    ("live_region_player_stats", None),
    ("ingest_region_stats", "us"),
    ("ingest_region_stats", "mars"),
]
# They have a run for each tick: what comes of those is of the clock at that time.
TICKING = ("ingest_team_a_player_stats", "team_b_player_stats", "team_c_player_stats", "train_weekly_model")
DAY = "2026-06-13T{:02}:00:00"
# Assets that somebody says are up to date, with the partition.
EVENTS = [
    *[("team_a_player_stats", DAY.format(hour)) for hour in range(24)],
    ("team_b_player_stats", "2026-06-13T03:15:00"),
    ("team_c_player_stats", "2026-06-13T03:30:00"),
    ("team_b_player_stats", "2026-06-13T04:15:00"),
    ("team_c_player_stats", "2026-06-13T05:30:00"),
    ("multi_region_player_stats", "atlantis"),
    ("daily_team_a", "2026-06-14"),
    ("daily_team_a", "no-day"),
    ("weekly_model_artifact", "2026-06-15T00:00:00"),
]
# Nothing runs, and nothing new comes for so long: it is over.
QUIET = 30.0
LONGEST = 900.0


def drive(call: Call, dags: list[str], quiet: float = QUIET, least: int = 0) -> Json:
    """Unpause the DAGs that have no ticks, ask for everything, and wait until nothing moves; the runs by DAG.

    It is not over with fewer than `least` runs.
    """
    for dag_id in set(dags) - set(TICKING):
        call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    for number, (dag_id, key) in enumerate(TRIGGERS):
        body: Json = {"logical_date": None, "dag_run_id": f"asked_{number}"}
        call("POST", f"/dags/{dag_id}/dagRuns", body | ({"partition_key": key} if key else {}))
    ids = {asset["name"]: asset["id"] for asset in call("GET", "/assets?limit=100", None)["assets"]}
    for name, key in EVENTS:
        call("POST", "/assets/events", {"asset_id": ids[name], "partition_key": key})
    began = moved = time.monotonic()
    before: list[Any] = []
    while time.monotonic() - moved < quiet and time.monotonic() - began < LONGEST:
        time.sleep(0.5)
        now = [(run["dag_id"], run["dag_run_id"], run["state"]) for run in listed(call)]
        if now != before or len(now) < least or any(state in {"queued", "running"} for _, _, state in now):
            before, moved = now, time.monotonic()
    told: dict[str, list[Json]] = {}
    for run in listed(call):
        place = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances".replace("+", "%2B")
        tasks = {one["task_id"]: one["state"] for one in call("GET", place, None)["task_instances"]}
        one = {"partition": run["partition_key"], "type": run["run_type"], "state": run["state"], "tasks": tasks}
        one["dated"] = run["logical_date"] is not None
        told.setdefault(run["dag_id"], []).append(one)
    return {dag_id: sorted(runs, key=json.dumps) for dag_id, runs in sorted(told.items())}


def listed(call: Call) -> list[Json]:
    """All runs."""
    runs: list[Json] = []
    while True:
        page = call("GET", f"/dags/~/dagRuns?limit=100&offset={len(runs)}&order_by=id", None)
        runs += page["dag_runs"]
        if len(runs) >= page["total_entries"] or not page["dag_runs"]:
            return runs


def main() -> None:
    """Run Airflow, and ask it."""
    home = Path(tempfile.mkdtemp(prefix="airflow-partitions-"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{port}/execution/",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of this recording and of nothing else",
        AIRFLOW__API__SECRET_KEY="another one of this recording",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    )
    import airflow

    (home / "dags").mkdir()
    shutil.copy(Path(airflow.__file__).parent / FILE, home / "dags")
    command = [sys.executable, "-m", "airflow"]
    subprocess.run([*command, "db", "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = (home / "log").open("wb")
    api = ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    started = [
        subprocess.Popen([*command, *arguments], stdout=log, stderr=log, start_new_session=True)
        for arguments in (api, ["dag-processor"], ["scheduler"])
    ]
    token = ""

    def call(method: str, path: str, body: Json | None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path if path[:5] == '/auth' else '/api/v2' + path}")
        request.method = method
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
        for left in reversed(range(20)):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                # SQLite is locked while somebody else writes.
                if error.code != 500 or not left:
                    raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None
                time.sleep(1)
        return None

    try:
        deadline = time.monotonic() + 180
        while not token:
            try:
                token = call("GET", "/auth/token", None)["access_token"]
            except (OSError, RuntimeError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        while not (known := call("GET", "/dags?limit=100", None)["dags"]):
            time.sleep(1)
        dags = [dag["dag_id"] for dag in known]
        told = {"airflow": airflow.__version__, "file": FILE, "dags": drive(call, dags)}
        # No task of that file fails by itself; on a busy machine Airflow loses some.
        if failed := [
            dag_id for dag_id, runs in told["dags"].items() if any(one["state"] != "success" for one in runs)
        ]:
            raise RuntimeError(f"runs of {failed} failed; ask again where less else is running, and see {home}/log")
    finally:
        for process in started:
            os.killpg(process.pid, 15)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
    text = json.dumps(told, indent=1, sort_keys=True) + "\n"
    if "--print" in sys.argv:
        print(text)
        return
    (HERE / f"partitions-{airflow.__version__}.json").write_text(text)


if __name__ == "__main__":
    main()
