"""Fetches Airflow's own example DAG files out of its wheels, pinned by hash, from the Python package index.

`tests/airflow/install.py [DIR]` makes `DIR/<version>/airflow/example_dags`, and `DIR/<version>/standard` with the
standard provider's (DIR is `.tools/airflow` of this work tree). Nothing is installed, and nothing else of the
wheels is unpacked: the files are Airflow's, and stay out of the project.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / ".tools" / "airflow"
# Of a wheel's name: where its example files lie in it, and where they go, by version.
WHEELS = {
    "apache_airflow-2.11.2": {"2.11.2": ("airflow/example_dags/", "airflow/example_dags/")},
    "apache_airflow_core-3.3.2": {"3.3.2": ("airflow/example_dags/", "airflow/example_dags/")},
    "apache_airflow_providers_standard-1.21.0": dict.fromkeys(
        ("2.11.2", "3.3.2"), ("airflow/providers/standard/example_dags/", "standard/")
    ),
}


def unpack(wheel: Path, into: Path) -> None:
    """Unpack a wheel's example files."""
    (places,) = [found for name, found in WHEELS.items() if wheel.name.startswith(name + "-")]
    with zipfile.ZipFile(wheel) as archive:
        for version, (inside, folder) in places.items():
            for member in archive.namelist():
                if member.startswith(inside) and not member.endswith("/"):
                    target = into / version / folder / member.removeprefix(inside)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))


def main() -> None:
    """Fetch and unpack, and put all in place at once."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fetched, made = Path(folder, "wheels"), Path(folder, "made")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--only-binary=:all:", "--require-hashes", "--dest", str(fetched)]
        subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)
        for wheel in sorted(fetched.glob("*.whl")):
            unpack(wheel, made)
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)


if __name__ == "__main__":
    main()
