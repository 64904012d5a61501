"""One file's answer: its DAGs, its errors, what it read, what will be ignored."""

from __future__ import annotations

import sys
from typing import Any

from dagbok.authoring.dag import DAG
from dagbok.exceptions import (
    AirflowDagCycleException,
    AirflowDagDuplicatedIdException,
    AirflowTimetableInvalid,
    DuplicateTaskIdFound,
    NotSupportedYet,
    TaskAlreadyInTaskGroup,
)
from dagbok.loading import Loaded, load_file
from dagbok.parsing.spec import SpecError, dag_spec, name_of, place_of
from dagbok.parsing.tracking import Tell, Tracker
from dagbok.tracebacks import place, relative, report, safe_repr, shortened, user_traceback

Json = dict[str, Any]

# What the file itself says wrongly: importing it once more gives it again.
LASTING = (
    AirflowDagCycleException,
    AirflowDagDuplicatedIdException,
    AirflowTimetableInvalid,
    DuplicateTaskIdFound,
    NotSupportedYet,
    TaskAlreadyInTaskGroup,
)


def empty_answer(file: str) -> Json:
    """Return the answer about a file of which nothing is known yet."""
    depends: Json = {"imports": [], "listed": [], "sought": []}
    return {"file": file, "dags": [], "errors": [], **depends, "warnings": []}


def parse_file(folder: str, file: str, tell: Tell | None = None, last: dict[str, Any] | None = None) -> Json:
    """Import a file and describe what it gave. Never raises for what the file does.

    `last` has the data intervals of the last scheduled runs, by DAG: the timetables of those in it that are
    of the file's own are asked for the runs that follow.
    """
    tracker = Tracker(folder, file, tell)
    answer = empty_answer(file)
    try:
        loaded = load_file(folder, file)
    except BaseException as error:
        answer["errors"].append(import_error(error, folder, file))
    else:
        described = _describe(loaded, folder, file, answer)
        if last:
            from dagbok.parsing.foretelling import foretell

            answer["foretold"], errors = foretell(described, last, folder)
            answer["errors"] += errors
    lookup = sys.modules.get("dagbok.models.lookup")
    if lookup is not None and lookup.asked:
        answer["looked_up"] = True
    answer["imports"] = tracker.files()
    answer["listed"] = tracker.folders()
    answer["sought"] = tracker.places()
    answer["warnings"] += [
        f"it reads `{path}`, which lies beside the DAG folder: tasks run in a copy of the folder, and it is "
        "not there; move it into the folder, or name it from the root"
        for path in tracker.beside()
        if answer["dags"]
    ]
    return answer


def import_error(error: BaseException, folder: str, file: str) -> Json:
    """Describe what stopped an import."""
    seen = report(error, folder)
    message = seen.message
    if isinstance(error, SystemExit):
        message = f"the file called sys.exit({safe_repr(error.code)}) while it was imported"
    elif isinstance(error, SyntaxError):
        message = error.msg if isinstance(error.msg, str) and error.msg else message
    elif isinstance(error, RecursionError):
        message = f"{message} while the file was imported"
    return {
        "file": seen.file or file,
        "line": seen.line,
        "exception": seen.exception,
        "message": message,
        "traceback": seen.traceback,
        "may_heal": _may_heal(error, folder),
    }


def _may_heal(error: BaseException, folder: str) -> bool:
    """Whether the import may go well another time though nothing in the folder changed."""
    if issubclass(type(error), SyntaxError):
        # Of an installed package, or of text from elsewhere, it may.
        filename = getattr(error, "filename", None)
        return not (isinstance(filename, str) and filename.startswith(f"{folder.rstrip('/')}/"))
    return not issubclass(type(error), LASTING)


def _describe(loaded: Loaded, folder: str, file: str, answer: Json) -> list[DAG]:
    """Put the DAGs and the errors into the answer; return the DAGs."""
    described = []
    by_id: dict[str, list[DAG]] = {}
    for dag in loaded.dags:
        by_id.setdefault(name_of(dag), []).append(dag)
    for dag_id, dags in by_id.items():
        if len(dags) > 1:
            answer["errors"].append(_duplicate(dag_id, dags, file))
            continue
        try:
            answer["dags"].append(dag_spec(dags[0], folder, file))
            described.append(dags[0])
        except SpecError as error:
            answer["errors"].append(_spec_error(error, folder, file))
            continue
    for name in loaded.foreign:
        answer["errors"].append(
            {
                "file": file,
                "line": None,
                "exception": "AirflowException",
                "message": f"`{name}` is a DAG of Airflow itself, which is installed in this Python; "
                "set DAGBOK_AIRFLOW=shim to have Dagbok answer the file's imports",
                "traceback": "",
                "may_heal": False,
            }
        )
    return described


def _duplicate(dag_id: str, dags: list[DAG], file: str) -> Json:
    made_at = [place_of(dag)[1] for dag in dags]
    lines = " and ".join(str(line) for line in made_at if line)
    where = f", made in lines {lines}" if lines else ""
    return {
        "file": file,
        "line": made_at[1] or None,
        "exception": "AirflowDagDuplicatedIdException",
        "message": f"{len(dags)} DAGs of this file have the dag_id `{dag_id}`{where}; give each its own",
        "traceback": "",
        "may_heal": False,
    }


def _spec_error(error: SpecError, folder: str, file: str) -> Json:
    cause = error.__cause__
    # Raised by code of the file, or of something that it imports, and not by ours about it.
    is_users = cause is not None and place(cause, folder) != (None, None)
    return {
        "file": relative(error.file, folder) if error.file else file,
        "line": error.line or None,
        "exception": "NotSupportedYet" if cause is None else report(cause, folder).exception,
        "message": shortened(str(error)),
        "traceback": user_traceback(cause) if cause is not None and is_users else "",
        "may_heal": is_users,
    }
