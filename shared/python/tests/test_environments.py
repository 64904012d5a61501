"""Environments of DAG folders, as far as they need no package index: what is wanted, stand-ins, locks."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from dagbok.environments import EnvironmentFailure
from dagbok.environments.lock import Lock, inputs, resolve
from dagbok.environments.standin import constraints, make_wheels
from dagbok.environments.wanted import (
    Wanted,
    provider_requirement,
    read_requirements,
    without_airflow,
)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("amazon", "apache-airflow-providers-amazon"),
        ("cncf.kubernetes", "apache-airflow-providers-cncf-kubernetes"),
        ("common_sql>=1.2", "apache-airflow-providers-common-sql>=1.2"),
        ("google[leveldb]==12.0.0", "apache-airflow-providers-google[leveldb]==12.0.0"),
        ("apache-airflow-providers-http", "apache-airflow-providers-http"),
    ],
)
def test_providers_by_their_short_names(said: str, meant: str) -> None:
    assert provider_requirement(said) == meant


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(EnvironmentFailure, match="no provider's name"):
        provider_requirement("==2")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("apache-airflow==2.10.2", []),
        ("apache_airflow[amazon,async, postgres]>=2 ; python_version > '3'",
         ["apache-airflow-providers-amazon", "apache-airflow-providers-postgres"]),
        ("apache-airflow-providers-http==4.1", ["apache-airflow-providers-http==4.1"]),
        ("apache-airflow-task-sdk", []),
        ("pandas>=2  # frames", ["pandas>=2  # frames"]),
        ("# apache-airflow", ["# apache-airflow"]),
    ],
)  # fmt: skip
def test_airflow_itself_is_taken_out_of_requirements(line: str, kept: list[str]) -> None:
    assert without_airflow(line) == kept


def test_requirements_name_others(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("a==1 \\\n  --hash=sha256:0\n-r sub/more.txt\n-c limits.txt\n")
    (tmp_path / "sub/more.txt").write_text("apache-airflow\nb\n-c https://example.org/limits.txt\n")
    limits = f"-c {tmp_path}/limits.txt"
    told = [line for line in read_requirements(tmp_path / "requirements.txt") if line.strip()]
    assert [" ".join(line.split()) for line in told] == [
        "a==1 --hash=sha256:0",
        "b",
        "-c https://example.org/limits.txt",
        limits,
    ]
    with pytest.raises(EnvironmentFailure, match="can't be read"):
        read_requirements(tmp_path / "none.txt")


def test_a_lock_says_what_it_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\n")
    wanted = Wanted(providers=["amazon>=9", "http"], requirements=["requirements.txt"], constraints=["c.txt"])
    text = "\n".join(
        [*wanted.lines(), f"# inputs: {inputs(tmp_path, wanted)}", "a==1 \\\n    --hash=sha256:0"]
    )
    (tmp_path / "dagbok.lock").write_text(text)
    lock = Lock.read(tmp_path)
    assert lock is not None
    assert lock.wanted == wanted
    assert lock.packages == {"a": "1"}
    assert not lock.is_stale(tmp_path)
    assert lock.digest() == Lock(text, wanted).digest() != Lock(text + "b==1", wanted).digest()
    (tmp_path / "requirements.txt").write_text("a\nb\n")
    assert lock.is_stale(tmp_path)


def wheel(folder: Path, name: str, version: str) -> None:
    """Write a distribution without dependencies."""
    import zipfile

    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}.py", f"version = {version!r}\n")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")


def test_where_packages_are_looked_for_holds_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes the environment from the lock looks where the requirements file says, by paths from the folder."""
    from dagbok.environments import build, lock

    monkeypatch.setattr(lock, "NEEDED", ())
    monkeypatch.setattr(lock, "BROUGHT", [])
    monkeypatch.setenv("DAGBOK_ENVIRONMENTS", str(tmp_path / "environments"))
    dags = tmp_path / "dags"
    (dags / "sub").mkdir(parents=True)
    wheel(dags / "wheels", "ours", "1.5")
    (dags / "sub/requirements.txt").write_text("--no-index\n--find-links ../wheels\nours\n")
    wanted = Wanted(requirements=["sub/requirements.txt"])
    made = resolve(dags, wanted)
    assert "--find-links wheels" in made.text.splitlines()
    assert "--no-index" in made.text.splitlines()
    python = build.build(made, dags)
    told = subprocess.run(
        [python, "-c", "import ours; print(ours.version)"], capture_output=True, text=True, check=True
    )
    assert told.stdout == "1.5\n"
    # Two at once: the second waits, and finds what the first made.
    build.remove(made)
    command = [sys.executable, "-c", BUILD, str(dags), str(tmp_path / "lock.txt")]
    (tmp_path / "lock.txt").write_text(made.text)
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ended = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], ended
    assert sorted(out for out, _ in ended) == ["found\n", "made\n"]
    assert build.interpreter(made) is not None


BUILD = """
import sys
from pathlib import Path
from dagbok.environments import build
from dagbok.environments.lock import Lock
from dagbok.environments.wanted import Wanted
made, make = [], build._make
build._make = lambda *given: made.append(1) or make(*given)
text = Path(sys.argv[2]).read_text()
build.build(Lock(text, Wanted.of(text)), Path(sys.argv[1]))
print("made" if made else "found")
"""


def test_what_needs_airflow_is_satisfied_by_the_stand_in(tmp_path: Path) -> None:
    wheels, made = tmp_path / "wheels", tmp_path / "made"
    wheels.mkdir()
    make_wheels(wheels)
    venv.create(made, with_pip=True)
    python = str(made / "bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
    subprocess.run([*install, *constraints()], check=True)
    # As a provider asks for it, and as a task does.
    subprocess.run([*install, "apache-airflow>=2.11.0"], check=True)
    asked = "import importlib.metadata as m; print(m.version('apache-airflow'))"
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "3.3.2+dagbok"
    gone = subprocess.run([python, "-c", "import airflow"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in gone.stderr


def test_what_cannot_be_resolved_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "requirements.txt").write_text("nosuch==1\n")
    with pytest.raises(EnvironmentFailure, match="No matching distribution found"):
        resolve(tmp_path, Wanted(requirements=["requirements.txt"]))


def test_the_command_answers_in_json(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "dagbok.environments", "--folder", str(tmp_path)]
    done = subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no dagbok.lock" in done.stdout
