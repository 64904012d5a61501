"""Asks timetables of a file's own when their next runs come: each in a process of its own, and not for long.

A timetable is somebody's code: it may raise, hang, end its process or answer with anything. What it answers
is kept by whoever asks, so it is asked for a day ahead, or for a few runs, whichever is more.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from json import dumps, loads
from typing import Any, NoReturn

from dagbok.authoring.dag import DAG
from dagbok.authoring.intervals import DagRunInfo, DataInterval, TimeRestriction
from dagbok.authoring.timetable_base import Timetable, form_of
from dagbok.exceptions import AirflowTimetableInvalid
from dagbok.parsing import manual_intervals
from dagbok.parsing.graph import date_range
from dagbok.parsing.manual_intervals import plain_utc
from dagbok.parsing.spec import name_of, place_of
from dagbok.timezone import rfc3339
from dagbok.tracebacks import report

Json = dict[str, Any]
# How far ahead, and how many at least and at most.
AHEAD, RUNS, MOST = timedelta(days=1), 5, 1440
# Stretches of runs at even distances, at most: what is kept of an answer has a bound.
STRETCHES = 300
# Runs that are found between two dates: one more than a backfill may have.
BETWEEN = 10_001
# How long one timetable may take, in seconds; after a little more its process is killed.
WITHIN, GRACE = 5.0, 2.0
# And where it is asked for the runs between two dates, which may be many.
WITHIN_BETWEEN = 15.0
# Timetables that are asked at once; one that has not answered after so many seconds lets another begin, and
# so many go on at most.
AT_ONCE, SOON, AT_MOST = 8, 0.5, 128
# After so many seconds none of a file begins any more, so that its other DAGs are heard of.
ALTOGETHER = 20.0
_MICRO = timedelta(microseconds=1)


class TimetableTimeout(BaseException):
    """A timetable takes too long; nothing of the file's catches it by mistake."""


def foretell(dags: list[DAG], last: dict[str, Any], folder: str) -> tuple[Json, list[Json]]:
    """Return what the DAGs' timetables answer, by DAG, and the errors of those that don't.

    `last` has the data interval of each DAG's last scheduled run, or None where there was none: a DAG that
    is not in it is not asked. With `{"from": …, "to": …}` in its place a DAG is asked for the runs of those
    logical dates that are due.
    """
    asked = [(dag, of) for dag in dags if name_of(dag) in last and (of := timetable_of(dag))]
    answers, errors = {}, []
    found = dict(_ask_apart(asked, last, folder))
    for dag, _ in asked:
        said = found[name_of(dag)]
        if "runs" in said:
            answers[name_of(dag)] = {name: said[name] for name in said.keys() - {"error"}}
        if error := said.get("error"):
            errors.append(_with_place(error, dag, folder))
    return answers, errors


def timetable_of(dag: DAG) -> Timetable | None:
    """Return the timetable that is to be asked for a DAG's runs, where it has such a one."""
    from dagbok.authoring.assets import AssetOrTimeSchedule

    timetable = dag.timetable
    if isinstance(timetable, AssetOrTimeSchedule):
        timetable = timetable.timetable
    form = form_of(timetable)
    return timetable if isinstance(form, dict) and "Python" in form else None


def _with_place(error: Json, dag: DAG, folder: str) -> Json:
    file, line = place_of(dag)
    if error.get("file") is None:
        error["file"] = os.path.relpath(file, folder) if file.startswith(folder) else None
        error["line"] = line or None
    error["message"] = f"DAG `{name_of(dag)}`: {error['message']}"
    return error


class _Asked:
    """A process that answers for one timetable."""

    def __init__(self, dag: DAG, timetable: Timetable, last: Any, folder: str) -> None:
        self.name, self.said, self.began = name_of(dag), bytearray(), time.monotonic()
        self.until = self.began + _within(last) + GRACE
        self.pipe, writer = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.pipe)
            _answer_and_exit(dag, timetable, last, folder, writer)
        os.close(writer)

    def hears(self) -> bool:
        """Take what it says; return whether that is all."""
        chunk = os.read(self.pipe, 1 << 16)
        self.said.extend(chunk)
        # Not by the pipe's end alone: a process that the timetable left behind holds it open.
        return not chunk or chunk.endswith(b"\n")

    def end(self, in_time: bool) -> tuple[str, Json]:
        """End the process, and return the DAG's id and what was said."""
        os.close(self.pipe)
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        return self.name, _document(
            bytes(self.said), self.until - self.began - GRACE if not in_time else None
        )


