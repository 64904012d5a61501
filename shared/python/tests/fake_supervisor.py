"""A supervisor in the test's process: it drives a real zygote process and answers a try's frames."""

from __future__ import annotations

import array
import datetime as dt
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

SOURCE = Path(__file__).resolve().parents[1] / "src"
WAIT = 30.0
NOW = dt.datetime(2024, 3, 1, 2, 0, tzinfo=dt.UTC)


def packed(message: Any) -> bytes:
    body = msgpack.packb(message, datetime=True)
    return len(body).to_bytes(4, "big") + body


class ControlSocket:
    """The executor's end of a zygote's control socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(WAIT)
        self.seen: list[dict[str, Any]] = []

    def send(self, body: dict[str, Any], fds: list[int] | None = None) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([msgpack.packb(body)], ancillary)

    def receive(self) -> dict[str, Any] | None:
        data = self.sock.recv(65536)
        return msgpack.unpackb(data) if data else None

    def until(self, kind: str, key: str | None = None) -> dict[str, Any]:
        """Return the first message of a kind, for a key; others are kept for later."""
        for message in self.seen:
            if message["type"] == kind and key in {None, message.get("key")}:
                self.seen.remove(message)
                return message
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            message = self.receive()
            assert message is not None, f"the zygote closed before {kind}"
            if message["type"] == kind and key in {None, message.get("key")}:
                return message
            self.seen.append(message)
        raise AssertionError(f"no {kind} within {WAIT} s")

    def close(self) -> None:
        self.sock.close()


@dataclass
class Result:
    """What a try said and left."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""
    logs: list[dict[str, Any]] = field(default_factory=list)
    exited: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["type"] == kind]

    @property
    def terminal(self) -> dict[str, Any] | None:
        kinds = {"SucceedTask", "TaskState", "RetryTask"}
        found = [request for request in self.requests if request["type"] in kinds]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def state(self) -> str | None:
        end = self.terminal
        if end is None:
            return None
        return {"SucceedTask": "success", "RetryTask": "up_for_retry"}.get(end["type"]) or end["state"]

    @property
    def error(self) -> dict[str, Any]:
        (error,) = self.of("TaskError")
        return error


class RunningTry:
    """A try under way: a thread of the test reads its frames and answers them."""

    def __init__(self, control: ControlSocket, key: str, ends: list[Any], supervisor: FakeSupervisor) -> None:
        self.control, self.key, self.supervisor = control, key, supervisor
        self.frames, self.pipes = ends[0], ends[1:]
        self.result = Result()
        self.first_request = threading.Event()
        self._outputs = [b"", b"", b""]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.pid: int = control.until("Forked", key)["pid"]

    def _serve(self) -> None:
        buffer, open_pipes = b"", list(self.pipes)
        frames_open = True
        while frames_open or open_pipes:
            ready, _, _ = select.select([*([self.frames] if frames_open else []), *open_pipes], [], [], WAIT)
            for one in ready:
                if one is self.frames:
                    try:
                        data = self.frames.recv(1 << 20)
                    except ConnectionResetError:
                        data = b""
                    frames_open = bool(data)
                    buffer = self._answer(buffer + data)
                    continue
                data = os.read(one, 1 << 20)
                self._outputs[self.pipes.index(one)] += data
                if not data:
                    open_pipes.remove(one)
            if not ready:
                return

    def _answer(self, buffer: bytes) -> bytes:
        while len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "big")
            if len(buffer) < 4 + length:
                break
            request_id, body = msgpack.unpackb(buffer[4 : 4 + length], timestamp=3)[:2]
            buffer = buffer[4 + length :]
            self.result.requests.append(body)
            answer, error = self.supervisor.answer(body)
            try:
                self.frames.sendall(packed([request_id, answer, error]))
            except (BrokenPipeError, ConnectionResetError):
                break
            self.first_request.set()
        return buffer

    def read_until(self, text: str) -> None:
        """Wait for text on the standard output."""
        deadline = time.monotonic() + WAIT
        while text.encode() not in self._outputs[0]:
            assert time.monotonic() < deadline, f"no {text!r} in {self._outputs!r}"
            time.sleep(0.005)

    def finish(self) -> Result:
        self.result.exited = self.control.until("Exited", self.key)
        self.thread.join(WAIT)
        assert not self.thread.is_alive()
        out, err, logs = self._outputs
        self.result.stdout, self.result.stderr = out.decode(), err.decode()
        self.result.logs = [json.loads(line) for line in logs.splitlines()]
        self.frames.close()
        for pipe in self.pipes:
            os.close(pipe)
        return self.result


