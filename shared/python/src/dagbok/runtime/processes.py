"""Processes below this one: who they are, and making sure that none outlives its try.

A try is a subreaper, so that what it daemonises stays below it; when it ends, all of that comes to the
zygote, which is one too, and finds it in its own list of children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Container

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl

DEATH_WAIT = 0.05
TRIAL_WAIT = 2.0  # seconds that a fork for trial may take to end, on a busy machine
THREADS_END = 0.1
MAX_ROUNDS = 200


def become_subreaper() -> None:
    """Have orphans below this process come to it, not to init."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def die_with_parent(sign: int = signal.SIGKILL) -> None:
    """Have this process killed when its parent ends; 0 takes that back."""
    _prctl(_PR_SET_PDEATHSIG, sign, 0, 0, 0)


def be_readable() -> None:
    """Have this process find its own files below /proc, which belong to root after a change of the user."""
    _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


class Children:
    """The pids right below this process, read from the kernel's list."""

    def __init__(self) -> None:
        path = f"/proc/self/task/{threading.get_native_id()}/children"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel without that list
            self._fd = -1

    def close(self) -> None:
        """Close the list."""
        if self._fd >= 0:
            os.close(self._fd)

    def pids(self) -> list[int]:
        """Return the pids, the dead that nobody has waited for among them."""
        if self._fd < 0:
            return _children_by_scan()
        text, offset = b"", 0
        while part := os.pread(self._fd, 1 << 16, offset):
            text += part
            offset += len(part)
            if len(part) < 1 << 12:
                break
        return [int(pid) for pid in text.split()]


def _children_by_scan() -> list[int]:
    own, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == own:
                found.append(int(name))
    return found


def kill_group(pid: int, sign: int) -> None:
    """Signal the process group of a child that nobody has waited for yet."""
    try:
        os.killpg(pid, sign)
    except ProcessLookupError:
        # It has not made its group yet.
        kill_one(pid, sign)


def kill_one(pid: int, sign: int) -> None:
    """Signal a process, if it is there and ours to signal."""
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def sweep(children: Children, known: Container[int]) -> int:
    """Kill every child that is not known, and what then comes up from below it; return how many lived."""
    lived = 0
    for _ in range(MAX_ROUNDS):
        strangers = [pid for pid in children.pids() if pid not in known]
        if not strangers:
            break
        lived += sum(_was_alive(pid) for pid in strangers)
        undead = [pid for pid in strangers if not _wait_for_death(pid)]
        if undead:
            break  # one that can't die now is waited for at the next sweep
    return lived


def _was_alive(pid: int) -> bool:
    """Whether a child lived until it was killed; kills it."""
    try:
        dead = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    kill_one(pid, signal.SIGKILL)
    # The dead by SIGKILL are those that the killing of the group has just reached.
    return dead is None or (dead.si_code == os.CLD_KILLED and dead.si_status == signal.SIGKILL)


def _wait_for_death(pid: int, wait: float = DEATH_WAIT) -> bool:
    deadline = time.monotonic() + wait
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0002)


def threads() -> list[str]:
    """Return the names of the threads besides the main one; those that Python does not know as `native`."""
    known = {
        thread.native_id: thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    }
    try:
        tasks = [int(task) for task in os.listdir("/proc/self/task")]
    except OSError:
        return list(known.values())
    others = [task for task in tasks if task != os.getpid()]
    return [known.get(task, "native") for task in others if task in known or not _is_ready_for_forks(task)]


def threads_after_a_fork() -> list[str]:
    """Return the threads that make a fork unsafe: those that a fork leaves running.

    Native pools know forks: OpenBLAS ends its threads before each (`pthread_atfork`) and starts them again
    when there is work, in the parent and in the child, as many as before. So a child is forked that does
    nothing, and what is left counts. A thread that Python knows is never ended by that.
    """
    others = threads()
    if not others or any(name != "native" for name in others) or not _forks_and_lives():
        return others
    deadline = time.monotonic() + THREADS_END
    while (others := threads()) and time.monotonic() < deadline:
        time.sleep(0.001)  # one that was joined may stand in /proc for a moment
    return others


def _is_ready_for_forks(task: int) -> bool:
    """Whether a fork may leave a thread behind: jemalloc locks its arenas and cleans up in the child."""
    try:
        with open(f"/proc/self/task/{task}/comm") as file:
            return file.read().strip() == "jemalloc_bg_thd"
    except OSError:
        return True  # it has ended


def _forks_and_lives() -> bool:
    """Whether a child that does nothing comes to its end: what libraries do at a fork may hang."""
    try:
        pid = os.fork()
    except OSError:
        return False  # no more processes are allowed, or there is no memory
    if pid == 0:
        os._exit(0)
    if _wait_for_death(pid, TRIAL_WAIT):
        return True
    kill_one(pid, signal.SIGKILL)
    _wait_for_death(pid)
    return False
