"""Scenes about the way to the broker and what lies there: it lies, loses, is deleted, and is written to by others."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dags
import httpx
from apart import Apart, Insistent, trigger, wait_all
from harness import NAMESPACE, Cli, check_effects, check_history, password, wait_until, write_dag
from rogue import Rogue


def network_lies(folder: Path, seed: int, seconds: float, quiet: float = 0.4) -> None:
    """The way between any service and the broker, or a client and the API, holds, loses or delays what goes one way, or
    cuts: no try begins twice, whatever was sent twice, and a run that is asked for under a key is made once."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    accepted: set[tuple[str, str]] = set()
    with Apart(folder, schedulers=2, executors=2, triggerers=1, proxied=True) as apart:
        write_dag(apart.dags, "watched.py", dags.watched("watched", width=12))
        write_dag(apart.dags, "mixed.py", dags.mixed("mixed"))
        for dag_id in ("watched", "mixed"):
            wait_until("the DAG", lambda dag_id=dag_id: apart.api.get(f"/dags/{dag_id}"))
        client = Insistent(apart.api, "mixed")
        client.start()
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            trigger(apart.api, "watched", f"r{number}", accepted)
            number += 1
            # The schedulers' way most of all: they send each item once, and must know what became of it.
            kind = rng.choice(["scheduler", "scheduler", "executor", "client", ""])
            proxies = apart.proxies | {"client": client.proxy}
            victim = rng.choice([name for name in sorted(proxies) if name.startswith(kind)])
            print(victim, proxies[victim].hurt(rng))
            time.sleep(rng.uniform(0.0, quiet))
        client.stop()
        assert not client.odd, client.odd
        accepted |= client.accepted
        wait_all(apart.api, accepted, patience=120)
        records = apart.api.events()
        # An end whose acknowledgement is lost is delivered again, behind the start that took its slot.
        check_history(records, accepted, slots=False)
        starts = check_effects(apart.effects, records)
        faults = sum(proxy.faults for proxy in apart.proxies.values())
        print(f"{len(accepted)} runs, {starts} starts, {faults} faults, {client.again} asked again")


# What heals by itself; a log that is gone does not.
PARTS = ("inbox", "work", "triggers", "state", "snapshots", "blobs")


def streams_broken(folder: Path, seed: int) -> None:
    """Streams, consumers and the lease are deleted, purged and filled with garbage while work is done: all heals."""
    rng = random.Random(seed)
    accepted: set[tuple[str, str]] = set()
    with Apart(folder, schedulers=2, executors=2, triggerers=1) as apart:
        write_dag(apart.dags, "watched.py", dags.watched("watched", width=4, pause=0.05))
        # Its tasks are deferred: what becomes of their triggers is seen, too.
        write_dag(apart.dags, "mixed.py", dags.mixed("mixed"))
        for dag_id in ("watched", "mixed"):
            wait_until("the DAG", lambda dag_id=dag_id: apart.api.get(f"/dags/{dag_id}"))
        # Who can't lead says so at once.
        words = "another scheduler leads: standing by"
        wait_until("a word of who waits", lambda: any(words in it.log.read_text() for it in apart.of("scheduler")), 3)
        rogue = Rogue(apart.nats)
        deeds: list[tuple[str, Callable[[], None]]] = [
            *((f"delete {part}", partial(rogue.delete, part)) for part in PARTS),
            *((f"purge {part}", partial(rogue.purge, part)) for part in PARTS),
            ("delete the inbox's consumer", lambda: rogue.delete_consumer("inbox", "inbox")),
            ("delete the queue's consumer", lambda: rogue.delete_consumer("work", "default")),
            ("delete the triggers' consumer", lambda: rogue.delete_consumer("triggers", "triggers")),
            ("delete the lease", lambda: rogue.drop_state("lease.scheduler")),
            ("garbage in the lease", lambda: rogue.put_state("lease.scheduler", b"\x00\xffgarbage")),
            ("purge the lease", lambda: rogue.put_state("lease.scheduler", b"")),
            ("garbage in a value", lambda: rogue.put_state("xcom.watched.nobody.made.-1.return_value", b"\xc1")),
            ("garbage in a cordon", lambda: rogue.put_state("cordon.nobody", b"\xc1")),
            ("garbage in a presence", lambda: rogue.put_state("presence.nobody", b"\xc1")),
            ("garbage in the inbox", lambda: rogue.put(f"dagbok.{NAMESPACE}.inbox.rogue", b"\xc1")),
            ("garbage in the queue", lambda: rogue.put(f"dagbok.{NAMESPACE}.work.default.rogue", b"\xc1")),
            ("garbage in the triggers", lambda: rogue.put(f"dagbok.{NAMESPACE}.triggers.rogue", b"\xc1")),
            ("garbage among the blobs", lambda: rogue.put(f"dagbok.{NAMESPACE}.blobs.{'5' * 64}", b"\xc1")),
            ("garbage in a snapshot", lambda: rogue.put(f"dagbok.{NAMESPACE}.snapshots.scheduler", b"\xc1")),
        ]
        rng.shuffle(deeds)
        for number, (deed, do) in enumerate(deeds):
            for again in range(2):
                trigger(apart.api, "watched", f"r{number}-{again}", accepted)
            trigger(apart.api, "mixed", f"r{number}", accepted)
            time.sleep(rng.uniform(0.0, 0.4))
            print(deed)

            def done(do: Callable[[], None] = do) -> bool:
                do()
                return True

            # What an earlier deed took away is back first.
            wait_until(f"to {deed}", done, 30)

            def works(number: int = number) -> bool:
                trigger(apart.api, "watched", f"after-{number}", accepted)
                return ("watched", f"after-{number}") in accepted or (
                    apart.api.state("watched", f"after-{number}") != ""
                )

            wait_until(f"an accepted trigger after {deed}", works, 30)
            accepted.add(("watched", f"after-{number}"))
        # What was on the work queue is offered again within two minutes.
        wait_all(apart.api, accepted, patience=240)
        records = apart.api.events()
        # The inbox was purged of ends that executors had been told to be in it.
        check_history(records, accepted, slots=False)
        check_effects(apart.effects, records)
        assert all(service.alive() for service in apart.services.values())


