"""Which DAG files of people's own are read here: those of public repositories, in copies that lie in a folder.

`tests/airflow/public.py FOLDER --python PYTHON` takes the repositories of `public.toml` that FOLDER has (each as
`owner+name`, at the commit that stands there), and of each the same few of its DAG files, chosen by a hash of their
names; reads them by `dagbok dags check` (`DAGBOK_BIN`) with that Python, which has the packages that they name; prints
what fails, by kind, and the share that is read: of all, and of those that an Airflow could read in the same place. What
none could is known with its reason in `public.toml`. Nothing of these files is part of the project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "shared" / "python" / "src"
SKIPPED = {"tests", "test", "node_modules", "__pycache__", ".git"}
# In front of what a message says of this machine.
SHORT = 160


@dataclass
class Score:
    """The files that were read, and the errors of the others by file."""

    read: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many files have a DAG, or fail."""
        return len(self.read) + len(self.errors)


def speaks_of_dags(path: Path) -> bool:
    """Whether Airflow would take a file for a DAG file, and it makes a DAG."""
    text = path.read_bytes()
    makes = re.search(rb"\bDAG\(|@dag\b|DAG\s+as\b|\bDbtDag\(", text)
    return b"airflow" in text.lower() and makes is not None


def chosen(folder: Path, each: int) -> list[str]:
    """Return the DAG files of a folder that are read: as many, and always the same."""
    found = []
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder)
        if not SKIPPED & set(inside.parts) and path.is_file() and speaks_of_dags(path):
            found.append(inside.as_posix())
    found.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return sorted(found[:each])


def check(repository: dict[str, Any], around: Path, asked: argparse.Namespace) -> Score:
    """Read the chosen files of one repository, in a copy in which no other counts as a DAG file."""
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made, around.name)
        shutil.copytree(around, copy, ignore=shutil.ignore_patterns(*SKIPPED - {"tests", "test"}), symlinks=True)
        inside = repository.get("dags", "dags")
        dags = copy / inside
        files = chosen(dags, asked.each)
        root = copy / repository.get("folder", inside)
        prefix = os.path.relpath(dags, root)
        names = [os.path.normpath(f"{prefix}/{name}") for name in files]
        for old in root.rglob(".airflowignore"):
            old.unlink()
        (root / ".airflowignore").write_text("*.py\n" + "".join(f"!/{name}\n" for name in names))
        paths = [str(copy / path) for path in repository.get("path", [])]
        env = {**os.environ, "AIRFLOW_HOME": str(copy), "PYTHONPATH": os.pathsep.join(paths), "DAGBOK_AIRFLOW": "shim"}
        env.update({name: str(value) for name, value in repository.get("env", {}).items()})
        for name, value in variables(repository, copy).items():
            env[f"AIRFLOW_VAR_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
        command = [os.environ["DAGBOK_BIN"], "dags", "check", str(root), "--json", "--python", asked.python]
        # Of a file that imports a large provider on a busy machine it is not asked how long it takes.
        config = Path(made, "dagbok.toml")
        config.write_text('[processor]\nparse_timeout = "10m"\n')
        command += ["--python-path", str(PACKAGE), "--config", str(config)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=copy, check=False)
        try:
            told = json.loads(done.stdout)
        except ValueError:
            sys.exit(f"{repository['name']}: {done.stderr}")
        return scored(names, told["errors"], made)


def variables(repository: dict[str, Any], copy: Path) -> dict[str, Any]:
    """Return what files ask for while they are read: of the repository's own file, named there, or made up."""
    known: dict[str, Any] = dict.fromkeys(repository.get("made_up", []), "1")
    if "variables_file" in repository:
        known.update(json.loads((copy / repository["variables_file"]).read_text()))
    return known | repository.get("variables", {})


def scored(names: list[str], errors: list[dict[str, Any]], made: str) -> Score:
    """Return which of the files have no error."""
    score = Score()
    for error in errors:
        said = f"{error['exception']}: {error['message']}".replace(made, "").replace("\n", " ")
        score.errors.setdefault(error["file"], said[:SHORT] if len(said) > SHORT else said)
    score.read = set(names) - set(score.errors)
    return score


def main() -> int:
    """Read them all; 1 where fewer than asked for are read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--each", type=int, default=10, help="files of a repository, at most")
    parser.add_argument("--only", action="append", help="a repository, by a part of its name")
    parser.add_argument("--least", type=float, default=95, help="share that must be read, in percent")
    asked = parser.parse_args()
    read, total, beyond, repositories, kinds = 0, 0, 0, 0, Counter[str]()
    for repository in tomllib.loads((HERE / "public.toml").read_text())["repository"]:
        name = repository["name"]
        around = asked.folder / name.replace("/", "+")
        if asked.only and not any(part in name for part in asked.only):
            continue
        if not around.is_dir():
            print(f"{name}: not there")
            continue
        score = check(repository, around, asked)
        repositories += 1
        read, total = read + len(score.read), total + score.total
        print(f"{name}: {len(score.read)} of {score.total}", flush=True)
        for file, said in sorted(score.errors.items()):
            known = repository.get("not_here", {}).get(file)
            beyond += known is not None
            kinds[f"known: {known}" if known else said.partition(":")[0]] += 1
            print(f"  {file}: {f'({known}) ' if known else ''}{said}")
    share = 100 * read / max(total - beyond, 1)
    whole = 100 * read / max(total, 1)
    print(f"{read} of {total} files of {repositories} repositories are read ({whole:.1f} %);")
    print(f"of the {total - beyond} that an Airflow could read there {share:.1f} %")
    for kind, count in kinds.most_common():
        print(f"  {count} {kind}")
    return int(share < asked.least)


if __name__ == "__main__":
    sys.exit(main())
