"""Variables and connections of the log while a DAG's file is read: by a socket of whoever has it read.

`DAGBOK_LOOKUP` names it. A question is a line of JSON, and so is its answer.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from dagbok.exceptions import SupervisorError

VARIABLE = "DAGBOK_LOOKUP"
# Whether anything was asked: it may change though no file does.
asked = False


def is_there() -> bool:
    """Whether somebody can be asked."""
    return VARIABLE in os.environ


def ask(request: dict[str, Any]) -> Any:
    """Return the answer to a question; None where nobody can be asked."""
    global asked
    path = os.environ.get(VARIABLE)
    if path is None:
        return None
    if not asked:
        from dagbok.runtime import logs

        logs.mask_streams()  # what is asked for may be printed
    asked = True
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
            way.connect(path)
            way.sendall(json.dumps(request).encode() + b"\n")
            with way.makefile("rb") as answers:
                answer = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise SupervisorError("GENERIC_ERROR", f"nobody answers while the file is read: {error}") from None
    if "error" in answer:
        raise SupervisorError(str(answer["error"]), answer.get("detail"))
    return answer["answer"]


def ask_anybody(request: dict[str, Any]) -> Any:
    """Ask the running task's supervisor, or who reads the file; None where there is neither."""
    from dagbok.runtime.current import supervisor_or_none

    supervisor = supervisor_or_none()
    return ask(request) if supervisor is None else supervisor.ask(request)
