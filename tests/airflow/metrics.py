"""Records the names of Airflow's metrics out of its wheel, pinned by hash: `tests/airflow/metrics.py`.

Writes `metrics-3.3.2.json`: name, kind, dotted name and the variables in it of every metric in the template that
Airflow reads its own names from. What its descriptions say stays in the wheel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
VERSION = "3.3.2"
TEMPLATE = "airflow/_shared/observability/metrics/metrics_template.yaml"
RECORD = HERE / f"metrics-{VERSION}.json"


def template() -> str:
    """Airflow's own file."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--only-binary=:all:", "--require-hashes", "--dest", folder]
        subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)
        (wheel,) = Path(folder).glob(f"apache_airflow_core-{VERSION}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(TEMPLATE).decode()


def names(text: str) -> list[dict[str, object]]:
    """What is recorded of each metric, in the template's order."""
    return [
        {
            "name": metric["name"],
            "kind": metric["type"],
            "legacy": None if metric["legacy_name"] == "-" else metric["legacy_name"],
            "variables": metric["name_variables"],
        }
        for metric in yaml.safe_load(text)["metrics"]
    ]


def main() -> None:
    """Write the record."""
    lines = ",\n".join(f" {json.dumps(metric)}" for metric in names(template()))
    RECORD.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
