"""A stage for the UI: an installation with runs of every kind, and a real Chromium in front of it."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import Standalone, free_port, standalone, wait_until
from playwright.sync_api import Browser, Page, sync_playwright

from ui.files import write

GOOD = 12
# Who is told: by a receiver, and beside it in Slack and by one that turns everything down.
ONE = '[route]\nreceiver = "oncall"\n'
MORE = """[receivers.team]
fallback = "oncall"
[receivers.team.slack]
token = { env = "SLACK_TOKEN" }
channel = "#ml"
api_url = "{url}/slack/"
[receivers.gone.webhook]
url = "http://127.0.0.1:9/nobody"
[chains.ml]
steps = [{ receivers = ["team", "gone"], wait = "30m" }, { schedules = ["week"] }]
[route]
receiver = "oncall"
[[route.routes]]
matchers = ['owner="ml-platform"']
chain = "ml"
runbook = "https://wiki.example.org/ml"
"""
# Two people who take turns of a week; whoever it is, is reached by the one receiver.
CREW = """
[people.ana]
contacts = [{ receiver = "oncall" }]
[people.bo]
contacts = [{ receiver = "oncall" }]
[schedules.week]
zone = "Europe/Madrid"
rotations = [{ people = ["ana", "bo"], start = "2026-01-05T09:00" }]
"""


def chromium() -> str:
    """Finds Chromium; installs Debian's where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
    ):
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            # With what a machine says of its way out: a proxy is in the environment.
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
    return shutil.which("chromium") or "chromium"


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as player:
        started = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


class Hook:
    """A receiver that takes whatever it is told."""

    def __init__(self) -> None:
        """Listens on a free port of this machine."""

        class Taken(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                if "/slack/" not in self.path:
                    self.send_response(202)
                    self.end_headers()
                    return
                # As Slack answers an app.
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"ok": true, "channel": "C024BE91L", "ts": "1503435956.000247"}')

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Taken)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it takes messages."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"


@contextlib.contextmanager
def empty(folder: Path) -> Iterator[Standalone]:
    """An installation without a DAG."""
    dags = folder / "dags"
    dags.mkdir(parents=True)
    with standalone(folder, dags) as it:
        yield it


@contextlib.contextmanager
def played(
    folder: Path,
    *,
    failed: bool = True,
    waiting: bool = True,
    hostile: bool = True,
    wide: bool = False,
    routes: str = ONE,
) -> Iterator[Standalone]:
    """Where runs have succeeded, and with `failed` some failed, an alert was told and a file is broken."""
    dags, hook = folder / "dags", Hook()
    dags.mkdir(parents=True)
    write(dags, broken=failed, hostile=hostile, wide=wide)
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "alerting.toml").write_text(
        f'[receivers.oncall.webhook]\nurl = "{hook.url}"\n{routes.replace("{url}", hook.url)}{CREW}\n'
        '[guard]\nallow = ["127.0.0.1"]\n'
    )
    with standalone(folder, dags, env={"SLACK_TOKEN": "xoxb-of-a-test"}) as it:
        for dag in ("reco_training", "etl_source_a", "gpu_fits", "long_log", *(["hostile"] if hostile else [])):
            it.wait_dag(dag)
        it.cli.ok("pools", "set", "gpu", "1", "for models")
        runs = [("reco_training", f"good_{n}", {"lr": 0.01 + n / 1_000}) for n in range(GOOD)]
        runs += [(f"etl_source_{name}", f"run_{n}", {}) for name in "abc" for n in range(6)]
        runs += [("long_log", "long", {})] if not failed else []
        if failed:
            runs.insert(8, ("reco_training", "bad_0", {"lr": 0.9}))
            runs += [("reco_training", "bad_1", {"lr": 0.8, "loss": "warp"})]
            runs += [("hostile", "bad", {})] if hostile else []
        for dag, run, conf in runs:
            assert it.trigger(dag, run, conf=conf).status_code == 200, (dag, run)
        for dag, run, _ in runs:
            it.api.wait_run(dag, run)
        if wide:
            it.wait_dag("wide")
            for number in range(3):
                # It is paused: what was made of the run waits, and is skipped when it is marked.
                assert it.trigger("wide", f"wide_{number}", conf={}).status_code == 200
                marked = it.api.post(f"/dagbok/runs/wide/wide_{number}/mark", {"state": "success"})
                assert marked.status_code == 200, marked.text
        if waiting:
            it.trigger("gpu_fits", "wait", conf={})
            wait_until("a try on the gpu", lambda: it.api.get("/dags/gpu_fits/dagRuns/wait")["state"] == "running")
        yield it
    hook.server.shutdown()


def ready(page: Page) -> None:
    """Waits until the view is drawn, and nothing of it is still asked for."""
    page.wait_for_selector("main h1")
    page.wait_for_load_state("load")
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
