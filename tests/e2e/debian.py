"""Programs of Debian's packages, unpacked into a folder of the test: nothing is installed, and no service started."""

from __future__ import annotations

import subprocess
from pathlib import Path

ENV = {"DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, cwd=folder, env=ENV, capture_output=True, check=False)


def unpacked(folder: Path, package: str) -> Path:
    """Where a package's files lie; it is fetched by apt."""
    folder.mkdir(parents=True, exist_ok=True)
    if _run(folder, "apt-get", "download", "-qq", package).returncode != 0:
        _run(folder, "apt-get", "update", "-qq")
        fetched = _run(folder, "apt-get", "download", "-qq", package)
        assert fetched.returncode == 0, fetched.stderr.decode()
    (archive,) = folder.glob(f"{package}_*.deb")
    files = folder / "files"
    done = _run(folder, "dpkg-deb", "-x", str(archive), str(files))
    assert done.returncode == 0, done.stderr.decode()
    return files
