"""Doubles of Slack and Microsoft Teams: they hold each field against what these publish, and can be of bad temper."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from receivers import Answer, Got, Hook

TOKEN = "xoxb-123456789012-1234567890123-" + "abcdefghijklmnopqrstuvwx"[:24]
TS = re.compile(r"\d{10}\.\d{6}")


class Wrong(Exception):
    """A field is not as the provider publishes it."""


def is_true(holds: bool, what: str) -> None:
    """Holds one rule."""
    if not holds:
        raise Wrong(what)


def mrkdwn(text: str) -> None:
    """Text of Slack's: `<` and `>` only around links, `&` only where it stands for one of the three."""
    links = re.sub(r"<(https?://[^|<>]+)\|[^<>|]+>", "", text)
    is_true("<" not in links and ">" not in links, f"`<` and `>` are escaped: {links}")
    is_true(re.search(r"&(?!amp;|lt;|gt;)", links) is None, "`&` is escaped")


def slack_block(block: dict[str, Any]) -> None:
    """A block, of the kinds that a message may have: https://docs.slack.dev/reference/block-kit/blocks."""
    is_true(block.get("type") in {"section", "divider", "header", "context", "actions"}, f"a kind of block: {block}")
    if block["type"] == "section":
        is_true(set(block) <= {"type", "text", "block_id", "fields", "accessory", "expand"}, f"fields of it: {block}")
        text = block["text"]
        is_true(set(text) <= {"type", "text", "verbatim", "emoji"}, f"fields of a text: {text}")
        is_true(text["type"] in {"mrkdwn", "plain_text"}, "the kind of a text")
        is_true(1 <= len(text["text"]) <= 3_000, f"1 to 3000 characters, not {len(text['text'])}")
        mrkdwn(text["text"])


def slack_message(body: Any, more: set[str]) -> None:
    """What messages of both ways have."""
    is_true(isinstance(body, dict), "a message is an object")
    is_true(set(body) <= {"text", "blocks"} | more, f"no other fields than it knows: {set(body)}")
    is_true(isinstance(body.get("text"), str) and 1 <= len(body["text"]) <= 40_000, "`text` is there")
    mrkdwn(body["text"])
    is_true(1 <= len(body["blocks"]) <= 50, "1 to 50 blocks")
    for block in body["blocks"]:
        slack_block(block)


def slack_webhook(got: Got) -> None:
    """A request to an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks."""
    is_true(got.headers["content-type"].startswith("application/json"), "it is JSON")
    slack_message(got.body, {"thread_ts", "unfurl_links", "mrkdwn"})


def teams_webhook(got: Got) -> None:
    """A request to a workflow: a message with one adaptive card, of 28 KB at most."""
    is_true(got.headers["content-type"].startswith("application/json"), "it is JSON")
    is_true(len(got.raw) <= 28 * 1_024, f"28 KB at most, not {len(got.raw)} bytes")
    body = got.body
    is_true(set(body) == {"type", "attachments"} and body["type"] == "message", "a message with attachments")
    (attachment,) = body["attachments"]
    is_true(set(attachment) <= {"contentType", "contentUrl", "content"}, "fields of an attachment")
    is_true(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "it is an adaptive card")
    card = attachment["content"]
    is_true(
        card["type"] == "AdaptiveCard" and card["version"] in {"1.2", "1.3", "1.4", "1.5"}, "a version that is known"
    )
    is_true(set(card) <= {"$schema", "type", "version", "body", "actions", "msteams"}, "fields of a card")
    for part in card["body"]:
        is_true(part["type"] == "TextBlock" and part["text"] != "", "texts are not empty")
        is_true(set(part) <= {"type", "text", "weight", "wrap", "color", "size"}, "fields of a text")
        is_true(
            part.get("color", "default") in {"default", "dark", "light", "accent", "good", "warning", "attention"},
            "a color",
        )
    is_true(len(card["actions"]) <= 6, "six actions at most")
    for action in card["actions"]:
        is_true(set(action) == {"type", "title", "url"} and action["type"] == "Action.OpenUrl", "an action")
        is_true(action["url"].startswith(("https://", "http://")), "an address")


Rules = Callable[[Got], None]
Temper = Callable[[int], Answer | None]


