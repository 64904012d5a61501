"""A zygote's start: what is imported before the first fork, and the loading of a DAG file."""

from __future__ import annotations

import importlib
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from dagbok import exact
from dagbok.authoring.dag import DAG
from dagbok.loading import load_file, put_last
from dagbok.masking import masker
from dagbok.models import lookup
from dagbok.operators.arguments import wishes_of
from dagbok.runtime import guard, lineage, logs, processes
from dagbok.runtime.child import set_environment
from dagbok.runtime.control import Control, Message
from dagbok.templating.render import has_template, precompile
from dagbok.tracebacks import report

Json = dict[str, Any]
LOAD_TIMEOUT = 300.0
WARM_SECONDS = 0.3
MASKS_BYTES = 32 * 1024  # in one message to the executor

# What nearly every try uses. Jinja is not among it: see `preload_for`.
_COMMON = (
    "inspect",
    "json",
    "logging",
    "random",
    "dagbok.models.configuration",
    "dagbok.operators.python",
    "dagbok.runtime.driving",
    "dagbok.runtime.rendered",
)


class LoadTimeout(BaseException):
    """A DAG file took too long to import."""


def preload() -> None:
    """Import what tries need, before anything is forked."""
    for name in _COMMON:
        importlib.import_module(name)
    if exact.is_wanted():
        from dagbok.exact.load import warm

        warm()
    logs.install()
    logs.mask_streams()
    learn_secrets(os.environ)


def learn_secrets(environ: Mapping[str, str]) -> None:
    """Learn what connections and variables in the environment hold, before anything prints it."""
    from dagbok.models import connection
    from dagbok.models.secrets import CONNECTIONS, VARIABLES

    for name, text in environ.items():
        key = VARIABLES.key_of(name)
        if key is not None:
            masker.add(text, key)
        key = CONNECTIONS.key_of(name)
        if key is not None:
            try:
                connection.read(key.lower(), text)
            except Exception:  # whoever asks for it is told what is wrong with it
                continue


def tell_secrets(control: Control) -> None:
    """Tell the executor what it must mask as well, in messages that the socket takes."""
    part: list[str] = []
    size = 0
    for form in masker.forms:
        length = len(form.encode("utf-8", "replace")) + 8
        if length > MASKS_BYTES:
            continue  # one of many lines, which are masked each
        if size + length > MASKS_BYTES:
            control.send({"type": "Mask", "forms": part})
            part, size = [], 0
        part.append(form.encode("utf-8", "replace").decode())
        size += length
    if part:
        control.send({"type": "Mask", "forms": part})


def ready(started: float, dags: list[str]) -> Json:
    """Return the message that a zygote sends once."""
    others = processes.threads_after_a_fork()
    why = f"the import started threads: {', '.join(others[:5])}" if others else None
    if lookup.asked:
        why = "the import reads variables or connections of the log, which may change"
    return {
        "type": "Ready",
        "pid": os.getpid(),
        "fork_safe": why is None,
        "why": why,
        "load_seconds": time.perf_counter() - started,
        "dags": dags,
        "python": _python(),
    }


def _python() -> str:
    """Return what tries run on, as each try's inputs say it."""
    version = platform.python_version()
    if exact.is_wanted():
        from dagbok.exact.load import version as airflow

        return f"{version}+airflow-{airflow()}"
    return version


def load_and_serve(message: Message, zygote: Any) -> NoReturn:
    """Be, in a fork of the base zygote, the zygote of one file."""
    body = message.body
    control = Control(message.fds[0])
    started = time.perf_counter()
    # While user code is being imported nobody reads the socket, so the base's end must end this too.
    processes.die_with_parent()
    try:
        dags = _load(body)
        learn_secrets(os.environ)  # again: the file may have set some
    except BaseException as error:
        tell_secrets(control)
        control.send(_failed(error, str(body.get("bundle_path")), str(body.get("file"))))
        os._exit(0)
    processes.die_with_parent(0)
    tell_secrets(control)
    control.send(ready(started, list(dags)))
    zygote(control, dags).serve()
    raise AssertionError("serve does not return")


def _load(body: Json) -> dict[str, DAG]:
    folder, file = body["bundle_path"], body["file"]
    set_environment(body.get("env") or {})
    guard.install(folder)
    put_last(folder)
    limit = float(body.get("timeout") or LOAD_TIMEOUT)

    def too_long(signum: int, frame: Any) -> None:
        raise LoadTimeout(f"importing the file took longer than {limit:g} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        dags = read_dags(folder, file)
        if not exact.is_wanted():
            lineage.warm(task for dag in dags.values() for task in dag.tasks)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.stdout.flush()
    logs.install()  # again: the file may have set up logging
    logs.mask_streams()  # and its own streams
    if not exact.is_wanted():
        for dag in dags.values():
            _warm(dag)
    return dags


def read_dags(folder: str, file: str) -> dict[str, DAG]:
    """Import a file and return its DAGs by id; in exact mode Airflow's, by its own parser."""
    if exact.is_wanted():
        from dagbok.exact.load import load

        return load(folder, file)
    return {dag.dag_id: dag for dag in load_file(folder, file).dags}


def _warm(dag: DAG) -> None:
    """Do once what every try would: read signatures, compile templates (up to a limit of time)."""
    deadline = time.perf_counter() + WARM_SECONDS
    dag.mapped_over  # noqa: B018 (it is kept once it was asked for)
    for task in dag.tasks:
        if time.perf_counter() > deadline:
            return
        function = getattr(task, "python_callable", None)
        if function is not None:
            wishes_of(function)
        for name in task.template_fields:
            for source in _templates(getattr(task, name, None)):
                precompile(dag, source)


def _templates(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if has_template(value):
            yield value
    elif isinstance(value, dict | list | tuple | set):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _templates(item)


def _failed(error: BaseException, folder: str, file: str) -> Json:
    seen = report(error, folder)
    message = seen.message
    if isinstance(error, SystemExit):
        message = f"the file called sys.exit({error.code!r}) while it was imported"
    described = {
        "exception": seen.exception,
        "message": message,
        "traceback": seen.traceback,
        "file": seen.file or file,
        "line": seen.line,
    }
    return {"type": "LoadFailed", "error": described}
