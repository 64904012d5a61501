"""A distribution by the name of apache-airflow that holds nothing: this package answers for it.

Provider packages need `apache-airflow`; with the stand-in there, an installer is satisfied.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from dagbok.compat.version import AIRFLOW_VERSION

# Of each name of Airflow's own: which version is answered for.
VERSIONS = {
    "apache-airflow": AIRFLOW_VERSION,
    "apache-airflow-core": AIRFLOW_VERSION,
    "apache-airflow-task-sdk": "1.3.2",
}
LOCAL = "+dagbok"


def constraints() -> list[str]:
    """Return the lines that keep an installer from looking for Airflow anywhere else."""
    return [f"{name}=={version}{LOCAL}" for name, version in VERSIONS.items()]


def make_wheels(folder: Path) -> None:
    """Write the stand-ins as wheels into a folder."""
    for name, version in VERSIONS.items():
        _make(folder, name, version + LOCAL)


def _make(folder: Path, name: str, version: str) -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: Stands for Airflow, whose API the package dagbok answers\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: dagbok\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            # Of one fixed date, so that the wheel is the same each time.
            wheel.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
