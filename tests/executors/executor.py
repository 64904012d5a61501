"""An executor for Dagbok by its protocol alone (schemas/executor-protocol.json), for the tasks of a Python file."""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import time
from typing import Any

import msgpack
import nats
from nats.errors import Error as NatsError

Json = dict[str, Any]
PROTOCOL, LEASE, HOST = 2, 10.0, os.uname().nodename
USAGE = ("max_rss_bytes", "user_us", "system_us")


def escaped(text: str, sign: bytes = b"%", these: bytes = rb"[.*>%\x00- \x7f-\xff]") -> str:
    return re.sub(these, lambda it: sign + b"%02X" % it[0][0], text.encode()).decode()


def tokens(key: str) -> str:
    return escaped(key, b"=", rb"[^A-Za-z0-9_/-]").replace("/", ".")


class Executor:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.root, self.space = args, f"dagbok.{args.namespace}.", f"dagbok_{args.namespace}"
        self.id, self.kv = f"python-{os.urandom(8).hex()}", f"$KV.{self.space}_state."
        self.beat, self.cordon, self.found, self.leaving, self.held, self.answers = 0, None, None, False, {}, {}

    async def command(self, body: Json, asks: bool = False) -> Any:
        ident = os.urandom(16).hex()
        word = {"id": ident, "by": {"Executor": self.id}, "sent_at": time.time_ns() // 1000, "body": body}
        word |= {"reply_to": f"answers.{self.id}.{ident}"} if asks else {}
        while True:
            future = self.answers[ident] = asyncio.get_running_loop().create_future()
            with contextlib.suppress(NatsError, TimeoutError):  # A second copy is known by its id.
                await self.js.publish(f"{self.root}inbox.{ident}", msgpack.packb(word))
                return await asyncio.wait_for(future, 5) if asks else self.answers.pop(ident)

    async def get(self, key: str) -> bytes | None:
        found = await self.nc.request(f"$JS.API.DIRECT.GET.KV_{self.space}_state.{self.kv}{key}", b"", timeout=5)
        return None if {"Status", "KV-Operation", "Nats-Marker-Reason"} & set(found.headers or {}) else found.data

    async def show(self) -> Json:
        word = await self.get(tokens(f"cordon/{self.args.name}"))
        self.cordon, self.beat = msgpack.unpackb(word) if word else None, self.beat + 1
        self.leaving |= bool(self.cordon and self.cordon["drain"] and self.cordon["seq"] != self.found)
        who = {"executor": self.id, "name": self.args.name, "hostname": HOST, "version": "1", "protocol": PROTOCOL}
        can = {"slots": self.args.slots, "queues": [self.args.queue], "lease_ms": int(LEASE * 1000), "beat": self.beat}
        now = {"cordoned": self.cordon is not None, "draining": self.leaving, "at": time.time_ns() // 1000}
        presence = {**who, **can, **now, "holds": [{"key": it["key"], "pid": it["pid"]} for it in self.held.values()]}
        await self.js.publish(f"{self.kv}presence.{self.id}", msgpack.packb(presence), headers={"Nats-TTL": "20"})
        return presence

    async def renew(self) -> None:
        good = time.monotonic()
        while True:
            with contextlib.suppress(NatsError, TimeoutError):
                await self.show()
                for held in list(self.held.values()):
                    await held["message"].in_progress()
                good = time.monotonic()
            if time.monotonic() - good > LEASE * 2 / 3:
                self.end("fenced", *self.held.values())
            await asyncio.sleep(LEASE / 4)

    async def heard(self, message: Any) -> None:
        word, subject = msgpack.unpackb(message.data), message.subject.removeprefix(f"{self.root}signals.")
        if subject.startswith("answers."):
            if (future := self.answers.pop(subject.split(".")[-1], None)) and not future.done():
                future.set_result(word)
        elif subject.startswith("logs."):
            held = self.held.get(json.dumps(word["key"]))
            lines = bytes(held["log"][word["offset"] :][: word["max"]] if held else b"")
            lines = lines[: lines.rfind(b"\n") + 1]
            told = {"next_offset": word["offset"] + len(lines), "lines": lines.decode(), "complete": held is None}
            await message.respond(msgpack.packb(told))
        elif word == "LookAtCordon":
            await self.show()
        elif "Kill" in word and (held := self.held.get(json.dumps(word["Kill"]["key"]))):
            self.end("ordered", held)

    def end(self, why: str | None, *tries: Json) -> None:
        for held in tries:
            held["lost"] = held["lost"] or (why and {"Lost": {"why": why}})
            with contextlib.suppress(ProcessLookupError):
                if held["pid"]:
                    os.killpg(held["pid"], signal.SIGKILL)

    async def take(self, message: Any, item: Json) -> None:
        """Bring a try to its end, report that, whatever goes wrong on the way, and only then let the item go."""
        name, nth, wants = json.dumps(item["key"]), message.metadata.num_delivered, item.get("resources") or {}
        passed = f"passed.{message.subject.split('.')[-1]}"
        if name in self.held:  # It goes on, under the new delivery.
            return self.held[name].update(message=message)
        if wants.get("labels") or wants.get("gpus") or wants.get("custom"):  # There is none of it here.
            await self.js.publish(self.kv + passed, str(nth).encode(), headers={"Nats-TTL": "86400"})
            return await message.nak(2 ** min(nth, 8) / 4)
        held = self.held[name] = {**item, "message": message, "pid": 0, "log": bytearray(), "lost": None, "large": None}
        told = {"key": item["key"], "executor": self.id, "at": time.time_ns() // 1000}  # The try's number is the fence.
        try:
            again = nth > 1 and await self.get(passed) != str(nth - 1).encode()
            asks, start = nth > 1 or item.get("ask"), {"hostname": HOST, "pid": 0, "inputs": {}, "again": again}
            answer = await self.command({"Report": {**told, "body": {"Started": start}}}, asks)
            if not asks or "Refused" not in answer:
                end = await self.run(held)
                await self.command({"Report": {**told, "at": time.time_ns() // 1000, "body": held["lost"] or end}})
            await held["message"].ack_sync()
        finally:  # Not acknowledged it comes again, and is asked for.
            self.end(None, self.held.pop(name, held))

    async def run(self, held: Json) -> Json:
        """Run a task as a process of its own, which reads on stdin of its task: how it ended."""
        key, fault, end = held["key"], "user", {"xcoms": [], "usage": dict.fromkeys(USAGE, 0), "log": None}
        try:
            xcom = f"xcom/{escaped(key['dag_id'])}/{escaped(key['run_id'])}/succeed/-1/return_value"
            conf, value = held["run"].get("conf") or {"Inline": "{}"}, await self.get(tokens(xcom))
            told = {"key": key, "conf": json.loads(conf["Inline"]), "succeed": value and json.loads(value)["Inline"]}
            ways = {"stdin": -1, "stdout": -1, "stderr": asyncio.subprocess.STDOUT, "start_new_session": True}
            process = await asyncio.create_subprocess_exec(sys.executable, self.args.tasks, limit=2**24, **ways)
            held["pid"] = process.pid
            self.end(None, *([held] if held["lost"] else []))
            process.stdin.write(json.dumps(told).encode()) or process.stdin.close()
            watching = asyncio.create_task(self.watch(held))
            async for line in process.stdout:
                if line.startswith(b"\0"):
                    assert len(line) < 4096, "it returned more than may be handed on without a blob"
                    end["xcoms"] = [{"key": "return_value", "value": {"Inline": line[1:].decode().strip()}}]
                elif len(held["log"]) + len(line) < 900_000:
                    said = {"t": time.strftime("%FT%TZ", time.gmtime()), "s": "stdout", "l": "info"}
                    held["log"] += json.dumps({**said, "m": line.decode(errors="replace").rstrip()}).encode() + b"\n"
            code, log, _ = await process.wait(), bytes(held["log"]), watching.cancel()
            digest, why = hashlib.sha256(log).hexdigest(), code and (held["large"] or f"it ended with {code}")
            await self.js.publish(f"{self.root}blobs.{digest}", log, headers={"Dagbok-Pieces": "0"})
            end["log"] = {"digest": digest, "size": len(log), "lines": log.count(b"\n"), "dropped": 0}
            kind = "out_of_memory" if held["large"] else "exit"
        except Exception as error:  # Unsaid, its lease would be renewed for nobody.
            kind, fault, why = "executor", "system", f"a value is too large, or the executor failed: {error!r}"
        failure = {"kind": kind, "fault": fault, "message": why}
        return {"Failed": {**end, "failure": failure}} if why else {"Succeeded": end}

    async def watch(self, held: Json) -> None:
        limit = (held.get("limits") or {}).get("memory") or sys.maxsize
        with contextlib.suppress(OSError):  # It is over.
            while await asyncio.sleep(0.1, True):
                with open(f"/proc/{held['pid']}/statm") as pages:
                    if int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") > limit:
                        held["large"] = f"it used more than its {limit} bytes of memory"
                        self.end(None, held)

    async def live(self) -> None:
        self.nc = await nats.connect(self.args.nats, max_reconnect_attempts=-1)
        self.js, stream, queue = self.nc.jetstream(), f"{self.space}_work", tokens(self.args.queue)
        for kind in ("answers.%s.*", "orders.%s", "logs.%s"):
            await self.nc.subscribe(f"{self.root}signals.{kind % self.id}", cb=self.heard)
        word, spoken = await self.get(tokens(f"cordon/{self.args.name}")), int(await self.get("protocol") or 1)
        if abs(spoken - PROTOCOL) > 1:
            sys.exit(f"the scheduler speaks version {spoken} of the protocol, and this executor version {PROTOCOL}")
        self.found = msgpack.unpackb(word)["seq"] if word else None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(self, "leaving", True))
        await self.command({"ExecutorJoined": {"executor": self.id, "presence": await self.show()}})
        renewing = asyncio.create_task(self.renew())
        ways = {"ack_wait": LEASE, "max_deliver": -1, "max_ack_pending": 10_000, "max_waiting": 2_048}
        ways["filter_subject"] = f"{self.root}work.{queue}.*"
        await self.js.add_consumer(stream, nats.js.api.ConsumerConfig(queue, durable_name=queue, **ways))
        work, tries = await self.js.pull_subscribe_bind(queue, stream), set()
        while not self.leaving:
            if self.cordon or len(self.held) >= self.args.slots:
                await asyncio.sleep(0.05)
                continue
            with contextlib.suppress(NatsError, TimeoutError):
                for message in await work.fetch(self.args.slots - len(self.held), timeout=0.5):
                    try:
                        tries.add(asyncio.create_task(self.take(message, dict(msgpack.unpackb(message.data)))))
                    except (ValueError, TypeError):  # A newer executor may read it.
                        await message.nak(30)
        _ = tries and await asyncio.wait(tries, timeout=(self.cordon or {}).get("limit_ms", 60_000) / 1000)
        self.end("drained", *self.held.values())
        await asyncio.gather(*tries, return_exceptions=True)
        renewing.cancel()
        await self.command({"ExecutorLeft": {"executor": self.id}})
        await self.js.publish(f"{self.kv}presence.{self.id}", b"", headers={"KV-Operation": "DEL"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    usual = {"nats": "nats://127.0.0.1:4222", "namespace": "default", "queue": "default", "name": HOST, "slots": 4}
    for flag, value in usual.items():
        parser.add_argument(f"--{flag}", default=value, type=type(value))
    parser.add_argument("tasks")
    asyncio.run(Executor(parser.parse_args()).live())
