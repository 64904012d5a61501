"""Receivers that can't be trusted: nothing is said to them, and somebody else is told."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from alert_scenes import Start, fail, of_rule, webhook
from harness import wait_until
from receivers import hook


class Handler(BaseHTTPRequestHandler):
    """Notes whatever it is told."""

    heard: list[bytes]

    def do_POST(self) -> None:
        """Takes it."""
        self.heard.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def unvouched(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTPS server whose certificate it made itself, and what it heard."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    heard: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"heard": heard}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/", heard
    server.shutdown()


def test_a_receiver_that_nobody_vouches_for_hears_nothing_and_its_fallback_is_told(
    start: Start, unvouched: tuple[str, list[bytes]]
) -> None:
    url, heard = unvouched
    with hook() as second:
        it = start(webhook("pager", url, 'fallback = "second"') + webhook("second", second.url) + ROUTE)
        fail(it, "night_1")
        wait_until("the fallback", lambda: second.of("firing"), 60)
        (alert,) = of_rule(it, "run_failed")
        told = it.api.get(f"/dagbok/alerts/{alert['alert_id']}")["notifications"]
        (pager,) = [one for one in told if one["receiver"] == "pager"]
        assert pager["state"] != "accepted"
        assert any("certificate" in (attempt["why"] or "").lower() for attempt in pager["attempts"]), pager
        assert heard == [], "nothing is said before it is known who listens"
        wait_until("the alert on itself", lambda: of_rule(it, "receiver_failing"))


ROUTE = '\n[route]\nreceiver = "pager"\n'