@contextlib.contextmanager
def judging(rules: Rules, well: Answer, temper: Temper | None = None) -> Iterator[tuple[Hook, list[str]]]:
    """A webhook that holds what comes against `rules`; `temper` says what it answers in place of `well`."""
    wrong: list[str] = []

    def answer(got: Got, number: int) -> Answer:
        try:
            rules(got)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            wrong.append(f"{error}: {got.raw.decode()}")
            return Answer(400, text="invalid_payload")
        return (temper(number) if temper else None) or well

    it = Hook(answer)
    try:
        yield it, wrong
    finally:
        it.close()


class Workspace:
    """Slack's Web API as far as an app with `chat:write` needs it, with one channel that the app is in."""

    def __init__(self) -> None:
        """Starts it."""
        self.wrong: list[str] = []
        # Messages by their `ts`, as they stand now.
        self.messages: dict[str, dict[str, Any]] = {}
        # The channel's id, and those of channels that nobody writes to any more.
        self.channel = "C0123456789"
        self.archived: set[str] = set()
        # What was called, in order.
        self.calls: list[tuple[str, dict[str, Any]]] = []
        # What is answered in place of doing it, by the number of the call from one.
        self.temper: Temper = lambda _number: None
        self.numbers = itertools.count(100)
        self.hook = Hook(self.answer)
        self.api = f"{self.hook.url}/api"

    def roots(self) -> list[dict[str, Any]]:
        """Messages that stand in the channel itself."""
        return [one for one in self.messages.values() if "thread_ts" not in one]

    def replies(self, ts: str) -> list[dict[str, Any]]:
        """What stands in a thread."""
        return [one for one in self.messages.values() if one.get("thread_ts") == ts]

    def answer(self, got: Got, number: int) -> Answer:
        """Does what is asked, or says why not, as Slack does."""
        method = got.path.removeprefix("/api/")
        self.calls.append((method, got.body))
        said = self.temper(number)
        if said is not None:
            return said
        try:
            done = self.did(method, got)
        except (Wrong, KeyError, TypeError, ValueError) as error:
            self.wrong.append(f"{method}: {error}: {got.raw.decode()}")
            done = {"ok": False, "error": "invalid_arguments"}
        return Answer(200, {"content-type": "application/json; charset=utf-8"}, json.dumps(done))

    def did(self, method: str, got: Got) -> dict[str, Any]:
        """One call: https://docs.slack.dev/reference/methods/chat.postMessage and chat.update."""
        is_true(got.headers["content-type"] == "application/json; charset=utf-8", "JSON says its charset")
        if got.headers.get("authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        body = got.body
        content = {name: value for name, value in body.items() if name in {"text", "blocks"}}
        if method == "chat.postMessage":
            slack_message(body, {"channel", "thread_ts", "unfurl_links", "unfurl_media", "reply_broadcast"})
            if body["channel"] in self.archived:
                return {"ok": False, "error": "is_archived"}
            if body["channel"] not in {"#ml", self.channel}:
                return {"ok": False, "error": "channel_not_found"}
            thread = body.get("thread_ts")
            if thread is not None:
                is_true(TS.fullmatch(thread) is not None, "a thread is named by a `ts`")
                if thread not in self.messages or "thread_ts" in self.messages[thread]:
                    return {"ok": False, "error": "thread_not_found"}
                content |= {"thread_ts": thread, "reply_broadcast": body.get("reply_broadcast", False)}
            else:
                is_true("reply_broadcast" not in body, "only what stands in a thread is shown besides")
            ts = f"1700000000.{next(self.numbers):06}"
            self.messages[ts] = content
            # The message first: where in the answer its place is said is nobody's promise.
            return {"message": content, "ok": True, "channel": self.channel, "ts": ts}
        is_true(method == "chat.update", f"a method: {method}")
        slack_message(body, {"channel", "ts", "unfurl_links", "as_user", "reply_broadcast", "link_names", "parse"})
        is_true(re.fullmatch(r"[CGD][A-Z0-9]{8,}", body["channel"]) is not None, "`channel` is an id here")
        if body["channel"] in self.archived:
            return {"ok": False, "error": "is_archived"}
        if body["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        self.messages[body["ts"]].update(content)
        return {"ok": True, "channel": body["channel"], "ts": body["ts"], "text": body["text"]}


@contextlib.contextmanager
def workspace() -> Iterator[Workspace]:
    """A workspace of Slack that is ended when the block is left."""
    it = Workspace()
    try:
        yield it
    finally:
        it.hook.close()


@contextlib.contextmanager
def broken_tls() -> Iterator[str]:
    """The address of a server that answers a TLS greeting with something else."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(512)
                connection.sendall(b"HTTP/1.1 400 this is no TLS\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
