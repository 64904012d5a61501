"""Asks a real Airflow which modules and names it has, and adds them to what the package knows.

Never needed by the tests. Run it once with each Airflow that counts, the older one too: it holds the map of
where the names of Airflow 1 went.

    /tmp/airflow/bin/python tests/oracle/record_names.py

It writes `names.txt` and `moved.txt` under `src/dagbok/compat/recorded`: a module at the start of a line, its
names indented below. Only names are taken, of parts that DAG files and plugins import; what the server keeps
for itself is known by its package alone (`compat/absent.py`).
"""

import ast
import contextlib
import importlib
import io
import os
import pkgutil
import sys
import tempfile
import textwrap
import types
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDED = HERE.parents[1] / "src/dagbok/compat/recorded"
SERVERS = tuple(
    f"airflow.{name}"
    for name in (
        "api", "api_connexion", "api_fastapi", "api_internal", "auth", "callbacks", "cli", "config_templates",
        "coordinators", "dag_processing", "example_dags", "executors", "jobs", "kubernetes", "logging", "metrics",
        "migrations", "observability", "providers", "sdk.api", "sdk.coordinators", "sdk.compat", "sdk.crypto",
        "sdk.execution_time", "sdk.observability", "sdk.serde", "security", "serialization", "task.task_runner",
        "testing", "ti_deps", "traces", "ui", "www",
    )
)  # fmt: skip
DULL = {"TYPE_CHECKING", "add_deprecated_classes", "annotations", "warnings"}


def read(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        if line and not line.startswith(" "):
            names = found.setdefault(line, set())
        else:
            names.update(line.split())
    return found


def write(path: Path, known: dict[str, set[str]]) -> None:
    lines = []
    for module in sorted(known):
        lines.append(module)
        text = " ".join(sorted(known[module]))
        lines += textwrap.wrap(
            text,
            108,
            initial_indent=" ",
            subsequent_indent=" ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    path.write_text("\n".join(lines) + "\n")


def names_of(module: types.ModuleType) -> set[str]:
    names = set()
    lazy = (getattr(module, "__all__", ()), getattr(module, "__lazy_imports", ()), module.__annotations__)
    for name in {*dir(module), *(name for found in lazy for name in found or ())} - DULL:
        value = module.__dict__.get(name)
        home = getattr(value, "__module__", None)
        declared = name in module.__annotations__
        foreign = isinstance(home, str) and not home.startswith("airflow") and not declared
        if not (name.startswith("_") or isinstance(value, types.ModuleType) or foreign):
            names.add(name)
    return names


def walk(known: dict[str, set[str]], name: str) -> None:
    last = name.rpartition(".")[2]
    if name in SERVERS or last.startswith("_") or ".yaml." in name:
        return
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module = importlib.import_module(name)
    except BaseException:
        known.setdefault(name, set())
        return
    known.setdefault(name, set()).update(names_of(module))
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        walk(known, inner.name)


def moved_in(path: Path, module: str) -> dict[str, dict[str, str]]:
    """The tables of moved classes that a file of Airflow 2 holds."""
    space: dict = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            with contextlib.suppress(Exception):
                exec(compile(ast.Module([node], []), str(path), "exec"), space)
    found: dict[str, dict[str, str]] = {}
    for key, table in space.items():
        if "deprecated_classes" in key and isinstance(table, dict):
            for name, where in table.items():
                if isinstance(where, str):
                    found.setdefault(module, {})[name] = where.rstrip(".")
                else:
                    inner = name if name.startswith("airflow.") else f"{module}.{name}"
                    found.setdefault(inner, {}).update(where)
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-names-")
    import airflow

    known, moved = read(RECORDED / "names.txt"), read(RECORDED / "moved.txt")
    walk(known, "airflow")
    write(RECORDED / "names.txt", known)
    root = Path(airflow.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if "providers" not in path.parts and "deprecated_classes" in path.read_text():
            module = ".".join(("airflow", *path.relative_to(root).with_suffix("").parts))
            for inner, table in moved_in(path, module.removesuffix(".__init__")).items():
                moved.setdefault(inner, set()).update(f"{name}={where}" for name, where in table.items())
    write(RECORDED / "moved.txt", moved)
    print(len(known), "modules,", sum(map(len, known.values())), "names,", len(moved), "moved modules")


if __name__ == "__main__":
    main()