class FakeSupervisor:
    """Starts a base zygote, has it load files, runs tries, keeps XComs, variables and connections."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), **(env or {})}
        command = [sys.executable, "-P", "-m", "dagbok.runtime.zygote"]
        self.process = subprocess.Popen(
            command, stdin=theirs.fileno(), stderr=subprocess.PIPE, env=environment, start_new_session=True
        )
        theirs.close()
        self.base = ControlSocket(ours)
        self.base_ready = self.base.until("Ready")
        self.loaded: list[ControlSocket] = []
        self.xcoms: dict[tuple[str, str, str, str], Any] = {}
        self.copies: dict[tuple[str, str, str, str], list[Any]] = {}
        self.variables: dict[str, str] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        # What is answered to a kind of request: a body, a code of an error, or what makes one of a request.
        self.answers: dict[str, Any] = {
            "GetPrevSuccessfulDagRun": {},
            "GetPreviousDagRun": {"dag_run": None},
            "GetPreviousTI": {"task_instance": None},
        }
        self.refuse_xcom: dict[str, Any] | None = None
        self._number = 0

    def answer(self, body: dict[str, Any]) -> tuple[Any, Any]:
        kind = body["type"]
        if kind in self.answers:
            answer = self.answers[kind]
            answer = answer(body) if callable(answer) else answer
            if isinstance(answer, str):
                return None, {"type": "ErrorResponse", "error": answer, "detail": None}
            return answer, None
        if kind == "GetXCom":
            key = (body["dag_id"], body["run_id"], body["task_id"], body["key"])
            if key not in self.xcoms:
                return None, {"type": "ErrorResponse", "error": "XCOM_NOT_FOUND", "detail": None}
            return {"type": "XComResult", "key": body["key"], "value": self.xcoms[key]}, None
        if kind == "GetXComElement":
            return self._element(body)
        if kind in {"GetXComCount", "GetXComSequenceSlice"}:
            copies = self.copies.get((body["dag_id"], body["run_id"], body["task_id"], body["key"]), [])
            if kind == "GetXComCount":
                return {"type": "XComCountResponse", "len": len(copies)}, None
            # Two at a time, so that several are asked for.
            stop = body["start"] + 2 if body["stop"] is None else min(body["stop"], body["start"] + 2)
            some = copies[body["start"] : stop]
            return {"type": "XComSequenceSliceResult", "root": some}, None
        if kind == "SetXCom":
            if self.refuse_xcom is not None:
                return None, self.refuse_xcom
            key = (body["dag_id"], body["run_id"], body["task_id"], body["key"])
            self.xcoms[key] = body["value"]
        if kind == "GetVariable":
            if body["key"] not in self.variables:
                return None, {"type": "ErrorResponse", "error": "VARIABLE_NOT_FOUND", "detail": None}
            value = self.variables[body["key"]]
            return {"type": "VariableResult", "key": body["key"], "value": value}, None
        if kind == "GetConnection":
            if body["conn_id"] not in self.connections:
                return None, {"type": "ErrorResponse", "error": "CONNECTION_NOT_FOUND", "detail": None}
            return {
                "type": "ConnectionResult",
                "conn_id": body["conn_id"],
                **self.connections[body["conn_id"]],
            }, None
        return None, None

    def _element(self, body: dict[str, Any]) -> tuple[Any, Any]:
        value = self.xcoms.get((body["dag_id"], body["run_id"], body["task_id"], body["key"]), self)
        if value is self:
            return None, {"type": "ErrorResponse", "error": "XCOM_NOT_FOUND", "detail": None}
        kind, elements = "other", []
        if isinstance(value, list):
            kind, elements = "list", value
        elif isinstance(value, dict) and "__classname__" not in value:
            kind, elements = "dict", [list(pair) for pair in value.items()]
        elif isinstance(value, dict) and value["__classname__"] == "builtins.tuple":
            kind, elements = "tuple", value["__data__"]
        there = body["place"] < len(elements)
        answer = {"kind": kind, "len": len(elements), "is_there": there}
        element = elements[body["place"]] if there else None
        return {"type": "XComElementResult", **answer, "element": element}, None

    def load(
        self, folder: Path, file: str, env: dict[str, str] | None = None, **extra: Any
    ) -> tuple[ControlSocket, dict[str, Any]]:
        """Have a file loaded; return the new zygote's socket and its Ready or LoadFailed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        body = {"type": "Load", "bundle_path": str(folder), "file": file, "env": env or {}, **extra}
        self.base.send(body, [theirs.fileno()])
        theirs.close()
        control = ControlSocket(ours)
        self.loaded.append(control)
        first = control.receive()
        while first is not None and first["type"] == "Mask":
            control.seen.append(first)
            first = control.receive()
        assert first is not None
        return control, first

    def start(
        self,
        control: ControlSocket,
        folder: Path,
        dag_id: str,
        task_id: str,
        *,
        run_id: str = "manual__1",
        logical_date: dt.datetime | None = NOW,
        interval: tuple[dt.datetime, dt.datetime] | None = None,
        run_type: str = "manual",
        conf: dict[str, Any] | None = None,
        should_retry: bool = False,
        try_number: int = 1,
        map_index: int = -1,
        leg: int = 0,
        first_started_at: dt.datetime | None = None,
        next_interval: tuple[dt.datetime, dt.datetime] | None = None,
        timeout: float | None = None,
        resume: dict[str, Any] | None = None,
        callback: dict[str, Any] | None = None,
        dag_callback: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        message: dict[str, Any] | None = None,
        asset_events: list[dict[str, Any]] | None = None,
        lineage: bool = False,
    ) -> RunningTry:
        self._number += 1
        key = f"{dag_id}/{task_id}/{self._number}"
        frames, child_frames = socket.socketpair()
        pipes = [os.pipe() for _ in range(3)]
        theirs = [child_frames.fileno(), *(write for _, write in pipes)]
        body = {
            "type": "Run",
            "key": key,
            "env": env or {},
            "bounds": {"cwd": cwd} if cwd else {},
            **(message or {}),
        }
        control.send(body, theirs)
        child_frames.close()
        for _, write in pipes:
            os.close(write)
        start, end = interval or (logical_date, logical_date)
        dag_run = {
            "dag_id": dag_id, "run_id": run_id, "logical_date": logical_date, "data_interval_start": start,
            "data_interval_end": end, "run_after": NOW, "start_date": NOW, "end_date": None,
            "run_type": run_type, "state": "running", "conf": conf, "triggering_user_name": None, "note": None,
            "clear_number": 0, "partition_key": None, "consumed_asset_events": asset_events or [],
        }  # fmt: skip
        ti = {
            "id": "0190", "dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index,
            "try_number": try_number, "hostname": "here", "queue": "default", "pool": "default_pool",
        }  # fmt: skip
        details = {
            "type": "StartupDetails", "ti": ti, "dag_rel_path": "file.py",
            "bundle_info": {"name": "dags", "version": None, "path": str(folder)},
            "start_date": NOW, "sentry_integration": "",
            "ti_context": {
                "dag_run": dag_run, "max_tries": 2, "task_reschedule_count": leg, "first_started_at": first_started_at,
                "next_data_interval": next_interval, "variables": [],
                "connections": [], "should_retry": should_retry, "upstream_map_indexes": {},
            },
            "execution_timeout_us": None if timeout is None else round(timeout * 1e6),
            "resume": resume, "callback": callback, "dag_callback": dag_callback,
            **({"lineage": True} if lineage else {}),
        }  # fmt: skip
        frames.sendall(packed([0, details, None]))
        return RunningTry(control, key, [frames, *(read for read, _ in pipes)], self)

    def run(self, control: ControlSocket, folder: Path, dag_id: str, task_id: str, **how: Any) -> Result:
        return self.start(control, folder, dag_id, task_id, **how).finish()

    def close(self) -> str:
        """End everything by closing the sockets; return what the zygotes wrote to standard error."""
        for control in self.loaded:
            control.close()
        self.base.close()
        try:
            _, err = self.process.communicate(timeout=WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return err.decode()


def parse(
    folder: Path, *files: str, env: dict[str, str] | None = None, last: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Run the parser as the processor does; return its answers."""
    return [line for line in parser_lines(folder, *files, env=env, last=last) if "dags" in line]


def parser_lines(
    folder: Path, *files: str, env: dict[str, str] | None = None, last: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Run the parser as the processor does; return all that it says, notes among it."""
    arguments = [part for file in files for part in ("--file", file)]
    arguments += ["--last", json.dumps(last or {})]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dagbok.parsing", "--folder", str(folder), *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **(env or {})},
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def alive(pid: int) -> bool:
    """Whether a process runs; the dead that nobody has waited for do not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    """Wait for a process to end."""
    deadline = time.monotonic() + WAIT
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


__all__ = ["NOW", "WAIT", "ControlSocket", "FakeSupervisor", "Result", "alive", "gone", "parse", "signal"]
