"""A process of a triggerer whose triggers are Airflow's: its classes, serialization, connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

from dagbok.exact import load, part, startup
from dagbok.exact.comms import Comms
from dagbok.runtime.triggering import Process

Json = dict[str, Any]


class ExactProcess(Process):
    """The same frames and the same loop."""

    async def _make(self, body: Json) -> Any:
        kind = await asyncio.to_thread(self._find, body["classpath"], body["file"])
        said = json.loads(body["kwargs"])
        if isinstance(said, dict) and said.keys() == {startup.ENCODED}:
            kwargs = startup.deserialized(said[startup.ENCODED]) or {}
        else:
            from dagbok.runtime.values import from_json

            kwargs = from_json(said)
        trigger = kind(**kwargs)
        trigger.trigger_id = body["number"]
        names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "logical_date")
        with contextlib.suppress(AttributeError):  # where its class makes that of its own
            trigger.task_instance = _Named({name: body[name] for name in names})
        return trigger

    def _told_of(self, event: Any) -> tuple[str | None, Json, str]:
        """Return how an event ends its task, what it hands on, and its payload in Airflow's own form."""
        ends = getattr(event, "task_instance_state", None)
        word = None if ends is None else str(getattr(ends, "value", ends))
        xcoms = getattr(event, "xcoms", None) or {} if word else {}
        return word, {key: startup.serialized(value) for key, value in xcoms.items()}, self._payload(event)

    def _payload(self, event: Any) -> str:
        return startup.encoded_text(startup.serialized(event.payload))


class _Named:
    """A task instance as triggers ask for it: names alone."""

    def __init__(self, names: Json) -> None:
        self.__dict__.update(names)


def prepare(process: Process, asker: Any) -> None:
    """Give Airflow's code its line to us, before any trigger is made."""
    load.warm()
    runner = part("airflow.sdk.execution_time.task_runner")
    runner.SUPERVISOR_COMMS = Comms(asker.ask)
    part("airflow.sdk.execution_time.supervisor").block_orm_access()
    sys.stdout.flush()
