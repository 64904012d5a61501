"""Somebody who may do everything on the broker and knows its protocol: deletes, purges, and writes garbage."""

from __future__ import annotations

import json
import socket
from typing import Any

from harness import NAMESPACE, Nats, password


class Rogue:
    """A connection of its own for each deed."""

    def __init__(self, nats: Nats) -> None:
        """Remembers where the broker is."""
        self.nats = nats

    def _ask(self, subject: str, payload: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.nats.port), timeout=10.0) as wire:
            options = {"user": "rogue", "pass": password("rogue"), "verbose": False, "pedantic": False}
            lines = wire.makefile("rb")
            assert lines.readline().startswith(b"INFO ")
            wire.sendall(f"CONNECT {json.dumps(options)}\r\nSUB _INBOX.rogue 1\r\nPING\r\n".encode())
            assert lines.readline() == b"PONG\r\n"
            wire.sendall(f"PUB {subject} _INBOX.rogue {len(payload)}\r\n".encode() + payload + b"\r\n")
            head = lines.readline().split()
            assert head[0] == b"MSG", f"{subject}: {head!r}"
            return lines.read(int(head[-1]))

    def api(self, name: str, **question: Any) -> dict[str, Any]:
        """Asks JetStream."""
        answer: dict[str, Any] = json.loads(self._ask(f"$JS.API.{name}", json.dumps(question).encode()))
        return answer

    def stream(self, part: str) -> str:
        """A stream of the namespace."""
        return f"KV_dagbok_{NAMESPACE}_state" if part == "state" else f"dagbok_{NAMESPACE}_{part}"

    def delete(self, part: str) -> None:
        """Deletes a stream."""
        answer = self.api(f"STREAM.DELETE.{self.stream(part)}")
        assert answer.get("success"), answer

    def purge(self, part: str) -> None:
        """Empties a stream."""
        answer = self.api(f"STREAM.PURGE.{self.stream(part)}")
        assert answer.get("success"), answer

    def delete_consumer(self, part: str, name: str) -> None:
        """Deletes who pulls from a stream."""
        answer = self.api(f"CONSUMER.DELETE.{self.stream(part)}.{name}")
        assert answer.get("success"), answer

    def put(self, subject: str, payload: bytes) -> None:
        """Stores a message in whatever stream takes the subject."""
        answer = json.loads(self._ask(subject, payload))
        assert "seq" in answer, answer

    def put_state(self, key: str, payload: bytes) -> None:
        """Stores a value under a key of the keyed state."""
        self.put(f"$KV.dagbok_{NAMESPACE}_state.{key}", payload)

    def drop_state(self, key: str) -> None:
        """Takes a value of the keyed state away, as if it had never been."""
        subject = f"$KV.dagbok_{NAMESPACE}_state.{key}"
        answer = self.api(f"STREAM.PURGE.{self.stream('state')}", filter=subject)
        assert answer.get("success"), answer

    def put_log(self, payload: bytes) -> None:
        """Stores what is no record on the log."""
        self.put(f"dagbok.{NAMESPACE}.log.rogue", payload)
