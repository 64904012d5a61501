"""Whose a place on an object store is: a copy of an installation, another one, a share that is not mounted."""

import shutil
import time
from pathlib import Path

import httpx
import pytest
from harness import Cli, Standalone, standalone, wait_until, write_dag

DAG = """
import os
from datetime import datetime

from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False)
def big():
    @task
    def makes(dag_run=None):
        assert not [name for name in os.environ if name.startswith("DAGBOK__BLOBS")], "the store is none of a task's"
        return dag_run.run_id + "x" * 1_000_000

    makes()


big()
"""


def env(share: Path) -> dict[str, str]:
    return {
        "DAGBOK__BLOBS__URL": f"file://{share}",
        "DAGBOK__RETENTION__EVERY": "1s",
        "DAGBOK__RETENTION__BLOBS": "1s",
    }


def run(it: Standalone, run_id: str) -> None:
    assert it.api.post("/dags/big/dagRuns", {"dag_run_id": run_id, "logical_date": None}).status_code == 200
    assert it.api.wait_run("big", run_id, 60.0) == "success"


def claimed(it: Standalone) -> None:
    """Waits until it has a DAG, and the place; until then everything is kept near."""
    it.wait_dag("big")
    place = it.home / "blobs.place"
    wait_until("the place is claimed", lambda: place.exists() and '"is_made":true' in place.read_text())


def value(it: Standalone, run_id: str) -> bool:
    path = f"/dags/big/dagRuns/{run_id}/taskInstances/makes/xcomEntries/return_value"
    answer = httpx.get(f"{it.api.url}/api/v2{path}", params={"deserialize": "true"}, timeout=30.0)
    return answer.status_code == 200 and answer.json()["value"] == run_id + "x" * 1_000_000


def large(share: Path) -> set[str]:
    return {file.name for file in share.glob("default/??/*") if file.stat().st_size > 900_000}


@pytest.fixture
def share(tmp_path: Path) -> Path:
    it = tmp_path / "share"
    it.mkdir()
    return it


def refused(it: Standalone) -> str:
    """Has it end by itself, and returns what it said from the last start on."""
    before = len(it.process.log.read_text()) if it.process.log.exists() else 0
    it.process.start()
    assert it.process.ends() == 8
    said = it.process.log.read_text()[before:]
    assert "DBK0039" in said
    return said


def test_a_copy_of_an_installation_takes_nothing_of_it(tmp_path: Path, dags: Path, share: Path) -> None:
    write_dag(dags, "big.py", DAG)
    with standalone(tmp_path, dags, env=env(share)) as it:
        claimed(it)
        run(it, "r1")
        assert "are not in it" in Cli(["--home", str(it.home)], env(share)).ok("backup", str(tmp_path / "backup"))
        run(it, "r2")
        assert len(large(share)) == 2
        (tmp_path / "copy").mkdir()
        copy = Standalone(tmp_path / "copy", dags, env=env(share))
        said = Cli(["--home", str(copy.home)], env(share)).ok("restore", str(tmp_path / "backup"))
        assert "--take-over-blobs" in said
        assert "another copy of this log" in refused(copy)
        assert len(large(share)) == 2
        it.process.stop()
        # It is gone for good: the copy goes on, and lets go at its start what it does not name and what is old.
        wait_until("all is old", lambda: time.time() - max(file.stat().st_mtime for file in share.glob("*/??/*")) > 4.0)
        copy.process.argv += ["--take-over-blobs"]
        copy.start()
        assert value(copy, "r1")
        wait_until("what it does not name is gone", lambda: len(large(share)) == 1, 60.0)
        copy.process.stop()
        assert "taken it over" in refused(it)
        copy.process.argv.remove("--take-over-blobs")
        copy.process.start()
        copy.wait_ready()
        assert value(copy, "r1")
        copy.process.stop()


def test_a_place_that_is_not_mounted_or_was_changed_is_no_empty_one(tmp_path: Path, dags: Path, share: Path) -> None:
    write_dag(dags, "big.py", DAG)
    with standalone(tmp_path, dags, env=env(share)) as it:
        claimed(it)
        run(it, "r1")
        away = share.rename(tmp_path / "away")
        share.mkdir()
        run(it, "r2")
        assert not value(it, "r1"), "it is out of reach"
        assert value(it, "r2"), "it is near"
        assert not list(share.iterdir()), "nothing is written below a mount point"
        share.rmdir()
        away.rename(share)
        assert value(it, "r1")
        it.process.stop()

        other = tmp_path / "other"
        other.mkdir()
        it.process.env.update(env(other))
        assert "has not their `owner`" in refused(it)
        del it.process.env["DAGBOK__BLOBS__URL"]
        assert str(share) in refused(it)
        shutil.copytree(share / "default", other / "default")
        it.process.env.update(env(other))
        it.process.start()
        it.wait_ready()
        assert value(it, "r1")
        it.process.stop()
        # On purpose what lies there is given up.
        del it.process.env["DAGBOK__BLOBS__URL"]
        it.process.argv.append("--take-over-blobs")
        it.process.start()
        it.wait_ready()
        assert not value(it, "r1")
        run(it, "r3")
        assert value(it, "r3")


def test_a_place_that_is_none_is_said_with_where_it_stands(tmp_path: Path) -> None:
    done = Cli(["--home", str(tmp_path)], {"DAGBOK__BLOBS__URL": "wasb://logs"}).run("config", "check")
    assert done.returncode != 0
    assert "az://container/prefix" in done.stderr
    assert "`blobs.url` in the environment variable `DAGBOK__BLOBS__URL`" in done.stderr
