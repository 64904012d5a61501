"""Run events of OpenLineage, posted to a server that is there, away, slow, or lying: each is read by the client's own
models, and none is missing or another one when it comes again."""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr
import httpx
import openlineage.client.generated as generated
import pytest
from apart import Apart
from harness import Cli, Standalone, free_port, wait_until, write_dag
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.uuid import generate_static_uuid

DAG = """
from datetime import datetime
from airflow.sdk import Asset, AssetAlias, dag, task

ORDERS = Asset("postgres://db/shop/public/orders")


@task(retries=1, retry_delay=0, inlets=[Asset("s3://raw/in.csv")], outlets=[ORDERS, AssetAlias("late")])
def load(ti=None, outlet_events=None):
    if ti.try_number == 1:
        raise ValueError("the first try fails")
    outlet_events[ORDERS].extra = {"rows": 3}
    outlet_events[AssetAlias("late")].add(Asset("s3://lake/late"))


@dag(
    dag_id="lined", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
    tags=["daily"], default_args={"owner": "ml"}, doc_md="# Orders",
)
def lined():
    load()


lined()
"""
# Operators that say themselves what they read and wrote, by methods that Airflow's provider asks.
SAYING = """
import time
from datetime import datetime
from types import SimpleNamespace

from airflow.models import BaseOperator
from airflow.sdk import DAG, Asset

SCHEMA = {
    "_producer": "https://example.org/mine", "fields": [{"name": "id", "type": "INT"}],
    "_schemaURL": "https://openlineage.io/spec/facets/1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
}


class Copies(BaseOperator):
    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def execute(self, context):
        if self.how == "fails":
            raise ValueError("no")
        return "done"

    def get_openlineage_facets_on_complete(self, task_instance):
        if self.how == "raises":
            raise KeyError("lost")
        while self.how == "hangs":
            time.sleep(1)
        return SimpleNamespace(
            inputs=[SimpleNamespace(namespace="sqlite://shop", name="main.a", facets={"schema": SCHEMA})],
            outputs=[
                SimpleNamespace(namespace="postgres://db:5432", name="shop.public.orders", facets={"schema": SCHEMA}),
                SimpleNamespace(namespace="sqlite://shop", name="main.b", facets={}),
            ],
            run_facets={}, job_facets={"mine": {"a": 1}},
        )


with DAG("saying", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False):
    for how in ("well", "fails", "raises", "hangs"):
        Copies(
            task_id=how, how=how, outlets=[Asset("postgres://db/shop/public/orders")], inlets=[Asset("s3://raw/in.csv")],
        )
"""
# A run whose only task fails once: two of the run, two of each try.
SAID = [
    ("START", "lined"),
    ("START", "lined.load"),
    ("FAIL", "lined.load"),
    ("START", "lined.load"),
    ("COMPLETE", "lined.load"),
    ("COMPLETE", "lined"),
]


def facet_models() -> dict[str, Any]:
    """The client's models of facets, by their schemas' addresses."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for of in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if attr.has(of) and hasattr(of, "_get_schema"):
                found[of._get_schema()] = of
    return found


MODELS = facet_models()


def built(model: Any, body: Any) -> Any:
    """The model made of what was sent; a field that it does not have is an error, and so is one that it wants."""
    return model(**{key: value for key, value in body.items() if not key.startswith("_")})


def check(body: dict[str, Any]) -> RunEvent:
    """An event as the client's models have it."""
    for facets in (
        body["run"]["facets"],
        body["job"]["facets"],
        *(it["facets"] for it in body["inputs"] + body["outputs"]),
    ):
        for name, facet in facets.items():
            assert facet["_producer"].startswith(("urn:dagbok:", "https://")), name
            model = MODELS[facet["_schemaURL"]]
            if "/facets/" in facet["_schemaURL"]:
                built(model, facet)
    schema = body["schemaURL"]
    assert schema == RunEvent._get_schema()
    return RunEvent(
        eventTime=body["eventTime"],
        eventType=RunState(body["eventType"]),
        producer=body["producer"],
        run=Run(**body["run"]),
        job=Job(**body["job"]),
        inputs=[InputDataset(**it) for it in body["inputs"]],
        outputs=[OutputDataset(**it) for it in body["outputs"]],
    )


