"""The start of a triggerer's process, of Dagbok's own triggers or of an installed Airflow's."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys

from dagbok import compat, exact
from dagbok.loading import drop_working_directory
from dagbok.masking import masker
from dagbok.runtime import current, loader
from dagbok.runtime.frames import FrameStream
from dagbok.runtime.triggering import Asker, Process, logs_to_lines


def _kind() -> type[Process]:
    if not exact.is_wanted():
        return Process
    from dagbok.exact.triggerer import ExactProcess

    return ExactProcess


def main() -> None:
    """Be such a process until its socket is closed."""
    control = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    drop_working_directory()
    sys.dont_write_bytecode = True
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    compat.activate()
    process = _kind()(FrameStream(control))
    process.begin()
    asker = Asker(process)
    if exact.is_wanted():
        from dagbok.exact.triggerer import prepare

        prepare(process, asker)
    logs_to_lines(process)
    masker.tell = lambda forms: process.tell("MaskSecret", forms=list(forms))
    loader.learn_secrets(os.environ)
    current.set_supervisor(asker)  # type: ignore[arg-type]
    asyncio.run(process.run())


if __name__ == "__main__":
    main()
