"""Doubles of services that nobody can run here, as far as the provider packages ask: they note what they are asked."""

from __future__ import annotations

import http.server
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlparse

Json = dict[str, Any]


class Double(http.server.BaseHTTPRequestHandler):
    """Answers by method and path; keeps each request."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, Any]]]

    def say(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        """Answer with a document, or with bytes as they are."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(0 if status == 204 else len(text)))
        self.end_headers()
        if status != 204:
            self.wfile.write(text)

    def body(self) -> bytes:
        """What was sent, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            text = b""
            while size := int(self.rfile.readline(), 16):
                text += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return text
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_any(self) -> None:
        """Note a request, and answer it."""
        raw, url = self.body(), urlparse(self.path)
        try:
            sent = json.loads(raw)
        except ValueError:
            sent = raw
        self.seen.append((self.command, unquote(url.path), sent))
        self.answer(unquote(url.path), {name: one[0] for name, one in parse_qs(url.query).items()}, sent)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

    def answer(self, path: str, query: Json, sent: Any) -> None:
        """Answer one request."""
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(kind: type[Double]) -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """Serve one; its address, and what it is asked."""
    seen: list[tuple[str, str, Any]] = []
    handler = type("Serving", (kind,), {"seen": seen, "kept": {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


class Slack(Double):
    """A webhook and the web API."""

    def answer(self, path: str, query: Json, sent: Any) -> None:
        if path.startswith("/api/"):
            return self.say({"ok": True, "channel": "C1", "ts": "1.2"})
        return self.say(b"ok", kind="text/plain")


class Google(Double):
    """A bucket's objects, and jobs of BigQuery that are done at once."""

    kept: ClassVar[dict[str, Any]]

    def answer(self, path: str, query: Json, sent: Any) -> None:
        if path.startswith("/upload/storage/v1/b/"):
            # Two parts: what it is, and what is in it.
            head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
            meta, content = message_from_bytes(head + sent).get_payload()
            name = json.loads(meta.get_payload())["name"]
            self.kept[name] = content.get_payload(decode=True)
            return self.say(self.of(name))
        if path.startswith(("/storage/v1/b/models/o/", "/download/storage/v1/b/models/o/")):
            name = path.partition("/o/")[2]
            if name not in self.kept:
                return self.say({"error": {"code": 404, "message": "no such object"}}, 404)
            if query.get("alt") == "media":
                return self.say(self.kept[name], kind="application/octet-stream")
            return self.say(self.of(name))
        if path == "/storage/v1/b/models/o":
            names = [name for name, content in self.kept.items() if isinstance(content, bytes)]
            return self.say({"items": [self.of(name) for name in names]})
        if path.endswith("/jobs") and self.command == "POST":
            job = {**sent, "status": {"state": "DONE"}, "id": "shop:EU.x", "statistics": {"query": {}}}
            job["jobReference"] = {"location": "EU", "projectId": "shop", **sent["jobReference"]}
            job["configuration"] = {"jobType": "QUERY", **sent["configuration"]}
            self.kept[job["jobReference"]["jobId"]] = job
            return self.say(job)
        if "/jobs/" in path:
            return self.say(self.kept[path.rpartition("/")[2]])
        if "/queries" in path:
            whole = {"jobComplete": True, "totalRows": "1", "rows": [{"f": [{"v": "42"}]}]}
            schema = {"fields": [{"name": "n", "type": "INTEGER", "mode": "NULLABLE"}]}
            reference = {"projectId": "shop", "jobId": "j", "location": "EU"}
            return self.say({**whole, "schema": schema, "jobReference": reference})
        return self.say({"error": {"code": 404, "message": path}}, 404)

    def of(self, name: str) -> Json:
        """An object as the API shows it."""
        return {"kind": "storage#object", "bucket": "models", "name": name, "size": str(len(self.kept[name])),
                "generation": "1", "contentType": "application/octet-stream"}  # fmt: skip


class Docker(Double):
    """A Docker Engine whose one container writes a line and ends."""

    LINE = b"trained\n"

    def answer(self, path: str, query: Json, sent: Any) -> None:
        path = path.removeprefix("/v1.44")
        if path == "/_ping":
            return self.say(b"OK", kind="text/plain")
        if path == "/version":
            return self.say({"ApiVersion": "1.44", "Version": "27"})
        if path == "/images/json":
            return self.say([{"Id": "sha256:1"}])
        if path == "/containers/create":
            return self.say({"Id": "c1", "Warnings": []}, 201)
        if path == "/containers/c1/json":
            return self.say({"Id": "c1", "Config": {"Tty": False}, "State": {"Status": "exited"}})
        if path in {"/containers/c1/attach", "/containers/c1/logs"}:
            # Its client reads what comes until the connection ends.
            self.close_connection = True
            frame = struct.pack(">BxxxL", 1, len(self.LINE)) + self.LINE
            return self.say(frame, kind="application/vnd.docker.raw-stream")
        if path == "/containers/c1/wait":
            return self.say({"StatusCode": 0})
        return self.say({}, 204)
