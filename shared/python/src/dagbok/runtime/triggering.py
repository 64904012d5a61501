"""A process of a triggerer: thousands of triggers in one asyncio loop.

Frames come on a thread of their own: so an answer reaches whoever waits for it in a thread, and a loop that
is blocked keeps nobody from being told. A second thread looks whether the loop goes round.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from dagbok import zips
from dagbok.dotted import find_by_path
from dagbok.loading import load_file, put_last
from dagbok.masking import mask
from dagbok.runtime import logs
from dagbok.runtime.frames import FrameError, FrameStream, encode
from dagbok.runtime.values import from_json, to_json
from dagbok.surface.triggers import BaseTaskEndEvent, BaseTrigger
from dagbok.tracebacks import user_traceback

Json = dict[str, Any]
# How long the loop may stand still before that is said, in seconds, and how often it is said again.
BLOCKED = 1.0
AGAIN = 10.0
# How often the loop shows that it goes round, and how often that is told, in seconds.
TURN = 0.2
BEAT = 5.0
# After how many seconds a watcher's trigger that came to its end is made anew.
ANEW = 1.0

_number: ContextVar[int | None] = ContextVar("trigger_number", default=None)


class Line(logging.Handler):
    """Sends each record of a trigger to its log."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    def emit(self, record: logging.LogRecord) -> None:
        """Send one, if it is of a trigger."""
        number = _number.get()
        try:
            if number is None:
                print(mask(f"{record.name}: {record.getMessage()}"), file=sys.stderr)
                return
            self._process.tell("TriggerLine", number=number, line=json.dumps(logs.describe(record)))
        except Exception:
            self.handleError(record)


