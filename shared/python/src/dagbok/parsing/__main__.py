"""`python -P -m dagbok.parsing --folder DIR --file REL [--file REL ...]`: one JSON document a line.

Before a file's answer come notes of what it depends on, a line each as soon as it is known: `{"read": FILE}`,
`{"listed": FOLDER}` and `{"sought": PLACE}`, relative to the DAG folder. The answer holds them all again;
they are for whoever has to kill an import that does not end.

Each file is imported in a forked process of its own, so that one that ends the process, or changes
modules, does nothing to the next. Standard output is the answer's alone: whatever files print goes to
standard error.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import traceback

# By name: a file may put something of its own in the place of the module's functions.
from json import dumps, loads
from typing import IO, NoReturn

from dagbok import compat
from dagbok.loading import drop_working_directory, put_last
from dagbok.parsing.parse import Json, empty_answer, parse_file
from dagbok.parsing.tracking import LISTED, READ, SOUGHT
from dagbok.runtime import processes

# A pipe takes this much at once, so that notes of several threads stay whole.
ATOMIC = select.PIPE_BUF
NOTED_AS = {READ: "imports", LISTED: "listed", SOUGHT: "sought"}


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
    put_last(folder)
    # The folder is the user's: no __pycache__ of ours in it.
    sys.dont_write_bytecode = True
    compat.activate()
    processes.become_subreaper()
    children = processes.Children()
    for file in options.file:
        document = _parse_apart(folder, file.replace(os.sep, "/"), answers)
        processes.sweep(children, ())  # what the import left running
        _write_all(answers, _line(document))
    return 0


def _parse_apart(folder: str, file: str, answers: int) -> Json:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.close(answers)
        _answer_and_exit(folder, file, _Voice(writer))
    os.close(writer)
    noted = empty_answer(file)
    with os.fdopen(reader, "rb") as pipe:
        document = _relay(pipe, answers, noted)
    _, status = os.waitpid(child, 0)
    return document or _died(noted, os.waitstatus_to_exitcode(status))


def _answer_and_exit(folder: str, file: str, voice: _Voice) -> NoReturn:
    """Parse in the forked process, say what came of it, and end, whatever the file did to this process."""
    code = 1
    try:
        voice.say(_line(parse_file(folder, file, voice.note)))
        code = 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        if code:  # ours: what files raise is part of the answer
            traceback.print_exc()
    finally:
        os._exit(code)


def _line(document: Json) -> bytes:
    # Half a surrogate pair, which JSON's escapes can say, is no text for whoever reads this.
    return dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class _Voice:
    """The importing process's way to its parent, for as long as the import leaves that open."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._opened, self._pid = pipe, os.fstat(pipe), os.getpid()

    def note(self, kind: str, inside: str) -> None:
        """Tell what the import depends on; what can't be told now stands in the answer."""
        line = _line({kind: inside})
        if len(line) <= ATOMIC:
            try:
                self.say(line)
            except OSError:
                return

    def say(self, data: bytes) -> None:
        """Write to the parent, unless this is a process that the import forked."""
        # A file that closes every descriptor may open one of its own under this number.
        if os.getpid() == self._pid and os.path.samestat(os.fstat(self._pipe), self._opened):
            _write_all(self._pipe, data)


def _relay(pipe: IO[bytes], answers: int, noted: Json) -> Json | None:
    """Hand notes on as they come, and return the answer; None where none comes."""
    # To the end of the answer, not of the pipe: something the import forked may hold that open.
    for line in pipe:
        try:
            document = loads(line)
        except ValueError:
            return None
        if not isinstance(document, dict):
            return None
        if "dags" in document:
            return document
        for kind in NOTED_AS.keys() & document:
            noted[NOTED_AS[kind]].append(document[kind])
        _write_all(answers, line)
    return None


def _died(noted: Json, code: int) -> Json:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    error = {
        "file": noted["file"],
        "line": None,
        "exception": "ParserDied",
        "message": f"the process that imported the file {how} before it was done",
        "traceback": "",
        "may_heal": True,
    }
    return {**noted, "errors": [error]}


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


if __name__ == "__main__":
    sys.exit(main())
