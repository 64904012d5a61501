"""Signals wait for the end of a frame."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from dagbok.exceptions import AirflowException, AirflowTaskTimeout
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


def test_a_timeout_while_an_answer_is_awaited_comes_at_once_and_the_late_answer_is_passed_over() -> None:
    ours, theirs = socket.socketpair()
    supervisor = Supervisor(FrameStream(ours.fileno()))
    interrupts.arm_timeout(0.1)
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout):
        supervisor.ask({"type": "GetVariable", "key": "a"})
    assert time.monotonic() - started < 5
    theirs.sendall(encode([1, {"value": "late"}, None]) + encode([2, {"value": "two"}, None]))
    assert supervisor.ask({"type": "GetVariable", "key": "b"}) == {"value": "two"}
    ours.close()
    theirs.close()


def test_a_timeout_reaches_the_main_thread_while_another_thread_asks() -> None:
    ours, theirs = socket.socketpair()
    supervisor = Supervisor(FrameStream(ours.fileno()))
    got: list[object] = []
    asking = threading.Thread(target=lambda: got.append(supervisor.ask({"type": "GetVariable", "key": "a"})))
    asking.start()
    theirs.recv(1 << 16)  # the thread has the socket now, and waits
    interrupts.arm_timeout(0.1)
    with pytest.raises(AirflowTaskTimeout):
        time.sleep(10)
    interrupts.arm_timeout(0.1)
    with pytest.raises(AirflowTaskTimeout):
        supervisor.ask({"type": "GetVariable", "key": "b"})  # it waits for its turn
    theirs.sendall(encode([1, {"value": "one"}, None]))
    asking.join(10)
    assert got == [{"value": "one"}]
    ours.close()
    theirs.close()


def test_a_signal_handler_that_asks_amid_a_request_is_told_so() -> None:
    ours, theirs = socket.socketpair()
    supervisor = Supervisor(FrameStream(ours.fileno()))
    errors: list[str] = []

    def handler(signum: int, frame: object) -> None:
        try:
            supervisor.ask({"type": "GetVariable", "key": "b"})
        except AirflowException as error:
            errors.append(str(error))
        theirs.sendall(encode([1, {"value": "one"}, None]))

    before = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    try:
        assert supervisor.ask({"type": "GetVariable", "key": "a"}) == {"value": "one"}
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "outside the handler" in errors[0]
    ours.close()
    theirs.close()


def test_nothing_interrupts_while_the_result_is_told() -> None:
    ours, theirs = socket.socketpair()
    supervisor = Supervisor(FrameStream(ours.fileno()))
    interrupts.arm_timeout(0.05)
    interrupts.shut()
    signal.signal(signal.SIGTERM, interrupts.on_terminate)

    def answer() -> None:
        theirs.recv(1 << 16)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)  # the main thread is waiting for the answer by then
        theirs.sendall(encode([1, {"value": "one"}, None]))

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        assert supervisor.ask({"type": "SucceedTask"}) == {"value": "one"}
    finally:
        answering.join(10)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ours.close()
    theirs.close()
