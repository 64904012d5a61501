"""Fixtures of the end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import BIN, ROOT, Standalone, standalone

ACCEPTANCE = Path(os.environ.get("DAGBOK_ACCEPTANCE", ROOT.parent / "shared/acceptance/seed/dags"))


@pytest.fixture(scope="session", autouse=True)
def binary() -> Path:
    """The binary under test; there is nothing to test without it."""
    assert BIN.exists(), f"{BIN} is missing: build it with `cargo build -p dagbok`, or set DAGBOK_BIN"
    return BIN


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    """An empty DAG folder."""
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


@pytest.fixture
def running(tmp_path: Path, dags: Path) -> Iterator[Standalone]:
    """A running installation on that folder."""
    with standalone(tmp_path, dags, env={"WITNESS": str(tmp_path / "witness")}) as it:
        yield it


@pytest.fixture
def acceptance() -> Path:
    """The DAG files that must run as they are, where this machine has them."""
    if not ACCEPTANCE.is_dir():
        pytest.skip("no acceptance files here; our own examples stand for them")
    return ACCEPTANCE
