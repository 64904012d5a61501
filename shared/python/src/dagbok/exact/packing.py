"""MessagePack by msgspec, which every Airflow brings along, in the place of msgpack, which none does."""

from __future__ import annotations

import importlib
from typing import Any

_msgspec: Any = importlib.import_module("msgspec")
_encoder = _msgspec.msgpack.Encoder()
_decoder = _msgspec.msgpack.Decoder()


class UnpackException(Exception):
    """Bytes are no MessagePack."""


def packb(message: Any, datetime: bool = True) -> bytes:
    """Return a message's bytes; times become MessagePack timestamps."""
    packed: bytes = _encoder.encode(message)
    return packed


def unpackb(body: bytes, timestamp: int = 3, strict_map_key: bool = False) -> Any:
    """Return the message of some bytes; timestamps become datetimes in UTC."""
    try:
        return _decoder.decode(body)
    except _msgspec.MsgspecError as error:
        raise UnpackException(str(error)) from None


__all__ = ["UnpackException", "packb", "unpackb"]
