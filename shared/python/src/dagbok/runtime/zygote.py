"""The zygote: a single-threaded process that has imported what tries need, and forks one for each.

`python -P -m dagbok.runtime.zygote` with the control socket as descriptor 0. The base zygote has no DAG
file; told to load one, it forks a zygote that has. No event loop, no threads: a fork copies only what
is here.
"""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from dagbok import compat, exact
from dagbok.authoring.dag import DAG
from dagbok.loading import drop_working_directory, put_last
from dagbok.runtime import child, guard, interrupts, loader, processes, rehearsal
from dagbok.runtime.control import Control, Message
from dagbok.runtime.runner import DagMissing
from dagbok.runtime.spares import Spares

Json = dict[str, Any]
TRY_FDS = 4
MAX_NAP = 1.0  # seconds; a fence must also be noticed after the machine has slept


@dataclass
class Try:
    """A forked try that nobody has waited for yet."""

    key: str
    pid: int
    fenced: bool = False


class Zygote:
    """Serves one control socket until its end."""

    def __init__(
        self, control: Control, dags: dict[str, DAG] | None = None, *, spares_for: float = 0.0
    ) -> None:
        self._control = control
        self._dags = dags
        self._spares_for = spares_for
        # The base has loaded nothing that a spare could begin with.
        self._spares = Spares(spares_for if dags is not None else 0.0, self._find_loaded)
        self._tries: dict[int, Try] = {}
        self._by_key: dict[str, Try] = {}
        self._children = processes.Children()
        # What the DAG file itself started at import stays; so do zygotes forked from this one.
        self._kept: set[int] = set(self._children.pids())
        self._fence_after: float | None = None
        self._heard = 0.0
        self._poll = select.poll()
        self._pidfds: dict[int, int] = {}

    def serve(self) -> NoReturn:
        """Serve until the executor closes the socket, then end everything and exit."""
        processes.become_subreaper()  # a fork does not inherit it
        gc.collect()
        gc.freeze()
        while True:
            wants = select.POLLIN | (select.POLLOUT if self._control.backlog else 0)
            self._poll.register(self._control.fd, wants)
            for fd, event in self._poll.poll(self._patience()):
                if fd in self._pidfds:
                    self._reap(fd)
                elif event & select.POLLOUT:
                    self._control.flush()
            if not self._read():
                self._end()
            self._fence()
            self._fork_ahead()

    # Messages

    def _read(self) -> bool:
        """Handle every message that is there; False at the end of the socket."""
        while True:
            try:
                message = self._control.receive()
            except BlockingIOError:
                return True
            if message is None:
                return False
            self._heard = _clock()
            self._handle(message)

    def _handle(self, message: Message) -> None:
        body = message.body
        kind = body.get("type")
        if kind == "Run":
            self._run(message)
        elif kind == "Load":
            self._load(message)
        elif kind == "Malformed":
            # It may have been a try to fork or to kill: the executor starts anew with another zygote.
            _complain(f"ends, since it was told what it can't understand: {body.get('why')}")
            self._end()
        else:
            if kind == "Kill":
                self._kill(body)
            elif kind == "Tick":
                self._fence_after = float(body["fence_after"])
            else:
                _complain(f"ignored a message of type {kind!r}: {body.get('why', 'unknown')}")
            message.close()

    def _run(self, message: Message) -> None:
        body, key = message.body, str(message.body.get("key"))
        problem = self._problem(message, key)
        if problem is not None:
            message.close()
            self._control.send({"type": "ForkFailed", "key": key, "message": problem})
            return
        find_dag = self._find_loaded if self._dags is not None else _find_by_import(body)
        pid = self._spares.take(message)
        if pid is None:
            parent = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:
                message.close()
                problem = f"fork failed: {error.strerror}"
                self._control.send({"type": "ForkFailed", "key": key, "message": problem})
                return
            if pid == 0:
                self._leave()
                child.run_and_exit(message, parent, find_dag)
            self._watch(pid)
        self._tries[pid] = self._by_key[key] = Try(key, pid)
        message.close()
        self._control.send({"type": "Forked", "key": key, "pid": pid})
        self._spares.want()

    def _fork_ahead(self) -> None:
        """Fork a spare for the next try, where there is time for it."""
        if self._is_overdue():
            return
        self._spares.trim()
        pid = self._spares.make(len(self._tries), self._leave)
        if pid is not None:
            self._watch(pid)

    def _problem(self, message: Message, key: str) -> str | None:
        if len(message.fds) != TRY_FDS:
            came = len(message.fds)
            return f"a Run comes with {TRY_FDS} descriptors (frames, stdout, stderr, logs), not {came}"
        if key in self._by_key:
            return f"the try {key} is running already"
        if self._dags is None and not (message.body.get("bundle_path") and message.body.get("file")):
            return "a Run for the base zygote names bundle_path and file"
        return None

    def _load(self, message: Message) -> None:
        if len(message.fds) != 1 or self._dags is not None:
            message.close()
            _complain("ignored a Load: it needs one descriptor, and goes to the base zygote")
            return
        pid = os.fork()
        if pid == 0:
            self._leave()
            loader.load_and_serve(message, functools.partial(Zygote, spares_for=self._spares_for))
        self._kept.add(pid)
        self._watch(pid)
        message.close()

    def _kill(self, body: Json) -> None:
        running = self._by_key.get(str(body.get("key")))
        if running is not None:
            processes.kill_group(running.pid, int(body["signal"]))

    def _find_loaded(self, dag_id: str) -> DAG:
        assert self._dags is not None
        try:
            return self._dags[dag_id]
        except KeyError:
            raise DagMissing(
                f"the file has no DAG `{dag_id}`; it has {', '.join(self._dags) or 'none'}"
            ) from None

    def _leave(self) -> None:
        """Close, in a forked child, what is the zygote's."""
        self._control.close()
        self._children.close()
        self._spares.leave()
        for fd in self._pidfds:
            os.close(fd)

    # Ends

    def _watch(self, pid: int) -> None:
        """Have the poll wake when a child ends."""
        fd = os.pidfd_open(pid)
        self._pidfds[fd] = pid
        self._poll.register(fd, select.POLLIN)

    def _reap(self, fd: int) -> None:
        pid = self._pidfds.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        finished = self._tries.get(pid)
        if finished is not None:
            self._finish(finished)
            return
        os.waitpid(pid, 0)
        self._kept.discard(pid)
        self._spares.forget(pid)
        processes.sweep(self._children, self._known())

    def _finish(self, finished: Try) -> None:
        # The group first: until its leader is waited for, the number can't be another's.
        processes.kill_group(finished.pid, signal.SIGKILL)
        _, status, usage = os.wait4(finished.pid, 0)
        del self._tries[finished.pid], self._by_key[finished.key]
        leftovers = processes.sweep(self._children, self._known())
        self._spares.keep()
        code = os.waitstatus_to_exitcode(status)
        self._control.send(
            {
                "type": "Exited",
                "key": finished.key,
                "pid": finished.pid,
                "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "max_rss_bytes": usage.ru_maxrss * 1024,
                "user_us": round(usage.ru_utime * 1_000_000),
                "system_us": round(usage.ru_stime * 1_000_000),
                "fenced": finished.fenced,
                "leftovers": leftovers,
            }
        )

    def _known(self) -> set[int]:
        return self._kept.union(self._tries, self._spares.pids)

    def _patience(self) -> float | None:
        """Milliseconds that the poll may wait: until a fence, or a spare's end; None for ever."""
        waits = [self._spares.patience()]
        if self._fence_after is not None and self._tries:
            waits.append(max(0.0, min(self._heard + self._fence_after - _clock(), MAX_NAP)))
        known = [wait for wait in waits if wait is not None]
        return min(known) * 1000 + 1 if known else None

    def _fence(self) -> None:
        """Kill every try when the executor has been silent for too long."""
        if not self._is_overdue():
            return
        for running in self._tries.values():
            if not running.fenced:
                running.fenced = True
                processes.kill_group(running.pid, signal.SIGKILL)

    def _is_overdue(self) -> bool:
        return self._fence_after is not None and _clock() >= self._heard + self._fence_after

    def _end(self) -> NoReturn:
        for pid in self._tries:
            processes.kill_group(pid, signal.SIGKILL)
        for pid in list(self._tries):
            os.waitpid(pid, 0)
        self._tries.clear()
        self._spares.end()
        if self._dags is not None:
            self._kept.clear()  # what the file started at its import ends with it
        processes.sweep(self._children, self._kept)
        os._exit(0)


