"""What a DAG folder wants: providers by their short names, and requirement files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from dagbok.environments import EnvironmentFailure

PROVIDER = "apache-airflow-providers-"
_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*([^;#]*)")
# Of Airflow itself: what these give is given by this package.
AIRFLOW = frozenset({"apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk"})


@dataclass
class Wanted:
    """What was asked for, as it stands in the lock file."""

    providers: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the comments of a lock file that say so."""
        told = [("provider", one) for one in self.providers]
        told += [("requirements", one) for one in self.requirements]
        told += [("constraints", one) for one in self.constraints]
        return [f"# {kind}: {what}" for kind, what in told]

    @classmethod
    def of(cls, text: str) -> Wanted:
        """Read it from a lock file."""
        wanted = cls()
        for kind, kept in (
            ("provider", wanted.providers),
            ("requirements", wanted.requirements),
            ("constraints", wanted.constraints),
        ):
            kept.extend(re.findall(rf"^# {kind}: (.+)$", text, re.MULTILINE))
        return wanted


def normal(name: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def provider_requirement(text: str) -> str:
    """Return the requirement that a short name stands for: `amazon`, `cncf.kubernetes`, `http>=5`."""
    match = _NAME.match(text.strip())
    if match is None or not match[1]:
        raise EnvironmentFailure(f"`{text}` is no provider's name; write it as `amazon` or `cncf.kubernetes`")
    name = normal(match[1])
    full = name if name.startswith(PROVIDER) else f"{PROVIDER}{name}"
    return f"{full}{match[2] or ''}{match[3].strip()}"


def without_airflow(line: str) -> list[str]:
    """Return what a line of a requirements file asks for once Airflow itself is there.

    `apache-airflow[amazon]==2.10` asks for the provider, of whatever version fits.
    """
    match = _NAME.match(line.strip())
    if line.lstrip().startswith(("#", "-")) or match is None or normal(match[1]) not in AIRFLOW:
        return [line]
    extras = [one.strip() for one in (match[2] or "").strip("[]").split(",") if one.strip()]
    return [provider_requirement(one) for one in extras if normal(one) not in _NO_PROVIDERS]


# Extras of Airflow that bring no provider.
_NO_PROVIDERS = frozenset(
    [
        "all",
        "all-core",
        "async",
        "aiobotocore",
        "crypto",
        "otel",
        "statsd",
        "sentry",
        "virtualenv",
        "pandas",
        "password",
        "rabbitmq",
        "gunicorn",
        "graphviz",
        "kerberos",
        "ldap",
        "leveldb",
        "s3fs",
        "saml",
        "uv",
        "memray",
        "cloudpickle",
        "doc",
        "devel",
        "github-enterprise",
        "google-auth",
        "deprecated-api",
        "sqlalchemy-nonasync",
        "standard",
    ]
)


# Where packages are looked for, and which kinds of files: they hold for the lock as for what it is made of.
_OPTION = re.compile(
    r"\s*(-i|--index-url|--extra-index-url|--no-index|-f|--find-links|--trusted-host"
    r"|--pre|--prefer-binary|--no-binary|--only-binary)(?:[ =]+(.*\S))?\s*$"
)


def index_options(lines: list[str]) -> list[str]:
    """Return those of a requirements file's lines that say where packages are looked for, each once."""
    return list(dict.fromkeys(line.strip() for line in lines if _OPTION.match(line)))


def _from_root(line: str, path: Path, root: Path) -> str:
    """Return a line with a folder that it names by its path from the requirements file, from `root`."""
    option = _OPTION.match(line)
    if option is None or option[1] not in {"-f", "--find-links"} or not option[2]:
        return line
    folder = path.parent / option[2]
    return f"{option[1]} {os.path.relpath(folder, root)}" if folder.exists() else line


def read_requirements(path: Path, root: Path | None = None) -> list[str]:
    """Return a requirements file's lines without Airflow; files that it names are read by their full path.

    Folders of packages are named by their paths from `root`, the DAG folder.
    """
    root = root or path.parent
    try:
        text = path.read_text()
    except OSError as error:
        raise EnvironmentFailure(f"{path} can't be read: {error.strerror}") from None
    lines: list[str] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        option = re.match(r"\s*(-r|--requirement|-c|--constraint)[ =]+(\S+)", line)
        if option is not None and "://" not in option[2]:
            nested = path.parent / option[2]
            if option[1].startswith(("-r", "--r")):
                lines += read_requirements(nested, root)
            else:
                lines.append(f"{option[1]} {nested}")
            continue
        lines += without_airflow(_from_root(line, path, root))
    return lines
