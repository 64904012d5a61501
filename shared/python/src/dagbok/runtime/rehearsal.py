"""A try rehearsed before there is one, so that tries find the caches warm and their pages their own.

What Python learns of code and types while it runs (caches of attributes, specialised instructions) it
writes into the pages of that code and those types, and each page first written after a fork is copied.
So the base zygote rehearses before its first fork, and a spare once more in the pages that are its own.
Nobody sees a rehearsal: its supervisor is the other end of a pair of sockets, with the answers in it
before it begins, its DAG is no file's, and what it sets for its task is put back. Where a DAG file has
put code of its own in place of what a rehearsal runs, that would see it: then there is none. Hooks that
hear all that the interpreter does, as those of `sys.addaudithook`, hear it too.
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType
from typing import Any

from dagbok.authoring.dag import DAG
from dagbok.authoring.taskflow import task
from dagbok.masking import masker
from dagbok.runtime import current, interrupts
from dagbok.runtime.frames import FrameStream, encode
from dagbok.runtime.runner import run_try
from dagbok.runtime.supervisor import Supervisor

Json = dict[str, Any]
# As many page faults of a try are saved by three as by twenty (measured), and each takes half a millisecond.
TIMES = 3
# More requests than a rehearsal has.
ANSWERS = 8


# What the base zygote rehearsed; what that called, by its module and name; what stood under the names that
# this used; the names that the classes had of whose objects it was called.
_stage: DAG | None = None
_called: dict[tuple[str, str], Any] = {}
_used: dict[tuple[str, str], Any] = {}
_classes: dict[type, frozenset[str]] = {}


def rehearse() -> None:
    """Run a try of nothing, a few times over, and leave nothing of it but what Python learned."""
    global _stage
    with DAG("rehearsal", schedule=None, start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) as _stage:
        nothing = task(_nothing)
        before_it = nothing.override(task_id="before")(0)
        nothing.override(task_id="task")(0, before_it)
        nothing.override(task_id="copy").expand(number=before_it)
    with _left_as_it_was():
        for _ in range(TIMES):
            _once(_stage, "task", -1)
            _once(_stage, "copy", 0)
        _note(lambda: _once(_stage, "task", -1))


def is_possible() -> bool:
    """Whether a rehearsal would run what it ran at first, and nobody else's code."""
    return (
        _stage is not None
        and all(_named(*name) is it for name, it in _called.items())
        and all(vars(sys.modules[module]).get(name) is it for (module, name), it in _used.items())
        and all(frozenset(vars(cls)) == names for cls, names in _classes.items())
    )


def again_unheard() -> None:
    """Run the try of nothing once more, where nobody's code would hear of it."""
    try:
        if not is_possible():
            return
        assert _stage is not None
        with _left_as_it_was():
            _once(_stage, "task", -1)
    except Exception:
        return  # something is another than it looks: what was learned is learned, and the rest was put back


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        masker.tell = None
        current.set_supervisor(None)
        current.set_context(None)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _note(run: Callable[[], None]) -> None:
    """Run it, and note what it calls and uses that can be found by name."""

    def call(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code, module = frame.f_code, frame.f_globals.get("__name__")
        # What is made anew at each call, and what can't be found by its name, is part of what can.
        if module is not None and code is _code_of(it := _named(module, code.co_qualname)):
            _called[module, code.co_qualname] = it
        for where in (frame.f_globals, *_modules(frame.f_globals, code.co_names)):
            found = {name: where[name] for name in code.co_names if name in where}
            _used.update(((where["__name__"], name), it) for name, it in found.items() if _is_code(it))
        if code.co_argcount:
            of = frame.f_locals[code.co_varnames[0]]
            _classes.update((cls, frozenset(vars(cls))) for cls in type(of).__mro__[:-1])

    before = sys.getprofile()
    sys.setprofile(call)
    try:
        run()
    finally:
        sys.setprofile(before)


def _is_code(found: Any) -> bool:
    """Whether it is what code is called by; what else stands in a module may change."""
    return callable(found) or isinstance(found, ModuleType)


def _modules(where: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the contents of the modules that stand under some of the names."""
    found = [where.get(name) for name in names]
    return [vars(it) for it in found if isinstance(it, ModuleType) and it.__name__ in sys.modules]


def _named(module: str, name: str) -> Any:
    """Return what stands under a name now, as it stands there."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    return found


def _code_of(found: Any) -> CodeType | None:
    """Return the code that a function, a property or a method of a class runs in the end."""
    found = found.fget if isinstance(found, property) else found
    found = getattr(found, "__func__", found)
    while (inner := getattr(found, "__wrapped__", None)) is not None:
        found = inner
    return getattr(found, "__code__", None)


def _nothing(number: int, before: int | None = None) -> int:
    return number


def _stay() -> None:
    """Where a try would leave, a rehearsal goes on."""


def _once(dag: DAG, task_id: str, map_index: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames = [encode([0, _details(task_id, map_index), None])]
        # To who asks for a value, or for an element of a list; others don't look at what they are answered.
        answer = {"value": 0, "is_there": True, "kind": "list", "len": 1, "element": 0}
        frames += [encode([number, answer, None]) for number in range(1, ANSWERS)]
        ours.sendall(b"".join(frames))
        supervisor = Supervisor(FrameStream(theirs.fileno()))
        try:
            run_try(supervisor, lambda dag_id: dag, leave=_stay)
        finally:
            interrupts.reopen()


def _details(task_id: str, map_index: int) -> Json:
    """Return what the executor says first to a try."""
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    dates = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
    names = {"dag_id": "rehearsal", "run_id": "manual__1"}
    own = {**names, "task_id": task_id, "map_index": map_index}
    run = {
        **names,
        **dict.fromkeys(dates, at),
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": None,
    }
    return {
        "type": "StartupDetails",
        "ti": {"id": "0", **own, "try_number": 1, "hostname": "here"},
        "dag_rel_path": "rehearsal.py",
        "bundle_info": {"name": "dags", "version": None, "path": None},
        "start_date": at,
        "ti_context": {"dag_run": run, "max_tries": 0, "task_reschedule_count": 0, "should_retry": False},
        "execution_timeout_us": None,
    }
