"""What an operator read and wrote, asked of its own methods once its try is over, in a process apart.

Where it names nothing, what its hooks say that they touched stands for it, as in Airflow.

Nothing that an extractor does changes how the try ended: that is told before. One that raises, hangs, dies or
returns what is no lineage is a line in the try's log.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import json
import logging
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dagbok.masking import masked
from dagbok.surface import lineage as hooks

if TYPE_CHECKING:
    from dagbok.runtime.context import Context
    from dagbok.runtime.results import Outcome
    from dagbok.runtime.supervisor import Supervisor

log = logging.getLogger("airflow.task")

# As Airflow's `[openlineage] execution_timeout`, in seconds; below what a process has after its last word.
SECONDS, MOST_SECONDS = 10.0, 15.0
TIME_VARIABLE = "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT"
# The executor refuses 64 KiB; masks that it alone knows may add a little.
MOST_BYTES = 60 << 10
MOST_DATASETS = 1_000
_DEPTH, _LARGE = 16, 2**63
_NAMED = 10
_START = "get_openlineage_facets_on_start"
_COMPLETE = "get_openlineage_facets_on_complete"
_FAILURE = "get_openlineage_facets_on_failure"
# Any of them says, where a DAG file is loaded, that its tries may be asked.
_WANTED = (
    "OPENLINEAGE_URL",
    "OPENLINEAGE_CONFIG",
    "AIRFLOW__OPENLINEAGE__TRANSPORT",
    "DAGBOK__LINEAGE__URL",
    "DAGBOK__LINEAGE__FILE",
    "DAGBOK__LINEAGE__TRANSPORT",
)
# What operators import when they are asked: half a second, which each try would pay.
_PROVIDERS = (
    "airflow.providers.openlineage.extractors",
    "airflow.providers.openlineage.sqlparser",
)
_PARTS = ("inputs", "outputs", "run_facets", "job_facets")
_SIDES = {"inputs": "inputFacets", "outputs": "outputFacets"}
Json = dict[str, Any]


def warm(tasks: Iterable[Any]) -> None:
    """Import, before the first fork, what operators of a file import when they are asked.

    What becomes of that is no matter: whoever is asked imports it again.
    """
    if not any(os.environ.get(name) for name in _WANTED):
        return
    if any(callable(getattr(task, name, None)) for task in tasks for name in (_START, _COMPLETE, _FAILURE)):
        with contextlib.suppress(Exception):
            for name in _PROVIDERS:
                importlib.import_module(name)


def begin() -> None:
    """Keep from here on what hooks say that they touched, for where the operator itself says nothing."""
    hooks.collect()


def tell(context: Context, outcome: Outcome, supervisor: Supervisor) -> None:
    """Ask the task's operator what it read and wrote, if it can say so, and tell the supervisor."""
    ask = _question(context, outcome)
    if ask is None and not hooks.get_hook_lineage_collector().has_collected:
        return
    try:
        said = _apart(lambda: _asked(ask))
        if said:
            supervisor.ask({"type": "TaskLineage", "lineage": said})
    except Exception as error:
        log.warning("lineage: it can't be told: %s: %s", type(error).__name__, error)


def _question(context: Context, outcome: Outcome) -> Callable[[], Any] | None:
    """Return which method is asked, as Airflow's provider chooses: that of the end, or else one before."""
    task, ti = context["task"], context["ti"]
    names = (_FAILURE, _COMPLETE) if outcome.state in {"failed", "up_for_retry"} else (_COMPLETE,)
    for name in names:
        method = getattr(task, name, None)
        if callable(method):
            return functools.partial(method, ti)
    method = getattr(task, _START, None)
    return method if callable(method) else None


def _seconds() -> float:
    try:
        said = float(os.environ.get(TIME_VARIABLE) or SECONDS)
    except ValueError:
        return SECONDS
    return min(said, MOST_SECONDS) if said > 0 else SECONDS


def _apart(ask: Callable[[], Json | None]) -> Json | None:
    """Return what a forked process says, within its time; whatever becomes of it stays there."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        # That of Python 3.12 on, of threads: who hangs for one is killed.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(theirs, ask)
    os.close(theirs)
    try:
        text = _hear(ours, child, _seconds())
    finally:
        os.close(ours)
    return json.loads(text) if text else None


def _answer(to: int, ask: Callable[[], Json | None]) -> None:
    """Be the process that asks, and end."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        said = ask()
        view = memoryview(json.dumps(said, separators=(",", ":")).encode() if said else b"")
        while view:
            view = view[os.write(to, view) :]
    except BaseException as error:
        log.warning("lineage: the operator can't say it: %s: %s", type(error).__name__, error)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)


