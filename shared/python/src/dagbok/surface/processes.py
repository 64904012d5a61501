"""What `airflow.utils.process_utils`, `platform`, `net`, `timeout` and `compression` have."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from dagbok.exceptions import AirflowTaskTimeout

__all__ = [
    "IS_WINDOWS",
    "execute_in_subprocess",
    "execute_in_subprocess_with_kwargs",
    "get_host_ip_address",
    "get_hostname",
    "getfqdn",
    "getuser",
    "is_terminal_support_colors",
    "is_tty",
    "is_venv_installed",
    "md5",
    "patch_environ",
    "timeout",
    "uncompress_file",
]
IS_WINDOWS = False


@contextlib.contextmanager
def patch_environ(new_env_variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the time of a block."""
    before = {name: os.environ.get(name) for name in new_env_variables}
    os.environ.update(new_env_variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def execute_in_subprocess(cmd: list[str], cwd: str | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command, its output in the task's log; raise CalledProcessError where it fails."""
    execute_in_subprocess_with_kwargs(cmd, cwd=cwd, env=env)


def execute_in_subprocess_with_kwargs(cmd: list[str], **kwargs: Any) -> None:
    """Do the same with any arguments of `subprocess.Popen`."""
    import logging
    import shlex
    import subprocess

    log = logging.getLogger("airflow.task")
    log.info("Executing cmd: %s", shlex.join(cmd))
    with subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs) as process:
        for line in process.stdout or ():
            log.info("%s", line.decode(errors="replace").rstrip())
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, cmd)


def is_venv_installed() -> bool:
    """Whether an environment for a task of its own can be made."""
    import importlib.util
    import shutil

    return shutil.which("virtualenv") is not None or importlib.util.find_spec("venv") is not None


def getuser() -> str:
    """Return the name of the user that runs this process."""
    import getpass

    return getpass.getuser()


def is_tty() -> bool:
    """Whether a terminal reads the output."""
    return sys.stdout.isatty()


def is_terminal_support_colors() -> bool:
    """Whether a terminal reads the output and shows colours."""
    return is_tty() and os.environ.get("TERM") not in {None, "dumb"}


def get_hostname() -> str:
    """Return this machine's name."""
    return getfqdn()


def getfqdn(name: str = "") -> str:
    """Return a machine's full name."""
    import socket

    return socket.getfqdn(name)


def get_host_ip_address() -> str:
    """Return this machine's address."""
    import socket

    return socket.gethostbyname(getfqdn())


def md5(*args: Any, **kwargs: Any) -> Any:
    """Return MD5 as a checksum, also where it may not serve for security."""
    import hashlib

    return hashlib.md5(*args, **{"usedforsecurity": False, **kwargs})


def uncompress_file(input_file_name: str, file_extension: str, dest_dir: str) -> str:
    """Unpack a .gz or .bz2 file into a folder; return the path of what came out."""
    import bz2
    import gzip
    import shutil
    import tempfile

    if file_extension.lower() not in {".gz", ".bz2"}:
        raise NotImplementedError(f"{file_extension} files can't be unpacked; .gz and .bz2 can")
    opened: Any = gzip.open if file_extension.lower() == ".gz" else bz2.open
    with (
        opened(input_file_name, "rb") as packed,
        tempfile.NamedTemporaryFile(dir=dest_dir, delete=False) as out,
    ):
        shutil.copyfileobj(packed, out)
    return out.name


class timeout(contextlib.AbstractContextManager["timeout"]):
    """Raises AirflowTaskTimeout in a block that takes longer than so many seconds; in a main thread."""

    def __init__(self, seconds: float = 1, error_message: str = "Timeout") -> None:
        super().__init__()
        self.seconds, self.error_message = seconds, f"{error_message}, PID: {os.getpid()}"
        self._before: Any = None

    def handle_timeout(self, signum: int, frame: Any) -> None:
        """Raise."""
        raise AirflowTaskTimeout(self.error_message)

    def __enter__(self) -> timeout:
        import signal

        self._before = signal.signal(signal.SIGALRM, self.handle_timeout)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def __exit__(self, *exception: object) -> None:
        import signal

        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
