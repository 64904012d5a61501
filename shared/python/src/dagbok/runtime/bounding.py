"""The bounds that a try's process puts itself into, before any of the user's code runs in it."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from typing import Any

from dagbok.runtime import processes

# It and what it starts go before the executor, whatever value the executor itself has.
_MOST_ADJ = 1000


class Unbounded(Exception):
    """The process can't be bounded as it is to be, so that the task does not begin."""

    # By the machine's doing, or by what the task asks for, which another try would ask for too.
    kind = "could_not_start"


class UnknownUser(Unbounded):
    """Nobody here can run as the user that the task names."""

    kind = "not_allowed"


def stay_within(bounds: Mapping[str, Any], parent: int) -> None:
    """Join the cgroup, take the limits, go to the working directory, and become another user."""
    try:
        _stay_within(bounds, parent)
    except (OSError, ValueError) as error:
        raise Unbounded(f"its process can't be bounded: {error}") from error


def _stay_within(bounds: Mapping[str, Any], parent: int) -> None:
    if group := bounds.get("cgroup"):
        _write(os.path.join(group, "cgroup.procs"), "0", "its cgroup can't be joined")
    if (adj := bounds.get("oom_score_adj")) is not None:
        _prefer_to_others(int(adj))
    if most := bounds.get("data"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = int(most) if hard == resource.RLIM_INFINITY else min(int(most), hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    user = bounds.get("user")
    if cwd := bounds.get("cwd"):
        os.chdir(cwd)
    if user:
        _become(user, cwd, parent)


def _prefer_to_others(adj: int) -> None:
    """Have the kernel kill this process before others where there is no more memory."""
    with open("/proc/self/oom_score_adj") as file:
        now = int(file.read())
    # Only root may lower it, and nobody needs to.
    _write("/proc/self/oom_score_adj", str(min(_MOST_ADJ, max(adj, now + 1))), "oom_score_adj can't be set")


def _write(path: str, text: str, what: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise Unbounded(f"{what}: {path}: {error.strerror}") from error


def _become(user: str, cwd: str | None, parent: int) -> None:
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise UnknownUser(f"run_as_user names `{user}`, whom this machine does not know") from None
    if entry.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        raise UnknownUser(
            f"run_as_user names `{user}`, and this executor runs as user {os.geteuid()}: only one that runs "
            "as root can start a task as somebody else"
        )
    if cwd:
        os.chown(cwd, entry.pw_uid, entry.pw_gid)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)
    # Both are lost with the change of the user.
    processes.be_readable()
    processes.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
