"""Makes the environments of Airflow that exact mode is tried on: `tests/exact/install.py DIR`.

Each is `DIR/exact-VERSION`, with Airflow's core, its task runner and its standard provider, from the Python package
index; Dagbok's own package is not installed there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# The newest, and the older minor versions that exact mode drives.
VERSIONS = {
    "3.3.2": [
        "apache-airflow-core==3.3.2",
        "apache-airflow-task-sdk==1.3.2",
        "apache-airflow-providers-standard==1.21.0",
    ],
    "3.2.2": [
        "apache-airflow-core==3.2.2",
        "apache-airflow-task-sdk==1.2.2",
        "apache-airflow-providers-standard==1.21.0",
    ],
    "3.1.8": [
        "apache-airflow-core==3.1.8",
        "apache-airflow-task-sdk==1.1.8",
        "apache-airflow-providers-standard==1.21.0",
    ],
}


def make(folder: Path, packages: list[str]) -> None:
    """Make one environment; one that is whole is left as it is."""
    done = folder / ".installed"
    if done.exists() and done.read_text() == "\n".join(packages):
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    done.write_text("\n".join(packages))


def main() -> None:
    """Make all of them."""
    for version, packages in VERSIONS.items():
        make(Path(sys.argv[1]) / f"exact-{version}", packages)


if __name__ == "__main__":
    main()
