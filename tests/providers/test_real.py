"""Provider packages as they are published, installed by `dagbok providers install`, against servers here.

`make providers` runs it: it installs some hundred packages, minutes the first time. `make test` leaves it out.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from harness import Cli

from conftest import DAGS, Run


@pytest.fixture
def s3(port: int) -> Iterator[str]:
    """An S3 server."""
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(url)
            break
        except OSError:
            time.sleep(0.1)
    yield url
    server.kill()
    server.wait()


def test_s3(run: Run, s3: str) -> None:
    conn = {
        "conn_type": "aws",
        "login": "x",
        "password": "y",
        "extra": {"endpoint_url": s3, "region_name": "us-east-1"},
    }
    states, results = run("s3", {"AIRFLOW_CONN_STORE": json.dumps(conn)})
    assert set(states.values()) == {"success"}
    assert results["names"] == ["2024-03-01/a.txt", "2024-03-01/copy.txt"]
    assert results["value"] == "forty-two"


class Answers(http.server.BaseHTTPRequestHandler):
    """Becomes ready at the second look, and says back what it is sent."""

    looks = 0

    def answer(self, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path == "/ready":
            type(self).looks += 1
            return self.answer({"ready": self.looks > 1})
        return self.answer(self.path)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_http(run: Run) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    conn = f"http://127.0.0.1:{server.server_address[1]}"
    states, results = run("http", {"AIRFLOW_CONN_API": conn})
    server.shutdown()
    assert set(states.values()) == {"success"}
    assert Answers.looks > 1
    assert results["post"] == {"day": "2024-03-01"}
    assert json.loads(results["old"]) == "/echo?day=2024-03-01"
    assert results["hooked"] == 200


def check_sql(run: Run, conn: Any) -> None:
    states, results = run("sql", {"AIRFLOW_CONN_DB": conn})
    assert states.pop("few") == "skipped"
    assert set(states.values()) == {"success"}
    assert [row["__data__"] for row in results["rows"]] == [[1], [3]]
    assert results["hooked"] == 4


def test_sqlite(run: Run, tmp_path: Path) -> None:
    check_sql(run, json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "db.sqlite")}))


def postgres_bin() -> Path | None:
    """Return where a PostgreSQL is, as Debian and others have it."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ["PATH"].split(":"))]
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[int]:
    """A PostgreSQL of its own; Debian's package `postgresql` has one."""
    programs = postgres_bin()
    if programs is None:
        pytest.skip("NOT TESTED: no PostgreSQL here; install Debian's package `postgresql`")
    base = tmp_path_factory.mktemp("pg")
    # It does not run as root.
    as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    if as_user:
        for one in (base, *base.parents):
            if one.stat().st_uid == 0 and str(one).startswith("/tmp/"):
                one.chmod(0o755)
        shutil.chown(base, "nobody")
    data = str(base / "data")
    subprocess.run([*as_user, str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "me"],
                   check=True, capture_output=True)  # fmt: skip
    control = [*as_user, str(programs / "pg_ctl"), "-D", data, "-w"]
    options = f"-p {port} -h 127.0.0.1 -k {base}"
    subprocess.run([*control, "-l", f"{base}/log", "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    yield port
    subprocess.run([*control, "-m", "immediate", "stop"], check=False, stdout=subprocess.DEVNULL)


def test_postgres(run: Run, postgres: int) -> None:
    conn = f"postgres://me@127.0.0.1:{postgres}/postgres"
    check_sql(run, conn)
    states, results = run("pg", {"AIRFLOW_CONN_DB": conn})
    assert set(states.values()) == {"success"}
    day, count, total = results["hooked"]["__data__"]
    assert (day["__data__"], count, total) == ("2024-03-01", 3, 0.875)


class Mails:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[str], str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.seen.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


def test_mail(run: Run, port: int) -> None:
    mails = Mails()
    sink = Controller(mails, hostname="127.0.0.1", port=port)
    sink.start()
    extra = {"from_email": "dagbok@example.org", "disable_ssl": True, "disable_tls": True}
    conn = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    run("mail", {"AIRFLOW_CONN_MAIL": json.dumps(conn)})
    sink.stop()
    assert [to for to, _ in mails.seen] == [["a@example.org"], ["b@example.org"]]
    assert "Day 2024-03-01" in mails.seen[0][1]


def test_pods_are_parsed_and_rendered(folder: Path) -> None:
    environ = {"BOX": "/nowhere", "DOCKER_DOUBLE": "tcp://127.0.0.1:1"}
    told = Cli(env=environ).json("dags", "check", str(folder))
    assert told["errors"] == []
    assert told["dags"] == len(DAGS)
    rendered = Cli().json("tasks", "render", str(folder / "pods_dag.py"), "pod", "--logical-date", "2024-03-01")
    assert rendered["fields"]["image"] == "python:3.11"
    assert rendered["fields"]["arguments"] == ["-c", "print('2024-03-01')"]
    assert "2024-03-01" in json.dumps(rendered["fields"]["env_vars"])


def test_the_lock_makes_the_same_again(folder: Path) -> None:
    before = Cli().json("providers", "list", "--dags", str(folder))
    again = Cli().json("providers", "install", "--dags", str(folder))
    assert again["digest"] == before["digest"]
    assert "apache-airflow" not in again["packages"]
