"""Files of variables and connections, as Airflow's `export` commands write them: JSON, YAML or `.env`."""

from __future__ import annotations

import json
import os
from typing import Any

from dagbok.exceptions import AirflowException
from dagbok.models.connection import Connection

_PARAMETERS = frozenset(
    ("conn_id", "conn_type", "description", "host", "login", "password", "schema", "port", "extra", "uri")
)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise AirflowException(f"the file `{path}` can't be read: {error.strerror}") from None


def _env(path: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, sign, value = line.partition("=")
        if not sign or not key.strip():
            raise AirflowException(f"line {number} of `{path}` is no KEY=VALUE")
        if key in found:
            raise AirflowException(f"`{path}` has several values for {key}; leave one")
        found[key] = value
    return found


def _json(path: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        # Where alone: the library's words hold none of the text, but a line may.
        line = getattr(error, "lineno", 1)
        raise AirflowException(f"`{path}` is no JSON: line {line}") from None
    return _object(path, found)


def _yaml(path: str, text: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise AirflowException(
            f"`{path}` is YAML, which needs PyYAML in the tasks' Python: pip install pyyaml"
        ) from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f": line {mark.line + 1}"
        raise AirflowException(f"`{path}` is no YAML{line}") from None
    return _object(path, found)


def _object(path: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise AirflowException(f"`{path}` must hold an object of names and values")
    return found


_READERS = {"env": _env, "json": _json, "yaml": _yaml, "yml": _yaml}


def _read(path: str) -> dict[str, Any]:
    ending = path.rsplit(".", 1)[-1].lower() if "." in os.path.basename(path) else ""
    if ending not in _READERS:
        raise AirflowException(f"`{path}` must be a .json, .yaml, .yml or .env file")
    text = _text_of(path)
    if not text.strip():
        raise AirflowException(f"the file `{path}` is empty")
    return _READERS[ending](path, text)


def _single(path: str, key: str, value: Any) -> Any:
    """Return a value; older files have a list of one in its place."""
    if not isinstance(value, list):
        return value
    if len(value) != 1:
        raise AirflowException(f"`{path}` has {len(value)} values for {key}; leave one")
    return value[0]


def read_variables(path: str) -> dict[str, Any]:
    """Return a file's variables as they stand: texts, or what JSON or YAML has in their place."""
    return _read(path)


def load_variables(path: str) -> dict[str, Any]:
    """Return a file's variables, as a secrets backend reads them."""
    return {key: _single(path, key, value) for key, value in _read(path).items()}


def load_connections_dict(path: str) -> dict[str, Connection]:
    """Return a file's connections by id."""
    found: dict[str, Connection] = {}
    for conn_id, value in _read(path).items():
        found[str(conn_id)] = connection_of(str(conn_id), _single(path, str(conn_id), value))
    return found


def connection_of(conn_id: str, value: Any) -> Connection:
    """Return the connection that a file has under an id: a URI, JSON as text, or an object of fields."""
    if isinstance(value, str):
        text = value.strip()
        return (
            Connection.from_json(text, conn_id)
            if text.startswith("{")
            else Connection(conn_id=conn_id, uri=text)
        )
    if not isinstance(value, dict):
        raise AirflowException(
            f"connection `{conn_id}` must be a URI or an object, not {type(value).__name__}"
        )
    fields = dict(value)
    unknown = sorted(set(fields) - _PARAMETERS - {"extra_dejson"})
    if unknown:
        raise AirflowException(
            f"connection `{conn_id}` has {', '.join(unknown)}, which no connection has; there are "
            f"{', '.join(sorted(_PARAMETERS))}"
        )
    if "extra_dejson" in fields:
        if "extra" in fields:
            raise AirflowException(f"connection `{conn_id}` has extra and extra_dejson: give one of both")
        fields["extra"] = json.dumps(fields.pop("extra_dejson"))
    if fields.setdefault("conn_id", conn_id) != conn_id:
        raise AirflowException(f"connection `{conn_id}` says that its id is {fields['conn_id']!r}")
    return Connection(**fields)