def _hear(ours: int, child: int, seconds: float) -> bytes:
    said, part = b"", b"-"
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    ends = time.monotonic() + seconds
    while part and poll.poll(max(ends - time.monotonic(), 0) * 1000):
        part = os.read(ours, 1 << 16)
        said += part
    if part:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if part:
        log.warning("lineage: the operator did not say it within %g s; it is left out", seconds)
        return b""
    if code:
        log.warning("lineage: the process that asked the operator ended with %d; it is left out", code)
        return b""
    return said


def _asked(ask: Callable[[], Any] | None) -> Json | None:
    lineage = ask() if ask is not None else None
    if lineage is not None and not any(hasattr(lineage, name) for name in _PARTS):
        raise TypeError(f"{type(lineage).__name__} is no OperatorLineage")
    left: list[str] = []
    said: Json = {side: _datasets(getattr(lineage, side, None), side, left) for side in _SIDES}
    if not any(said.values()):
        touched = hooks.get_hook_lineage_collector().collected_assets
        said = {
            side: [{"uri": _without_login(it.asset.uri)} for it in getattr(touched, side)] for side in _SIDES
        }
    for name in ("run_facets", "job_facets"):
        said[name] = _facets(getattr(lineage, name, None), name, left)
    said = {name: value for name, value in masked(said).items() if value}
    _fit(said, left)
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        log.warning(
            "lineage: left out, as too large or as what it is not: %s%s", ", ".join(left[:_NAMED]), more
        )
    return said or None


def _without_login(uri: str) -> str:
    scheme, there, rest = uri.partition("://")
    login, at, _ = rest.partition("/")[0].rpartition("@")
    # What stands there without a password may be a container of Azure's stores.
    return f"{scheme}{there}{rest[len(login + at) :]}" if ":" in login else uri


def _datasets(all_of_them: Any, side: str, left: list[str]) -> list[Json]:
    found: list[Json] = []
    for n, dataset in enumerate(all_of_them or ()):
        place = f"{side}[{n}]"
        names = {name: getattr(dataset, name, None) for name in ("namespace", "name")}
        if n >= MOST_DATASETS or not all(isinstance(text, str) and text for text in names.values()):
            left.append(place)
            continue
        of: Json = dict(names)
        for name in ("facets", _SIDES[side]):
            facets = _facets(getattr(dataset, name, None), place, left)
            if facets:
                of[name] = facets
        found.append(of)
    return found


def _facets(facets: Any, place: str, left: list[str]) -> Json:
    found: Json = {}
    for name, facet in (facets or {}).items():
        value = _plain(facet, 0)
        if isinstance(name, str) and isinstance(value, dict):
            found[name] = value
        else:
            left.append(f"{place}.{name}")
    return found


def _plain(value: Any, depth: int) -> Any:
    """Return the JSON form of what the client's models hold; what is not said is not there."""
    if depth > _DEPTH:
        raise ValueError(f"more than {_DEPTH} levels within each other")
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int | float):
        # Neither JSON nor a frame has others.
        return value if abs(value) < _LARGE else str(value)
    fields = getattr(type(value), "__attrs_attrs__", None) or getattr(type(value), "__dataclass_fields__", {})
    if fields:
        names = [field if isinstance(field, str) else field.name for field in fields]
        value = {name: getattr(value, name, None) for name in names}
    if isinstance(value, Mapping):
        plain = {str(key): _plain(item, depth + 1) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [_plain(item, depth + 1) for item in items]
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _fit(said: Json, left: list[str]) -> None:
    """Take away what is too large: the largest facets first, then the last datasets."""
    over = _size(said) - MOST_BYTES
    if over <= 0:
        return
    holders: list[tuple[Json, str]] = [
        (said[name], name) for name in ("run_facets", "job_facets") if name in said
    ]
    for side, own in _SIDES.items():
        for n, of in enumerate(said.get(side, ())):
            holders += [(of[name], f"{side}[{n}]") for name in ("facets", own) if name in of]
    facets = [
        (_size(facet), holder, name, place) for holder, place in holders for name, facet in holder.items()
    ]
    facets.sort(key=lambda it: it[0], reverse=True)
    for size, holder, name, place in facets:
        if over <= 0:
            break
        del holder[name]
        left.append(f"{place}.{name}")
        over -= size
    for side in ("inputs", "outputs"):
        while over > 0 and said.get(side):
            over -= _size(said[side].pop())
            left.append(f"{side}[{len(said[side])}]")


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")).encode())