def _within(last: Any) -> float:
    return WITHIN_BETWEEN if last is not None and "from" in last else WITHIN


def _ask_apart(
    asked: list[tuple[DAG, Timetable]], last: dict[str, Any], folder: str
) -> Iterator[tuple[str, Json]]:
    """Ask timetables, each in a forked process; others are asked while some hang."""
    waiting, begun = deque(asked), dict[int, _Asked]()
    until = time.monotonic() + ALTOGETHER
    while True:
        now = time.monotonic()
        soon = sum(now < it.began + SOON for it in begun.values())
        while waiting and soon < AT_ONCE and len(begun) < AT_MOST and now < until:
            dag, timetable = waiting.popleft()
            one = _Asked(dag, timetable, last[name_of(dag)], folder)
            begun[one.pipe] = one
            soon += 1
        if not begun:
            break
        ends = [it.until for it in begun.values()]
        ends += [it.began + SOON for it in begun.values() if waiting and now < it.began + SOON]
        ready, _, _ = select.select(list(begun), [], [], max(0.0, min(ends) - now))
        for pipe in [pipe for pipe in ready if begun[pipe].hears()]:
            yield begun.pop(pipe).end(in_time=True)
        now = time.monotonic()
        for pipe in [pipe for pipe, it in begun.items() if it.until <= now]:
            yield begun.pop(pipe).end(in_time=False)
    for dag, _ in waiting:
        message = (
            f"its timetable was not asked for the next run: others of its file took {ALTOGETHER:.0f} s "
            "together; mend those, or move it to a file of its own"
        )
        yield name_of(dag), {"error": {**_error("Timeout", message), "may_heal": True}}


def _document(said: bytes, waited: float | None) -> Json:
    """Return what a process said; `waited` has how long it had, where it took longer."""
    if waited is None and said.endswith(b"\n"):
        return dict(loads(said))
    how = "ended its process" if waited is None else f"took longer than {waited:.0f} s"
    message = f"its timetable {how} when it was asked for the next run"
    kind = "TimetableDied" if waited is None else "Timeout"
    return {"error": {**_error(kind, message), "may_heal": True}}


def _error(kind: str, message: str) -> Json:
    return {"file": None, "line": None, "exception": kind, "message": message, "traceback": ""}


