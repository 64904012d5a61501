"""Slack and Microsoft Teams get what they say that they take, in good and bad temper; nobody is led elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alert_scenes import Start, accepted, config, fail, of_rule, told_of, webhook
from harness import wait_until
from providers import TOKEN, Temper, Workspace, broken_tls, judging, slack_webhook, teams_webhook, workspace
from receivers import Answer, hook
from test_alerts import seconds_between

QUICK = 'external_url = "https://dagbok.example.org"\n[route]\nreceiver = "chat"\ngroup_interval = "1s"\n'


def bot(slack: Workspace, folder: Path, more: str = "", token: str = TOKEN) -> str:
    """A channel that an app writes to."""
    (folder / "bot-token").write_text(token)
    return (
        f"[receivers.chat]\n{more}\n[receivers.chat.slack]\n"
        f'token = {{ file = "bot-token" }}\nchannel = "#ml"\napi_url = "{slack.api}"\n'
    )


def text_of(message: dict[str, Any]) -> str:
    """All that a message of Slack's says."""
    return "\n".join(block["text"]["text"] for block in message["blocks"])


def test_an_alert_is_a_thread_whose_first_message_says_how_it_stands(start: Start, tmp_path: Path) -> None:
    with workspace() as slack:
        it = start(QUICK + bot(slack, tmp_path))
        fail(it, "night_1")
        (root,) = wait_until("the message", slack.roots)
        ((ts, _),) = slack.messages.items()
        assert "the model does not fit" in root["text"]
        assert "|Acknowledge>" in text_of(root)
        (alert,) = of_rule(it, "run_failed")
        told = wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        assert told[0]["provider_id"] == f"C0123456789/{ts}"
        # What happens again is said in the thread, and after a restart too: the place is in the ledger.
        it.restart()
        fail(it, "night_2")
        (reply,) = wait_until("the second", lambda: slack.replies(ts))
        assert "night_2" in text_of(reply)
        assert reply["reply_broadcast"], "who wrote in no thread is not told of what comes in it"
        it.cli.ok("alerts", "ack", str(alert["alert_id"]), "--note", "mine")
        wait_until("the change", lambda: "[acknowledged]" in slack.messages[ts]["text"])
        assert "acknowledged: user:" in text_of(slack.messages[ts])
        it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
        wait_until("the end", lambda: "[resolved]" in slack.messages[ts]["text"])
        assert len(slack.roots()) == 1
        # Another incident is another thread.
        fail(it, "night_3")
        wait_until("the next", lambda: len(slack.roots()) == 2)
        assert slack.wrong == []


def test_a_first_message_that_is_gone_is_told_anew(start: Start, tmp_path: Path) -> None:
    with workspace() as slack:
        it = start(QUICK + bot(slack, tmp_path))
        fail(it, "night_1")
        wait_until("the message", slack.roots)
        (alert,) = of_rule(it, "run_failed")
        wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        slack.messages.clear()
        it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
        wait_until("word of the end", lambda: [call for call in slack.calls if call[0] == "chat.postMessage"][1:])


def test_what_goes_on_in_a_channel_that_is_archived_is_told_in_the_next(start: Start, tmp_path: Path) -> None:
    with workspace() as slack:
        it = start(QUICK + bot(slack, tmp_path))
        fail(it, "night_1")
        ((first, _),) = wait_until("the message", lambda: list(slack.messages.items()))
        (alert,) = of_rule(it, "run_failed")
        wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        slack.archived, slack.channel = {slack.channel}, "C0999999999"
        fail(it, "night_2")
        _, second = wait_until("the second", lambda: list(slack.messages)[1:] and list(slack.messages))
        wait_until("its receipt", lambda: accepted(it, alert["alert_id"])[1:])
        # From here on that is its place: the end changes it, and nothing is told of as refused.
        it.cli.ok("alerts", "resolve", str(alert["alert_id"]))
        wait_until("the end", lambda: "[resolved]" in slack.messages[second]["text"])
        assert "[resolved]" not in slack.messages[first]["text"]
        assert of_rule(it, "receiver_failing") == []
        assert slack.wrong == []


def no(code: str, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """How Slack says no."""
    return Answer(status, headers or {}, f'{{"ok": false, "error": "{code}"}}')


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (no("ratelimited", 429, {"retry-after": "2"}), "429"),
        (no("ratelimited", 200, {"retry-after": "2"}), "ratelimited"),
        (no("internal_error"), "internal_error"),
        (no("fatal_error"), "fatal_error"),
        (Answer(503, text="down"), "503"),
        (Answer(200, text="<html>a proxy</html>"), "no JSON"),
    ],
    ids=["429", "ratelimited", "internal_error", "fatal_error", "503", "html"],
)
def test_slack_is_asked_again_where_that_may_help(start: Start, tmp_path: Path, answer: Answer, why: str) -> None:
    with workspace() as slack:
        slack.temper = lambda number: answer if number == 1 else None
        it = start(QUICK + bot(slack, tmp_path))
        fail(it, "night_1")
        wait_until("the message", slack.roots)
        (alert,) = of_rule(it, "run_failed")
        (told,) = wait_until("the receipt", lambda: accepted(it, alert["alert_id"]))
        first, second = told["attempts"]
        assert why in first["why"], first
        if "retry-after" in answer.headers:
            assert seconds_between(first["ended_at"], second["at"]) >= 2
        assert slack.wrong == []