class Server:
    """Takes events, or does not, as it is told to."""

    def __init__(self, port: int) -> None:
        """Listens."""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 201
        self.hangs = threading.Event()
        self.hangs.set()
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.asked += 1
                server.hangs.wait()
                if server.status < 300:
                    assert self.path == "/api/v1/lineage", self.path
                    assert self.headers["content-type"] == "application/json"
                    if self.headers.get("content-encoding") == "gzip":
                        body = gzip.decompress(body)
                    server.headers.append(dict(self.headers.items()))
                    server.bodies.append(json.loads(body))
                self.send_response(server.status)
                self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keeps quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def of(self, run_id: str) -> list[dict[str, Any]]:
        """The events of one run, and of its tries."""

        def ran(body: dict[str, Any]) -> bool:
            facets = body["run"]["facets"]
            of = facets.get("airflow") or facets["airflowDagRun"]
            return bool(of["dagRun"]["run_id"] == run_id)

        return [body for body in list(self.bodies) if ran(body)]

    def said(self, run_id: str) -> list[tuple[str, str]]:
        """What they say, in the order in which they came first."""
        once = {identity(body): None for body in self.of(run_id)}
        return [(kind, job) for kind, job, _, _ in once]


def identity(body: dict[str, Any]) -> tuple[str, str, str, str]:
    """What an event is known by."""
    return body["eventType"], body["job"]["name"], body["run"]["runId"], body["eventTime"]


@contextmanager
def listening(port: int) -> Iterator[Server]:
    """A server that is there."""
    server = Server(port)
    try:
        yield server
    finally:
        server.hangs.set()
        server.http.shutdown()
        server.http.server_close()


@contextmanager
def lined(folder: Path, **env: str) -> Iterator[Standalone]:
    """A standalone with the DAG."""
    dags = folder / "dags"
    dags.mkdir()
    (dags / "lined.py").write_text(DAG)
    standalone = Standalone(folder, dags, env=env)
    try:
        standalone.start().wait_dag("lined")
        yield standalone
    finally:
        standalone.process.kill()


def ran(it: Standalone, run_id: str, **body: Any) -> None:
    """A run, to its end."""
    it.trigger("lined", run_id, **body)
    it.cli.ok("runs", "wait", "lined", run_id)


def test_events_are_those_of_the_standard_under_airflows_ids(tmp_path: Path) -> None:
    port = free_port()
    env = {
        "OPENLINEAGE_URL": f"http://127.0.0.1:{port}",
        "OPENLINEAGE_API_KEY": "hush",
        "OPENLINEAGE_NAMESPACE": "prod",
        "DAGBOK__LINEAGE__COMPRESSION": "gzip",
    }
    with listening(port) as server, lined(tmp_path, **env) as it:
        ran(it, "r1", logical_date="2024-01-01T00:00:00.5Z")
        wait_until("all events", lambda: len(server.of("r1")) == len(SAID))
        assert server.said("r1") == SAID
        assert all(headers["authorization"] == "Bearer hush" for headers in server.headers)
        events = [check(body) for body in server.of("r1")]
        date = datetime.fromisoformat("2024-01-01T00:00:00.500000+00:00")
        run = str(generate_static_uuid(date, b"prod.lined.0"))
        tries = [str(generate_static_uuid(date, f"prod.lined.load.{n}.-1".encode())) for n in (1, 2)]
        assert [event.run.runId for event in events] == [run, tries[0], tries[0], tries[1], tries[1], run]
        assert {event.job.namespace for event in events} == {"prod"}
        failed, done = server.of("r1")[2], server.of("r1")[4]
        error = failed["run"]["facets"]["errorMessage"]
        assert "the first try fails" in error["message"]
        assert "ValueError" in error["stackTrace"]
        assert failed["run"]["facets"]["parent"]["run"]["runId"] == run
        assert [it["name"] for it in done["inputs"]] == ["in.csv"]
        assert [(it["namespace"], it["name"]) for it in done["outputs"]] == [
            ("postgres://db:5432", "shop.public.orders"),
            ("s3://lake", "late"),
        ]
        assert done["outputs"][0]["facets"]["dagbok_asset"]["extra"] == {"rows": 3}
        assert done["job"]["facets"]["documentation"]["description"] == "# Orders"
        shown = Cli(["--home", str(it.home)], env).ok("config", "show", "--json")
        assert "hush" not in shown
        assert "OPENLINEAGE_URL" in shown


STOPPED = """
import time
from datetime import datetime
from airflow.exceptions import AirflowSkipException
from airflow.sdk import dag, task


@task
def wait(n, ti=None):
    if n == 2:
        raise AirflowSkipException("not today")
    time.sleep(600 if ti.try_number == 1 else 0)


@dag(dag_id="stopped", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def stopped():
    wait.expand(n=[1, 2])


stopped()
"""


