"""A lock file: every package of an environment with its version and hash, and what it was made from."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dagbok.environments import LOCK, EnvironmentFailure
from dagbok.environments.standin import LOCAL, VERSIONS, constraints, make_wheels
from dagbok.environments.wanted import (
    Wanted,
    index_options,
    normal,
    provider_requirement,
    read_requirements,
)

HEAD = "# Made by `dagbok providers install`: what this folder's DAG files and tasks run with."
# What this package needs in an environment of its own, as its own metadata says too.
NEEDED = (
    "jinja2>=3.1.4",
    "msgpack>=1.0.8",
    "pendulum>=3.0",
    "python-dateutil>=2.8.2",
    "jsonschema>=4.18",
    "rfc3339-validator>=0.1.4",
)
# What Airflow itself brings: provider packages import it without asking for it, and so do DAG files.
BROUGHT = [
    "asgiref",
    "attrs",
    "cron-descriptor",
    "cryptography",
    "deprecated",
    "dill",
    "fsspec",
    "httpx",
    "lazy-object-proxy",
    "methodtools",
    "more-itertools",
    "packaging",
    "psutil",
    "pydantic",
    "python-slugify",
    "pyyaml",
    "requests",
    "rich",
    "sqlalchemy",
    "tabulate",
    "tenacity",
    "termcolor",
    "typing-extensions",
    "universal-pathlib",
]


@dataclass(frozen=True)
class Lock:
    """What a lock file says."""

    text: str
    wanted: Wanted

    @classmethod
    def read(cls, folder: Path) -> Lock | None:
        """Return a DAG folder's, if it has one."""
        try:
            text = (folder / LOCK).read_text()
        except FileNotFoundError:
            return None
        return cls(text, Wanted.of(text))

    @property
    def packages(self) -> dict[str, str]:
        """Versions by package."""
        return dict(re.findall(r"^([a-z0-9-]+)==([^\s\\]+)", self.text, re.MULTILINE))

    def is_stale(self, folder: Path) -> bool:
        """Whether what the folder's files ask for is another than when it was made."""
        return f"# inputs: {inputs(folder, self.wanted)}" not in self.text.splitlines()

    def digest(self) -> str:
        """Return what names its environment, made with this Python."""
        made_with = f"{platform.python_implementation()} {'.'.join(map(str, sys.version_info[:3]))}"
        whole = "\n".join([made_with, sysconfig.get_platform(), *constraints(), self.text])
        return hashlib.sha256(whole.encode()).hexdigest()


def pip(*arguments: str, python: str = sys.executable, folder: Path | None = None) -> None:
    """Run pip, in a folder from which paths go; what it says last of an error is what went wrong."""
    command = [python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        told = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise EnvironmentFailure("pip: " + "\n".join(told[-8:]))


def resolve(folder: Path, wanted: Wanted) -> Lock:
    """Find versions that go together, by pip, for all that a folder wants."""
    with tempfile.TemporaryDirectory(prefix="dagbok-resolve-") as name:
        work = Path(name)
        make_wheels(work)
        asked = [line for file in wanted.requirements for line in read_requirements(folder / file, folder)]
        lines = [*NEEDED, *BROUGHT, *map(provider_requirement, wanted.providers), *asked]
        (work / "wanted.txt").write_text("\n".join([*lines, ""]))
        (work / "airflow.txt").write_text("\n".join([*constraints(), ""]))
        limits = [part for file in wanted.constraints for part in ("-c", _where(folder, file))]
        limits += ["-c", str(work / "airflow.txt"), "--find-links", name]
        report_to = ["--report", str(work / "report.json")]
        what = ["--ignore-installed", *report_to, *limits, "-r", str(work / "wanted.txt")]
        pip("install", "--dry-run", *what, folder=folder)
        report = json.loads((work / "report.json").read_text())
    made_of = f"# inputs: {inputs(folder, wanted)}"
    # They hold for whoever makes the environment, too.
    where = index_options(asked)
    text = "\n".join([HEAD, *wanted.lines(), made_of, *where, *sorted(map(_locked, _foreign(report))), ""])
    return Lock(text, wanted)


def inputs(folder: Path, wanted: Wanted) -> str:
    """Return the digest of what the folder's files ask for, by which a lock is known to be out of date."""
    lines = [line for file in wanted.requirements for line in read_requirements(folder / file, folder)]
    limits = [_where(folder, file) for file in wanted.constraints]
    read = [Path(limit).read_text() if Path(limit).is_file() else limit for limit in limits]
    return hashlib.sha256("\n".join([*lines, *read]).encode()).hexdigest()


def _where(folder: Path, file: str) -> str:
    return file if "://" in file else str(folder / file)


def _foreign(report: dict[str, list[dict[str, dict[str, str]]]]) -> list[dict[str, dict[str, str]]]:
    return [
        one
        for one in report["install"]
        if normal(one["metadata"]["name"]) not in VERSIONS or LOCAL not in one["metadata"]["version"]
    ]


def _locked(one: dict[str, dict[str, str]]) -> str:
    name, version = normal(one["metadata"]["name"]), one["metadata"]["version"]
    info = one["download_info"]
    archive: dict[str, dict[str, str]] = info.get("archive_info", {})  # type: ignore[assignment]
    digest = archive.get("hashes", {}).get("sha256")
    if digest is None:
        raise EnvironmentFailure(
            f"{name} comes from {info.get('url')}, which no hash can be given for: it can't be locked; "
            "name a released version, or an archive"
        )
    pinned = f"{name} @ {info['url']}" if one.get("is_direct") else f"{name}=={version}"
    return f"{pinned} \\\n    --hash=sha256:{digest}"
