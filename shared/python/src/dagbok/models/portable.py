"""What the command line has the tasks' Python do with variables and connections: files, and trying one.

`python -m dagbok.models.portable WHAT [ARGUMENT…]`. Values go in by standard input and out by standard
output, which are pipes to the command line; none stands in an argument, which other users can see.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dagbok.exceptions import AirflowException
from dagbok.masking import mask
from dagbok.models.connection import Connection
from dagbok.models.secret_files import connection_of, load_connections_dict, read_variables

Json = dict[str, Any]
_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")
_PREFIX = "AIRFLOW_CONN_"


def _fields_of(connection: Connection) -> Json:
    if not connection.conn_type:
        raise AirflowException(f"connection `{connection.conn_id}` has no type; say which (conn_type)")
    return {name: getattr(connection, name) for name in _FIELDS}


def _name_of(key: str, prefixes: tuple[str, ...]) -> str:
    """Return an id from a `.env` file's name, which may be that of an environment variable."""
    found = next((key.removeprefix(prefix) for prefix in prefixes if key.startswith(prefix)), None)
    return key if found is None else found.lower()


def read_connections(path: str) -> Json:
    """Return the connections of a file by id."""
    found = load_connections_dict(path)
    return {_name_of(key, (_PREFIX, "DAGBOK_CONN_")): _fields_of(one) for key, one in found.items()}


def read_variable_file(path: str) -> Json:
    """Return the variables of a file by key: `value`, and a `description` where it has one.

    Airflow 3.1 and later write an object of both for a variable that has a description.
    """
    found: Json = {}
    for key, value in read_variables(path).items():
        described = isinstance(value, dict) and "value" in value and set(value) <= {"value", "description"}
        entry = {"description": None, **(value if described else {"value": value})}
        found[_name_of(str(key), ("AIRFLOW_VAR_", "DAGBOK_VAR_"))] = entry
    return found


def parse_connection(given: Json) -> Json:
    """Return the fields of a connection that is given by `conn_id` with `uri`, `json` or `fields`."""
    conn_id = given["conn_id"]
    value = given.get("uri") or given.get("json") or given.get("fields")
    return _fields_of(connection_of(conn_id, value))


def write_connections(given: Json) -> str:
    """Return a file's text; `given` has `entries` by id, the `format`, and for `env` the `serialization`."""
    entries = {conn_id: Connection(conn_id=conn_id, **fields) for conn_id, fields in given["entries"].items()}
    if given["format"] == "env":
        return "".join(f"{name}={_line(one, given['serialization'])}\n" for name, one in entries.items())
    fields = {name: _fields_of(one) for name, one in entries.items()}
    if given["format"] == "yaml":
        return _yaml(fields)
    return json.dumps(fields, indent=2) + "\n"


def _line(connection: Connection, serialization: str) -> str:
    if serialization == "uri":
        return connection.get_uri()
    fields = {name: value for name, value in _fields_of(connection).items() if value is not None}
    if "extra" in fields:
        fields["extra"] = connection.extra_dejson
    return json.dumps(fields)


def _yaml(fields: Json) -> str:
    try:
        import yaml
    except ImportError:
        raise AirflowException("YAML needs PyYAML in the tasks' Python: pip install pyyaml") from None
    return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def test_connection(given: Json) -> Json:
    """Try a connection by its hook; return `worked` and what was said, without its secrets."""
    import os

    connection = Connection(conn_id=given["conn_id"], **given["fields"])
    # Where a hook asks for it by its id, it gets what is tried.
    os.environ[_PREFIX + connection.conn_id.upper()] = connection.get_uri()  # type: ignore[union-attr]
    worked, said = connection.test_connection()
    return {"worked": worked, "message": mask(said)}


def main(arguments: list[str]) -> int:
    """Do what the command line asks for; what goes wrong is one line on standard error."""
    what, *rest = arguments
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a hook prints is no answer
    try:
        if what in {"read-connections", "read-variables"}:
            reader = read_connections if what == "read-connections" else read_variable_file
            print(json.dumps(reader(rest[0])), file=answers)
            return 0
        given = json.load(sys.stdin)
        if what == "parse-connection":
            print(json.dumps(parse_connection(given)), file=answers)
        elif what == "write-connections":
            answers.write(write_connections(given))
        else:
            print(json.dumps(test_connection(given)), file=answers)
    except AirflowException as error:
        print(mask(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
