"""`python -P -m dagbok.parsing --folder DIR --file REL [--file REL ...]`: one JSON document a line.

Each file is imported in a forked process of its own, so that one that ends the process, or changes
modules, does nothing to the next. Standard output is the answer's alone: whatever files print goes to
standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

from dagbok import compat
from dagbok.loading import drop_working_directory, put_first
from dagbok.parsing.parse import parse_file
from dagbok.runtime import processes


def main() -> int:
    """Parse the files named; 0 also where files have errors."""
    parser = argparse.ArgumentParser(prog="python -P -m dagbok.parsing", description=__doc__)
    parser.add_argument("--folder", required=True, help="the DAG folder; first on the import path")
    parser.add_argument("--file", required=True, action="append", help="a file, relative to the folder")
    options = parser.parse_args()
    folder = os.path.abspath(options.folder)
    answers = os.dup(1)  # not inheritable, so that what files start can't write to it
    os.dup2(2, 1)
    drop_working_directory()
    put_first(folder)
    # The folder is the user's: no __pycache__ of ours in it.
    sys.dont_write_bytecode = True
    compat.activate()
    processes.become_subreaper()
    children = processes.Children()
    for file in options.file:
        document = _parse_apart(folder, file.replace(os.sep, "/"), answers)
        processes.sweep(children, ())  # what the import left running
        _write_all(answers, json.dumps(document).encode() + b"\n")
    return 0


def _parse_apart(folder: str, file: str, answers: int) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.close(answers)
        try:
            document = json.dumps(parse_file(folder, file)).encode()
            _write_all(writer, document + b"\n")
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        # To the end of the line, not of the file: something the import forked may hold the pipe open.
        received = pipe.readline()
    _, status = os.waitpid(child, 0)
    try:
        document = json.loads(received)
    except ValueError:
        return _died(file, os.waitstatus_to_exitcode(status))
    return document if isinstance(document, dict) else _died(file, 0)


def _died(file: str, code: int) -> dict[str, Any]:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    error = {
        "file": file,
        "line": None,
        "exception": "ParserDied",
        "message": f"the process that imported the file {how} before it was done",
        "traceback": "",
    }
    return {"file": file, "dags": [], "errors": [error], "imports": [], "warnings": []}


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    sys.exit(main())
