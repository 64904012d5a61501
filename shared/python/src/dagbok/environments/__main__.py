"""`python -P -m dagbok.environments`, which is how `dagbok providers` asks; answers in JSON."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dagbok.environments import LOCK, EnvironmentFailure
from dagbok.environments import build as environment
from dagbok.environments.lock import Lock, resolve
from dagbok.environments.wanted import PROVIDER, Wanted, normal, provider_requirement


def _named(wanted: Wanted, text: str) -> str:
    """Return which provider a requirement is about."""
    return normal(provider_requirement(text).split("[")[0].split("=")[0].rstrip("<>!~ "))


def install(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Add what is asked for to what the folder wants, resolve where that changed it, make it."""
    lock = Lock.read(folder)
    wanted = lock.wanted if lock is not None else Wanted()
    before = list(wanted.lines())
    for text in asked.names:
        name = _named(wanted, text)
        wanted.providers = [one for one in wanted.providers if _named(wanted, one) != name] + [text]
    for kept, given in ((wanted.requirements, asked.requirements), (wanted.constraints, asked.constraints)):
        kept += [one for one in given if one not in kept]
    if not asked.requirements and "requirements.txt" not in wanted.requirements:
        wanted.requirements += ["requirements.txt"] if (folder / "requirements.txt").exists() else []
    if not wanted.lines():
        raise EnvironmentFailure(
            "nothing is asked for: name providers, as in `dagbok providers install amazon http`, "
            f"or put a requirements.txt into {folder}"
        )
    if lock is None or wanted.lines() != before or asked.upgrade or lock.is_stale(folder):
        lock = resolve(folder, wanted)
    return _made(folder, lock)


def uninstall(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Take providers off what the folder wants."""
    lock = _existing(folder)
    wanted = lock.wanted
    names = {_named(wanted, text) for text in asked.names}
    if missing := names - {_named(wanted, one) for one in wanted.providers}:
        raise EnvironmentFailure(f"the folder does not ask for {', '.join(sorted(missing))}")
    wanted.providers = [one for one in wanted.providers if _named(wanted, one) not in names]
    before = Lock(lock.text, lock.wanted)
    if not wanted.lines():
        (folder / LOCK).unlink()
        environment.remove(before)
        return {"folder": str(folder), "lock": None, "wanted": [], "packages": {}, "interpreter": None}
    made = _made(folder, resolve(folder, wanted))
    if made["digest"] != before.digest():  # only once there is another to work in
        environment.remove(before)
    return made


def _made(folder: Path, lock: Lock) -> dict[str, Any]:
    python = environment.build(lock, folder)
    # A lock is read whole or not at all.
    aside = folder / f".{LOCK}.{os.getpid()}"
    aside.write_text(lock.text)
    aside.replace(folder / LOCK)
    return _told(folder, lock, python)


def _existing(folder: Path) -> Lock:
    lock = Lock.read(folder)
    if lock is None:
        raise EnvironmentFailure(f"{folder} has no {LOCK}; `dagbok providers install` makes one")
    return lock


def _told(folder: Path, lock: Lock, python: Path | None) -> dict[str, Any]:
    providers = {name: version for name, version in lock.packages.items() if name.startswith(PROVIDER)}
    return {
        "folder": str(folder),
        "lock": str(folder / LOCK),
        "digest": lock.digest(),
        "interpreter": None if python is None else str(python),
        "wanted": lock.wanted.providers + lock.wanted.requirements,
        "providers": providers,
        "packages": lock.packages,
        "stale": lock.is_stale(folder),
    }


def shown(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Say what a folder's environment is, and whether it is there."""
    lock = _existing(folder)
    return _told(folder, lock, environment.interpreter(lock))


def main() -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(prog="dagbok providers")
    parser.add_argument("--folder", type=Path, required=True)
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("install")
    add.add_argument("names", nargs="*")
    add.add_argument("--requirements", action="append", default=[])
    add.add_argument("--constraints", action="append", default=[])
    add.add_argument("--upgrade", action="store_true")
    add.set_defaults(do=install)
    take = commands.add_parser("remove")
    take.add_argument("names", nargs="+")
    take.set_defaults(do=uninstall)
    commands.add_parser("list").set_defaults(do=shown)
    asked = parser.parse_args()
    try:
        folder = asked.folder.resolve()
        turn = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        # Two that read the folder's lock and write it would each undo what the other did.
        with nullcontext() if asked.do is shown else environment.one_at_a_time(f"folder-{turn}"):
            print(json.dumps(asked.do(folder, asked)))
    except EnvironmentFailure as failure:
        print(json.dumps({"failure": str(failure)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
