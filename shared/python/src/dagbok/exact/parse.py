"""One file's answer, by Airflow's own parser and serialization: in the form of `dagbok.parsing.parse`."""

from __future__ import annotations

from typing import Any

from dagbok.exact import describe, load, part
from dagbok.exceptions import AirflowException
from dagbok.parsing.parse import empty_answer, import_error
from dagbok.parsing.tracking import Tell, Tracker
from dagbok.tracebacks import shortened

Json = dict[str, Any]


def parse_file(folder: str, file: str, tell: Tell | None = None, last: dict[str, Any] | None = None) -> Json:
    """Have Airflow parse a file, and describe what it gave. Never raises for what the file does."""
    tracker = Tracker(folder, file, tell)
    answer = empty_answer(file)
    try:
        found = load.bag(folder, file)
    except BaseException as error:
        answer["errors"].append(import_error(error, folder, file))
    else:
        answer["errors"] += [_import_error(text, folder, file) for text in found.import_errors.values()]
        for dag in found.dags.values():
            _describe(dag, folder, file, answer)
    answer["imports"] = tracker.files()
    answer["listed"] = tracker.folders()
    answer["sought"] = tracker.places()
    return answer


def _describe(dag: Any, folder: str, file: str, answer: Json) -> None:
    try:
        answer["dags"].append(describe.dag_spec(dag, _serialized(dag), folder, file))
    except BaseException as error:
        told = import_error(error, folder, file)
        message = f"DAG `{dag.dag_id}`: {told['message']}"
        answer["errors"].append({**told, "message": shortened(message), "may_heal": False})


def _serialized(dag: Any) -> Json:
    """Return Airflow's own serialized form: a DAG that has none is an error there, too."""
    module = part("airflow.serialization.serialized_objects")
    kind = getattr(module, "DagSerialization", None) or module.SerializedDAG
    whole = kind.to_dict(dag)
    form = whole.get("__version")
    if form not in {2, 3}:
        raise AirflowException(f"this Airflow serializes DAGs in form {form}; exact mode reads forms 2 and 3")
    inner: Json = whole["dag"]
    return inner


def _import_error(text: str, folder: str, file: str) -> Json:
    """Return what Airflow's parser says of a file: a traceback, or one line."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    said = lines[-1] if lines else "the file did not import"
    exception, _, message = said.partition(": ")
    named = exception.replace(".", "").replace("_", "").isalnum()
    return {
        "file": file,
        "line": describe.place_in(folder, file, text),
        "exception": exception.rpartition(".")[2] if named else "ImportError",
        "message": shortened(message if named and message else said),
        "traceback": text if len(lines) > 1 else "",
        "may_heal": True,
    }
