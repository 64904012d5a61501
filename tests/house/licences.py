"""Holds what comes from elsewhere to `deny.toml`: licences, bans, sources. Lists duplicates for people.

For those without cargo-deny: it needs Python 3.11 and cargo, and no advisory database. Ends with 1 where
something is not in order.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Unreadable(Exception):
    """A licence expression that is none."""


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether an SPDX expression can be met by `allow`: one side of an OR, both of an AND."""
    # Crates of old write `MIT/Apache-2.0`.
    tokens = re.findall(r"[()]|[\w.+-]+", expression.replace("/", " OR "))

    def take(expected: str) -> bool:
        if tokens and tokens[0] == expected:
            tokens.pop(0)
            return True
        return False

    def either() -> bool:
        met = both()
        while take("OR"):
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while take("AND"):
            met = one() and met
        return met

    def one() -> bool:
        if take("("):
            met = either()
            if not take(")"):
                raise Unreadable(expression)
            return met
        if not tokens or tokens[0] in ("OR", "AND", "WITH", ")"):
            raise Unreadable(expression)
        name = tokens.pop(0)
        if take("WITH"):
            if not tokens:
                raise Unreadable(expression)
            name = f"{name} WITH {tokens.pop(0)}"
        return name in allow

    met = either()
    if tokens:
        raise Unreadable(expression)
    return met


def licence_faults(packages: list[dict[str, Any]], policy: dict[str, Any]) -> list[str]:
    """Packages whose licence is not among the allowed ones."""
    allow = set(policy["licenses"]["allow"])
    excepted = {it["crate"]: set(it["allow"]) for it in policy["licenses"]["exceptions"]}
    faults = []
    for package in packages:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        try:
            if not licence:
                faults.append(f"{name} names no licence")
            elif not allowed(licence, allow | excepted.get(package["name"], set())):
                faults.append(f"{name} is under {licence}, which deny.toml does not allow")
        except Unreadable:
            faults.append(f"{name} has a licence that can't be read: {licence}")
    idle = excepted.keys() - {package["name"] for package in packages}
    faults += [f"deny.toml has an exception for {name}, which is not used any more" for name in sorted(idle)]
    return faults


def other_faults(packages: list[dict[str, Any]], policy: dict[str, Any]) -> list[str]:
    """Packages that are banned, or from elsewhere than the allowed registries."""
    banned = {it["crate"]: it["reason"] for it in policy["bans"]["deny"]}
    sources = {f"registry+{url}" for url in policy["sources"]["allow-registry"]}
    faults = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            faults.append(f"{name} is banned: {banned[package['name']]}")
        if package["source"] is not None and package["source"] not in sources:
            faults.append(f"{name} comes from {package['source']}")
    return faults


def duplicates(packages: list[dict[str, Any]]) -> list[str]:
    """Crates that are there in more than one version."""
    versions = defaultdict(set)
    for package in packages:
        versions[package["name"]].add(package["version"])
    return [f"{name} {', '.join(sorted(found))}" for name, found in sorted(versions.items()) if len(found) > 1]


def metadata() -> str:
    """What cargo says of every package, for all platforms."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "metadata", "--locked", "--all-features", "--format-version", "1"]
    asked = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if asked.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed; the lock must be current: see above")
    return asked.stdout


def main() -> int:
    """Checks, says what was found, and whether all is in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata", type=Path, help="a file with cargo's metadata, instead of asking")
    parser.add_argument("--policy", type=Path, default=ROOT / "deny.toml")
    arguments = parser.parse_args()
    policy = tomllib.loads(arguments.policy.read_text())
    text = arguments.metadata.read_text() if arguments.metadata else metadata()
    packages = json.loads(text)["packages"]
    faults = licence_faults(packages, policy) + other_faults(packages, policy)
    twice = duplicates(packages)
    if twice:
        print(f"{len(twice)} crates in more than one version, for people to look at:")
        print("".join(f"  {line}\n" for line in twice), end="")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(packages)} packages, {len(faults)} not in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
