"""`DagBag`, for people's own tests of their DAG files: imports files here, and keeps what went wrong."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from dagbok import zips
from dagbok.authoring.dag import DAG
from dagbok.loading import load_file, put_last
from dagbok.parsing.spec import SpecError, dag_spec
from dagbok.tracebacks import user_traceback


class DagBag:
    """The DAGs of a file or of a folder, by their ids, and for each file that can't be read its traceback."""

    def __init__(
        self,
        dag_folder: str | Path | None = None,
        include_examples: bool = False,
        safe_mode: bool = True,
        **kwargs: Any,
    ) -> None:
        self.dags: dict[str, DAG] = {}
        self.import_errors: dict[str, str] = {}
        self.dag_folder = str(dag_folder or _configured())
        self._safe_mode = safe_mode
        self.collect_dags(self.dag_folder)

    def collect_dags(self, dag_folder: str | Path | None = None, **kwargs: Any) -> None:
        """Import every DAG file of a folder, or one file."""
        path = Path(dag_folder or self.dag_folder).absolute()
        if path.is_file() or zips.split(str(path)):
            self.process_file(str(path), only_if_updated=False)
            return
        put_last(str(path))
        for file in sorted([*path.rglob("*.py"), *path.rglob("*.zip")]):
            if not any(part.startswith((".", "__pycache__")) for part in file.relative_to(path).parts):
                self._import_each(str(path), file)

    def process_file(self, filepath: str, only_if_updated: bool = True, safe_mode: bool = True) -> list[DAG]:
        """Import one file, of a zip each of its modules; return its DAGs."""
        path = Path(filepath).absolute()
        zipped = zips.split(str(path))
        folder = os.path.dirname(zipped[0]) if zipped else str(path.parent)
        put_last(folder)
        return self._import(folder, path) if zipped else self._import_each(folder, path)

    def _import_each(self, folder: str, path: Path) -> list[DAG]:
        """Import a file, or of a zip the modules that speak of DAGs."""
        if path.suffix != ".zip":
            speaks = not self._safe_mode or zips.speaks_of_dags(path.read_bytes())
            return self._import(folder, path) if speaks else []
        try:
            modules = zips.modules(str(path)) if path.is_file() else []
        except Exception as error:
            # What shows no module at its top is data, whole or not.
            if zips.shows_modules(path.read_bytes()):
                self.import_errors[str(path)] = user_traceback(error) or str(error)
            return []
        return [dag for module in modules for dag in self._import(folder, path / module)]

    def _import(self, folder: str, path: Path) -> list[DAG]:
        file = path.relative_to(folder).as_posix()
        try:
            found = load_file(folder, file).dags
        except Exception as error:
            whole = "".join(traceback.format_exception(error))
            self.import_errors[str(path)] = user_traceback(error) or whole
            return []
        for dag in found:
            try:
                dag_spec(dag, folder, file)
            except SpecError as error:
                self.import_errors[str(path)] = str(error)
                continue
            self.dags[dag.dag_id] = dag
        return found

    def get_dag(self, dag_id: str, session: Any = None) -> DAG | None:
        """Return a DAG, or None."""
        return self.dags.get(dag_id)

    def size(self) -> int:
        """Return how many DAGs there are."""
        return len(self.dags)

    @property
    def dag_ids(self) -> list[str]:
        """Return the ids of all DAGs."""
        return list(self.dags)


def _configured() -> str:
    from dagbok.models.configuration import conf

    return str(conf.get("core", "dags_folder", fallback=os.getcwd()))
