"""Debian's real Prometheus Alertmanager: what it shows of our alerts, and whom it tells by its own configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from alert_scenes import Start, fail, of_rule, told_of
from debian import unpacked
from harness import Process, free_port, wait_until
from receivers import hook

CONFIG = """
route:
  receiver: hub
  group_wait: 0s
  group_interval: 1s
  group_by: [alertname, dag]
receivers:
  - name: hub
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alertmanager's program."""
    files = unpacked(tmp_path_factory.mktemp("debian"), "prometheus-alertmanager")
    # Debian's looks for its templates there and nowhere else.
    share = Path("/usr/share/prometheus/alertmanager")
    if not share.exists():
        shutil.copytree(files / share.relative_to("/"), share)
    return files / "usr/bin/prometheus-alertmanager"


@pytest.fixture
def alertmanager(program: Path, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """One that tells a hook: its address, and the hook."""
    with hook() as hub:
        settings = tmp_path / "alertmanager.yml"
        settings.write_text(CONFIG.format(url=hub.url))
        port = free_port()
        argv = [
            str(program), f"--config.file={settings}", f"--storage.path={tmp_path / 'am'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        it = Process("alertmanager", argv, tmp_path).start()
        url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            assert it.alive(), it.log.read_text()
            try:
                return httpx.get(f"{url}/-/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until("Alertmanager", ready)
            yield url, hub
        finally:
            it.kill()


def test_a_real_alertmanager_knows_our_alert_by_its_labels_and_hears_its_end(
    alertmanager: tuple[str, Any], start: Start
) -> None:
    url, hub = alertmanager
    it = start(f'external_url = "https://dagbok.example.org"\n[receivers.am.alertmanager]\nurl = "{url}"\n')
    fail(it, "night_1")
    (alert,) = wait_until("the alert", lambda: of_rule(it, "run_failed"))
    told = wait_until("its being taken", lambda: told_of(it, alert["alert_id"], "am"))
    assert told["am"]["attempts"][-1]["status"] == 200
    (theirs,) = httpx.get(f"{url}/api/v2/alerts").json()
    assert theirs["status"]["state"] == "active"
    assert theirs["labels"]["alertname"] == "dagbok_run_failed"
    assert {name: theirs["labels"][name] for name in ("dag", "owner", "severity", "dedup_key")} == {
        "dag": "training", "owner": "ml", "severity": "warning", "dedup_key": alert["dedup_key"],
    }  # fmt: skip
    assert theirs["generatorURL"] == "https://dagbok.example.org/dags/training/runs/night_1"
    assert "the model does not fit" in theirs["annotations"]["description"]
    (page,) = wait_until("Alertmanager's own page", lambda: hub.got)
    assert page.body["status"] == "firing"
    it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
    ended = wait_until("its end there", lambda: [got for got in hub.got if got.body["status"] == "resolved"])
    assert ended[0].body["alerts"][0]["labels"]["dedup_key"] == alert["dedup_key"]


def test_a_real_alertmanager_is_told_again_while_it_is_not_over(alertmanager: tuple[str, Any], start: Start) -> None:
    url, hub = alertmanager
    it = start(f'[receivers.am.alertmanager]\nurl = "{url}"\nresend = "1s"\n')
    fail(it, "night_1")
    (alert,) = wait_until("the alert", lambda: of_rule(it, "run_failed"))
    number = alert["alert_id"]
    wait_until("its being taken", lambda: told_of(it, number, "am"))

    def ends_at() -> str:
        (theirs,) = httpx.get(f"{url}/api/v2/alerts").json()
        ends: str = theirs["endsAt"]
        return ends

    first = ends_at()
    wait_until("its being told again", lambda: ends_at() > first)
    # Whoever has it in hand has not ended it: over there it would be over after four seconds.
    it.cli.ok("alerts", "ack", str(number))
    known = ends_at()
    wait_until("its being told again, acknowledged", lambda: ends_at() > known)
    found = it.api.get(f"/dagbok/alerts/{number}")["notifications"]
    assert len([one for one in found if one["purpose"] == "refresh" and one["state"] == "accepted"]) <= 1
    it.cli.ok("alerts", "resolve", str(number))
    wait_until("its end there", lambda: [got for got in hub.got if got.body["status"] == "resolved"])
    assert httpx.get(f"{url}/api/v2/alerts").json() == []
