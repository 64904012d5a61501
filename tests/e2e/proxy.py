"""A TCP proxy between a service and its broker, which holds or loses what goes one way and lets the other through,
and then cuts. It knows nothing of the protocol: what a service hears late, or never, is what a network does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from dataclasses import dataclass, field
from enum import Enum


class Way(Enum):
    """Which half of a connection a fault is about."""

    ANSWERS = "answers"
    """From the broker: what was sent has arrived, and nobody hears so."""
    WORDS = "words"
    """To the broker: what was sent arrives late, or never."""


class Fault(Enum):
    """What becomes of the bytes of that half while the fault lasts."""

    LOSE = "lose"
    """They are thrown away, and the connection is cut."""
    HOLD = "hold"
    """They are kept, and the side that sent them is cut off; then they arrive, maybe after what was sent anew."""
    DELAY = "delay"
    """They are kept, then they arrive and the connection goes on."""


@dataclass
class Half:
    """One half of one connection: bytes wait while it is stopped."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    losing: bool = False

    def __post_init__(self) -> None:
        """It begins open."""
        self.open.set()


@dataclass(eq=False)
class Connection:
    """A connection through the proxy: two streams, and two halves."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    broker: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    halves: dict[Way, Half] = field(default_factory=lambda: {way: Half() for way in Way})

    async def run(self) -> None:
        """Passes bytes both ways until one side ends."""
        words = asyncio.create_task(self._pass(self.client[0], self.broker[1], self.halves[Way.WORDS]))
        answers = asyncio.create_task(self._pass(self.broker[0], self.client[1], self.halves[Way.ANSWERS]))
        # What is held goes on its way even where the side that sent it is gone.
        await asyncio.wait({words, answers}, return_when=asyncio.ALL_COMPLETED)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, half: Half) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await half.open.wait()
                if half.losing:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Closes both sides at once."""
        for half in self.halves.values():
            half.open.set()
        for _, writer in (self.client, self.broker):
            if (transport := writer.transport) is not None:
                transport.abort()

    async def suffer(self, way: Way, fault: Fault, seconds: float) -> None:
        """One fault, from its begin to its end."""
        half = self.halves[way]
        half.open.clear()
        await asyncio.sleep(seconds)
        if fault is Fault.LOSE:
            half.losing = True
            self.cut()
        elif fault is Fault.HOLD and way is Way.WORDS:
            # The service connects anew at once; its old words arrive after that.
            self.client[1].transport.abort()
            await asyncio.sleep(seconds)
            half.open.set()
        elif fault is Fault.HOLD:
            self.broker[1].transport.abort()
            await asyncio.sleep(seconds)
            half.open.set()
        else:
            half.open.set()


class Proxy:
    """A proxy on a loopback port of its own, in a thread of its own."""

    def __init__(self, port: int, broker: int) -> None:
        """Prepares it; `start` starts it."""
        self.port, self.broker = port, broker
        self.connections: set[Connection] = set()
        self.faults = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"proxy-{port}")

    @property
    def url(self) -> str:
        """Where it takes connections."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> Proxy:
        """Starts listening."""
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        return self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker = await asyncio.open_connection("127.0.0.1", self.broker)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection((reader, writer), broker)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            connection.cut()
            self.connections.discard(connection)

    def hurt(self, rng: random.Random) -> str:
        """Begins one fault, drawn, on every connection that is there; says which. Returns at once."""
        way, fault = rng.choice(list(Way)), rng.choice(list(Fault))
        seconds = rng.uniform(0.05, 1.5)
        self.suffer(way, fault, seconds)
        return f"{way.value}: {fault.value} for {seconds:.2f} s"

    def suffer(self, way: Way, fault: Fault, seconds: float) -> None:
        """Begins this fault on every connection that is there. Returns at once."""

        async def begin() -> None:
            for connection in list(self.connections):
                task = asyncio.ensure_future(connection.suffer(way, fault, seconds))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

        asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)
        self.faults += 1

    @property
    def _running(self) -> set[asyncio.Future[None]]:
        return self.__dict__.setdefault("_tasks", set())

    def stop(self) -> None:
        """Cuts everything and ends."""

        async def end() -> None:
            for connection in list(self.connections):
                connection.cut()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
