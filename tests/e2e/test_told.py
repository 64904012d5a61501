"""Being told, further: who lives, who acknowledges without a login, and what is told together."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import httpx
from alert_scenes import Start, alerts, config, fail, link_of, of_rule, webhook
from harness import Cli, Standalone, wait_until, write_dag
from receivers import SECRET, Answer, Hook, hook, mailbox

SWITCH = '[dead_mans_switch]\nurl = {{ file = "{file}" }}\nevery = "1s"\n'


def switched(folder: Path, hub: Hook) -> str:
    """A dead man's switch in the configuration."""
    (folder / "switch-url").write_text(f"{hub.url}/ping")
    return SWITCH.format(file=folder / "switch-url")


def test_the_dead_mans_switch_hears_of_life_of_trouble_and_of_the_end(start: Start, tmp_path: Path) -> None:
    def answer(got: Any, _number: int) -> Answer:
        return Answer(200) if got.path.startswith("/ping") else Answer(400, text="no such key")

    with hook(answer) as hub:
        it = start(webhook("pager", hub.url) + switched(tmp_path, hub))
        wait_until("signs of life", lambda: len([got for got in hub.got if got.path == "/ping"]) >= 3)
        assert not [got for got in hub.got if got.path == "/ping/fail"]
        fail(it, "night_1")
        (trouble, *_) = wait_until("trouble", lambda: [got for got in hub.got if got.path == "/ping/fail"])
        assert "pager" in trouble.body
        assert "no such key" in trouble.body
        it.process.kill()
        before = len(hub.got)
        time.sleep(2.5)
        assert len(hub.got) == before, "nobody is there who could send"


def test_a_switch_that_nobody_hears_is_an_alert(start: Start, tmp_path: Path) -> None:
    gone = {"is": True}

    def answer(got: Any, _number: int) -> Answer:
        return Answer(404) if gone["is"] and got.path.startswith("/ping") else Answer(200)

    with hook(answer) as hub:
        it = start(webhook("pager", hub.url) + switched(tmp_path, hub))
        (page,) = wait_until("the page", lambda: hub.of("firing"))
        assert page.body["data"]["labels"]["receiver"] == "dead man's switch"
        gone["is"] = False
        wait_until("its end", lambda: of_rule(it, "receiver_failing")[0]["state"] == "resolved")


def test_a_heartbeat_that_does_not_come_pages_its_owner_and_the_next_ends_it(start: Start) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        path = "/dagbok/heartbeats/nightly-export"
        body = {"period_seconds": 1, "grace_seconds": 1, "owner": "ml"}
        assert it.api.post(path, body).status_code == 200
        (page,) = wait_until("the page", lambda: pager.of("firing"))
        data = page.body["data"]
        assert (data["labels"]["heartbeat"], data["labels"]["owner"]) == ("nightly-export", "ml")
        assert it.api.get("/dagbok/heartbeats")["heartbeats"][0]["missing"]
        assert it.api.post(path, {**body, "period_seconds": 600}).status_code == 200
        wait_until("the end", lambda: pager.of("resolved"))
        assert it.api.post("/dagbok/heartbeats/no%20name", body).status_code == 422
        assert it.api.post(path, {"period_seconds": 0}).status_code == 422
        url = f"{it.api.url}/api/v2{path}"
        assert httpx.delete(url).status_code == 204
        assert httpx.delete(url).status_code == 404


def test_an_alert_is_acknowledged_by_the_link_in_its_message(start: Start) -> None:
    with hook() as pager:
        it = start('external_url = "https://dagbok.example.org"\n' + webhook("pager", pager.url))
        fail(it, "night_1")
        path = link_of(pager)
        url = it.api.url + path
        # Mail programs look at links: that alone changes nothing.
        for _ in range(2):
            page = httpx.get(url)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "the model does not fit" in page.text
            assert page.text.count("<button") == 1
            assert 'name="viewport"' in page.text
        assert of_rule(it, "run_failed")[0]["state"] == "firing"
        # A browser says which page it was on, or that it does not say.
        done = httpx.post(url, headers={"origin": "https://dagbok.example.org"})
        assert done.status_code == 200
        assert "You have it in hand" in done.text
        assert "<button" not in done.text
        (alert,) = of_rule(it, "run_failed")
        assert (alert["state"], alert["changed_by"]) == ("acknowledged", "receiver:pager")
        again = httpx.post(url, headers={"origin": "null"})
        assert again.status_code == 409
        assert "acknowledged already" in again.text
        assert "receiver:pager" in httpx.get(url).text
        forged = httpx.post(url[:-4] + ("AAAA" if not url.endswith("AAAA") else "BBBB"))
        assert forged.status_code == 403
        assert "was not made here" in forged.text
        assert httpx.get(it.api.url + "/api/v2/dagbok/alerts/link/x").status_code == 403
        # It holds over a restart, and says so when it is over.
        it.process.kill()
        it.process.start()
        it.wait_ready()
        assert wait_until("alerting", lambda: httpx.get(url).status_code == 200)
        it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
        over = httpx.post(url)
        assert over.status_code == 409
        assert "over already" in over.text


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The headers of PagerDuty's webhooks."""
    made = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": f"v1=00,v1={made}", "content-type": "application/json"}


