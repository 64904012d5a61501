"""Executors on machines that are far away: at the other end of a slow link that loses packets, and with clocks that are
wrong. Each scene is played in a network namespace of its own, by `play`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import dags
from apart import Apart, trigger, wait_all
from harness import Process, check_effects, check_history, wait_until
from links import NEAR, Link, ip, isolated

FANS = 3


class Remote(Apart):
    """The services here, and the executors at the far end of a link."""

    def __init__(self, folder: Path, link: Link) -> None:
        """Prepares everything; `start` starts it."""
        self.link = link
        super().__init__(folder, executors=2)
        conf = folder / "nats.conf"
        # The link is the only way into this namespace.
        conf.write_text(conf.read_text().replace("host: 127.0.0.1", "host: 0.0.0.0"))

    def service(self, name: str, env: dict[str, str], port: int | None = None) -> Process:
        """Prepares a service; an executor stands at the far end."""
        process = super().service(name, env, port)
        if name.startswith("executor"):
            process.argv = [word.replace("127.0.0.1", NEAR) for word in process.argv]
            process.before = self.link.enter
        return process


def far_away(folder: Path, seed: int, seconds: float) -> None:
    """200 ms there and back, and one packet of twenty lost; then nothing gets through for so many seconds: nothing is
    lost, nothing runs twice."""
    accepted: set[tuple[str, str]] = set()
    with Link(delay=0.1, loss=0.05, seed=seed) as link, Remote(folder, link) as apart:
        write_watched(apart, pause=4.0)
        for number in range(FANS):
            trigger(apart.api, "fan", f"r{number}", accepted)
        begun = FANS + 8  # amid the second of the three rows of tasks
        wait_until("the starts", lambda: str(apart.api.events()).count("'TryStarted'") >= begun, 60.0)
        link.cut()
        time.sleep(seconds)
        link.mend()
        wait_all(apart.api, accepted, patience=240)
        hold(apart, accepted)
        assert link.lost > 0, "no packet went astray"


def clocks_are_wrong(folder: Path, seconds: int) -> None:
    """One executor's clock is ahead and the other one's behind: no try is given up, and none is late."""
    shim = folder / "skewed_clock.so"
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("no C compiler here: it sets the clocks")
    source = Path(__file__).with_name("skewed_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    accepted: set[tuple[str, str]] = set()
    apart = Apart(folder, executors=2)
    for service, skew in zip(apart.of("executor"), (seconds, -seconds), strict=True):
        service.env |= {"LD_PRELOAD": str(shim), "CLOCK_SKEW": str(skew)}
    with apart:
        write_watched(apart, pause=0.5)
        for number in range(FANS):
            trigger(apart.api, "fan", f"r{number}", accepted)
        wait_all(apart.api, accepted, patience=120)
        hold(apart, accepted)
        records = apart.api.events()
        assert "'TryLost'" not in str(records), "a try was given up for what a clock said"
        by = {fact["executor"] for record in records for fact in record["facts"] if fact["type"] == "TryStarted"}
        assert len(by) == 2, f"only {by} ran something"


def write_watched(apart: Apart, pause: float) -> None:
    """A DAG that notes apart from Dagbok what it does."""
    (apart.dags / "fan.py").write_text(dags.watched("fan", pause=pause))
    wait_until("the DAG", lambda: apart.api.get("/dags/fan"))


def hold(apart: Apart, accepted: set[tuple[str, str]]) -> None:
    """Holds the log to the promises, and to what the tasks noted themselves."""
    for dag_id, run_id in accepted:
        assert apart.api.state(dag_id, run_id) == "success", run_id
    records = apart.api.events()
    check_history(records, accepted)
    starts = check_effects(apart.effects, records)
    assert starts >= FANS * 10, starts


def play(scene: str, folder: Path, *words: object) -> None:
    """Plays a scene in a namespace of its own. Raises `OSError` where this machine permits none."""
    done = isolated(Path(__file__), scene, str(folder), *map(str, words))
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    ip("link", "set", "lo", "up")
    name, place = sys.argv[1], Path(sys.argv[2])
    if name == "far_away":
        far_away(place, int(sys.argv[3]), float(sys.argv[4]))
    else:
        clocks_are_wrong(place, int(sys.argv[3]))
