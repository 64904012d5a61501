"""Fixtures of the end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_scenes import FAILING, Start, config
from harness import BIN, ROOT, Standalone, standalone, write_dag
from receivers import SECRET

ACCEPTANCE = Path(os.environ.get("DAGBOK_ACCEPTANCE", ROOT.parent / "shared/acceptance/seed/dags"))


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark of tests that are not to run beside others."""
    config.addinivalue_line("markers", "alone: measures times")


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
def start(tmp_path: Path, dags: Path) -> Iterator[Start]:
    """Starts an installation with a configuration of alerting."""
    started: list[Standalone] = []
    env = {"WITNESS": str(tmp_path / "witness"), "HOOK_SECRET": SECRET}

    def begin(text: str) -> Standalone:
        write_dag(dags, "training.py", FAILING)
        it = Standalone(tmp_path, dags, "--alerting-config", str(config(tmp_path, text)), env=env)
        started.append(it)
        it.start()
        it.wait_dag("training")
        return it

    yield begin
    for it in started:
        it.process.kill()


@pytest.fixture
def acceptance() -> Path:
    """The DAG files that must run as they are, where this machine has them."""
    if not ACCEPTANCE.is_dir():
        pytest.skip("no acceptance files here; our own examples stand for them")
    return ACCEPTANCE
