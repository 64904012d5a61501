"""The control socket between executor and zygote: one MessagePack map a message, descriptors beside it."""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dagbok.runtime.frames import msgpack

MAX_MESSAGE = 64 * 1024
MAX_FDS = 8
_FD_SIZE = array.array("i").itemsize


@dataclass(frozen=True)
class Message:
    """What the executor said, and the descriptors that came with it."""

    body: dict[str, Any]
    fds: list[int]
    raw: bytes = b""

    def close(self) -> None:
        """Close its descriptors."""
        for fd in self.fds:
            os.close(fd)


class Control:
    """The zygote's end. Sending never blocks: what the socket does not take waits in a queue."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._waiting: deque[bytes] = deque()

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    @property
    def backlog(self) -> bool:
        """Whether messages wait for the socket."""
        return bool(self._waiting)

    def receive(self) -> Message | None:
        """Return the next message; None at the end. Raises BlockingIOError where there is none yet."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                MAX_MESSAGE, socket.CMSG_SPACE(MAX_FDS * _FD_SIZE), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % _FD_SIZE])
        if not data:
            Message({}, list(fds)).close()
            return None
        return Message(_body(data, flags), list(fds), data)

    def send(self, body: Mapping[str, Any]) -> None:
        """Send a message, or queue it."""
        self._waiting.append(msgpack.packb(body))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._waiting:
            try:
                self._socket.send(self._waiting[0])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._waiting.clear()  # the end is seen when reading
                return
            self._waiting.popleft()

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _body(data: bytes, flags: int) -> dict[str, Any]:
    if flags & socket.MSG_TRUNC:
        return {"type": "Malformed", "why": f"a message is longer than {MAX_MESSAGE} bytes"}
    try:
        body = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as error:
        return {"type": "Malformed", "why": f"a message is not MessagePack: {error}"}
    if not isinstance(body, dict):
        return {"type": "Malformed", "why": "a message is no map"}
    return body
