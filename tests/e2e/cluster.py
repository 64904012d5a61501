"""A cluster of one node: kmock is its API server; what runs here is the kubelet, with real processes as containers.

    python cluster.py PORT SETTINGS

SETTINGS is JSON: `dagbok` (the binary of the image), `env` (what it has), `secrets` (by name), `folder`.
A pod that is told to by its annotation `test/fate` has that: `oom`, `evicted`, `image`, `unschedulable`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import kmock

Json = dict[str, Any]
# With it an object stays until its kubelet lets it go, as a pod does that runs.
HELD = "test/kubelet"
VERSIONS = iter(range(1, 1 << 40))


class Server(kmock.KubernetesEmulator):  # type: ignore[misc]
    """kmock, with what clients ask of objects besides: versions and ids."""

    async def _handle(self, request: Any) -> Any:
        data = request.data if isinstance(request.data, dict) else None
        if request.resource is not None and data is not None and request.action in {"CREATE", "UPDATE"}:
            meta = data.setdefault("metadata", {})
            meta["resourceVersion"] = str(next(VERSIONS))
            if request.action == "CREATE":
                meta["uid"] = f"uid-{meta['resourceVersion']}"
                meta["creationTimestamp"] = "2026-01-01T00:00:00Z"
                meta.setdefault("finalizers", []).append(HELD)
                data["status"] = {"phase": "Pending"}
        return await super()._handle(request)


def base(state: Json, phase: str) -> Json:
    """What is said of a pod whose container is so."""
    container = {"name": "base", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": state}
    return {"phase": phase, "containerStatuses": [container]}


class Kubelet:
    """Runs the pods."""

    def __init__(self, client: Any, settings: Json) -> None:
        """For the pods of one server."""
        self.client, self.settings = client, settings
        self.seen: set[str] = set()
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def patch(self, name: str, change: Json) -> None:
        """Changes a pod."""
        async with self.client.patch(
            f"/api/v1/namespaces/jobs/pods/{name}",
            json=change,
            headers={"content-type": "application/merge-patch+json"},
        ) as answer:
            await answer.read()

    async def look(self) -> None:
        """Looks at all pods once."""
        async with self.client.get("/api/v1/namespaces/jobs/pods") as answer:
            pods = (await answer.json()).get("items", [])
        for pod in pods:
            meta = pod["metadata"]
            name = meta["name"]
            if meta["uid"] not in self.seen:
                self.seen.add(meta["uid"])
                await self.begin(name, pod)
            process = self.running.get(name)
            if not meta.get("deletionTimestamp"):
                continue
            if process is None or process.returncode is not None:
                await self.patch(name, {"metadata": {"finalizers": []}})
            elif meta["uid"] not in self.terminated:
                self.terminated.add(meta["uid"])
                process.send_signal(signal.SIGTERM)

    terminated: set[str] = set()  # noqa: RUF012

    async def begin(self, name: str, pod: Json) -> None:
        """Runs a pod's container, if its fate lets it."""
        container = pod["spec"]["containers"][0]
        fate = pod["metadata"].get("annotations", {}).get("test/fate", "")
        if fate == "image":
            waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
            await self.patch(name, {"status": base({"waiting": waiting}, "Pending")})
            return
        if fate == "unschedulable":
            told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            told["message"] = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
            await self.patch(name, {"status": {"phase": "Pending", "conditions": [told]}})
            return
        env = dict(os.environ) | self.settings["env"]
        for source in container.get("envFrom", []):
            env |= self.settings["secrets"][source["secretRef"]["name"]]
        env |= {one["name"]: one.get("value", "") for one in container.get("env", [])}
        env["DAGBOK_HOME"] = str(Path(self.settings["folder"]) / name)
        argv = [self.settings["dagbok"], *container["command"][1:], *container["args"]]
        with (Path(self.settings["folder"]) / f"{name}.log").open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *argv, env=env, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        self.running[name] = process
        await self.patch(name, {"status": base({"running": {}}, "Running")})
        JOBS.append(asyncio.create_task(self.wait(name, process)))
        if fate in {"oom", "evicted"} and pod["metadata"]["labels"]["try_number"] == "1":
            JOBS.append(asyncio.create_task(self.end(name, process, fate)))

    async def end(self, name: str, process: asyncio.subprocess.Process, fate: str) -> None:
        """Ends a container as its fate has it, once its task says that it is there."""
        mark = Path(self.settings["folder"]) / f"begun.{fate}"
        while not mark.exists():
            await asyncio.sleep(0.05)
        if fate == "oom":
            self.fates[name] = "OOMKilled"
            os.killpg(process.pid, signal.SIGKILL)
            return
        why = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        why["message"] = "Eviction API: evicting"
        await self.patch(name, {"status": {"conditions": [why]}})
        async with self.client.delete(f"/api/v1/namespaces/jobs/pods/{name}") as answer:
            await answer.read()

    fates: dict[str, str] = {}  # noqa: RUF012

    async def wait(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Says how a container ended."""
        code = await process.wait()
        code = code if code >= 0 else 128 - code
        over = {"exitCode": code, "reason": self.fates.get(name, "Completed" if code == 0 else "Error")}
        await self.patch(name, {"status": base({"terminated": over}, "Succeeded" if code == 0 else "Failed")})


JOBS: list[asyncio.Task[None]] = []


async def main(port: int, settings: Json) -> None:
    """Serves until it is killed."""
    async with Server() as server, kmock.Server(server, port=port):
        server.resources["v1/pods"] = {}
        kubelet = Kubelet(server, settings)
        while True:
            await kubelet.look()
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), json.loads(sys.argv[2])))
