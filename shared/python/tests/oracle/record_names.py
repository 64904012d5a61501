"""Asks a real Airflow which modules and names it has, and adds them to what the package knows.

Never needed by the tests. Run it once with each Airflow that counts, the older one too: it holds the map of
where the names of Airflow 1 went.

    /tmp/airflow/bin/python tests/oracle/record_names.py

Of older versions, which no Python of today runs, it reads the wheels, for the names that were dropped since:

    pip download --no-deps apache-airflow==1.10.15 apache-airflow==2.2.5
    python3.11 tests/oracle/record_names.py apache_airflow-*.whl

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
import zipfile
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
NO_MODULES = ("airflow.alembic", "airflow.bin", "airflow.config_templates", "airflow.contrib.example_dags",
              "airflow.upgrade", "airflow.www_rbac", "airflow.www2", "airflow.contrib.auth")  # fmt: skip
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


def names_in(source: str) -> set[str]:
    """What a file defines, or takes from another of Airflow's, at its top."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow"):
            names |= {alias.asname or alias.name for alias in node.names if alias.name != "*"}
    return {name for name in names if not name.startswith("_")} - DULL


def record_wheel(path: str) -> None:
    known, moved = read(RECORDED / "names.txt"), read(RECORDED / "moved.txt")
    with zipfile.ZipFile(path) as wheel:
        for file in wheel.namelist():
            module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            inner = module.split(".")[1:]
            of_server = any(
                module == name or module.startswith(f"{name}.") for name in (*SERVERS, *NO_MODULES)
            )
            if (
                not file.endswith(".py")
                or (inner and of_server)
                or any(part.startswith("_") for part in inner)
            ):
                continue
            if module.split(".")[0] == "airflow":
                with contextlib.suppress(SyntaxError):
                    elsewhere = {entry.partition("=")[0] for entry in moved.get(module, ())}
                    found = names_in(wheel.read(file).decode()) - elsewhere
                    if found:
                        known.setdefault(module, set()).update(found)
    write(RECORDED / "names.txt", known)
    print(path, len(known), "modules,", sum(map(len, known.values())), "names")


def main() -> None:
    for path in sys.argv[1:]:
        record_wheel(path)
    if sys.argv[1:]:
        return
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
