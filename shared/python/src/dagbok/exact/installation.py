"""Which Airflow is installed here, and whether it can be driven."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

CORE, SDK = "apache-airflow-core", "apache-airflow-task-sdk"
# The minor versions whose task runner and parser this drives, as tested.
SUPPORTED = ("3.1", "3.2", "3.3")
INSTALL = "pip install apache-airflow-core==3.3.2 apache-airflow-providers-standard"


@dataclass(frozen=True)
class Found:
    """An installation: its version, and why it can't be driven where it can't."""

    version: str | None
    trouble: str | None = None


def find() -> Found:
    """Return what is installed, without importing it."""
    core, sdk = _version(CORE), _version(SDK)
    if core is None:
        older = _version("apache-airflow")
        if older is not None:
            return Found(older, _unsupported(older))
        return Found(None, f"Airflow is not installed there; `{INSTALL}` into that environment")
    if minor(core) not in SUPPORTED:
        return Found(core, _unsupported(core))
    if sdk is None:
        return Found(core, f"Airflow {core} is there without its task runner; `pip install {SDK}`")
    return Found(core)


def _unsupported(version: str) -> str:
    return (
        f"it has Airflow {version}; exact mode drives {', '.join(SUPPORTED[:-1])} and {SUPPORTED[-1]}: "
        f"`{INSTALL}` into an environment of its own, or run the files without exact mode"
    )


def minor(version: str) -> str:
    """Return the first two numbers of a version."""
    return ".".join(version.split(".")[:2])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