def test_pagerduty_says_who_took_it_and_nobody_else_can(start: Start) -> None:
    with hook() as hub:
        text = f"""
[receivers.pd.pagerduty]
url = "{hub.url}/v2/enqueue"
routing_key = {{ env = "HOOK_SECRET" }}
webhook_secret = {{ env = "HOOK_SECRET" }}
"""
        it = start(text)
        fail(it, "night_1")
        wait_until("the page", lambda: hub.got)
        (alert,) = of_rule(it, "run_failed")
        url = f"{it.api.url}/api/v2/dagbok/alerts/pagerduty"

        def said(kind: str, key: str) -> bytes:
            data = {"id": "PGR0VU2", "type": "incident", "incident_key": key}
            return json.dumps({"event": {"event_type": kind, "agent": {"summary": "Ana"}, "data": data}}).encode()

        taken = said("incident.acknowledged", alert["dedup_key"])
        for headers in ({}, signed(taken, "another"), {"x-pagerduty-signature": "v1=zz"}):
            assert httpx.post(url, content=taken, headers=headers).status_code == 403
        assert of_rule(it, "run_failed")[0]["state"] == "firing"
        other = said("incident.acknowledged", "of somebody else")
        assert httpx.post(url, content=other, headers=signed(other, SECRET)).json() == {"alert_id": None}
        for _ in range(2):
            answer = httpx.post(url, content=taken, headers=signed(taken, SECRET))
            assert answer.status_code == 200, answer.text
        (alert,) = of_rule(it, "run_failed")
        assert (alert["state"], alert["changed_by"], alert["note"]) == (
            "acknowledged",
            "receiver:pd",
            "by Ana in PagerDuty",
        )
        odd = b"[]"
        assert httpx.post(url, content=odd, headers=signed(odd, SECRET)).status_code == 422
        large = b" " * (10 << 20)
        assert httpx.post(url, content=large, headers=signed(large, SECRET), timeout=60).status_code == 413
        over = said("incident.resolved", alert["dedup_key"])
        assert httpx.post(url, content=over, headers=signed(over, SECRET)).status_code == 200
        assert of_rule(it, "run_failed")[0]["resolved_why"] == "by_hand"


MAILED = """
from airflow import DAG
from airflow.operators.python import PythonOperator

def fail():
    raise RuntimeError("no")

with DAG("mailed", schedule=None, default_args={"email": "ana@example.org; bo@example.org"}):
    PythonOperator(task_id="t", python_callable=fail)
"""


def test_mail_goes_to_whom_the_dags_file_names(start: Start, dags: Path) -> None:
    with mailbox() as box:
        text = f"""
[receivers.mail.email]
smarthost = "127.0.0.1:{box.port}"
tls = "none"
from = "dagbok@example.org"
to = ["platform@example.org"]
dag_email = true
"""
        it = start(text)
        write_dag(dags, "mailed.py", MAILED)
        it.wait_dag("mailed")
        assert it.trigger("mailed", "r").status_code == 200
        (letter,) = wait_until("the letter", lambda: box.letters)
        named = {one.strip() for one in str(letter["to"]).split(",")}
        assert named == {"platform@example.org", "ana@example.org", "bo@example.org"}


MANY = """
from airflow import DAG
from airflow.operators.python import PythonOperator

def fail():
    raise RuntimeError("the bucket is gone")

for n in range(16):
    with DAG(f"many_{n}", schedule=None, default_args={"owner": "ml" if n < 12 else "web"}):
        PythonOperator(task_id="read", python_callable=fail)
"""


