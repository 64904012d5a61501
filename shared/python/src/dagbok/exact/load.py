"""Airflow's own modules made warm, and DAG files read by its own `DagBag`."""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any

from dagbok import zips
from dagbok.exact import crossing, part

# What nearly every try uses; a file's own imports come with the file.
COMMON = (
    "airflow.sdk",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.log",
    "airflow.dag_processing.bundles.local",
    "airflow.serialization.serialized_objects",
    "dagbok.exact.callbacks",
    "dagbok.exact.lines",
    "dagbok.exact.runner",
)
# Where the standard provider is installed, as it is with nearly every Airflow 3.
STANDARD = (
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.decorators.python",
)
BAGS = ("airflow.dag_processing.dagbag", "airflow.models.dagbag")


class ImportFailed(Exception):
    """A DAG file did not import; what Airflow's parser says of it."""


def warm() -> None:
    """Import what tries need, before anything is forked."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "client")
    for name in COMMON:
        importlib.import_module(name)
    crossing.teach()
    for name in STANDARD:
        try:
            importlib.import_module(name)
        except ImportError:
            return
    _bag_class()


def _bag_class() -> Any:
    for name in BAGS:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        found = getattr(module, "BundleDagBag", None) or getattr(module, "DagBag", None)
        if found is not None:
            return found
    raise ImportError("this Airflow has no DagBag where 3.1 to 3.3 have it")


def bag(folder: str, file: str) -> Any:
    """Return what Airflow's parser makes of a file: its DAGs, its import errors, its warnings."""
    kind = _bag_class()
    path = os.path.join(folder, *file.split("/"))
    zipped = zips.split(path)
    # Of a zip Airflow reads each module that speaks of DAGs.
    wanted: dict[str, Any] = {
        "safe_mode": zipped is not None,
        "load_op_links": False,
        "include_examples": False,
    }
    wanted |= {"bundle_path": folder, "bundle_name": "dags"}
    known: set[str] = set()
    for part_of in kind.__mro__:
        if part_of is not object:
            known |= inspect.signature(part_of.__init__).parameters.keys()
    given = {name: value for name, value in wanted.items() if name in known}
    if zipped is None:
        return kind(dag_folder=path, **given)
    zips.put_first(zipped[0])
    return _Part(kind(dag_folder=zipped[0], **given), path)


class _Part:
    """What of a zip's modules one gave."""

    def __init__(self, whole: Any, path: str) -> None:
        self.dags = {dag_id: dag for dag_id, dag in whole.dags.items() if dag.fileloc == path}
        # By the module's path, or that within the folder; what is said of the zip is said of each in it.
        name, archive = os.path.basename(path), os.path.basename(os.path.dirname(path))
        self.import_errors = {
            place: text
            for place, text in whole.import_errors.items()
            if place.endswith((f"{archive}/{name}", archive))
        }


def load(folder: str, file: str) -> dict[str, Any]:
    """Return a file's DAGs by id; an error where Airflow's parser has one and no DAG."""
    found = bag(folder, file)
    if not found.dags and found.import_errors:
        raise ImportFailed(next(iter(found.import_errors.values())))
    return dict(found.dags)


def version() -> str:
    """Return the version of the installed Airflow."""
    return str(part("airflow").__version__)