def said_hello(apart: Apart) -> set[tuple[str, str]]:
    """A DAG, with one run of it that was accepted and succeeded."""
    write_dag(apart.dags, "hello.py", dags.hello("hello"))
    wait_until("the DAG", lambda: apart.api.get("/dags/hello"))
    accepted: set[tuple[str, str]] = set()
    trigger(apart.api, "hello", "before", accepted)
    assert apart.api.wait_run("hello", "before") == "success"
    return accepted


def log_garbage(folder: Path) -> None:
    """Garbage on the log stops who folds it, with a sentence; it is passed over once a record says so."""
    with Apart(folder) as apart:
        accepted = said_hello(apart)
        rogue = Rogue(apart.nats)
        for garbage in (b"\xc1 garbage", b"", b"\x28\xb5\x2f\xfd\x00"):
            rogue.put_log(garbage)
        scheduler = apart.services["scheduler-0"]
        # Who asks hears why nothing is decided; the scheduler meets it when it has something to write.
        wait_until("the API's refusal", lambda: "doctor --repair" in httpx.get(f"{apart.api.url}/api/v2/dags").text)
        write_dag(apart.dags, "other.py", dags.hello("other"))
        wait_until("the scheduler's end", lambda: not scheduler.alive())
        assert "dagbok doctor --repair" in scheduler.log.read_text()
        doctor = Cli(
            ["doctor", "--nats", apart.nats.url, "--namespace", NAMESPACE, "--nats-user", "scheduler", "--json"],
            {"DAGBOK__NATS__PASSWORD": password("scheduler")},
        )
        found = json.loads(doctor.run().stdout)
        entries = [it for it in found["findings"] if it["check"] == "log"]
        assert [it["status"] for it in entries] == ["error"] * 3, found
        assert "doctor --repair" in entries[0]["next"], entries
        repaired = json.loads(doctor.run("--repair").stdout)
        entries = [it for it in repaired["findings"] if it["check"] == "log"]
        assert [it["status"] for it in entries] == ["ok"] * 3, repaired
        scheduler.start()
        wait_until("the other DAG", lambda: apart.api.get("/dags/other"))
        trigger(apart.api, "hello", "meanwhile", accepted)
        wait_until("the run's end", lambda: apart.api.state("hello", "meanwhile") == "success")
        wait_all(apart.api, accepted, patience=60)
        check_history(apart.api.events(), accepted)
        # Whoever starts afresh passes over it too.
        apart.services["ui"].stop()
        shutil.rmtree(folder / "ui")
        apart.services["ui"].start()
        wait_until("the API", apart.api.healthy)
        assert wait_until("the run", lambda: apart.api.state("hello", "meanwhile")) == "success"


def log_deleted(folder: Path) -> None:
    """A log that is deleted is never begun anew in the same namespace: who leads stops, and says what to do."""
    with Apart(folder) as apart:
        write_dag(apart.dags, "hello.py", dags.hello("hello"))
        wait_until("the DAG", lambda: apart.api.get("/dags/hello"))
        rogue = Rogue(apart.nats)
        rogue.delete("log")
        trigger(apart.api, "hello", "r1", set())
        scheduler = apart.services["scheduler-0"]
        wait_until("the scheduler's end", lambda: not scheduler.alive(), 90)
        assert "restore the stream from a backup" in scheduler.log.read_text()
        scheduler.start()
        wait_until("the scheduler's end", lambda: not scheduler.alive())
        assert "no new log is begun in its place" in scheduler.log.read_text()
        assert rogue.api(f"STREAM.INFO.{rogue.stream('log')}")["error"]["err_code"] == 10059


def log_purged(folder: Path) -> None:
    """Nobody builds on a log that was emptied, though its numbers go on: all end, or refuse, and say what to do."""
    with Apart(folder) as apart:
        said_hello(apart)
        Rogue(apart.nats).purge("log")
        scheduler = apart.services["scheduler-0"]
        words = ("somebody purged the stream", "restore the stream from a backup")

        def says(text: str) -> bool:
            return all(word in text for word in words)

        wait_until("the API's refusal", lambda: says(httpx.get(f"{apart.api.url}/api/v2/dags").text))
        wait_until("a word of the scheduler", lambda: says(scheduler.log.read_text()))
        # It meets it where it has something to write.
        write_dag(apart.dags, "other.py", dags.hello("other"))
        wait_until("the scheduler's end", lambda: not scheduler.alive())
        before = len(scheduler.log.read_text())
        scheduler.start()
        wait_until("the scheduler's end", lambda: not scheduler.alive())
        said = scheduler.log.read_text()[before:]
        assert (says(said), "DBK0033" in said) == (True, True), said
