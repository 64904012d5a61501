"""Starts a module of this package in Airflow's own Python: `python -P .../exact/start.py MODULE [ARGS]`.

That Python does not have our package, and our package's folder must not be on its import path: whatever
lies beside it, as another Airflow's pieces, would stand before what is installed there. So the package is
put in by hand. With `--about` it says what it is, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)


def put_in() -> None:
    """Make `dagbok` importable, and nothing else."""
    file = os.path.join(PACKAGE, "__init__.py")
    spec = importlib.util.spec_from_file_location("dagbok", file, submodule_search_locations=[PACKAGE])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dagbok"] = module
    spec.loader.exec_module(module)


def about() -> dict[str, object]:
    """Return what this Python is, which Airflow it has, and why that can't be driven where it can't."""
    said: dict[str, object] = {
        "executable": sys.executable,
        "version": ".".join(map(str, sys.version_info[:3])),
        "airflow": None,
        "trouble": None,
    }
    if sys.version_info < OLDEST:
        said["trouble"] = (
            f"it is Python {said['version']}; exact mode needs 3.11 or later, with Airflow 3.1 to 3.3"
        )
        return said
    put_in()
    from dagbok.exact import installation

    found = installation.find()
    said["airflow"], said["trouble"] = found.version, found.trouble
    return said


def main() -> None:
    """Be the module that is named."""
    if sys.argv[1:] == ["--about"]:
        print(json.dumps(about()))
        return
    put_in()
    from dagbok import exact

    exact.begin()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
