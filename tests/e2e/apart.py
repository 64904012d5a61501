"""The services in processes of their own on a real broker, each as its own user, and what scenes do with them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
from harness import BIN, NAMESPACE, Api, Cli, Nats, Process, free_port, password, wait_until
from proxy import Proxy

LEASE = 5


class Apart:
    """The services in processes of their own on a real broker."""

    def __init__(
        self,
        folder: Path,
        schedulers: int = 1,
        executors: int = 1,
        alerting: int = 0,
        proxied: bool = False,
        triggerers: int = 0,
        most: int | None = None,
        archive: Path | None = None,
    ) -> None:
        """Prepares everything; `start` starts it. With `proxied` each service has a way of its own to the broker.

        Alerting reads `alerting.toml` in the folder. With `most` the broker holds so many bytes in files, and services
        know its page. With `archive` records go there that are old, and are read from there.
        """
        self.folder = folder
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True, exist_ok=True)
        self.nats = Nats(folder, with_users=True, most=most, archives=archive is not None)
        self.api = Api(free_port())
        self.cli = Cli(["--api", self.api.url])
        self.effects = folder / "effects"
        self.env = env = {
            "WITNESS": str(folder / "witness"),
            "EFFECTS": str(self.effects),
            "DAGBOK__EXECUTOR__LEASE": f"{LEASE}s",
        }
        if archive is not None:
            env["DAGBOK__RETENTION__ARCHIVE"] = str(archive)
            env |= {"DAGBOK__RETENTION__LOG": "1s", "DAGBOK__RETENTION__EVERY": "1s"}
            env |= {"DAGBOK__RETENTION__ARCHIVE_RECORDS": "12", "DAGBOK__SCHEDULER__SNAPSHOT_EVERY": "7"}
        if self.nats.monitor is not None:
            env["DAGBOK__NATS__MONITOR"] = self.nats.monitor
        self.proxied, self.proxies = proxied, dict[str, Proxy]()
        names = [f"scheduler-{n}" for n in range(schedulers)] + [f"executor-{n}" for n in range(executors)]
        names += [f"alerting-{n}" for n in range(alerting)] + [f"triggerer-{n}" for n in range(triggerers)]
        self.services = {name: self.service(name, env) for name in [*names, "processor", "ui"]}

    def service(self, name: str, env: dict[str, str], port: int | None = None) -> Process:
        """Prepares a service; its name begins with its kind. `port` is where an API listens, if not where ours does."""
        kind = name.split("-", maxsplit=1)[0]
        url = self.nats.url
        if self.proxied:
            self.proxies[name] = proxy = Proxy(free_port(), self.nats.port)
            url = proxy.url
        argv = [str(BIN), kind, "--nats", url, "--namespace", NAMESPACE, "--nats-user", kind]
        argv += {
            "scheduler": [],
            "executor": ["--slots", "8", "--home", str(self.folder / name)],
            "triggerer": ["--home", str(self.folder / name)],
            "processor": ["--dags", str(self.dags), "--home", str(self.folder / name)],
            "alerting": ["--alerting-config", str(self.folder / "alerting.toml"), "--home", str(self.folder / name)],
            "ui": ["--listen", f"127.0.0.1:{port or self.api.port}", "--home", str(self.folder / name)],
        }[kind]
        return Process(name, argv, self.folder, {**env, "DAGBOK__NATS__PASSWORD": password(kind)})

    def start(self) -> Apart:
        """Starts the broker and every service, and waits for the API."""
        self.nats.start()
        for proxy in self.proxies.values():
            proxy.start()
        for service in self.services.values():
            service.start()
        wait_until("the API's first answer", self.api.healthy)
        return self

    def of(self, kind: str) -> list[Process]:
        """The services of one kind."""
        return [it for name, it in self.services.items() if name.startswith(kind)]

    def __enter__(self) -> Apart:
        """Starts."""
        return self.start()

    def __exit__(self, failed: object, *_: object) -> None:
        """Ends every process by its id. Nobody may have been denied anything: each has the rights it needs."""
        for service in self.services.values():
            service.kill()
        for proxy in self.proxies.values():
            proxy.stop()
        self.nats.process.kill()
        denied = self.nats.violations()
        assert failed is not None or not denied, f"a service lacks a right: {denied[:5]}"


def trigger(api: Api, dag_id: str, run_id: str, accepted: set[tuple[str, str]]) -> None:
    """Triggers a run; notes it if it was accepted. No answer, or a refusal, is no promise."""
    try:
        answer = api.post(f"/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
    except httpx.HTTPError:
        return
    if answer.status_code in (200, 202):  # 202: decided, and not shown yet
        accepted.add((dag_id, run_id))


class Insistent(threading.Thread):
    """A client behind its own proxy: it asks for each run under a key until somebody answers, and what was done and
    not heard of is not done again."""

    def __init__(self, api: Api, dag_id: str, pause: float = 0.1) -> None:
        """Prepares everything; `start` starts it."""
        super().__init__(daemon=True)
        self.proxy = Proxy(free_port(), api.port)
        self.api, self.dag_id, self.pause = Api(self.proxy.port), dag_id, pause
        self.accepted: set[tuple[str, str]] = set()
        self.odd: list[str] = []
        self.again = 0
        self._over = threading.Event()

    def start(self) -> None:
        """Starts the way and the client."""
        self.proxy.start()
        super().start()

    def run(self) -> None:
        """Asks for one run after the other."""
        number = 0
        while not self._over.wait(self.pause):
            self._insist(f"keyed-{number}")
            number += 1

    def _insist(self, run_id: str) -> None:
        body = {"dag_run_id": run_id, "logical_date": None}
        while True:
            try:
                answer = self.api.post(f"/dags/{self.dag_id}/dagRuns", body, {"Idempotency-Key": run_id})
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code in (200, 202):
                self.accepted.add((self.dag_id, run_id))
                return
            if answer is not None and answer.status_code < 500:
                self.odd.append(f"{run_id}: {answer.status_code} {answer.text}")
                return
            self.again += 1
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends once the run in hand is answered for."""
        self._over.set()
        self.join(60)
        assert not self.is_alive(), "nobody answers"
        self.proxy.stop()


def wait_all(api: Api, accepted: set[tuple[str, str]], patience: float) -> None:
    """Waits until every run of the log is over, the accepted ones among them."""

    def all_over() -> bool:
        created: set[tuple[str, str]] = set()
        ended: set[tuple[str, str]] = set()
        for record in api.events():
            for fact in record["facts"]:
                if fact["type"] == "RunCreated":
                    created.add((record["dag_id"], record["run_id"]))
                if fact["type"] in ("RunSucceeded", "RunFailed", "RunTimedOut", "RunCancelled"):
                    ended.add((record["dag_id"], record["run_id"]))
        return created == ended and accepted <= created

    wait_until("the end of every run", all_over, patience)
