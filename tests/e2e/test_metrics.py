"""What an installation shows and sends of itself: the figures for Prometheus, Airflow's names by StatsD, the rules and
dashboards of deploy/, tried on Debian's Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from apart import Apart
from debian import unpacked
from harness import ROOT, Process, Standalone, free_port, standalone, wait_until

DEPLOY = ROOT / "deploy"
DAG = """
from datetime import datetime
from airflow.sdk import dag, task


@task(retries=1, retry_delay=0)
def flaky(ti=None):
    if ti.try_number == 1:
        raise ValueError("the first try fails")


@task
def done():
    pass


@dag(dag_id="etl.day", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def etl():
    flaky() >> done()


etl()
"""


class Sink:
    """A StatsD server that keeps what it gets."""

    def __init__(self) -> None:
        """Listens on a free port."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.address = f"udp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.got: list[tuple[str, float, str, dict[str, str]]] = []
        self.stands: dict[str, float] = {}

    def hear(self) -> list[tuple[str, float, str, dict[str, str]]]:
        """All that came so far: name, value, kind, tags. What is not StatsD's form is an error."""
        try:
            while True:
                for line in self.socket.recv(65_536).decode().splitlines():
                    match = re.fullmatch(r"([\w.-]+):(-?[\d.]+(?:e-?\d+)?)\|(c|g|ms)(?:\|#(.*))?", line)
                    assert match, line
                    name, text, kind, tags = match.groups()
                    value = float(text)
                    if kind == "g" and tags is None:
                        # A sign is a change in StatsD; in DogStatsD it is none, and those that may have one have tags.
                        value += self.stands.get(name, 0) if text.startswith("-") else 0
                        self.stands[name] = value
                    self.got.append(
                        (name, value, kind, dict(tag.split(":", 1) for tag in (tags or "").split(",") if tag))
                    )
        except TimeoutError:
            return self.got

    def named(self, name: str) -> list[tuple[str, float, str, dict[str, str]]]:
        """What came under one name."""
        return [it for it in self.hear() if it[0] == name]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Prometheus' programs."""
    return unpacked(tmp_path_factory.mktemp("debian"), "prometheus") / "usr/bin"


@pytest.fixture(scope="module")
def sink() -> Sink:
    """Where StatsD goes."""
    return Sink()


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Standalone]:
    """A standalone with one run that went well at the second try."""
    folder = tmp_path_factory.mktemp("metrics")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "etl.py").write_text(DAG)
    env = {
        "DAGBOK__TELEMETRY__TASK_LABELS": "true",
        "DAGBOK__TELEMETRY__STATSD": sink.address,
        "DAGBOK__TELEMETRY__STATSD_TAGS": "datadog",
        "DAGBOK__TELEMETRY__STATSD_EVERY": "200ms",
    }
    with standalone(folder, dags, env=env) as it:
        it.wait_dag("etl.day")
        it.trigger("etl.day", "one")
        it.cli.ok("runs", "wait", "etl.day", "one")
        wait_until("the figures", lambda: 'dagbok_runs_ended_total{state="success"} 1' in page(it))
        yield it


def page(it: Standalone) -> str:
    """What /metrics shows."""
    return httpx.get(f"{it.api.url}/metrics").text


