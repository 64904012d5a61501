"""Where the example keeps its files: $DAGBOK_EXAMPLE_STORE, or a folder in the temporary directory."""

import os
import tempfile
from pathlib import Path


def folder() -> Path:
    """Return the folder, made if need be."""
    named = os.environ.get("DAGBOK_EXAMPLE_STORE")
    path = Path(named) if named else Path(tempfile.gettempdir()) / "dagbok-example-store"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write(path: Path, text: str) -> Path:
    """Write a file whole or not at all, so that a killed try leaves no half of one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)
    return path
