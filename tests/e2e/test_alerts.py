"""Being told: what goes wrong reaches a receiver, with the proof in the ledger, whatever dies meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alert_scenes import FAILING, Start, accepted, alerts, config, fail, of_rule, told_of, webhook
from apart import Apart
from dags import hello
from harness import Cli, Standalone, wait_until, write_dag
from receivers import SECRET, Answer, Got, Hook, hook, mailbox


def test_a_failed_run_pages_with_proof_and_its_next_success_ends_it(start: Start, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        fail(it, "night_1")
        (page,) = wait_until("the page", lambda: pager.of("firing"))
        assert page.is_signed()
        assert not page.is_signed("whsec_" + "AAAA")
        data = page.body["data"]
        assert data["labels"]["owner"] == "ml"
        assert data["labels"]["dag"] == "training"
        assert data["labels"]["fault"] == "user"
        assert data["labels"]["tags"] == "nightly"
        assert "the model does not fit" in data["title"]
        assert data["details"]["task"] == "train, try 1"
        told = wait_until("the receipt", lambda: accepted(it, data["alert"]))
        assert told[0]["attempts"][0]["status"] == 202
        assert told[0]["receiver"] == "pager"
        # From the page to the event: the causes are records of the log.
        by_seq = {record["seq"]: record for record in it.api.events()}
        kinds = {fact["type"] for seq in data["causes"] for fact in by_seq[seq]["facts"]}
        assert "RunFailed" in kinds
        (of_run,) = it.api.get("/dagbok/runs/training/night_1/told")["alerts"]
        assert of_run["alert_id"] == data["alert"]
        assert "taken 202" in it.cli.ok("alerts", "trace", "training", "night_1")
        (tmp_path / "witness").touch()
        it.trigger("training", "day_1")
        assert it.api.wait_run("training", "day_1") == "success"
        (end,) = wait_until("the end", lambda: pager.of("resolved"))
        assert end.body["data"]["dedup_key"] == data["dedup_key"]
        assert end.id != page.id
        alert = it.api.get(f"/dagbok/alerts/{data['alert']}")
        assert (alert["state"], alert["resolved_why"]) == ("resolved", "recovered")
        assert "RunSucceeded" in str(by_seq_of(it)[alert["resolved_by"]])


def by_seq_of(it: Standalone) -> dict[int, dict[str, Any]]:
    """The log by sequence."""
    return {record["seq"]: record for record in it.api.events()}


def test_three_nights_page_three_times(start: Start) -> None:
    quick = '[route]\nreceiver = "pager"\ngroup_interval = "1s"\n'
    with hook() as pager:
        it = start(webhook("pager", pager.url) + quick)
        for night in range(1, 4):
            fail(it, f"night_{night}")
            wait_until(f"page {night}", lambda night=night: len(pager.of("firing")) == night)
        # One incident, told three times: nobody had it in hand.
        assert len({page.body["data"]["dedup_key"] for page in pager.got}) == 1
        assert len({page.id for page in pager.got}) == 3
        (alert,) = of_rule(it, "run_failed")
        assert alert["count"] == 3
        assert [run["dag_run_id"] for run in alert["runs"]][-1] == "night_3"
        # Whoever has it in hand has what was before: the next failure is another incident.
        it.cli.ok("alerts", "ack", str(alert["alert_id"]), "--note", "mine")
        assert it.api.get(f"/dagbok/alerts/{alert['alert_id']}")["state"] == "acknowledged"
        fail(it, "night_4")
        wait_until("page 4", lambda: len(pager.of("firing")) == 4)
        newest, before = of_rule(it, "run_failed")
        assert (newest["generation"], before["resolved_why"]) == (2, "superseded")
        assert newest["dedup_key"] != before["dedup_key"]


@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
def test_killed_while_it_sends_it_tells_again_under_the_same_key(start: Start, when: str) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        if when == "before the answer":
            pager.open.clear()
        else:
            # The answer is under way when its receiver dies.
            pager.answer = lambda _got, number: kill_and(it, number)
        assert it.trigger("training", "night_1").status_code == 200
        wait_until("the first attempt", lambda: len(pager.got) == 1)
        it.process.kill()
        pager.open.set()
        it.process.start()
        it.wait_ready()
        wait_until("the second attempt", lambda: len(pager.got) == 2)
        assert pager.got[0].id == pager.got[1].id
        assert pager.got[0].body["data"]["dedup_key"] == pager.got[1].body["data"]["dedup_key"]
        (alert,) = of_rule(it, "run_failed")
        (told,) = wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        assert [one["number"] for one in told["attempts"]] == [1, 2]
        assert told["attempts"][0]["ended_at"] is None


def kill_and(it: Standalone, number: int) -> Answer:
    """Kills the installation in the moment of the first answer."""
    if number == 1:
        it.process.kill()
    return Answer()


def test_killed_before_anything_is_sent_it_tells_once_it_is_back(start: Start, dags: Path, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", "http://127.0.0.1:9"))
        fail(it, "night_1")
        wait_until("the alert", lambda: of_rule(it, "run_failed"))
        it.process.kill()
        config(tmp_path, webhook("pager", pager.url))
        it.process.start()
        it.wait_ready()
        (page,) = wait_until("the page", lambda: pager.of("firing"))
        assert page.body["data"]["labels"]["dag"] == "training"


def test_a_provider_that_is_busy_is_asked_again_and_one_that_refuses_is_stood_in_for(start: Start) -> None:
    seen: Counter[str] = Counter()

    def busy(got: Got, _number: int) -> Answer:
        seen[got.id] += 1
        return {1: Answer(429, {"retry-after": "2"}), 2: Answer(500, text="oh")}.get(seen[got.id], Answer())

    with hook(busy) as first, hook(lambda *_: Answer(400, text="no such key")) as second, hook() as third:
        both = '[chains.both]\nsteps = [{ receivers = ["busy", "strict"] }]\n[route]\nchain = "both"\n'
        text = webhook("busy", first.url) + webhook("strict", second.url, 'fallback = "spare"')
        it = start(text + webhook("spare", third.url) + both)
        fail(it, "night_1")
        wait_until("the stand-in", lambda: third.of("firing"))
        (alert,) = of_rule(it, "run_failed")
        wait_until("the third attempt", lambda: len(first.of("firing")) >= 3)
        told = wait_until("both receipts", lambda: told_of(it, alert["alert_id"], "busy", "spare"))
        assert [one["status"] for one in told["busy"]["attempts"]] == [429, 500, 202]
        first_at, second_at = (one["at"] for one in told["busy"]["attempts"][:2])
        assert seconds_between(first_at, second_at) >= 2.0
        assert told["strict"]["state"] == "rejected"
        assert "no such key" in told["strict"]["attempts"][0]["why"]
        assert told["spare"]["instead_of"] == "strict"
        # Once is enough of a 400 about this alert, and that it refuses is an alert of its own.
        about = [got for got in second.got if got.body["data"]["alert"] == alert["alert_id"]]
        assert len(about) == 1
        (failing,) = wait_until("the alert on itself", lambda: of_rule(it, "receiver_failing"))
        assert failing["labels"]["receiver"] == "strict"


def seconds_between(first: str, second: str) -> float:
    """The time from one instant to another."""
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def test_nobody_acknowledges_so_the_next_step_is_told(start: Start) -> None:
    chain = '[chains.c]\nsteps = [{ receivers = ["a"], wait = "1s" }, { receivers = ["b"] }]\n[route]\nchain = "c"\n'
    with hook() as one, hook() as two:
        it = start(webhook("a", one.url) + webhook("b", two.url) + chain)
        fail(it, "night_1")
        wait_until("the second step", lambda: two.of("firing"))
        assert len(one.of("firing")) == 1
        (alert,) = of_rule(it, "run_failed")
        steps = [(n["receiver"], n["step"]) for n in alert["notifications"] if n["purpose"] == "trigger"]
        assert steps == [("a", 0), ("b", 1)]


def test_who_fails_more_often_than_a_step_waits_reaches_the_next_all_the_same(start: Start) -> None:
    steps = '[chains.c]\nsteps = [{ receivers = ["a"], wait = "2s" }, { receivers = ["b"] }]\n'
    chain = f'{steps}[route]\nchain = "c"\ngroup_interval = "1s"\n'
    with hook() as one, hook() as two:
        it = start(webhook("a", one.url) + webhook("b", two.url) + chain)
        for night in range(200):
            fail(it, f"night_{night}")
            if two.of("firing"):
                break
        assert two.of("firing"), "the second step never heard of it"


def test_mail_says_it_and_a_broken_configuration_leaves_the_last_good_one(start: Start, tmp_path: Path) -> None:
    with mailbox() as box:
        text = f"""