class Asker:
    """What a trigger's thread asks the API by; stands where a task has its supervisor."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def ask(self, body: Json) -> Any:
        """Send a request of the trigger that this is called for, and return the body of its answer."""
        from dagbok.exceptions import AirflowException, refusal

        number = _number.get()
        if number is None:
            raise AirflowException("this can only be asked while a trigger runs")
        answer, error = self._process.ask({**body, "trigger_number": number})
        if error is not None:
            raise refusal(error)
        return answer


class Process:
    """The frames, the loop and the triggers in it."""

    def __init__(self, stream: FrameStream) -> None:
        self._stream = stream
        self._writing = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[tuple[Any, Any]]] = {}
        self._last_id = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._files: dict[str, Any] = {}
        self._loading = threading.Lock()
        self._folder: str | None = None
        self._has_zip = False
        self._turned = time.monotonic()

    def tell(self, kind: str, **fields: Any) -> None:
        """Say something that nobody answers."""
        with self._writing:
            self._stream.send(encode([0, {"type": kind, **fields}]))

    def ask(self, body: Json) -> tuple[Any, Any]:
        """Ask, and wait for the answer and its error."""
        answered: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        with self._writing:
            self._last_id += 1
            self._waiting[self._last_id] = answered
            self._stream.send(encode([self._last_id, body]))
        return answered.get()

    def begin(self) -> None:
        """Hear whose triggers these are."""
        body = self._stream.receive()[1]
        self._folder = body.get("folder")
        if self._folder is not None:
            put_last(self._folder)

    async def run(self) -> None:
        """Run triggers until the frames end, which ends the process."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        threading.Thread(target=self._watch, args=(loop, threading.get_ident()), daemon=True).start()
        told = 0.0
        while True:
            self._turned = time.monotonic()
            if self._turned - told > BEAT:
                self.tell("Beat")
                told = self._turned
            await asyncio.sleep(TURN)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while True:
                number, body, error = self._stream.receive()
                if number:
                    waiting = self._waiting.pop(number, None)
                    if waiting is not None:
                        waiting.put((body, error))
                elif body["type"] == "RunTrigger":
                    loop.call_soon_threadsafe(self._start, body)
                elif body["type"] == "CancelTrigger":
                    loop.call_soon_threadsafe(self._cancel, body["number"])
        except (FrameError, OSError):
            os._exit(0)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        said = 0.0
        while True:
            time.sleep(BLOCKED / 4)
            still = time.monotonic() - self._turned
            if still < BLOCKED:
                said = 0.0
                continue
            if said and still < said + AGAIN:
                continue
            said = still if said else 0.001
            # Past it by then: said once more, so that it is ended.
            self._tell_blocked(loop, thread, still)

    def _tell_blocked(self, loop: asyncio.AbstractEventLoop, thread: int, still: float) -> None:
        frame = sys._current_frames().get(thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        task = asyncio.current_task(loop)
        name = task.get_name() if task is not None else ""
        number = int(name.removeprefix("trigger-")) if name.startswith("trigger-") else None
        self.tell("TriggerBlocks", number=number, seconds=still, stack=mask(stack))

    def _start(self, body: Json) -> None:
        number = body["number"]
        task = asyncio.get_running_loop().create_task(self._run_one(body), name=f"trigger-{number}")
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    def _cancel(self, number: int) -> None:
        task = self._tasks.pop(number, None)
        if task is not None:
            task.cancel()

    async def _run_one(self, body: Json) -> None:
        number: int = body["number"]
        _number.set(number)
        follow = self._watch_on if body.get("watches") else self._follow
        going_on = True
        while going_on:
            try:
                trigger = await self._make(body)
            except BaseException as error:
                self._ended_badly(number, "not_made", error)
                return
            try:
                going_on = await follow(number, trigger)
            except BaseException as error:
                self._ended_badly(number, "raised", error)
                return
            finally:
                await _clean_up(trigger)
            if going_on:
                await asyncio.sleep(ANEW)

    async def _make(self, body: Json) -> BaseTrigger:
        path = body["classpath"]
        # An import may take its time, and others' triggers go on meanwhile.
        kind = await asyncio.to_thread(self._find, path, body["file"])
        trigger: BaseTrigger = kind(**from_json(json.loads(body["kwargs"])))
        trigger.trigger_id = body["number"]
        names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "logical_date")
        trigger.task_instance = SimpleNamespace(**{name: body[name] for name in names})
        return trigger

    def _find(self, path: str, file: str) -> Any:
        """Return the class at a path: importable, or of the DAG's own file."""
        with self._loading:
            self._put_zip_first(file)
            try:
                return find_by_path(path)
            except (ImportError, AttributeError):
                if self._folder is None:
                    raise
                if file not in self._files:
                    self._files[file] = load_file(self._folder, file).module
                    logs_to_lines(self)
                module, _, name = path.rpartition(".")
                found = self._files[file]
                stem = os.path.splitext(os.path.basename(file))[0]
                # A DAG file's name goes by its folder, which is another one where it was deferred.
                is_dag_file = module.startswith("dagbok_dag_") and module.endswith(f"_{stem}")
                if is_dag_file or module.rpartition(".")[2] == stem:
                    return getattr(found, name)
                return find_by_path(path)

    def _put_zip_first(self, file: str) -> None:
        """Have imports look in the DAG's zip first, once: all triggers here are of one zip, or of none."""
        if self._folder is None or self._has_zip:
            return
        zipped = zips.split(os.path.join(self._folder, *file.split("/")))
        if zipped is not None:
            zips.put_first(zipped[0])
            self._has_zip = True

    async def _watch_on(self, number: int, trigger: BaseTrigger) -> bool:
        """Tell of each event of an asset's watcher; one that came to its end is made anew."""
        async for event in trigger.run():
            self.tell("TriggerFired", number=number, event=self._payload(event), ends=None, xcoms={})
        return True

    async def _follow(self, number: int, trigger: BaseTrigger) -> bool:
        async for event in trigger.run():
            ends, xcoms, payload = self._told_of(event)
            if ends not in {None, "success", "failed", "skipped"}:
                raise ValueError(f"an event may end its task as success, failed or skipped, not as {ends}")
            self.tell("TriggerFired", number=number, event=payload, ends=ends, xcoms=xcoms)
            return False
        self.tell(
            "TriggerFailed", number=number, why="no_event", traceback="the trigger ended without an event"
        )
        return False

    def _told_of(self, event: Any) -> tuple[str | None, Json, str]:
        """Return how an event ends its task, what it hands on, and its payload as text."""
        ends = event.task_instance_state if isinstance(event, BaseTaskEndEvent) else None
        word = None if ends is None else str(getattr(ends, "value", ends))
        xcoms = getattr(event, "xcoms", None) or {} if word else {}
        return (
            word,
            {key: to_json(value, f"the XCom `{key}`") for key, value in xcoms.items()},
            self._payload(event),
        )

    def _payload(self, event: Any) -> str:
        return json.dumps(to_json(event.payload, "the payload of the trigger's event"))

    def _ended_badly(self, number: int, why: str, error: BaseException) -> None:
        # One that nobody waits for is taken out before it is cancelled; any other cancelling is its own.
        if not isinstance(error, asyncio.CancelledError) or number in self._tasks:
            self._failed(number, why, error)

    def _failed(self, number: int, why: str, error: BaseException) -> None:
        self.tell("TriggerFailed", number=number, why=why, traceback=mask(user_traceback(error)))


async def _clean_up(trigger: BaseTrigger) -> None:
    try:
        await trigger.cleanup()
    except Exception:
        logging.getLogger(__name__).exception("a trigger could not clean up")


def logs_to_lines(process: Process) -> None:
    """Make the triggers' logs the root logger's only handler; again after user code set up its own."""
    root = logging.getLogger()
    root.handlers[:] = [Line(process)]
    root.setLevel(logs.level())
