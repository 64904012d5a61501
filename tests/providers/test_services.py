"""Provider packages against an sshd, and against doubles of services that nobody can run here."""

from __future__ import annotations

import base64
import getpass
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import doubles
import pytest
from aiosmtpd.controller import Controller
from test_real import Mails

from conftest import Run


@pytest.fixture
def box(tmp_path: Path, port: int) -> Iterator[dict[str, str]]:
    """An sshd of its own, with its own keys; Debian's package `openssh-server` has one. A connection to it."""
    sshd = shutil.which("sshd") or next(filter(os.path.exists, ("/usr/sbin/sshd", "/usr/local/sbin/sshd")), None)
    if sshd is None:
        pytest.skip("NOT TESTED: no sshd here; install Debian's package `openssh-server`")
    for name in ("host", "mine"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    shutil.copy(tmp_path / "mine.pub", tmp_path / "authorized_keys")
    if os.geteuid() == 0:
        # It asks for the folder that its service would have made.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {tmp_path / "host"}
AuthorizedKeysFile {tmp_path / "authorized_keys"}
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv *
Subsystem sftp internal-sftp
"""
    (tmp_path / "config").write_text(config)
    log = tmp_path / "sshd.log"
    server = subprocess.Popen([sshd, "-D", "-f", str(tmp_path / "config"), "-E", str(log)])
    for _ in range(200):
        if "Server listening" in (log.read_text() if log.exists() else ""):
            break
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    key = " ".join((tmp_path / "host.pub").read_text().split()[:2])
    extra = {"key_file": str(tmp_path / "mine"), "host_key": key, "no_host_key_check": False}
    conn = {"conn_type": "ssh", "host": "127.0.0.1", "port": port, "login": getpass.getuser(), "extra": extra}
    (tmp_path / "here.txt").write_text("forty-two")
    yield {"AIRFLOW_CONN_BOX": json.dumps(conn), "BOX": str(tmp_path)}
    server.terminate()
    server.wait()


def test_ssh_and_sftp(run: Run, box: dict[str, str]) -> None:
    states, results = run("ssh", box, state="success")
    assert states.pop("fails") == "failed"
    assert set(states.values()) == {"success"}
    assert base64.b64decode(results["says"]).decode().split() == ["2024-03-01"]
    assert results["hooked"] == ["forty-two", ["there.txt"]]
    assert results["seen"] == "failed"


def test_slack_and_notifiers(run: Run, port: int) -> None:
    mails = Mails()
    sink = Controller(mails, hostname="127.0.0.1", port=port)
    sink.start()
    extra = {"disable_ssl": True, "disable_tls": True}
    with doubles.serving(doubles.Slack) as (url, seen):
        hook = {"conn_type": "slackwebhook", "host": f"{url}/services", "password": "T0/B0/secretpart"}
        app = {"conn_type": "slack", "password": "xoxb-secretpart", "extra": {"base_url": f"{url}/api/"}}
        conns: dict[str, Any] = {
            "HOOK": hook,
            "APP": app,
            "MAIL": {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra},
        }
        states, _ = run("slack", {f"AIRFLOW_CONN_{name}": json.dumps(it) for name, it in conns.items()})
    sink.stop()
    assert set(states.values()) == {"success"}
    sent = [(path, body) for _, path, body in seen]
    texts = [body["text"] for path, body in sent if path == "/services/T0/B0/secretpart"]
    assert sorted(texts) == ["by hook", "fit of 2024-03-01 is done", "it is 2024-03-01"]
    ((_, posted),) = [one for one in sent if one[0] == "/api/chat.postMessage"]
    text = json.dumps(posted) if isinstance(posted, dict) else posted.decode()
    assert "is+done" in text or "is done" in text
    ((to, letter),) = mails.seen
    assert to == ["c@example.org"]
    assert "Subject: fit 2024-03-01" in letter
    assert "<p>slack</p>" in letter or base64.b64encode(b"<p>slack</p>").decode() in letter


def test_google_storage_and_bigquery(run: Run) -> None:
    extra = {"project": "shop", "is_anonymous": True}
    conn = json.dumps({"conn_type": "google_cloud_platform", "extra": extra})
    with doubles.serving(doubles.Google) as (url, seen):
        env = {"AIRFLOW_CONN_GCP": conn, "STORAGE_EMULATOR_HOST": url, "BIGQUERY_EMULATOR_HOST": url}
        states, results = run("google", env)
    assert set(states.values()) == {"success"}
    assert results["read"] == ["forty-two", ["2024-03-01/model.bin"]]
    assert results["query"].startswith("day_20240301_")
    assert results["rows"] == [[42]]
    asked = [body for method, path, body in seen if method == "POST" and path.endswith("/projects/shop/jobs")]
    assert asked[0]["configuration"]["query"]["query"] == "select '2024-03-01'"


def test_docker_to_the_call_of_its_client(run: Run) -> None:
    with doubles.serving(doubles.Docker) as (url, seen):
        states, _ = run("docker", {"DOCKER_DOUBLE": url.replace("http", "tcp")})
    assert states == {"train": "success"}
    (made,) = [body for _, path, body in seen if path.endswith("/containers/create")]
    assert (made["Image"], made["Cmd"]) == ("trainer:1", ["python", "train.py", "2024-03-01"])
    assert "LR=0.5" in made["Env"]
    assert [path.rpartition("/")[2] for _, path, _ in seen if path.endswith(("/start", "/wait"))] == ["start", "wait"]


def test_the_pod_of_a_task(run: Run) -> None:
    cluster = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    conn = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(cluster)}}
    _, results = run("pod_spec", {"AIRFLOW_CONN_CLUSTER": json.dumps(conn)})
    made = results["spec"]
    assert (made["image"], made["args"], made["namespace"]) == ("trainer:3", ["2024-03-01"], "ml")
    assert made["env"]["DAY"] == "2024-03-01"
    assert "TOKEN" in made["env"]
    assert made["gpu"] == {"nvidia.com/gpu": "1"}
    assert made["labels"]["dag_id"] == "pod_spec"
    assert made["tolerations"] == 1


DBT = """#!/bin/sh
# Stands for dbt: what it is asked by, where, and with which environment.
echo "$@" "$(basename "$PWD")" "$DBT_TARGET" >> "$DBT_SEEN"
echo "1 of 1 OK"
"""


def test_dbt_as_people_call_it(run: Run, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "dbt"
    tool.parent.mkdir()
    tool.write_text(DBT)
    tool.chmod(0o755)
    seen = tmp_path / "seen"
    path = f"{tool.parent}:{os.environ['PATH']}"
    states, results = run("dbt", {"PATH": path, "DBT_SEEN": str(seen), "AIRFLOW_VAR_TARGET": "prod"})
    assert set(states.values()) == {"success"}
    assert results["run"] == "1 of 1 OK"
    first, second = seen.read_text().splitlines()
    assert first.startswith('run --select tag:daily --vars {"day": "2024-03-01"} ')
    assert first.endswith(" prod")
    assert second.startswith("test --select tag:daily ")
