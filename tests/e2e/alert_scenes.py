"""What tests of alerting share: a DAG that fails, configurations, and questions to the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Standalone, wait_until
from receivers import Hook

FAILING = """
from airflow import DAG
from airflow.operators.python import PythonOperator
import os

def train():
    if os.path.exists(os.environ["WITNESS"]):
        return "well"
    raise RuntimeError("the model does not fit")

with DAG("training", schedule=None, default_args={"owner": "ml"}, tags=["nightly"]) as dag:
    PythonOperator(task_id="train", python_callable=train)
"""


# The receivers of tests are on this machine, which is allowed where it is said and nowhere else.
GUARD = '\n[guard]\nallow = ["127.0.0.0/8"]\n'
# How full the disk is on which tests run is no matter of theirs: an alert of it would stand among those they count.
DISK = "\n[disk]\nlow_percent = 0\n"


def config(folder: Path, text: str) -> Path:
    """Writes a configuration whole, in which receivers on this machine may be told unless it says which may."""
    path, draft = folder / "alerting.toml", folder / "alerting.new"
    if text.strip() and "[guard]" not in text:
        text += GUARD
    if text.strip() and "[disk]" not in text:
        text += DISK
    draft.write_text(text)
    draft.replace(path)
    return path


def webhook(name: str, url: str, more: str = "") -> str:
    """A signed webhook in the configuration."""
    section = f'[receivers.{name}.webhook]\nurl = "{url}"\nsecret = {{ env = "HOOK_SECRET" }}\n'
    return f"[receivers.{name}]\n{more}\n{section}"


Start = Callable[[str], Standalone]


def fail(it: Standalone, run_id: str) -> None:
    """Has a run fail."""
    answer = it.trigger("training", run_id)
    assert answer.status_code == 200, answer.text
    assert it.api.wait_run("training", run_id) == "failed"


def alerts(it: Standalone, **query: Any) -> list[dict[str, Any]]:
    """The alerts, newest first."""
    found: list[dict[str, Any]] = it.api.get("/dagbok/alerts", **query)["alerts"]
    return found


def of_rule(it: Standalone, rule: str) -> list[dict[str, Any]]:
    """The alerts of one rule, newest first."""
    return [alert for alert in alerts(it) if alert["rule"] == rule]


def accepted(it: Standalone, alert_id: int, purpose: str = "trigger") -> list[dict[str, Any]]:
    """Messages about an alert that a provider took."""
    found = it.api.get(f"/dagbok/alerts/{alert_id}")["notifications"]
    return [one for one in found if one["purpose"] == purpose and one["state"] == "accepted"]


def told_of(it: Standalone, alert_id: int, *names: str) -> dict[str, dict[str, Any]] | None:
    """Triggers of an alert by receiver, once all of `names` took theirs."""
    found = it.api.get(f"/dagbok/alerts/{alert_id}")["notifications"]
    told = {one["receiver"]: one for one in found if one["purpose"] == "trigger"}
    return told if all(told.get(name, {}).get("state") == "accepted" for name in names) else None


def link_of(pager: Hook) -> str:
    """The path of the link in the first message."""
    (page, *_) = wait_until("the page", lambda: pager.of("firing"))
    link: str = page.body["data"]["acknowledge"]
    assert link.startswith("https://dagbok.example.org/api/v2/dagbok/alerts/link/")
    return link.removeprefix("https://dagbok.example.org")
