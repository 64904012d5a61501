"""A DAG folder that is a whole project of Airflow's: `dags/` with `plugins/` or `include/` beside it.

Given the folder around them, everything that DAGs import and read is in it, and goes with it to every
machine. Imports find what they find there under Airflow: what lies in `dags/`, in the folder itself, in
`config/`, in `plugins/`. The processor takes files below `dags/` for DAG files (so its `project.rs`).
"""

from __future__ import annotations

import os
import sys

DAGS, BESIDE = "dags", ("plugins", "include")
PLUGINS = "plugins"


def is_project(folder: str) -> bool:
    """Whether a folder has its DAG files in `dags/`; a virtual environment, with its `include/`, is none."""
    return (
        os.path.isdir(os.path.join(folder, DAGS))
        and any(os.path.isdir(os.path.join(folder, name)) for name in BESIDE)
        and not os.path.isfile(os.path.join(folder, "pyvenv.cfg"))
    )


def places(folder: str) -> list[str]:
    """Return where imports look in a DAG folder, in their order."""
    # A folder that is empty, or not published, does not go to other machines: there a project looks like any
    # folder with a `dags/` in it, which is looked into all the same.
    found = [folder, os.path.join(folder, DAGS)]
    if is_project(folder):
        found = [os.path.join(folder, DAGS), folder, os.path.join(folder, "config")]
    found.append(os.path.join(folder, PLUGINS))
    return [found[0], *(place for place in found[1:] if os.path.isdir(place))]


def plugin_folders() -> list[str]:
    """Return the plugin folders that imports look in."""
    return [
        entry for entry in sys.path if os.path.basename(entry.rstrip("/")) == PLUGINS and os.path.isdir(entry)
    ]
