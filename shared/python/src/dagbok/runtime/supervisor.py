"""Requests of a try to its supervisor, and the answers."""

from __future__ import annotations

from typing import Any

from dagbok.exceptions import SupervisorError
from dagbok.runtime.frames import FrameError, FrameStream, encode
from dagbok.runtime.interrupts import held

Json = dict[str, Any]


class Supervisor:
    """The executor's end of a try's frames. Answers come in the order of the requests, by their ids."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream
        self._next_id = 1
        self._unanswered: list[int] = []

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
        self._unanswered.append(self._send(body))

    def ask(self, body: Json) -> Any:
        """Send a request and return the body of its answer."""
        with held:
            wanted = self._send(body)
            while True:
                frame = self._stream.receive()
                if not isinstance(frame, list) or len(frame) < 3:
                    raise FrameError(f"an answer is a list of id, body and error, not {frame!r:.200}")
                answered, answer, error = frame[:3]
                if answered == wanted:
                    break
                if answered in self._unanswered:
                    self._unanswered.remove(answered)
        if error is not None:
            raise SupervisorError(str(error.get("error")), error.get("detail"))
        return answer

    def _send(self, body: Json) -> int:
        request_id = self._next_id
        self._next_id += 1
        with held:
            self._stream.send(encode([request_id, body]))
        return request_id
