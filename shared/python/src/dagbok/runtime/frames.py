"""Frames: a 4-byte big-endian length and MessagePack, with times as MessagePack timestamps."""

from __future__ import annotations

import os
from typing import Any

try:
    import msgpack
except ModuleNotFoundError:  # Airflow's own Python has another package for it
    from dagbok.exact import packing as msgpack

__all__ = ["FrameError", "FrameStream", "decode", "encode", "msgpack"]

MAX_FRAME = 2**32 - 1
# An answer has at most a value of 64 MiB of JSON, which MessagePack may say in a few times as many bytes.
MAX_ANSWER = 2**28
_HEADER = 4


class FrameError(Exception):
    """The other side closed, or sent what is no frame."""


def encode(message: Any) -> bytes:
    """Return a message as one frame. Datetimes in it must know their offset."""
    body: bytes = msgpack.packb(message, datetime=True)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a message of {len(body)} bytes is larger than a frame can say")
    return len(body).to_bytes(_HEADER, "big") + body


def decode(body: bytes) -> Any:
    """Return the message of a frame's body."""
    try:
        return msgpack.unpackb(body, timestamp=3, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame is not MessagePack: {error}") from None


class FrameStream:
    """Whole frames over a stream socket's descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self._fd

    def send(self, data: bytes) -> None:
        """Write encoded frames, all of them."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except (BrokenPipeError, ConnectionResetError):
                raise FrameError("the supervisor has closed the connection") from None

    def receive(self) -> Any:
        """Read one frame, waiting for it."""
        length = int.from_bytes(self._exactly(_HEADER), "big")
        if not 0 < length <= MAX_ANSWER:
            raise FrameError(f"a frame claims {length} bytes: the stream is broken")
        return decode(self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        first = os.read(self._fd, count)
        if len(first) == count:
            return first
        parts, missing = [first], count - len(first)
        while missing and parts[-1]:
            parts.append(os.read(self._fd, min(missing, 1 << 20)))
            missing -= len(parts[-1])
        if missing:
            raise FrameError("the supervisor closed the connection in the middle of a frame")
        return b"".join(parts)
