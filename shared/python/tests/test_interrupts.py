"""Signals wait for the end of a frame."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from dagbok.exceptions import AirflowTaskTimeout
from dagbok.runtime import interrupts
from dagbok.runtime.frames import FrameStream, encode
from dagbok.runtime.supervisor import Supervisor


@pytest.fixture(autouse=True)
def open_again() -> Iterator[None]:
    yield
    interrupts.disarm_timeout()
    interrupts.reopen()


def test_a_timeout_in_the_middle_of_an_answer_leaves_the_stream_whole() -> None:
    ours, theirs = socket.socketpair()
    passed = threading.Event()

    def answer() -> None:
        first = encode([1, {"value": "one"}, None])
        theirs.sendall(first[:6])
        passed.wait(0.5)  # the alarm goes off in here
        theirs.sendall(first[6:])
        theirs.sendall(encode([2, {"value": "two"}, None]))
        theirs.shutdown(socket.SHUT_WR)  # so that a torn stream ends, instead of being waited on

    thread = threading.Thread(target=answer)
    supervisor = Supervisor(FrameStream(ours.fileno()))
    interrupts.arm_timeout(0.1)
    thread.start()
    with pytest.raises(AirflowTaskTimeout):
        supervisor.ask({"type": "GetVariable", "key": "a"})
    assert supervisor.ask({"type": "GetVariable", "key": "b"}) == {"value": "two"}
    thread.join()
    ours.close()
    theirs.close()


def test_a_timeout_outside_of_frames_is_raised_at_once() -> None:
    interrupts.arm_timeout(0.05)
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout, match=r"0\.05 s"):
        time.sleep(10)
    assert time.monotonic() - started < 5


def test_nothing_interrupts_after_shut() -> None:
    interrupts.arm_timeout(0.05)
    interrupts.shut()
    time.sleep(0.1)
