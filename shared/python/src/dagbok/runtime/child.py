"""The forked process of a try: its own session, its own descriptors, then the runner."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from dagbok import exact
from dagbok.exceptions import AirflowTaskTerminated, SupervisorError
from dagbok.runtime import bounding, interrupts, logs, parting, processes
from dagbok.runtime.control import Message
from dagbok.runtime.frames import FrameError, FrameStream
from dagbok.runtime.runner import FindDag, run_try
from dagbok.runtime.supervisor import Supervisor

BLOCKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
EXIT_INTERNAL = 70
EXIT_TERMINATED = 128 + signal.SIGTERM


def run_and_exit(message: Message, parent: int, find_dag: FindDag, *, is_separate: bool = False) -> NoReturn:
    """Be the try of a message until it is over. Exit handlers don't run: they are the zygote's."""
    fds, body = message.fds, message.body
    code = EXIT_INTERNAL
    try:
        if not is_separate:
            separate(parent)
        _settle(fds)
        set_environment(body.get("env") or {})
        # It is for files that are read before: a task's own processes would fetch what nobody masks.
        os.environ.pop("DAGBOK_LOOKUP", None)
        bounding.stay_within(body.get("bounds") or {}, parent)
        interrupts.after_fork()
        supervisor = Supervisor(FrameStream(fds[0]))
        supervisor.share_with_forks()
        if exact.is_wanted():
            from dagbok.exact import lines
            from dagbok.exact.runner import run_try as run_exactly

            lines.configure(fds[3])
            run_exactly(supervisor, find_dag)
        else:
            run_try(supervisor, find_dag)
        code = 0
    except AirflowTaskTerminated:
        code = EXIT_TERMINATED
    except bounding.Unbounded as error:
        print(f"dagbok: the task was not begun: {error}", file=sys.stderr)
        _tell_unbounded(fds[0], error)
    except FrameError as error:
        print(f"dagbok: the task's process lost its supervisor: {error}", file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        parting.flush()
        os._exit(code)


def separate(parent: int) -> None:
    """Lead a session, keep what comes below, and end with the process that forked this one."""
    os.setsid()
    processes.become_subreaper()
    processes.die_with_parent()
    if os.getppid() != parent:
        os._exit(EXIT_INTERNAL)  # it ended before its death could be watched
    reseed()


def _settle(fds: list[int]) -> None:
    _, out, err, log = fds
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    logs.send_to(log)
    # Past the wrapper, which makes members of an enum of what was blocked: a dozen pages of a fresh process.
    _signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


def _tell_unbounded(fd: int, error: bounding.Unbounded) -> None:
    """Tell the executor why the task was not begun."""
    try:
        supervisor = Supervisor(FrameStream(fd))
        supervisor.startup()
        supervisor.tell({"type": "TaskError", "kind": error.kind, "exception": "", "message": str(error)})
        supervisor.ask({"type": "TaskState", "state": "failed", "end_date": None})
    except (FrameError, SupervisorError, OSError) as lost:
        print(f"dagbok: the executor can't be told: {lost}", file=sys.stderr)


def reseed() -> None:
    """Give numpy's own generator a new seed; Python reseeds its own after a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def set_environment(env: Mapping[str, str | None]) -> None:
    """Set variables; None takes one away."""
    for name, value in env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