[receivers.mail.email]
smarthost = "127.0.0.1:{box.port}"
tls = "none"
from = "dagbok@example.org"
to = ["ml@example.org"]
"""
        it = start(text)
        config(tmp_path, text + "\n[receivers.mail.slak]\n")
        (broken,) = wait_until("the alert on itself", lambda: of_rule(it, "configuration_refused"))
        why = {one["name"]: one["value"] for one in broken["details"]}["error"]
        assert "alerting.toml`, line 8" in why
        assert "slak" in why
        assert "slack" in why
        fail(it, "night_1")
        (alert,) = of_rule(it, "run_failed")
        wait_until("the letters", lambda: len(box.letters) >= 2)
        letter = next(one for one in box.letters if "training" in str(one["subject"]))
        parts = {part.get_content_type(): str(part.get_payload(decode=True)) for part in letter.walk()}
        assert "the model does not fit" in parts["text/plain"]
        assert "the model does not fit" in parts["text/html"]
        (told,) = wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        assert told["attempts"][0]["status"] == 250
        assert told["provider_id"].startswith("taken as letter")
        config(tmp_path, text)
        wait_until("the end", lambda: of_rule(it, "configuration_refused")[0]["state"] == "resolved")


def test_without_a_configuration_alerts_are_opened_and_shown(running: Standalone, dags: Path) -> None:
    write_dag(dags, "training.py", FAILING)
    running.wait_dag("training")
    fail(running, "night_1")
    (alert,) = wait_until("the alert", lambda: of_rule(running, "run_failed"))
    assert alert["state"] == "firing"
    assert alert["notifications"] == []
    assert "nobody" in running.cli.ok("alerts", "list", "--state", "open")
    write_dag(dags, "broken.py", "from airflow import DAG\nimport no_such_module_here\n")
    (error,) = wait_until("the import error", lambda: of_rule(running, "import_error"))
    assert error["labels"]["file"] == "broken.py"
    assert "no_such_module_here" in error["summary"]
    (dags / "broken.py").unlink()
    wait_until("its end", lambda: of_rule(running, "import_error")[0]["state"] == "resolved")
    write_dag(dags, "hello.py", hello("hello"))
    running.wait_dag("hello")
    (dags / "hello.py").unlink()
    (gone,) = wait_until("the vanished DAG", lambda: of_rule(running, "dag_vanished"))
    assert gone["scope"] == "dag:hello"
    # What was told is there without a service, too.
    running.process.stop()
    shown = Cli(["--home", str(running.home)]).json("alerts", "list")
    assert {one["rule"] for one in shown["alerts"]} >= {"run_failed", "import_error", "dag_vanished"}


def test_a_silence_holds_what_is_told_and_not_what_is_known(start: Start) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        made = it.cli.json("alerts", "silence", 'dag="training"', "--for", "1h", "--reason", "we know")
        fail(it, "night_1")
        (alert,) = wait_until("the alert", lambda: of_rule(it, "run_failed"))
        assert alert["silenced_by"] == made["silence_id"]
        assert alert["notifications"] == []
        it.cli.ok("alerts", "unsilence", str(made["silence_id"]))
        wait_until("the page", lambda: pager.of("firing"))
        # A test is about the way, and goes it.
        it.cli.ok("alerts", "silence", 'severity=~"info|warning"', "--for", "1h", "--reason", "quiet")
        assert it.cli.json("alerts", "test", "pager")["notifications"][0]["state"] == "accepted"
        for all_of_them in ('team=""', 'dag!="x"'):
            much = it.cli.run("alerts", "silence", all_of_them, "--for", "1h", "--reason", "x")
            assert "asks for a value" in much.stderr
        many = [f'dag="{n}"' for n in range(17)]
        assert "16 matchers at most" in it.cli.run("alerts", "silence", *many, "--for", "1h", "--reason", "x").stderr
        refused = it.cli.run("alerts", "silence", "dag", "--for", "1h", "--reason", "x")
        assert refused.returncode == 4 or refused.returncode == 2, refused.stderr
        assert "is no matcher" in refused.stderr


def test_a_receiver_is_tested_by_the_real_way(start: Start) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        shown = it.cli.json("alerts", "test", "pager")
        assert shown["notifications"][0]["state"] == "accepted"
        (page,) = pager.of("firing")
        assert page.body["data"]["title"].startswith("TEST: ")
        assert page.is_signed()
        pager.answer = lambda *_: Answer(401, text="who are you")
        wait_until("the end of the first", lambda: of_rule(it, "test")[0]["state"] == "resolved")
        failed = it.cli.run("alerts", "test", "pager")
        assert failed.returncode == 4
        assert "who are you" in failed.stderr
        assert it.cli.run("alerts", "test", "nobody").returncode == 3


def test_check_says_whom_each_dag_reaches_and_where_a_file_is_wrong(start: Start, tmp_path: Path) -> None:
    with hook() as pager:
        it = start(webhook("pager", pager.url))
        env = {"HOOK_SECRET": SECRET}
        path = str(tmp_path / "alerting.toml")
        checked = Cli(["--api", it.api.url], env).json("alerts", "check", path)
        assert checked["receivers"] == ["pager"]
        assert [(dag["dag_id"], dag["owner"], dag["receivers"]) for dag in checked["dags"]] == [
            ("training", "ml", ["pager"])
        ]
        for text, line, word in [
            ('[route]\nreceiver = "nobody"\n', 2, "there is no receiver `nobody`"),
            ("[recievers.a]\n", 1, "receivers"),
            ('[receivers.a]\n[receivers.a.webhook]\nurl = "ftp://x"\n', 3, "https://"),
            ('[receivers.a.slack]\nurl = { env = "NOT_SET_ANYWHERE" }\n', 2, "NOT_SET_ANYWHERE"),
            ("[receivers.a]\nfallback = 3\n", 2, "string"),
        ]:
            (tmp_path / "bad.toml").write_text(text)
            bad = Cli(["--api", it.api.url], env).run("alerts", "check", str(tmp_path / "bad.toml"))
            assert bad.returncode == 2, bad.stderr
            assert f"line {line}" in bad.stderr, (text, bad.stderr)
            assert word in bad.stderr, (text, bad.stderr)
        (tmp_path / "none.toml").write_text("")
        lost = Cli(["--api", it.api.url], env).run("alerts", "check", str(tmp_path / "none.toml"))
        assert lost.returncode == 4
        assert "nobody is told" in lost.stderr


def test_a_secret_in_the_wrong_place_is_not_shown_and_what_comes_late_is_taken(start: Start, tmp_path: Path) -> None:
    late = tmp_path / "late-secret"
    with hook() as pager:
        text = webhook("pager", pager.url).replace('{ env = "HOOK_SECRET" }', f'{{ file = "{late}" }}')
        it = start(text)
        # A secret that is mounted after the start.
        wait_until("what is missing", lambda: of_rule(it, "configuration_refused"))
        late.write_text(SECRET)
        wait_until("the configuration", lambda: it.cli.run("alerts", "test", "pager").returncode == 0)
        # A secret itself, where its place should be named.
        written = "R0SECRETKEY0123456789"
        config(tmp_path, text.replace(f'{{ file = "{late}" }}', f'"{written}"'))
        refused = wait_until("the refusal", lambda: of_rule(it, "configuration_refused")[:1])
        wait_until("why", lambda: "never written here" in str(alerts(it)))
        shown = it.cli.run("alerts", "check", str(tmp_path / "alerting.toml"))
        everywhere = f"{refused}{alerts(it)}{shown.stdout}{shown.stderr}{it.process.log.read_text()}"
        assert "never written here" in everywhere
        assert written not in everywhere
        # An editor that empties the file before it writes: what was in force stays so.
        config(tmp_path, "")
        wait_until("why", lambda: "is empty" in it.process.log.read_text())
        fail(it, "night_1")
        wait_until("the page", lambda: [page for page in pager.of("firing") if "training" in str(page.body)])


def test_secrets_are_nowhere(start: Start, tmp_path: Path) -> None:
    with hook(lambda *_: Answer(500)) as pager:
        it = start(webhook("pager", pager.url))
        fail(it, "night_1")
        wait_until("an attempt", lambda: pager.got)
        wait_until("its outcome", lambda: of_rule(it, "run_failed")[0]["notifications"][0]["attempts"][0]["ended_at"])
        it.process.stop()
        secret = SECRET.removeprefix("whsec_").encode()
        for folder, _, files in os.walk(tmp_path / "home"):
            for name in files:
                assert secret not in (Path(folder) / name).read_bytes(), f"{folder}/{name} has the secret"
        assert secret not in it.process.log.read_bytes()


def test_pagerduty_slack_and_alertmanager_get_their_own_forms(start: Start) -> None:
    with hook(lambda got, _: Answer(202, text='{"status": "success", "dedup_key": "k"}')) as hub:
        text = f"""
