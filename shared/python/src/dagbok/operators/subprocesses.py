"""A command in a process group of its own, its output line by line to the task's log."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from logging import Logger
from typing import Any


class Command:
    """Runs commands, one after the other, and can be told to end the one that runs."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._process: Any = None

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
        """Run one to its end; return its exit code and its last line."""
        import subprocess

        from dagbok.runtime.interrupts import held

        with held:  # told to end between the start and the assignment, `end` would miss it
            self._process = subprocess.Popen(
                argv,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        last = ""
        for raw in self._process.stdout:
            last = raw.decode(errors="backslashreplace").rstrip()
            self._log.info("%s", last)
        return self._process.wait(), last

    def end(self) -> None:
        """Tell the group of the one that runs to end, and wait for it."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        process.wait()