def test_teams_gets_a_card_with_buttons(start: Start, tmp_path: Path) -> None:
    with hook(lambda *_: Answer(202)) as hub:
        (tmp_path / "teams-url").write_text(f"{hub.url}/workflow")
        section = f'[receivers.teams.teams]\nurl = {{ file = "{tmp_path / "teams-url"}" }}\n'
        it = start('external_url = "https://dagbok.example.org"\n' + section)
        fail(it, "night_1")
        wait_until("the card", lambda: hub.got)
        body = hub.got[0].body
        (card,) = body["attachments"]
        assert (body["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
        content = card["content"]
        assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
        assert "the model does not fit" in content["body"][0]["text"]
        assert [action["title"] for action in content["actions"]] == ["Acknowledge", "Show"]
        assert all(action["url"].startswith("https://dagbok.example.org/") for action in content["actions"])


def test_a_burst_is_told_together_and_never_across_owners(start: Start, dags: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url) + '[route]\nreceiver = "pager"\ngroup_interval = "3s"\n')
        write_dag(dags, "many.py", MANY)
        it.wait_dag("many_15")
        for n in range(16):
            assert it.trigger(f"many_{n}", "r").status_code == 200
        found = wait_until("all alerts", lambda: all_of(it, 16))
        assert {alert["labels"]["owner"] for alert in found} == {"ml", "web"}
        held = [alert for alert in found if alert["suppressed_why"] == "grouped"]
        assert len(held) == 7
        by_id = {alert["alert_id"]: alert for alert in found}
        for alert in held:
            assert alert["labels"]["owner"] == "ml"
            assert alert["notifications"] == []
            assert by_id[alert["suppressed_by"]]["labels"]["owner"] == "ml"
        together = wait_until("what is told together", lambda: [got for got in pager.got if "7 more" in str(got.body)])
        assert "the bucket is gone" in together[-1].body["data"]["text"]
        # 5 of one owner, 4 of the other, and what came after once the group's time was there.
        assert len(pager.of("firing")) <= 14


def all_of(it: Standalone, count: int) -> list[dict[str, Any]] | None:
    """The alerts about failed runs, once they are so many and each is told or held."""
    found = [alert for alert in alerts(it, limit=100) if alert["rule"] == "run_failed"]
    settled = all(alert["suppressed_why"] or alert["notifications"] for alert in found)
    return found if len(found) == count and settled else None


def test_a_receiver_that_hangs_keeps_only_its_own_waiting(start: Start, dags: Path) -> None:
    alone = '[route]\nchain = "both"\ngroup_after = 100\n[chains.both]\nsteps = [{ receivers = ["slow", "quick"] }]\n'
    with hook() as slow, hook() as quick:
        slow.open.clear()
        it = start(webhook("slow", slow.url) + webhook("quick", quick.url) + alone)
        write_dag(dags, "many.py", MANY.replace("range(16)", "range(36)"))
        it.wait_dag("many_35")
        for n in range(36):
            assert it.trigger(f"many_{n}", "r").status_code == 200
        wait_until("all of them", lambda: len(quick.of("firing")) == 36, 60.0)
        assert len(slow.got) <= 8
        slow.open.set()


def test_what_a_silence_held_is_in_the_ledger(start: Start) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        made = it.cli.json("alerts", "silence", 'dag="training"', "--for", "1h", "--reason", "we know")
        fail(it, "night_1")
        (alert,) = wait_until("the alert", lambda: [a for a in of_rule(it, "run_failed") if a["suppressed_why"]])
        assert (alert["suppressed_why"], alert["notifications"]) == ("silenced", [])
        it.cli.ok("alerts", "unsilence", str(made["silence_id"]))
        wait_until("the page", lambda: pager.of("firing"))


def test_check_says_the_same_of_what_another_installation_has_in_force(start: Start, tmp_path: Path) -> None:
    spare = '[receivers.spare.webhook]\nurl = "https://example.org"\n'
    crew = """
[people.ana]
contacts = [{ receiver = "pager" }]
[schedules.gone]
zone = "UTC"
overrides = [{ person = "ana", from = "2020-01-01T00:00", until = "2020-01-02T00:00" }]
[chains.c]
steps = [{ schedules = ["gone"] }, { receivers = ["pager"] }]
[route]
chain = "c"
runbook = "https://wiki.example.org/ml"
"""
    with hook() as pager:
        it = start(webhook("pager", pager.url) + spare + crew)
        asked = Cli(["--api", it.api.url]).json("alerts", "check")
        here = Cli(["--api", it.api.url], {"HOOK_SECRET": SECRET}).json(
            "alerts", "check", str(tmp_path / "alerting.toml")
        )
        assert asked["file"] is None
        here["warnings"] = [one.split(" at ")[0] for one in here["warnings"]]
        asked["warnings"] = [one.split(" at ")[0] for one in asked["warnings"]]
        assert {**here, "file": None} == asked
        assert asked["dags"] == [{"dag_id": "training", "owner": "ml", "route": "platform", "receivers": ["pager"]}]
        assert asked["warnings"] == [
            "nothing names the receiver `spare`: it is never told",
            "nobody is on call by the schedule `gone`",
            "step 1 of the route `platform` reaches nobody now: it is passed over",
        ]
        # The way to what to do is on the alert, in its message, on the command line and at the API.
        fail(it, "night_1")
        (page,) = wait_until("the page", lambda: pager.of("firing"))
        assert page.body["data"]["runbook"] == "https://wiki.example.org/ml"
        assert "runbook: https://wiki.example.org/ml" in page.body["data"]["text"]
        (alert,) = of_rule(it, "run_failed")
        assert alert["labels"]["runbook"] == "https://wiki.example.org/ml"
        assert "runbook: https://wiki.example.org/ml" in it.cli.ok("alerts", "show", str(alert["alert_id"]))
        doctor = Cli(["--home", str(it.home)], {"HOOK_SECRET": SECRET}).run("doctor")
        assert "nobody is told of what goes wrong" in doctor.stdout
        (it.home / "alerting.toml").write_text(config(tmp_path, webhook("pager", pager.url)).read_text())
        doctor = Cli(["--home", str(it.home)], {"HOOK_SECRET": SECRET}).run("doctor")
        assert "dead man's switch" in doctor.stdout


CREW = """
[people.ana]
contacts = [{ receiver = "phone" }, { receiver = "pager", after = "2s" }]
[people.bo]
contacts = [{ receiver = "phone" }]
[schedules.primary]
zone = "Europe/Madrid"
rotations = [{ people = ["ana", "bo"], start = "2026-01-05T09:00" }]
overrides = [{ person = "ana", from = "2026-01-05T09:00", until = "2099-01-01T00:00" }]
[schedules.secondary]
zone = "UTC"
ical = "oncall.ics"
[chains.c]
steps = [{ schedules = ["secondary"] }, { schedules = ["primary"], wait = "1s" }, { people = ["bo"] }]
[route]
chain = "c"
"""
CALENDAR = """BEGIN:VCALENDAR
BEGIN:VEVENT
SUMMARY:bo
DTSTART;TZID=Europe/Madrid:20260601T090000
DTEND;TZID=Europe/Madrid:20260601T170000
END:VEVENT
END:VCALENDAR
"""


def test_whoever_is_on_call_is_told_by_their_own_rules(start: Start, tmp_path: Path) -> None:
    (tmp_path / "oncall.ics").write_text(CALENDAR)
    with hook() as phone, hook() as pager:
        it = start(webhook("phone", phone.url) + webhook("pager", pager.url) + CREW)
        fail(it, "night_1")
        # Nobody is on call by the calendar: the next step is told at once, and that is said.
        wait_until("the first way", lambda: phone.of("firing"))
        # The third step comes after a second, the pager of the second one after two all the same.
        wait_until("the second way", lambda: pager.of("firing"))
        (alert,) = of_rule(it, "run_failed")
        told = {(one["receiver"], one["person"], one["step"]) for one in alert["notifications"]}
        assert told == {("phone", "ana", 1), ("phone", "bo", 2), ("pager", "ana", 1)}
        path = str(tmp_path / "alerting.toml")
        cli = Cli([], {"HOOK_SECRET": SECRET})
        shown = cli.json("alerts", "oncall", path, "--at", "2026-06-01T08:00:00Z")
        assert [(one["schedule"], one["person"]) for one in shown["schedules"]] == [
            ("primary", "ana"),
            ("secondary", "bo"),
        ]
        checked = Cli(["--api", it.api.url], {"HOOK_SECRET": SECRET}).json("alerts", "check", path)
        assert any("nobody is on call by the schedule `secondary`" in one for one in checked["warnings"])
        for wrong, word in [
            (CREW.replace('people = ["bo"] }]', 'people = ["cy"] }]'), "there is nobody called `cy`"),
            (CREW.replace("Europe/Madrid", "Europe/Nowhere"), "is no zone"),
            (CREW.replace('["secondary"]', '["tertiary"]'), "there is no schedule `tertiary`"),
        ]:
            text = webhook("phone", phone.url) + webhook("pager", pager.url) + wrong
            (tmp_path / "wrong.toml").write_text(text)
            refused = cli.run("alerts", "check", str(tmp_path / "wrong.toml"))
            assert refused.returncode == 2
            assert word in refused.stderr
