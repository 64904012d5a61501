"""Requests of a try to its supervisor, and the answers.

Threads of a task, and processes that it forks, take turns: one lock owns the socket from a request's
first byte to the last of its answer. A signal may interrupt the main thread while it waits for its turn
or for an answer's first byte, never in the middle of a frame.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from types import TracebackType
from typing import Any

from dagbok.exceptions import AirflowException, refusal
from dagbok.runtime import interrupts
from dagbok.runtime.frames import FrameError, FrameStream, encode
from dagbok.runtime.interrupts import held

Json = dict[str, Any]
# How often the main thread looks for a signal while another thread has the socket, in seconds.
TURN = 0.05


class _Turn:
    """The right to use the socket: among this process's threads, and with processes forked from it.

    In the main thread signals are held back meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._file: int | None = None
        self._broken: BaseException | None = None
        self._forking: set[int] = set()

    def __enter__(self) -> None:
        """Take the turn, with signals held back; says at once what broke the stream, where something did."""
        me = threading.get_ident()
        if self._owner == me:
            raise AirflowException(
                "a signal handler asked the supervisor while the thread that it interrupted was asking; "
                "do it outside the handler"
            )
        if not interrupts.in_main_thread():
            self._lock.acquire()
        else:
            interrupts.hold()
            if not self._lock.acquire(blocking=False):
                self._await_lock()
        self._owner = me
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        if self._broken is not None:
            broken = FrameError(f"the connection to the supervisor is broken: {self._broken}")
            self.__exit__(None, None, None)
            raise broken

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the turn back. A stream that broke meanwhile is broken for all of them."""
        if error is not None and isinstance(error, FrameError | OSError):
            self._broken = error
        self._owner = None
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        self._lock.release()
        if interrupts.in_main_thread():
            interrupts.release()

    def _await_lock(self) -> None:
        try:
            while not self._lock.acquire(timeout=TURN):
                interrupts.check()
        except BaseException:
            interrupts.release()
            raise

    def before_fork(self) -> None:
        """Share the right with the process to come; no frame of another thread is under way meanwhile."""
        if self._file is None:
            self._file = os.memfd_create("dagbok-turn", os.MFD_CLOEXEC)
        if self._owner != threading.get_ident():
            self._lock.acquire()
            self._forking.add(threading.get_ident())

    def in_parent(self) -> None:
        """Go on in the process that forked."""
        if threading.get_ident() in self._forking:
            self._forking.discard(threading.get_ident())
            self._lock.release()

    def in_child(self) -> None:
        """Start anew in the forked process: no thread of it has the socket."""
        self._lock, self._owner = threading.Lock(), None
        self._forking.clear()


class Supervisor:
    """The executor's end of a try's frames. Answers come in the order of the requests, by their ids."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream
        self._next_id = 1
        self._turn = _Turn()
        self._poll: select.poll | None = None

    def share_with_forks(self) -> None:
        """Have processes that the task forks ask in turns with it. Once, in the try's own process."""
        os.register_at_fork(
            before=self._turn.before_fork,
            after_in_parent=self._turn.in_parent,
            after_in_child=self._in_child,
        )

    def _in_child(self) -> None:
        self._turn.in_child()
        interrupts.after_fork()
        # Numbers that neither the parent nor another child of it uses: an answer is known by them.
        self._next_id = os.getpid() << 32

    def startup(self) -> Json:
        """Read the frame that comes unasked: what to run."""
        with held:
            frame = self._stream.receive()
        body = frame[1] if isinstance(frame, list) and len(frame) >= 2 else None
        if not isinstance(body, dict) or body.get("type") != "StartupDetails":
            raise FrameError(f"expected StartupDetails first, not {body!r:.200}")
        return body

    def tell(self, body: Json) -> None:
        """Send a request whose answer nobody waits for; an error in it is dropped."""
        with self._turn:
            self._send(body)

    def ask(self, body: Json) -> Any:
        """Send a request and return the body of its answer."""
        with self._turn:
            wanted = self._send(body)
            while True:
                if interrupts.in_main_thread():
                    interrupts.wait_readable(self._answers())
                frame = self._stream.receive()
                if not isinstance(frame, list) or len(frame) < 3:
                    raise FrameError(f"an answer is a list of id, body and error, not {frame!r:.200}")
                answered, answer, error = frame[:3]
                # Others are answers that nobody waits for: of what was told, or whose wait was interrupted.
                if answered == wanted:
                    break
        if error is not None:
            raise refusal(error)
        return answer

    def _answers(self) -> select.poll:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._stream.fd, select.POLLIN)
        return self._poll

    def _send(self, body: Json) -> int:
        request_id = self._next_id
        self._next_id += 1
        self._stream.send(encode([request_id, body]))
        return request_id
