"""Records how real Airflow reads connections and writes them again.

    python record_connections.py OUT     # with Airflow 2.11.2, and with 3.3.2

`connections-2.json` and `connections-3.json` are what these two make of `AIRFLOW_CONN_C`: for each text the fields, the
extra as a dict, plain and nested, and the URI that it gives again; or the name of the exception.
"""

from __future__ import annotations

import json
import sys
from typing import Any

FIELDS = ("conn_type", "host", "schema", "login", "password", "port", "extra", "description")
TEXTS = [
    # The documented forms of a URI.
    "my-conn-type://my-login:my-password@my-host:5432/my-schema?param1=val1&param2=val2",
    "my-conn-type://",
    "my-conn-type://my-host",
    "my-conn-type://:my-password@my-host",
    "my-conn-type://my-login@my-host",
    "my-conn-type://my-login:@my-host",
    "my-conn-type://my-host:80",
    "my-conn-type://:80",
    "my-conn-type:///my-schema",
    "my-conn-type://my-host/",
    "my-conn-type://?param=1",
    "my-conn-type://@/?param=1",
    "my-conn-type://my-host?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D",
    "my-conn-type://?__extra__=%5B%22a%22%2C+%22b%22%5D",
    "my-conn-type://?__extra__=text",
    "my-conn-type://my-host?empty=&full=1",
    "my-conn-type://my-host?a=1&a=2",
    "my-conn-type://my-host?a=b%26c%3Dd&e=f+g%2Bh",
    "postgres://user:p%40ss%2Fword%3A%23@host.example:5432/db%2Fname?sslmode=require&x=%2Ftmp",
    "postgresql://user:pass@host/db",
    "postgresql+psycopg2://user:pass@host/db",
    "google-cloud-platform://?extra__google_cloud_platform__key_path=%2Fkeys%2Fkey.json&num_retries=5",
    "aws://AKIA%2FID:secret%2Fkey%2B%3D@/?region_name=eu-north-1",
    "mysql://u:p@%2Ftmp%2Fmysql.sock/db",
    "spark://k8s%3A%2F%2F10.0.0.1:443?deploy-mode=cluster",
    "spark://k8s://10.0.0.1:443?deploy-mode=cluster",
    "http://https://example.com:8080/api",
    "http://https%3A%2F%2Fexample.com%3A8080%2Fapi",
    "https://user:pass@example.com/path/more?x=1",
    "HTTP://User:Pass@Example.COM:81/Path",
    "ssh://user@[::1]:22/",
    "ftp://user:pa:ss@host/",
    "sqlite:////tmp/file.db",
    "sqlite://%2Ftmp%2Ffile.db",
    "redis://:password@localhost:6379/0",
    "slack://:xoxb-1234-abcd@/?timeout=42",
    "imap://me%40example.com:pass@imap.example.com:993?use_ssl=true",
    "http://\u00fcser:p\u00e4ss@host",
    "http://%C3%BCser:p%C3%A4ss@host",
    " postgres://u:p@h:5432/db ",
    "postgres://u:p@h:5432/db#fragment",
    # JSON in its forms.
    '{"conn_type": "postgres", "login": "u", "password": "p", "host": "h", "port": 5432, "schema": "db"}',
    '{"conn_type": "postgres", "port": "5432"}',
    '{"conn_type": "http", "port": ""}',
    '{"conn_type": "http", "port": null, "extra": null}',
    '{"conn_type": "http", "extra": {"a": 1, "b": {"c": [1, 2]}, "d": "{\\"e\\": 1}"}}',
    '{"conn_type": "http", "extra": "{\\"a\\": \\"b\\"}"}',
    '{"conn_type": "http", "extra": ""}',
    '{"conn_type": "http", "extra": {}}',
    '{"conn_type": "http", "host": "https://example.com", "description": "mine"}',
    '{"conn_type": "my-type", "host": "h"}',
    '{"conn_type": "postgresql", "host": "h"}',
    '{"conn_type": "http", "login": "", "password": ""}',
    '{"uri": "postgres://u:p@h:5432/db?x=1"}',
    "{}",
    # What is wrong.
    '{"conn_type": "http", "port": "many"}',
    '{"conn_type": "http", "user": "me"}',
    '{"conn_type": "http",',
    "http://h:port/",
    "http://a://b://c",
    "http://u:p@https://h",
]


def answer(read: Any, text: str) -> dict[str, Any]:
    """What becomes of a text."""
    try:
        made = read("c", text)
        said = {name: getattr(made, name, None) for name in FIELDS}
    except Exception as error:
        return {"raises": type(error).__name__}
    for name, ask in (
        ("dejson", lambda: made.extra_dejson),
        ("nested", lambda: made.get_extra_dejson(nested=True)),
        ("uri", made.get_uri),
    ):
        try:
            said[name] = ask()
        except TypeError:
            continue  # the class of tasks in Airflow 3 has no nested extra
        except Exception as error:
            said[name] = {"raises": type(error).__name__}
    return said


def main() -> None:
    """Write what this Airflow answers."""
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    backend = EnvironmentVariablesBackend()
    if hasattr(backend, "_set_connection_class"):
        try:
            # The class that tasks get in Airflow 3; the server's own reads numbers in a URI's extra, tasks' doesn't.
            from airflow.sdk.definitions.connection import Connection
        except ImportError:
            from airflow.models import Connection

        backend._set_connection_class(Connection)

    def read(conn_id: str, text: str) -> Any:
        return backend.deserialize_connection(conn_id, text)

    told = {text: answer(read, text) for text in TEXTS}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1, ensure_ascii=True, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
