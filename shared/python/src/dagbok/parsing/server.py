"""The process that reads DAG files: it stays warm, and forks for each.

`python -P -m dagbok.parsing --serve` reads requests from standard input, a JSON object a line:
`{"folder": DIR, "file": REL}`; where timetables are to be asked with `"last"`, by DAG the data interval of
its last scheduled run, `{"start": …, "end": …}` or null; with `{"from": …, "to": …}` for the runs of those
dates. To each it answers with one JSON document, a line too. With
`--folder DIR --file REL [--file REL …]` it answers for these and ends.

Before a file's answer come notes of what it depends on, a line each as soon as it is known: `{"read": FILE}`,
`{"listed": FOLDER}` and `{"sought": PLACE}`, relative to the DAG folder. The answer holds them all again;
they are for whoever has to kill an import that does not end.

Each file is imported in a forked process of its own, so that one that ends the process, or changes
modules, does nothing to the next. Standard output is the answer's alone: whatever files print goes to
standard error. When standard input ends, so does this process, with whatever is being imported.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator

# By name: a file may put something of its own in the place of the module's functions.
from json import dumps, loads
from typing import IO, Any, NoReturn

from dagbok import compat, exact
from dagbok.compat.lookup import prepare
from dagbok.loading import drop_working_directory, put_last
from dagbok.parsing.parse import Json, empty_answer, parse_file
from dagbok.parsing.tracking import LISTED, READ, SOUGHT
from dagbok.runtime import processes

# A pipe takes this much at once, so that notes of several threads stay whole.
ATOMIC = select.PIPE_BUF
# A folder, a file of it, and of which DAGs the timetables are asked, after which runs.
Asked = tuple[str, str, dict[str, Any]]
NOTED_AS = {READ: "imports", LISTED: "listed", SOUGHT: "sought"}

# What nearly every file imports, and nobody's but ours: a file's own packages are imported for it alone.
_COMMON = (
    "dagbok.authoring.mapping",
    "dagbok.authoring.taskflow",
    "dagbok.compat.refused",
    "dagbok.compat.table",
    "dagbok.models.variable",
    "dagbok.operators.bash",
    "dagbok.operators.empty",
    "dagbok.operators.python",
    "dagbok.operators.sensor",
)


def run() -> int:
    """Parse the files named, or those asked for; 0 also where files have errors."""
    parser = argparse.ArgumentParser(prog="python -P -m dagbok.parsing", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="read requests from standard input")
    parser.add_argument("--folder", help="the DAG folder; last on the import path")
    parser.add_argument("--file", action="append", help="a file, relative to the folder")
    parser.add_argument("--last", default="{}", help="as in a request, for the files named; a JSON object")
    options = parser.parse_args()
    if options.serve == bool(options.file) or bool(options.file) != bool(options.folder):
        parser.error("give --serve, or --folder and --file")
    answers = os.dup(1)  # not inheritable, so that what files start can't write to it
    os.dup2(2, 1)
    requests = _take_input()
    _own_signals()
    drop_working_directory()
    compat.activate()
    processes.become_subreaper()
    children = processes.Children()
    for name in _COMMON:
        importlib.import_module(name)
    prepare()
    _parser()
    gc.collect()
    gc.freeze()
    last = loads(options.last)
    asked = _asked(requests) if options.serve else ((options.folder, file, last) for file in options.file)
    for folder, file, last in asked:
        document = _parse_apart(
            (os.path.abspath(folder), file.replace(os.sep, "/"), last),
            answers,
            requests if options.serve else -1,
        )
        processes.sweep(children, ())  # what the import left running
        if document is None:
            break
        _write_all(answers, _line(document))
    return 0


def _take_input() -> int:
    """Move standard input away from where files could read it, and put the null device there."""
    requests = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    return requests


def _own_signals() -> None:
    """Undo what was inherited: blocked signals, and the wish that nobody is told of its children's ends."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for sign in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(sign, signal.SIG_DFL)


def _asked(requests: int) -> Iterator[Asked]:
    with os.fdopen(requests, "rb", closefd=False) as lines:
        for line in lines:
            request = loads(line)
            yield str(request["folder"]), str(request["file"]), dict(request.get("last") or {})


def _parse_apart(asked: Asked, answers: int, asker: int) -> Json | None:
    """Return what came of a file; None where whoever asked (a descriptor, or -1) is gone before that."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.close(answers)
        if asker >= 0:
            os.close(asker)
        _answer_and_exit(asked, _Voice(writer))
    os.close(writer)
    noted = empty_answer(asked[1])
    with os.fdopen(reader, "rb") as pipe:
        relayed = _Relay(pipe, answers, asker, noted).run()
    if relayed is None:
        processes.kill_one(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    _, status = os.waitpid(child, 0)
    return relayed or _died(noted, os.waitstatus_to_exitcode(status))


def _answer_and_exit(asked: Asked, voice: _Voice) -> NoReturn:
    """Parse in the forked process, say what came of it, and end, whatever the file did to this process."""
    (folder, file, last), code = asked, 1
    try:
        # What was installed since this process started is to be found.
        importlib.invalidate_caches()
        put_last(folder)
        voice.say(_line(_parser()(folder, file, voice.note, last)))
        code = 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        if code:  # ours: what files raise is part of the answer
            traceback.print_exc()
    finally:
        os._exit(code)


def _parser() -> Any:
    """Return what parses a file; Airflow's own parser is made warm."""
    if not exact.is_wanted():
        return parse_file
    from dagbok.exact import load, parse

    load.warm()
    return parse.parse_file


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


class _Relay:
    """Hands notes on as they come, until the answer."""

    def __init__(self, pipe: IO[bytes], answers: int, asker: int, noted: Json) -> None:
        self._pipe, self._answers, self._asker, self._noted = pipe, answers, asker, noted

    def run(self) -> Json | None:
        """Return the answer; an empty one where none comes, None where whoever asked is gone."""
        # To the end of the answer, not of the pipe: something the import forked may hold that open.
        begun: list[bytes] = []
        while self._asker_waits():
            chunk = os.read(self._pipe.fileno(), 1 << 16)
            if not chunk:
                return {}
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join((*begun, lines[0]))
                begun.clear()
            begun.append(rest)
            for line in lines:
                answer = self._take(line)
                if answer is not None:
                    return answer
        return None

    def _asker_waits(self) -> bool:
        """Wait for more of the pipe; whether whoever asked is still there."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if self._asker >= 0:
            poll.register(self._asker, 0)  # its end alone
        return all(fd == self._pipe.fileno() for fd, _ in poll.poll())

    def _take(self, line: bytes) -> Json | None:
        """Return what ends the file: its answer, or an empty one where a line is none of ours."""
        try:
            document = loads(line)
        except ValueError:
            return {}
        if not isinstance(document, dict):
            return {}
        if "dags" in document:
            return document
        for kind in NOTED_AS.keys() & document:
            self._noted[NOTED_AS[kind]].append(document[kind])
        _write_all(self._answers, line + b"\n")
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
