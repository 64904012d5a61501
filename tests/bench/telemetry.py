"""What the figures cost: a scrape of many DAGs, and hand-offs with everything sent elsewhere and with nothing."""

from __future__ import annotations

import contextlib
import itertools
import socket
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROUNDS = 8
Row = Callable[[str, str, str, bool | None], None]


@contextlib.contextmanager
def sinks() -> Iterator[dict[str, str]]:
    """A collector and a StatsD server that take all; the variables that name them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    statsd.bind(("127.0.0.1", 0))
    try:
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "DAGBOK__TELEMETRY__STATSD": f"udp://127.0.0.1:{statsd.getsockname()[1]}",
            "DAGBOK__TELEMETRY__STATSD_TAGS": "datadog",
            "DAGBOK__TELEMETRY__TASK_LABELS": "true",
        }
    finally:
        statsd.close()
        server.shutdown()


def scrape(core: Callable[..., Any], row: Row) -> None:
    """One look at the figures of 10,000 DAGs."""
    figures = core("scrape", "--dags", "10000")
    ms, size = figures["ms"], figures["bytes"] / 1e6
    said = f"{ms:.0f} ms, {size:.1f} MB"
    row("/metrics of 10,000 DAGs with 100 runs each", said, "<= 100 ms, <= 10 MB", ms <= 100 and size <= 10)
    row("records folded into the figures", f"{figures['records_per_s']:,.0f}/s", "", None)


def hand_offs(folder: Path, run: Any, row: Row) -> None:
    """Hand-offs of the same sequence by turns, in an installation that sends and in one that does not."""
    gaps: dict[str, list[float]] = {"off": [], "on": []}
    with contextlib.ExitStack() as stack:
        env = stack.enter_context(sinks())
        triggers = {}
        for name, extra in (("off", {}), ("on", env)):
            home, out = folder / name, folder / f"{name}.out"
            home.mkdir()
            run.write_dag(home / "dags", "bench.py", run.FIBO)
            started = run.standalone(home, home / "dags", "--slots", "8", env={"BENCH_OUT": str(out), **extra})
            it = stack.enter_context(started)
            it.wait_dag("sequence")
            triggers[name] = (it, out)
        for number in range(ROUNDS + 1):
            # By turns, and in turned order: what the machine does besides falls on both.
            for name in ("off", "on") if number % 2 else ("on", "off"):
                it, out = triggers[name]
                out.unlink(missing_ok=True)
                trigger = lambda id, it=it: run.post(it.api, "sequence", id)  # noqa: E731
                run.run_time(trigger, it.api, "sequence", f"s{number}")
                notes = sorted(run.spans(out))
                if number:
                    gaps[name] += [1e3 * (after[1] - before[2]) for before, after in itertools.pairwise(notes)]
    off, on = (statistics.median(gaps[name]) for name in ("off", "on"))
    said = f"p50 {on:.2f} ms, without {off:.2f} ms ({100 * (on / off - 1):+.1f} %)"
    row("hand-off with traces, StatsD and task series", said, "<= 3 % slower", on <= off * 1.03)


def telemetry(folder: Path, row: Row) -> None:
    """Both."""
    run = sys.modules["__main__"]
    scrape(run.core, row)
    hand_offs(folder, run, row)