external_url = "https://dagbok.example.org"
[receivers.pd.pagerduty]
url = "{hub.url}/v2/enqueue"
routing_key = {{ env = "HOOK_SECRET" }}
[receivers.am.alertmanager]
url = "{hub.url}"
[chains.all]
steps = [{{ receivers = ["pd", "am"] }}]
[route]
chain = "all"
"""
        it = start(text)
        fail(it, "night_1")
        (alert,) = wait_until("the alert", lambda: of_rule(it, "run_failed"))
        wait_until("both", lambda: told_of(it, alert["alert_id"], "pd", "am"))
        it.cli.ok("alerts", "ack", str(alert["alert_id"]))
        wait_until("the acknowledgement", lambda: len(events_of(hub)) == 2)
        it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
        wait_until("the end", lambda: len(events_of(hub)) == 3)
        trigger, acknowledge, resolve = events_of(hub)
        assert [one["event_action"] for one in (trigger, acknowledge, resolve)] == [
            "trigger",
            "acknowledge",
            "resolve",
        ]
        assert {one["dedup_key"] for one in (trigger, acknowledge, resolve)} == {alert["dedup_key"]}
        payload = trigger["payload"]
        assert payload["severity"] in ("critical", "error", "warning", "info")
        assert payload["source"]
        assert trigger["links"][0]["href"] == "https://dagbok.example.org/dags/training/runs/night_1"
        posted = wait_until("both of Alertmanager's", lambda: two_posts(hub))
        (first,), (last,) = posted
        assert first["labels"] == last["labels"]
        assert first["labels"]["alertname"] == "dagbok_run_failed"
        assert last["endsAt"] < first["endsAt"]


def events_of(hub: Hook) -> list[dict[str, Any]]:
    """What PagerDuty got."""
    return [got.body for got in hub.got if got.path == "/v2/enqueue"]


def two_posts(hub: Hook) -> list[Any] | None:
    """What Alertmanager got, once that is two."""
    found = [got.body for got in hub.got if got.path == "/api/v2/alerts"]
    return found if len(found) == 2 else None


def test_everything_is_killed_and_alerting_alone_comes_back_and_pages(tmp_path: Path) -> None:
    with hook() as pager:
        pager.open.clear()
        plain = f'[receivers.pager.webhook]\nurl = "{pager.url}"\n'
        config(tmp_path, plain)
        it = Apart(tmp_path, alerting=2)
        write_dag(it.dags, "training.py", FAILING)
        with it:
            wait_until("the DAG", lambda: it.api.get("/dags/training"))
            body = {"dag_run_id": "night_1", "logical_date": None}
            assert it.api.post("/dags/training/dagRuns", body).status_code == 200
            wait_until("the first attempt", lambda: pager.got)
            for service in it.services.values():
                service.kill()
            pager.open.set()
            # No scheduler, no executor, no processor, no API.
            it.services["alerting-0"].start()
            wait_until("the page", lambda: len(pager.of("firing")) == 2)
            assert len({got.id for got in pager.got}) == 1
            it.services["ui"].start()
            (told,) = wait_until("the proof", lambda: told_of_run(it))
            assert told["notifications"][0]["state"] == "accepted"
            assert [one["ended_at"] is None for one in told["notifications"][0]["attempts"]] == [True, False]
            # Another takes over from one that is killed, and acknowledging needs no scheduler.
            it.services["alerting-0"].kill()
            it.services["alerting-1"].start()
            shown = wait_until("the new leader's answer", lambda: acknowledged(it, told["alert_id"]), 15.0)
            assert shown["state"] == "acknowledged"
            assert len(pager.got) == 2


def told_of_run(it: Apart) -> list[dict[str, Any]] | None:
    """Alerts about the run, once a provider took word of one."""
    found: list[dict[str, Any]] = it.api.get("/dagbok/runs/training/night_1/told")["alerts"]
    return found if any(one["state"] == "accepted" for alert in found for one in alert["notifications"]) else None


def acknowledged(it: Apart, alert_id: int) -> dict[str, Any] | None:
    """Acknowledges an alert; the alert, where somebody answered."""
    answer = it.api.post(f"/dagbok/alerts/{alert_id}/acknowledge", {})
    return dict(answer.json()) if answer.status_code == 200 else None