def _find_by_import(body: Json) -> Any:
    def find(dag_id: str) -> DAG:
        folder, file = body["bundle_path"], body["file"]
        guard.install(folder)
        put_last(folder)
        dags = loader.read_dags(folder, file)
        if dag_id not in dags:
            raise DagMissing(f"{file} has no DAG `{dag_id}`; it has {', '.join(dags) or 'none'}")
        return dags[dag_id]

    return find


def _clock() -> float:
    """Seconds since boot, sleep included: a lease goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _complain(text: str) -> None:
    print(f"dagbok zygote: {text}", file=sys.stderr, flush=True)


def take_control_socket() -> Control:
    """Move descriptor 0 away from where user code could read it, and put the null device there."""
    control = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    return Control(control)


def main() -> NoReturn:
    """Be the base zygote."""
    started = time.perf_counter()
    control = take_control_socket()
    spares_for = float(os.environ.pop("DAGBOK_SPARES_FOR", "0"))
    drop_working_directory()
    sys.dont_write_bytecode = True
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    # A drain goes on after SIGTERM or Ctrl-C: only the end of the control socket ends a zygote. The
    # handler is the tries', which only have to unblock.
    signal.pthread_sigmask(signal.SIG_BLOCK, child.BLOCKED)
    signal.signal(signal.SIGTERM, interrupts.on_terminate)
    compat.activate()
    loader.preload()
    if not exact.is_wanted():
        rehearsal.rehearse()
    loader.tell_secrets(control)
    control.send(loader.ready(started, []))
    Zygote(control, spares_for=spares_for).serve()


if __name__ == "__main__":
    main()
