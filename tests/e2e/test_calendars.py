"""Shifts out of calendars that are had by their addresses: read again, kept while they can't be, and told of."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from alert_scenes import Start, config, of_rule, webhook
from harness import Cli, Standalone, wait_until
from receivers import SECRET, hook

CREW = """
[people.ana]
contacts = [{ receiver = "pager" }]
[people.bo]
contacts = [{ receiver = "pager" }]
[schedules.primary]
zone = "Europe/Madrid"
ical_url = { file = "calendar-url" }
[chains.c]
steps = [{ schedules = ["primary"], wait = "10m" }]
[route]
chain = "c"
"""


def always(person: str) -> str:
    """A calendar by which somebody is on call each day, for as long as days come."""
    return (
        f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:{person}\r\nDTSTART;VALUE=DATE:20260101\r\n"
        "RRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )


class Calendars:
    """A server of one calendar, which knows what it said last."""

    def __init__(self) -> None:
        """Starts it."""
        self.text = always("bo")
        self.status = 200
        # Of each request, whether it had the newest already.
        self.asked: list[bool] = []
        it = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tag = f'"{hash(it.text)}"'
                has_it = self.headers.get("if-none-match") == tag
                it.asked.append(has_it)
                status = 304 if has_it and it.status == 200 else it.status
                body = it.text.encode() if status == 200 else b""
                self.send_response(status)
                self.send_header("etag", tag)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/oncall.ics"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextlib.contextmanager
def calendars() -> Iterator[Calendars]:
    """A server of calendars that is ended when the block is left."""
    it = Calendars()
    try:
        yield it
    finally:
        it.server.shutdown()
        it.server.server_close()


def on_call(it: Standalone) -> str | None:
    """Who is, by the service that leads."""
    found: dict[str, Any] = it.api.get("/dagbok/alerts/oncall")
    person: str | None = found["schedules"][0]["person"]
    return person


def ask_again(folder: Path, text: str, note: str) -> None:
    """Has the configuration taken anew, with which calendars are asked for."""
    config(folder, f"{text}\n# {note}\n")


def test_a_calendar_is_read_again_and_what_was_read_last_holds(start: Start, tmp_path: Path, dags: Path) -> None:
    with hook() as pager, calendars() as there:
        (tmp_path / "calendar-url").write_text(there.url)
        text = webhook("pager", pager.url) + CREW
        it = start(text)
        wait_until("bo", lambda: on_call(it) == "bo")
        ask_again(tmp_path, text, "once more")
        wait_until("a question with a condition", lambda: there.asked[-1])
        assert on_call(it) == "bo"
        # It can't be had: what was read last holds, over a restart too, and that is an alert.
        there.status = 500
        ask_again(tmp_path, text, "while it fails")
        (alert,) = wait_until("the alert", lambda: of_rule(it, "calendar_refused"))
        assert alert["labels"]["schedule"] == "primary"
        assert "it answered 500" in str(alert["details"])
        assert on_call(it) == "bo"
        assert "it answered 500" in it.api.get("/dagbok/oncall")["schedules"][0]["trouble"]
        it.restart()
        wait_until("bo again", lambda: on_call(it) == "bo")
        # What is no calendar is none, and so is one whose people nobody knows.
        there.status = 200
        for odd in ("<html>log in</html>", always("zoe"), "BEGIN:VCALENDAR\r\n" + " " * (5 << 20)):
            there.text = odd
            asked = len(there.asked)
            ask_again(tmp_path, text, odd[:8].replace("\r\n", " ") + str(asked))
            wait_until("its being asked for", lambda asked=asked: len(there.asked) > asked)
            assert on_call(it) == "bo"
        there.text = always("ana")
        ask_again(tmp_path, text, "mended")
        wait_until("ana", lambda: on_call(it) == "ana")
        wait_until("the end", lambda: of_rule(it, "calendar_refused")[0]["state"] == "resolved")
        file = str(tmp_path / "alerting.toml")
        here = Cli(["--api", it.api.url], {"HOOK_SECRET": SECRET})
        assert here.json("alerts", "check", file)["warnings"] == []
        # Where no secret is read it is not asked for: whom it names may be anybody, and nothing is lost.
        folder = Cli(["--home", str(it.home)]).json("alerts", "check", file, "--dags", str(dags))
        assert [one["receivers"] for one in folder["dags"]] == [["pager"]]
        (warning,) = folder["warnings"]
        assert "was not asked for" in warning


def test_a_file_of_shifts_is_taken_when_it_changes(start: Start, tmp_path: Path) -> None:
    with hook() as pager:
        file = tmp_path / "oncall.ics"
        file.write_text(always("bo"))
        it = start(
            webhook("pager", pager.url) + CREW.replace('ical_url = { file = "calendar-url" }', f'ical = "{file}"')
        )
        wait_until("bo", lambda: on_call(it) == "bo")
        file.write_text(always("ana"))
        wait_until("ana", lambda: on_call(it) == "ana")
        file.write_text("no calendar")
        (alert,) = wait_until("the alert", lambda: of_rule(it, "configuration_refused"))
        assert "oncall.ics" in str(alert["details"])
        assert on_call(it) == "ana"
        file.write_text(always("bo"))
        wait_until("bo", lambda: on_call(it) == "bo")
        # A name that nobody knows leaves out that one's shifts alone, and is told of.
        other = always("zoe").split("BEGIN:VEVENT", 1)[1]
        file.write_text(
            always("bo").replace("END:VCALENDAR", "BEGIN:VEVENT" + other.split("END:VCALENDAR")[0] + "END:VCALENDAR")
        )
        (stranger,) = wait_until("the alert", lambda: of_rule(it, "calendar_refused"))
        assert "`zoe`" in str(stranger["details"])
        assert on_call(it) == "bo"
        there = Cli(["--api", it.api.url])
        shown = there.json("alerts", "oncall")["schedules"]
        assert [(one["person"], one["receivers"]) for one in shown] == [("bo", ["pager"])]
        later = there.json("alerts", "oncall", "--at", "2100-01-01T00:00:00Z")["schedules"]
        assert [one["person"] for one in later] == [None], "a calendar is known for 400 days ahead"
        file.write_text(always("ana"))
        wait_until("the end", lambda: of_rule(it, "calendar_refused")[0]["state"] == "resolved")
        wait_until("ana again", lambda: on_call(it) == "ana")