@pytest.mark.parametrize("code", ["channel_not_found", "is_archived", "invalid_auth", "msg_too_long", "something_new"])
def test_what_slack_will_not_take_is_told_by_another(start: Start, tmp_path: Path, code: str) -> None:
    with workspace() as slack, hook() as pager:
        slack.temper = lambda _number: no(code)
        it = start(QUICK + bot(slack, tmp_path, 'fallback = "pager"') + webhook("pager", pager.url))
        fail(it, "night_1")
        wait_until("the fallback", lambda: [got for got in pager.of("firing") if "training" in str(got.body)])
        (alert,) = of_rule(it, "run_failed")
        found = it.api.get(f"/dagbok/alerts/{alert['alert_id']}")["notifications"]
        (refused,) = [one for one in found if one["receiver"] == "chat"]
        assert (refused["state"], len(refused["attempts"])) == ("rejected", 1)
        assert code in refused["attempts"][0]["why"]
        (failing,) = wait_until("the alert about it", lambda: of_rule(it, "receiver_failing"))
        assert failing["labels"].get("cause") == ("credentials" if code == "invalid_auth" else None)


WEBHOOKS = {
    "slack": (slack_webhook, Answer(200, text="ok"), "slack"),
    "teams": (teams_webhook, Answer(202), "teams"),
}


def section(kind: str, url: str, folder: Path, more: str = "") -> str:
    """A chat by its webhook."""
    (folder / "chat-url").write_text(f"{url}/hook")
    return f'[receivers.chat]\n{more}\n[receivers.chat.{kind}]\nurl = {{ file = "chat-url" }}\n'


@pytest.mark.parametrize("kind", list(WEBHOOKS))
@pytest.mark.parametrize("status", [429, 500, 408])
def test_a_busy_webhook_is_asked_again(start: Start, tmp_path: Path, kind: str, status: int) -> None:
    rules, well, name = WEBHOOKS[kind]
    temper: Temper = lambda number: Answer(status, {"retry-after": "1"}) if number == 1 else None  # noqa: E731
    with judging(rules, well, temper) as (chat, wrong):
        it = start(QUICK + section(name, chat.url, tmp_path))
        fail(it, "night_1")
        (alert,) = wait_until("the alert", lambda: of_rule(it, "run_failed"))
        told = wait_until("its being taken", lambda: told_of(it, alert["alert_id"], "chat"))
        assert [one["status"] for one in told["chat"]["attempts"]] == [status, well.status]
        assert wrong == []


@pytest.mark.parametrize("kind", list(WEBHOOKS))
def test_a_webhook_that_refuses_or_breaks_or_hangs_is_stood_in_for(start: Start, tmp_path: Path, kind: str) -> None:
    rules, well, name = WEBHOOKS[kind]
    with judging(rules, well, lambda _number: Answer(400, text="no")) as (chat, _), hook() as pager:
        more = section(name, chat.url, tmp_path, 'fallback = "pager"') + webhook("pager", pager.url)
        it = start(QUICK + more)
        fail(it, "night_1")
        wait_until("the fallback", lambda: [got for got in pager.of("firing") if "training" in str(got.body)])
        # One that breaks TLS is asked again, and stood in for after five times.
        with broken_tls() as url:
            config(tmp_path, QUICK + section(name, url, tmp_path, 'fallback = "pager"') + webhook("pager", pager.url))
            wait_until("the configuration", lambda: it.cli.run("alerts", "test", "pager").returncode == 0)
            before = len(pager.of("firing"))
            fail(it, "night_2")
            wait_until("the fallback", lambda: len(pager.of("firing")) > before, 90)


def test_what_is_taken_and_never_acted_on_is_told_to_the_next(start: Start, tmp_path: Path) -> None:
    rules, well, name = WEBHOOKS["teams"]
    chain = (
        '[chains.c]\nsteps = [{ receivers = ["chat"], wait = "1s" }, { receivers = ["pager"] }]\n[route]\nchain = "c"\n'
    )
    with judging(rules, well) as (chat, wrong), hook() as pager:
        it = start(section(name, chat.url, tmp_path) + webhook("pager", pager.url) + chain)
        fail(it, "night_1")
        wait_until("the card", lambda: chat.got)
        wait_until("the next step", lambda: pager.of("firing"))
        assert wrong == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_an_internal_address_is_not_gone_to_unless_that_is_said(start: Start, tmp_path: Path, host: str) -> None:
    with hook() as pager:
        url = pager.url.replace("127.0.0.1", host)
        it = start(webhook("pager", url) + '[guard]\nallow = ["10.0.0.0/8"]\n')
        asked = it.cli.run("alerts", "test", "pager")
        assert asked.returncode != 0
        assert "internal address" in asked.stdout + asked.stderr
        assert pager.got == []
        config(tmp_path, webhook("pager", url) + '[guard]\nallow = ["127.0.0.0/8", "::1"]\n')
        wait_until("its being told", lambda: it.cli.run("alerts", "test", "pager").returncode == 0)


def test_nobody_is_led_elsewhere(start: Start) -> None:
    with hook() as secret, hook(lambda _got, _number: Answer(307, {"location": f"{secret.url}/inside"})) as pager:
        it = start(webhook("pager", pager.url))
        asked = it.cli.run("alerts", "test", "pager")
        assert asked.returncode != 0
        assert "redirect is not followed" in asked.stdout + asked.stderr
        assert secret.got == []