def test_the_figures_are_valid_and_say_how_runs_and_tasks_ended(it: Standalone, tools: Path) -> None:
    text = page(it)
    checked = subprocess.run([tools / "promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for line in (
        'dagbok_dag_runs_ended_total{dag_id="etl.day",state="success"} 1',
        'dagbok_task_tries_ended_total{dag_id="etl.day",task_id="flaky",state="up_for_retry"} 1',
        'dagbok_task_failures_total{kind="exception",fault="user"} 1',
        'dagbok_queue_depth{queue="default"} 0',
        "dagbok_hand_off_seconds_count 1",
        "dagbok_executors 1",
        'dagbok_alerts_open{severity="critical"} 0',
    ):
        assert line in text.splitlines(), line
    reference = (ROOT / "schemas/metrics.md").read_text()
    names = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 50
    assert not [name for name in names if f"`{name}`" not in reference and name != "target_info"]


def test_airflows_names_go_out_by_statsd(it: Standalone, sink: Sink) -> None:
    def first(name: str) -> Any:
        return wait_until(name, lambda: sink.named(f"airflow.{name}"))[0]

    _, value, kind, tags = first("ti_failures")
    assert (value, kind, tags) == (1, "c", {"dag_id": "etl.day", "task_id": "flaky", "queue": "default"})
    _, value, kind, tags = first("dagrun.duration.success")
    assert kind == "ms"
    assert 0 < value < 60_000
    assert tags == {"dag_id": "etl.day"}
    assert first("dagrun.duration.success.etl__day")[1] == value
    assert first("dag_runs.duration")[1] == value
    assert first("ti.finish.etl__day.flaky.up_for_retry")[1] == 1
    assert first("operator_successes")[3]["operator_name"] == "_PythonDecoratedOperator"
    assert first("scheduler.tasks.starving")[1:3] == (0, "g")
    wait_until("slots", lambda: [it for it in sink.named("airflow.executor.open_slots") if it[1] > 0])
    # What was sent first may have been sent while the run held a slot.
    wait_until(
        "the free pool", lambda: [it for it in sink.named("airflow.pool.open_slots.default_pool") if it[1] == 128]
    )
    recorded = json.loads((ROOT / "tests/airflow/metrics-3.3.2.json").read_text())
    plain = {name["name"] for name in recorded} | {"dag_runs.duration"}
    dotted = [re.sub(r"\\\{\w+\\\}", r"[\\w-]+", re.escape(name["legacy"])) for name in recorded if name["legacy"]]
    heard = {name.removeprefix("airflow.") for name, *_ in sink.hear()}
    assert not [name for name in heard if name not in plain and not any(re.fullmatch(it, name) for it in dotted)]


def test_the_figures_are_those_of_the_log(it: Standalone) -> None:
    verified = it.cli.json("metrics", "verify")
    assert verified["differ"] == []
    assert verified["compared"] > 100
    history = it.cli.json("metrics", "history", "dagbok_runs_ended_total", "--since", "1h")
    assert history["series"]['dagbok_runs_ended_total{state="success"}'][-1][1] == 1


def test_a_restart_is_no_reset(it: Standalone) -> None:
    before = [
        line for line in page(it).splitlines() if line.startswith(("dagbok_dag_", "dagbok_run_", "dagbok_hand_off"))
    ]
    it.process.kill()
    it.start()
    wait_until("the figures", lambda: "dagbok_log_folded_seq" in page(it))
    after = page(it).splitlines()
    assert before
    assert not [line for line in before if line not in after]


def test_the_rules_hold_what_they_promise(tools: Path, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "rules")
    for command in (
        ["check", "rules", "rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules.test.yml"],
    ):
        done = subprocess.run([tools / "promtool", *command], cwd=tmp_path / "rules", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboards_is_one_and_finds_what_it_is_about(
    it: Standalone, tools: Path, tmp_path: Path
) -> None:
    config = (DEPLOY / "prometheus/prometheus.yml").read_text()
    config = config.replace("127.0.0.1:8793", f"127.0.0.1:{it.api.port}").replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(DEPLOY / "prometheus/rules.yml", tmp_path)
    port = free_port()
    argv = [str(tools / "prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}"]
    argv += [f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    prometheus = Process("prometheus", argv, tmp_path).start()
    url = f"http://127.0.0.1:{port}/api/v1"

    def asked(query: str) -> dict[str, Any]:
        answer = httpx.get(f"{url}/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found: dict[str, Any] = answer.json()["data"]
        return found

    def scraped_often() -> bool:
        try:
            found = asked("count_over_time(dagbok_log_folded_seq[1m])")["result"]
        except httpx.TransportError:
            return False
        return bool(found) and int(found[0]["value"][1]) >= 3

    try:
        wait_until("three scrapes", scraped_often)
        bare = []
        for file in sorted((DEPLOY / "grafana").glob("*.json")):
            for panel in json.loads(file.read_text())["panels"]:
                for target in panel["targets"]:
                    query = target["expr"].replace("$dag", "etl.day").replace("$__rate_interval", "1m")
                    if not asked(query)["result"]:
                        bare.append((panel["title"], query))
        # What has not happened in this installation: nothing waits, nothing is scheduled, nothing failed meanwhile.
        quiet = r"oldest_timestamp|next_run_due|spans|> 0$|schedule_delay|topk|refus|starving|waiting_for_room|dropped"
        assert not [it for it in bare if not re.search(quiet, it[1])], bare
    finally:
        prometheus.kill()


def test_services_apart_show_their_own_and_the_api_what_the_log_tells(tmp_path: Path) -> None:
    apart = Apart(tmp_path)
    (apart.dags / "etl.py").write_text(DAG)
    port, sink = free_port(), Sink()
    (scheduler,) = apart.of("scheduler")
    scheduler.argv += ["--home", str(tmp_path / "scheduler"), "--metrics-listen", f"127.0.0.1:{port}"]
    scheduler.env["DAGBOK__TELEMETRY__STATSD"] = sink.address
    with apart:
        wait_until("the DAG", lambda: apart.api.get("/dags/etl.day"))
        apart.api.post("/dags/etl.day/dagRuns", {"dag_run_id": "one", "logical_date": None})
        apart.cli.ok("runs", "wait", "etl.day", "one")
        of_log = 'dagbok_runs_ended_total{state="success"} 1'
        wait_until("the figures", lambda: of_log in httpx.get(f"{apart.api.url}/metrics").text)
        own = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "dagbok_appends_total" in own
        assert "dagbok_runs" not in own
        wait_until("the end by StatsD", lambda: sink.named("airflow.dagrun.duration.success"))
        assert apart.cli.json("metrics", "verify")["differ"] == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("STATSD", "http://127.0.0.1:8125", "udp://"),
        ("STATSD_ALLOW", '["schedular"]', "schedular"),
        ("STATSD_TAGS", "graphite", "graphite"),
    ],
)
def test_what_can_not_be_meant_is_said_at_the_start(tmp_path: Path, key: str, value: str, said: str) -> None:
    (tmp_path / "dags").mkdir()
    env = {"DAGBOK__TELEMETRY__STATSD": "udp://127.0.0.1:1", f"DAGBOK__TELEMETRY__{key}": value}
    it = Standalone(tmp_path, tmp_path / "dags", env=env)
    with pytest.raises(SystemExit, match=said):
        it.start()