def test_what_operators_say_stands_in_their_events_and_costs_none_its_end(tmp_path: Path) -> None:
    port = free_port()
    env = {"OPENLINEAGE_URL": f"http://127.0.0.1:{port}", "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "1"}
    with listening(port) as server, lined(tmp_path, **env) as it:
        write_dag(tmp_path / "dags", "saying.py", SAYING)
        it.wait_dag("saying")
        it.api.post("/dags/saying/dagRuns", {"dag_run_id": "r1", "logical_date": None})
        wait_until("the end", lambda: ("FAIL", "saying") in server.said("r1"))
        ends = {body["job"]["name"]: body for body in server.of("r1") if body["eventType"] != "START"}
        for body in server.of("r1"):
            check(body)

        def names(task: str, side: str) -> list[str]:
            return [f"{of['namespace']} {of['name']}" for of in ends[f"saying.{task}"][side]]

        declared = (["s3://raw in.csv"], ["postgres://db:5432 shop.public.orders"])
        for task, state in (("well", "COMPLETE"), ("fails", "FAIL")):
            assert ends[f"saying.{task}"]["eventType"] == state
            assert names(task, "inputs") == [*declared[0], "sqlite://shop main.a"]
            assert names(task, "outputs") == [*declared[1], "sqlite://shop main.b"]
            assert set(ends[f"saying.{task}"]["outputs"][0]["facets"]) == {"dagbok_asset", "schema"}
            assert ends[f"saying.{task}"]["job"]["facets"]["mine"]["a"] == 1
        for task, why in (("raises", "KeyError: 'lost'"), ("hangs", "within 1 s")):
            assert ends[f"saying.{task}"]["eventType"] == "COMPLETE"
            assert (names(task, "inputs"), names(task, "outputs")) == declared
            lines = it.cli.ok("tasks", "logs", "saying", "r1", task)
            assert sum("lineage:" in line for line in lines.splitlines()) == 1, lines
            assert why in lines


def test_a_run_that_is_cancelled_is_aborted_and_cleared_is_another(tmp_path: Path) -> None:
    port = free_port()
    with listening(port) as server, lined(tmp_path, OPENLINEAGE_URL=f"http://127.0.0.1:{port}") as it:
        write_dag(tmp_path / "dags", "stopped.py", STOPPED)
        it.wait_dag("stopped")
        it.api.post("/dags/stopped/dagRuns", {"dag_run_id": "r1", "logical_date": "2024-01-01T00:00:00Z"})
        task = "stopped.wait"
        begun = [("START", "stopped"), ("COMPLETE", task), ("START", task), ("START", task)]
        wait_until("both begin, and one is skipped", lambda: sorted(server.said("r1")) == sorted(begun))
        it.cli.ok("runs", "cancel", "stopped", "r1")
        wait_until("the end", lambda: server.said("r1")[4:] == [("ABORT", task), ("ABORT", "stopped")])
        it.cli.ok("runs", "clear", "stopped", "r1", "--yes")
        it.cli.ok("runs", "wait", "stopped", "r1")
        wait_until("the other end", lambda: ("COMPLETE", "stopped") in server.said("r1"))
        date = datetime.fromisoformat("2024-01-01T00:00:00+00:00")
        ends = [body for body in server.of("r1") if body["job"]["name"] == "stopped" and body["eventType"] != "START"]
        ids = [str(generate_static_uuid(date, f"default.stopped.{cleared}".encode())) for cleared in (0, 1)]
        assert [body["run"]["runId"] for body in ends] == ids
        skipped = next(
            body for body in server.of("r1") if (body["eventType"], body["job"]["name"]) == ("COMPLETE", task)
        )
        assert skipped["run"]["runId"] == str(generate_static_uuid(date, b"default.stopped.wait.1.1"))
        assert skipped["run"]["facets"]["airflow_mappedTask"]["mapIndex"] == 1
        for body in server.of("r1"):
            check(body)


def test_a_server_that_is_away_or_hangs_gets_every_event_after_a_crash(tmp_path: Path) -> None:
    port = free_port()
    env = {"OPENLINEAGE_URL": f"http://127.0.0.1:{port}", "DAGBOK__LINEAGE__TIMEOUT": "300ms"}
    with lined(tmp_path, **env) as it:
        ran(it, "nobody_listens")
        with listening(port) as server:
            wait_until("the run that was over before", lambda: len(server.said("nobody_listens")) == len(SAID))
            server.status = 500
            ran(it, "crash")
            it.process.kill()
            server.status = 201
            server.hangs.clear()
            it.start()
            ran(it, "hangs")
            asked = server.asked
            wait_until("another attempt", lambda: server.asked > asked)
            it.process.kill()
            it.start()
            server.hangs.set()
            ran(it, "after")
            for run_id in ("nobody_listens", "crash", "hangs", "after"):
                wait_until(run_id, lambda run_id=run_id: len(server.said(run_id)) == len(SAID))
                assert server.said(run_id) == SAID
                # What came twice is the same, to the letter.
                once: dict[Any, Any] = {}
                for body in server.of(run_id):
                    assert once.setdefault(identity(body), body) == body
                    check(body)


def test_who_takes_over_sends_what_the_leader_had_not(tmp_path: Path) -> None:
    port = free_port()
    apart = Apart(tmp_path, schedulers=2)
    (apart.dags / "lined.py").write_text(DAG)
    for scheduler in apart.of("scheduler"):
        scheduler.argv += ["--home", str(tmp_path / scheduler.name)]
        scheduler.env["OPENLINEAGE_URL"] = f"http://127.0.0.1:{port}"

    def ran_apart(run_id: str) -> None:
        body = {"dag_run_id": run_id, "logical_date": None}
        wait_until("an answer", lambda: apart.api.post("/dags/lined/dagRuns", body).status_code in (200, 202, 409))
        apart.cli.ok("runs", "wait", "lined", run_id)

    with listening(port) as server, apart:
        wait_until("the DAG", lambda: apart.api.get("/dags/lined"))
        server.status = 503
        ran_apart("one")
        # Whichever leads: each is gone once.
        first, second = apart.of("scheduler")
        first.kill()
        ran_apart("two")
        first.start()
        second.kill()
        ran_apart("three")
        server.status = 201
        for run_id in ("one", "two", "three"):
            wait_until(run_id, lambda run_id=run_id: sorted(server.said(run_id)) == sorted(SAID))
            once: dict[Any, Any] = {}
            for body in server.of(run_id):
                assert once.setdefault(identity(body), body) == body


def test_a_lying_server_costs_a_count(tmp_path: Path) -> None:
    port = free_port()
    env = {"OPENLINEAGE_URL": f"http://127.0.0.1:{port}"}
    with listening(port) as server, lined(tmp_path, **env) as it:

        def dropped(count: int) -> bool:
            return f"dagbok_lineage_dropped_total {count}\n" in httpx.get(f"{it.api.url}/metrics").text

        server.status = 400
        ran(it, "refused")
        wait_until("the count", lambda: dropped(len(SAID)))
        # Where it points to is not gone to.
        server.status = 307
        ran(it, "elsewhere")
        wait_until("the count", lambda: dropped(2 * len(SAID)))
        assert server.bodies == []


@pytest.mark.parametrize("append", ["true", "false"])
def test_a_file_has_a_line_or_is_an_event(tmp_path: Path, append: str) -> None:
    to = tmp_path / "out" / "lineage"
    to.parent.mkdir()
    transport = {"type": "file", "log_file_path": str(to), "append": append == "true"}
    with lined(tmp_path, AIRFLOW__OPENLINEAGE__TRANSPORT=json.dumps(transport)) as it:
        ran(it, "r1")

        def lines() -> list[str] | None:
            found = [line for file in sorted(to.parent.iterdir()) for line in file.read_text().splitlines()]
            return found if len(found) == len(SAID) else None

        found = [json.loads(line) for line in wait_until("the events", lines)]
        assert sorted((body["eventType"], body["job"]["name"]) for body in found) == sorted(SAID)
        for body in found:
            check(body)
        assert len(list(to.parent.iterdir())) == (1 if append == "true" else len(SAID))


def test_the_clients_own_file_is_read_and_the_log_has_events(tmp_path: Path) -> None:
    config = tmp_path / "openlineage.yml"
    config.write_text("transport:\n  type: console\n")
    with lined(tmp_path, OPENLINEAGE_CONFIG=str(config)) as it:
        ran(it, "r1")
        wait_until("the end", lambda: '"COMPLETE"' in it.process.log.read_text().replace("\\", ""))


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"OPENLINEAGE_URL": "kafka://127.0.0.1:9092"}, "lineage.url"),
        ({"OPENLINEAGE_URL": "127.0.0.1:5000"}, "lineage.url"),
        ({"AIRFLOW__OPENLINEAGE__TRANSPORT": '{"type": "kafka"}'}, "AIRFLOW__OPENLINEAGE__TRANSPORT"),
        ({"AIRFLOW__OPENLINEAGE__TRANSPORT": '{"type": "http"}'}, "lineage.url"),
        ({"DAGBOK__LINEAGE__FILE": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"DAGBOK__LINEAGE__URI": "http://x"}, "lineage.uri"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(tmp_path: Path, env: dict[str, str], word: str) -> None:
    (tmp_path / "dags").mkdir()
    with pytest.raises(SystemExit, match=word):
        Standalone(tmp_path, tmp_path / "dags", env=env).start()
    checked = Cli(["--home", str(tmp_path / "home")], env).run("config", "check")
    assert checked.returncode != 0
    assert word in checked.stderr
