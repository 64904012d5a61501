"""Receivers that count: a web address that can answer badly, slowly or not at all, and a mail server that records."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from harness import free_port

# What signatures of the tests' webhooks are made with, as the specification writes secrets.
SECRET = "whsec_" + base64.b64encode(b"a secret of the tests").decode()


@dataclass
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes

    @property
    def id(self) -> str:
        """The delivery's id: the same for each attempt."""
        return self.headers["webhook-id"]

    def is_signed(self, secret: str = SECRET) -> bool:
        """Whether the signature is that of Standard Webhooks, made with `secret`."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.raw])
        made = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(made, self.headers.get("webhook-signature", ""))


@dataclass
class Answer:
    """What is answered: a status, headers, and a text."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""


def read(raw: bytes) -> Any:
    """A body of JSON, or a text."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


class Hook:
    """A web server on a free port that keeps what it gets. `answer` says what it answers to each request."""

    def __init__(self, answer: Callable[[Got, int], Answer] | None = None) -> None:
        """Starts it."""
        self.got: list[Got] = []
        self.answer = answer or (lambda _got, _number: Answer())
        # Requests wait for this: clear it, and the receiver hangs.
        self.open = threading.Event()
        self.open.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.path, headers, read(raw), raw)
                hook.got.append(got)
                number = len(hook.got)
                hook.open.wait(120)
                answer = hook.answer(got, number)
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(answer.text.encode())))
                    self.end_headers()
                    self.wfile.write(answer.text.encode())

            def log_message(self, *_args: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, kind: str) -> list[Got]:
        """What came of one kind: `firing`, `acknowledged`, `resolved`."""
        return [got for got in self.got if isinstance(got.body, dict) and got.body.get("type") == f"alert.{kind}"]

    def close(self) -> None:
        """Ends it."""
        self.open.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def hook(answer: Callable[[Got, int], Answer] | None = None) -> Iterator[Hook]:
    """A web receiver that is ended when the block is left."""
    it = Hook(answer)
    try:
        yield it
    finally:
        it.close()


class Mailbox:
    """A real SMTP server (aiosmtpd) on a free port that keeps what it gets."""

    def __init__(self) -> None:
        """Starts it."""
        self.letters: list[Message] = []
        # What it says instead of taking a letter.
        self.refuses: str | None = None
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        """Takes a letter, or refuses it."""
        if self.refuses:
            return self.refuses
        self.letters.append(message_from_bytes(envelope.content))
        return "250 taken as letter 1"


@contextlib.contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server that is ended when the block is left."""
    it = Mailbox()
    try:
        yield it
    finally:
        it.controller.stop()