def _answer_and_exit(dag: DAG, timetable: Timetable, last: Any, folder: str, pipe: int) -> NoReturn:
    try:
        signal.signal(signal.SIGALRM, _too_long_for(_within(last)))
        # Again and again: whoever catches the first may go on.
        signal.setitimer(signal.ITIMER_REAL, _within(last), 0.2)
        document = _answer(dag, timetable, last, folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
        data = dumps(document).encode("utf-8", "replace") + b"\n"
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        os._exit(0)


def _too_long_for(seconds: float) -> Callable[[int, Any], NoReturn]:
    def too_long(signum: int, frame: Any) -> NoReturn:
        raise TimetableTimeout(f"it took longer than {seconds:.0f} s to say when runs come")

    return too_long


def _answer(dag: DAG, timetable: Timetable, last: Any, folder: str) -> Json:
    document: Json = {}
    try:
        if last is not None and "from" in last:
            return {
                "runs": _stretches(list(_between(timetable, _said(last["from"]), _said(last["to"]))), BETWEEN)
            }
        after = None if last is None else DataInterval(*(_said(last[at]) for at in ("start", "end")))
        earliest, latest = date_range(dag)
        asked = _Restriction(_optional(earliest), _optional(latest), bool(dag.catchup))
        runs = list(_runs(timetable, after, asked))
        document["runs"] = _stretches(runs)
        if after is not None:
            document["after"] = {"start": rfc3339(after.start), "end": rfc3339(after.end)}
        if not asked.looked_at:
            document["heedless"] = True
        if manual := manual_intervals.of(timetable, _instant):
            document["manual"] = manual
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        seen = report(error, folder)
        why = seen.message or seen.exception
        said = f"its timetable {type(timetable).__name__} can't say when runs come: {why}"
        document["error"] = {
            "file": seen.file,
            "line": seen.line,
            "exception": seen.exception,
            "message": said,
            "traceback": seen.traceback,
            "may_heal": True,
        }
    return document


def _said(at: str) -> datetime:
    return _instant(datetime.fromisoformat(at))


class _Restriction(TimeRestriction):
    """Notes whether somebody looked at whether to catch up."""

    looked_at = False

    def __new__(cls, earliest: Any, latest: Any, catchup: bool) -> _Restriction:
        return super().__new__(cls, earliest, latest, catchup)

    @property
    def catchup(self) -> bool:
        type(self).looked_at = True
        return bool(tuple.__getitem__(self, 2))

    def __iter__(self) -> Iterator[Any]:
        type(self).looked_at = True
        return tuple.__iter__(self)

    def __getitem__(self, place: Any) -> Any:
        type(self).looked_at = True
        return tuple.__getitem__(self, place)


def _runs(
    timetable: Timetable, after: DataInterval | None, restriction: _Restriction
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Ask for run after run: start and end of the data interval, and when it is due."""
    last = None if after is None else DagRunInfo(run_after=after.end, data_interval=after)
    until = datetime.now(UTC) + AHEAD
    count = 0
    while count < MOST:
        info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
        if info is None:
            return
        start, end, run_after = _checked(info)
        _moves_on(start, last)
        yield start, end, run_after
        if last is None:
            # Many look at it for the first run alone; all that follow it are made then.
            type(restriction).looked_at = False
        count += 1
        if count >= RUNS and run_after > until:
            return
        last = DagRunInfo(_instant(run_after), DataInterval(_instant(start), _instant(end)))


def _between(
    timetable: Timetable, first: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Ask for the runs of these logical dates that are due, as Airflow does for a backfill."""
    asked, last, now = TimeRestriction(first, end, True), None, datetime.now(UTC)
    for _ in range(BETWEEN):
        info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=asked)
        if info is None:
            return
        start, until, run_after = _checked(info)
        if start > end or run_after >= now:
            return
        _moves_on(start, last)
        yield start, until, run_after
        last = DagRunInfo(_instant(run_after), DataInterval(_instant(start), _instant(until)))


def _moves_on(start: datetime, last: DagRunInfo | None) -> None:
    if last is not None and last.data_interval is not None and start <= last.data_interval.start:
        raise AirflowTimetableInvalid(
            f"asked for the run after the one of {last.data_interval.start}, it answered with that of "
            f"{start}, which does not come later: it must move on from last_automated_data_interval"
        )


def _checked(info: Any) -> tuple[datetime, datetime, datetime]:
    """Return an answer's instants in UTC."""
    interval = getattr(info, "data_interval", None)
    given = {
        "data_interval.start": getattr(interval, "start", None),
        "data_interval.end": getattr(interval, "end", None),
        "run_after": getattr(info, "run_after", None),
    }
    for name, value in given.items():
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise AirflowTimetableInvalid(
                f"next_dagrun_info answers with a DagRunInfo whose {name} is a datetime with a time zone, "
                f"not {value!r}"
            )
    start, end, run_after = (plain_utc(value) for value in given.values() if isinstance(value, datetime))
    if end < start:
        raise AirflowTimetableInvalid(f"the data interval ends at {end}, before it starts, at {start}")
    return start, end, run_after


def _stretches(runs: list[tuple[datetime, datetime, datetime]], most: int = STRETCHES) -> list[Json]:
    """Return runs as stretches at even distances, `most` of those."""
    found: list[tuple[tuple[datetime, datetime, datetime], timedelta, int]] = []
    before = None
    for run in runs:
        if before is not None:
            first, step, count = found[-1]
            moved = {now - then for now, then in zip(run, before, strict=True)}
            if len(moved) == 1 and (count == 1 or moved == {step}):
                found[-1] = (first, moved.pop(), count + 1)
                before = run
                continue
        if len(found) == most:
            break
        found.append((run, timedelta(0), 1))
        before = run
    return [_stretch(*stretch) for stretch in found]


def _stretch(run: tuple[datetime, datetime, datetime], step: timedelta, count: int) -> Json:
    start, end, run_after = run
    form: Json = {"first": {"start": rfc3339(start), "end": rfc3339(end)}}
    if run_after != end:
        form["run_after"] = rfc3339(run_after)
    if count > 1:
        form["step"], form["count"] = step // _MICRO, count
    return form


def _optional(value: datetime | None) -> datetime | None:
    return None if value is None else _instant(value)


def _instant(value: datetime) -> datetime:
    """Return an instant in UTC as timetables expect it: pendulum's, where that is installed."""
    value = value.astimezone(UTC)
    try:
        import pendulum
    except ImportError:
        from dagbok.datetimes import DateTime

        return DateTime.instance(value)
    return pendulum.instance(value).in_timezone("UTC")
