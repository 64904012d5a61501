"""What hooks are found by, and the hook for commands that Airflow 2 shipped itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from dagbok.models.hook import BaseHook

__all__ = ["DiscoverableHook", "SubprocessHook", "SubprocessResult", "working_directory"]


class DiscoverableHook:
    """What a hook says of itself to be found by its connection's type."""

    conn_name_attr: str
    default_conn_name: str
    conn_type: str
    hook_name: str


class SubprocessResult(NamedTuple):
    """How a command ended, and its last line."""

    exit_code: int
    output: str


@contextlib.contextmanager
def working_directory(cwd: str | None = None) -> Iterator[str]:
    """Give a folder for the time of a block: the one that is named, or a new one."""
    if cwd is not None:
        yield cwd
        return
    with tempfile.TemporaryDirectory(prefix="airflowtmp") as folder:
        yield folder


class SubprocessHook(BaseHook):
    """Runs a command, its output in the task's log."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sub_process: subprocess.Popen[bytes] | None = None

    def run_command(
        self,
        command: list[str],
        env: dict[str, str] | None = None,
        output_encoding: str = "utf-8",
        cwd: str | None = None,
    ) -> SubprocessResult:
        """Run a command in a group of processes of its own; in a new folder where none is named."""
        with working_directory(cwd) as folder:
            self.log.info("Running command: %s", command)
            self.sub_process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=env if env or env == {} else os.environ.copy(),
                start_new_session=True,
            )
            line = ""
            for raw in self.sub_process.stdout or ():
                line = raw.decode(output_encoding, errors="backslashreplace").rstrip()
                self.log.info("%s", line)
            code = self.sub_process.wait()
            self.log.info("Command exited with return code %s", code)
        return SubprocessResult(code, line)

    def send_sigterm(self) -> None:
        """Tell the command and what it started to end."""
        if self.sub_process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(os.getpgid(self.sub_process.pid), signal.SIGTERM)
