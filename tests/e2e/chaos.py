"""The long round of faults, by command: `make chaos MINUTES=30 SEED=0`. Prints the seed of what fails."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import broker_scenes
import link_scenes
import scenes


def thrice(scene: Callable[[Path, int], None], folder: Path, seed: int) -> None:
    """Plays a scene by three seeds, each in a folder of its own."""
    for number in range(3):
        own = folder / str(number)
        own.mkdir()
        print(f"seed {seed + number}")
        scene(own, seed + number)


SCENES: dict[str, Callable[[Path, int], None]] = {
    "standalone killed": lambda folder, seed: scenes.standalone_killed(folder, seed, kills=8),
    "services killed": lambda folder, seed: scenes.services_killed(folder, seed, kills=10),
    "restart is quick": lambda folder, _: scenes.restart_is_quick(folder),
    "no orphans": lambda folder, _: scenes.no_orphans(folder),
    "scheduler replaced": lambda folder, _: scenes.scheduler_replaced(folder),
    "executor replaced": lambda folder, _: scenes.executor_replaced(folder),
    "long task left alone": lambda folder, _: scenes.long_task_is_left_alone(folder),
    "executor frozen": lambda folder, _: scenes.executor_frozen(folder),
    "broker away for a minute": lambda folder, _: scenes.broker_away(folder, seconds=60.0),
    "the network lies": lambda folder, seed: broker_scenes.network_lies(folder, seed, seconds=45.0),
    "streams broken": lambda folder, seed: thrice(broker_scenes.streams_broken, folder, seed),
    "garbage on the log": lambda folder, _: broker_scenes.log_garbage(folder),
    "the log deleted": lambda folder, _: broker_scenes.log_deleted(folder),
    "the log purged": lambda folder, _: broker_scenes.log_purged(folder),
    "an executor far away": lambda folder, seed: link_scenes.play("far_away", folder, seed, 60.0),
    "clocks are wrong": lambda folder, _: link_scenes.play("clocks_are_wrong", folder, 7 * 60),
    "two schedulers": scenes.two_schedulers,
    "disk full": lambda folder, _: scenes.disk_full(folder),
}


def main() -> int:
    """Plays scenes until the time is over; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", choices=sorted(SCENES))
    args = parser.parse_args()
    rng = random.Random(args.seed)
    end, failed, played = time.monotonic() + args.minutes * 60, 0, 0
    while time.monotonic() < end:
        for name, scene in SCENES.items():
            seed = rng.randrange(2**31)
            if args.scene not in (None, name) or time.monotonic() > end:
                continue
            since = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="dagbok-chaos-", ignore_cleanup_errors=True) as folder:
                try:
                    scene(Path(folder), seed)
                    verdict = "ok"
                except scenes.MayNotMount as error:
                    verdict = f"left out: {error}"
                except Exception:
                    traceback.print_exc()
                    verdict, failed = f"FAILED (round seed {args.seed}, scene seed {seed})", failed + 1
            played += 1
            print(f"{name}: {verdict} in {time.monotonic() - since:.1f} s", flush=True)
    print(f"{played - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
