"""Traces of runs, sent to a receiver that decodes the real protocol: ids that follow from the log, whoever sends them
and however often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import Standalone, free_port, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

DAG = """
import os
from datetime import datetime
from airflow.sdk import dag, task


@task(retries=1, retry_delay=0)
def flaky(ti=None):
    if ti.try_number == 1:
        raise ValueError("the first try fails")
    return os.environ["TRACEPARENT"]


@dag(dag_id="traced", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def traced():
    flaky()


traced()
"""


class Collector:
    """Takes spans by OTLP over HTTP, or does not, as it is told to."""

    def __init__(self, port: int) -> None:
        """Listens."""
        self.spans: list[Span] = []
        self.status = 200
        self.rejects = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces" and collector.status == 200:
                    assert self.headers["content-type"] == "application/x-protobuf"
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            # Spans of the services themselves are of another scope's making.
                            if scope.scope.name == "dagbok":
                                collector.spans.extend(scope.spans)
                answer = ExportTraceServiceResponse()
                if collector.rejects:
                    answer.partial_success.rejected_spans = collector.rejects
                text = answer.SerializeToString()
                self.send_response(collector.status if self.path == "/v1/traces" else 200)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Keeps quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, run_id: str) -> list[Span]:
        """The spans of one run."""
        return [span for span in list(self.spans) if attributes(span).get("dagbok.run_id") == run_id]

    def run_span(self, run_id: str) -> Span | None:
        """The span of the run itself."""
        return next((span for span in self.of(run_id) if span.name == "run traced"), None)


def attributes(span: Span) -> dict[str, str]:
    """Its attributes as text."""
    return {it.key: it.value.string_value for it in span.attributes}


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
    """A standalone that is to send traces to a port where nobody need listen."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "traced.py").write_text(DAG)
    port = free_port()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_METRICS_EXPORTER": "none"}
    standalone = Standalone(tmp_path, dags, env=env)
    try:
        standalone.start().wait_dag("traced")
        yield standalone, port
    finally:
        standalone.process.kill()


def ran(it: Standalone, run_id: str) -> None:
    """A run, to its end."""
    it.trigger("traced", run_id)
    it.cli.ok("runs", "wait", "traced", run_id)


def test_a_run_is_a_trace_and_code_of_its_tasks_nests_in_it(it: tuple[Standalone, int]) -> None:
    standalone, port = it
    with listening(port) as collector:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        body = {"dag_run_id": "asked", "logical_date": None}
        httpx.post(f"{standalone.api.url}/api/v2/dags/traced/dagRuns", json=body, headers={"traceparent": parent})
        ran(standalone, "own")
        run = wait_until("the run's span", lambda: collector.run_span("own"))
        spans = {span.name: span for span in collector.of("own")}
        tries = [span for span in collector.of("own") if span.name == "flaky"]
        assert set(spans) == {"run traced", "flaky", "queued flaky"}
        assert len(tries) == 2
        assert {span.trace_id for span in collector.of("own")} == {run.trace_id}
        assert not run.parent_span_id
        assert all(span.parent_span_id == run.span_id for span in collector.of("own") if span is not run)
        first, second = sorted(tries, key=lambda span: span.start_time_unix_nano)
        assert (first.status.message, first.status.code) == ("the first try fails", 2)
        assert [(link.trace_id, link.span_id) for link in second.links] == [(first.trace_id, first.span_id)]
        assert attributes(second)["cicd.pipeline.task.run.result"] == "success"
        assert attributes(run)["cicd.pipeline.result"] == "success"
        path = "/dags/traced/dagRuns/own/taskInstances/flaky/xcomEntries/return_value"
        told = standalone.api.get(path)["value"].strip('"')
        assert told == f"00-{second.trace_id.hex()}-{second.span_id.hex()}-01"
        asked = wait_until("the other run's span", lambda: collector.run_span("asked"))
        assert parent == f"00-{asked.trace_id.hex()}-{asked.parent_span_id.hex()}-01"


def test_a_dead_collector_gets_every_span_later_and_a_crash_makes_no_doubles(it: tuple[Standalone, int]) -> None:
    standalone, port = it
    ran(standalone, "nobody_listens")
    with listening(port) as collector:
        wait_until("the run that was over before", lambda: collector.run_span("nobody_listens"))
        collector.status = 503
        ran(standalone, "crash")
        standalone.process.kill()
        collector.status = 200
        standalone.start()
        ran(standalone, "after")
        wait_until("the run after", lambda: collector.run_span("after"))
        for run_id in ("nobody_listens", "crash", "after"):
            # A second try has failed first: a run, two tries, two waits.
            found = {span.span_id: span.SerializeToString() for span in collector.of(run_id)}
            assert len(found) == 5, (run_id, [span.name for span in collector.of(run_id)])
            assert all(span.SerializeToString() == found[span.span_id] for span in collector.of(run_id))


def test_a_lying_collector_costs_a_count(it: tuple[Standalone, int]) -> None:
    standalone, port = it

    def dropped(count: int) -> bool:
        return f"dagbok_spans_dropped_total {count}\n" in httpx.get(f"{standalone.api.url}/metrics").text

    with listening(port) as collector:
        collector.status = 400
        ran(standalone, "refused")
        wait_until("the count", lambda: dropped(5))
        # More than it was sent, which costs no more than that.
        collector.status, collector.rejects = 200, 2**40
        ran(standalone, "rejected")
        wait_until("the count", lambda: dropped(10))


def test_an_endpoint_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "grpc://127.0.0.1:4317"}
    with pytest.raises(SystemExit, match="OTEL_EXPORTER_OTLP_ENDPOINT=grpc"):
        Standalone(tmp_path, tmp_path / "dags", env=env).start()
