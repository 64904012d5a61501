"""Importing one DAG file: what it made, under which era, and which files of the folder it read.

Used by the parser and by the runtime, so that both see the same DAGs.
"""

from __future__ import annotations

import binascii
import importlib.machinery
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any

from dagbok import zips
from dagbok.authoring import session, setups
from dagbok.authoring.dag import DAG
from dagbok.project import places


@dataclass
class Loaded:
    """What the import of a file gave."""

    module: ModuleType
    dags: list[DAG]
    era: int
    foreign: list[str] = field(default_factory=list)


def put_last(folder: str) -> None:
    """Make a folder the last place that imports look in, as Airflow does, with the parts of a project.

    A DAG file called `queue.py` or `csv.py` would else be the module of that name for every other file.
    """
    last = places(folder)
    sys.path[:] = [*(entry for entry in sys.path if entry not in last), *last]


def drop_working_directory() -> None:
    """Take the working directory off the import path, where `python -m` puts it without `-P`."""
    if not getattr(sys.flags, "safe_path", False) and sys.path and sys.path[0] in {"", os.getcwd()}:
        del sys.path[0]


def module_name(path: str) -> str:
    """Return the name that a DAG file is imported under: no package's, and stable for its path."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return f"dagbok_dag_{binascii.crc32(os.fsencode(path)):08x}_{stem}"


def imports_sdk(code: CodeType) -> bool:
    """Whether a file's code imports `airflow.sdk`, at its top or anywhere inside."""
    for name in code.co_names:
        if name == "airflow.sdk" or name.startswith("airflow.sdk."):
            return True
    return any(imports_sdk(inner) for inner in code.co_consts if isinstance(inner, CodeType))


def load_file(folder: str, file: str) -> Loaded:
    """Import a DAG file; whatever it raises goes to the caller."""
    path = os.path.join(folder, *file.split("/"))
    module, code = _unrun(path)
    name = module.__name__
    era = 3 if imports_sdk(code) else 2
    opened = session.LoadSession(path, era)
    sys.modules[name] = module
    session.begin(opened)
    setups.forget()
    try:
        exec(code, module.__dict__)
        era = session.era()
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        session.end()
    return _collect(module, opened, era)


def _unrun(path: str) -> tuple[ModuleType, CodeType]:
    """Return the module that a DAG file is to be, and its code."""
    name, zipped = module_name(path), zips.split(path)
    loader: Any
    if zipped is None:
        zips.leave_others(None)
        loader = importlib.machinery.SourceFileLoader(name, path)
        source = loader.get_data(path)
    else:
        archive, inner = zipped
        zips.put_first(archive)
        name = zips.name_of(path, inner, name)
        loader = zips.Module(archive, path, name)
        source = loader.text()
    spec = importlib.util.spec_from_loader(name, loader, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    return module, importlib.machinery.SourceFileLoader(name, path).source_to_code(source, path)


def _collect(module: ModuleType, opened: session.LoadSession, era: int) -> Loaded:
    # Copied: threads of the import may go on making names.
    values = dict(module.__dict__)
    in_globals = {id(value) for value in values.values() if _is_dag(value)}
    chosen = in_globals | {id(dag) for dag in opened.registered}
    made = [dag for dag in opened.made if id(dag) in chosen]
    known = {id(dag) for dag in made}
    # DAGs that another module made before, and this file names.
    made += [value for value in values.values() if _is_dag(value) and id(value) not in known]
    foreign = [name for name, value in values.items() if _is_real_airflow_dag(value)]
    return Loaded(module, _unique(made), era, foreign)


def _is_dag(value: Any) -> bool:
    """Whether a value is a DAG, without asking the value: a proxy may raise when it is asked."""
    return issubclass(type(value), DAG)


def _unique(dags: list[DAG]) -> list[DAG]:
    return list({id(dag): dag for dag in dags}.values())


def _is_real_airflow_dag(value: Any) -> bool:
    kind = type(value)
    if type.__dict__["__name__"].__get__(kind) != "DAG":
        return False
    module = kind.__dict__.get("__module__")
    return isinstance(module, str) and module.split(".")[0] == "airflow"
