"""Figures, log lines and what people were told, sent by OTLP to a receiver that decodes the real protocol, with a crash
in the middle."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from alert_scenes import config, webhook
from harness import Standalone, free_port, wait_until, write_dag
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from receivers import SECRET, hook

DAG = """
from datetime import datetime
from airflow.sdk import dag, task


@task
def loads():
    raise ValueError("the bucket is gone")


@dag(dag_id="told", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def told():
    loads()


told()
"""


class Collector:
    """Takes whatever comes by OTLP over HTTP, and decodes it."""

    def __init__(self, port: int) -> None:
        """Listens."""
        self.spans: dict[bytes, Any] = {}
        self.points: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        self.lines: list[Any] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                if collector.status == 200:
                    collector.take(self.path, body)
                self.send_response(collector.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keeps quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        """Takes in one request."""
        if path == "/v1/traces":
            for traced in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in traced.scope_spans:
                    self.spans.update({span.span_id: span for span in scope.spans})
        elif path == "/v1/metrics":
            for counted in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in counted.scope_metrics:
                    for metric in scope.metrics:
                        kind = metric.WhichOneof("data")
                        for point in getattr(metric, kind).data_points:
                            labels = tuple(sorted((it.key, it.value.string_value) for it in point.attributes))
                            self.points[metric.name, labels] = point
        else:
            assert path == "/v1/logs"
            for said in ExportLogsServiceRequest.FromString(body).resource_logs:
                for scope in said.scope_logs:
                    self.lines.extend(scope.log_records)

    def value(self, name: str, **labels: str) -> float | None:
        """The newest value of a series."""
        point = self.points.get((name, tuple(sorted(labels.items()))))
        if point is None:
            return None
        return float(getattr(point, point.WhichOneof("value")))

    def span(self, name: str) -> Any:
        """A span by its name, where there is one."""
        return next((span for span in list(self.spans.values()) if span.name == name), None)


@contextmanager
def listening(port: int) -> Iterator[Collector]:
    """A collector that is there."""
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()


@pytest.fixture
def it(tmp_path: Path) -> Iterator[tuple[Standalone, int]]:
    """A standalone that sends all to a port where nobody need listen, figures each half second."""
    dags = tmp_path / "dags"
    dags.mkdir()
    write_dag(dags, "told.py", DAG)
    port = free_port()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "HOOK_SECRET": SECRET,
    }
    standalone = Standalone(tmp_path, dags, env=env)
    try:
        yield standalone, port
    finally:
        standalone.process.kill()


def attributes(of: Any) -> dict[str, Any]:
    """Its attributes."""
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in of.attributes}


def failed(it: Standalone, run_id: str) -> None:
    """A run that fails."""
    assert it.trigger("told", run_id).status_code == 200
    assert it.api.wait_run("told", run_id) == "failed"


# Counters of the fold, as Prometheus reads them.
COUNTER = re.compile(r"^(dagbok_(?:runs_ended|log_facts|alerts_opened)_total)(?:\{([^}]*)\})? (\d+)$", re.MULTILINE)


def test_figures_are_those_of_the_page_and_go_on_after_a_crash(it: tuple[Standalone, int]) -> None:
    standalone, port = it
    standalone.start().wait_dag("told")
    failed(standalone, "nobody_listens")
    with listening(port) as collector:
        wait_until("its end", lambda: collector.value("dagbok_runs_ended", state="failed") == 1)
        first = collector.points["dagbok_runs_ended", (("state", "failed"),)].start_time_unix_nano
        standalone.process.kill()
        standalone.start()
        failed(standalone, "after")

        def same() -> bool:
            page = httpx.get(f"{standalone.api.url}/metrics").text
            found = COUNTER.findall(page)
            assert found
            for name, labels, value in found:
                pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
                if collector.value(name.removesuffix("_total"), **pairs) != float(value):
                    return False
            return True

        wait_until("the same in both", same)
        assert collector.value("dagbok_runs_ended", state="failed") == 2, "a restart is no reset"
        again = collector.points["dagbok_runs_ended", (("state", "failed"),)].start_time_unix_nano
        assert first == again > 0, "they count from the log's first record on"
        took = next(point for (name, _), point in collector.points.items() if name == "dagbok_run_duration_seconds")
        assert sum(took.bucket_counts) == took.count
        # What the process alone knows comes by the same way, and nothing comes twice.
        wait_until("the process' own", lambda: collector.value("dagbok_appends") is not None)
        assert collector.value("dagbok_tasks_ended", state="failed") == 2


def test_log_lines_bear_the_trace_of_the_run_that_they_are_about(it: tuple[Standalone, int]) -> None:
    standalone, port = it
    with listening(port) as collector:
        collector.status = 503
        standalone.start().wait_dag("told")
        failed(standalone, "night")
        # A collector that was away gets the lines, and a process that ends in good order keeps none back.
        collector.status = 200
        run = wait_until("the run's span", lambda: collector.span("run told"))
        assert standalone.process.stop() == 0
        about = [line for line in collector.lines if attributes(line).get("run") == "night"]
        assert about, [line.body.string_value for line in collector.lines]
        assert {line.trace_id for line in about} == {run.trace_id}
        texts = [line.body.string_value for line in collector.lines]
        assert len(texts) == len({(line.time_unix_nano, line.body.string_value) for line in collector.lines})
        assert any("the log is open" in text for text in texts)
        levels = {line.severity_text for line in about}
        assert levels <= {"WARN", "ERROR", "INFO"}


def test_what_people_were_told_is_part_of_the_runs_trace(it: tuple[Standalone, int], tmp_path: Path) -> None:
    standalone, port = it
    with listening(port) as collector, hook() as pager:
        config(tmp_path, webhook("pager", pager.url))
        standalone.process.argv += ["--alerting-config", str(tmp_path / "alerting.toml")]
        standalone.start().wait_dag("told")
        failed(standalone, "night")
        wait_until("the page", lambda: pager.of("firing"))
        page = wait_until("its span", lambda: collector.span("page pager"))
        run = wait_until("the run's", lambda: collector.span("run told"))
        assert (page.trace_id, page.parent_span_id) == (run.trace_id, run.span_id)
        said = attributes(page)
        assert said["dagbok.alert.rule"] == "run_failed"
        assert (said["dagbok.receiver"], said["dagbok.outcome"], said["dagbok.status"]) == ("pager", "accepted", "202")
        assert page.start_time_unix_nano <= page.end_time_unix_nano
        # Whoever comes after a crash sends the same again, or nothing.
        before = page.SerializeToString()
        standalone.process.kill()
        standalone.start()
        failed(standalone, "night_2")
        wait_until("the other run's", lambda: len([s for s in collector.spans.values() if s.name == "run told"]) == 2)
        assert collector.spans[page.span_id].SerializeToString() == before
