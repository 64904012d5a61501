"""The one way to cut a text that is too long: it says how many bytes are missing, however often it is cut.

The words are those of the executor and the processor, which cut what comes from here once more and add up.
"""

from __future__ import annotations

import re

MARK = re.compile(r"… \((\d+) bytes cut\)")


def cut(text: str, most: int) -> str:
    """Return the start of a text in at most so many bytes of UTF-8, with words for what is missing."""
    raw = encoded(text)
    if len(raw) <= most:
        return raw.decode()
    kept = part(raw, 0, most - room(raw))
    return kept + said(raw[len(encoded(kept)) :])


def cut_middle(text: str, most: int) -> str:
    """Return both ends of a text in at most so many bytes of UTF-8, a line for what is missing between."""
    raw = encoded(text)
    if len(raw) <= most:
        return raw.decode()
    half = (most - room(raw)) // 2
    head, tail = part(raw, 0, half), part(raw, len(raw) - half, len(raw))
    middle = raw[len(encoded(head)) : len(raw) - len(encoded(tail))]
    return f"{head}\n{said(middle)}\n{tail}"


def encoded(text: str) -> bytes:
    """Return a text in UTF-8, with a mark in place of what has no form there."""
    return text.encode("utf-8", "replace")


def part(raw: bytes, start: int, end: int) -> str:
    """Return what lies between two places, without letters that are not whole."""
    return raw[max(start, 0) : max(end, 0)].decode("utf-8", "ignore")


def room(raw: bytes) -> int:
    """Return how many bytes the words for what is missing take at most."""
    return len(encoded(f"\n… ({10 ** len(str(len(raw)))}000 bytes cut)\n"))


def said(gone: bytes) -> str:
    """Return the words for what is missing once this is, where some was missing from it before."""
    missing = len(gone)
    for mark in MARK.finditer(gone.decode("utf-8", "ignore")):
        missing += int(mark[1]) - len(encoded(mark[0]))
    return f"… ({missing} bytes cut)"
