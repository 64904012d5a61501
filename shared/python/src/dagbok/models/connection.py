"""Connections: given as URI or JSON in the environment or a folder, else asked of the task's supervisor."""

from __future__ import annotations

import json
import logging
from typing import Any

from dagbok.exceptions import AirflowException, AirflowNotFoundException, SupervisorError
from dagbok.masking import mask_secret
from dagbok.models import backends, lookup
from dagbok.models.secrets import CONNECTIONS

_FIELDS = ("conn_type", "host", "schema", "login", "password", "port", "extra")
_JSON_FIELDS = frozenset([*_FIELDS, "description", "uri"])


class Connection:
    """How to reach another system. Its password, and what its extra has under telling names, is masked."""

    def __init__(
        self,
        conn_id: str | None = None,
        conn_type: str | None = None,
        description: str | None = None,
        host: str | None = None,
        login: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | dict[str, Any] | None = None,
        uri: str | None = None,
    ) -> None:
        self.conn_id, self.description = conn_id, description
        self.conn_type = conn_type if conn_type is None else _kind(conn_type)
        self.host, self.login, self.password, self.schema = host, login, password, schema
        self.port = None if port is None else int(port)
        self.extra = json.dumps(extra) if isinstance(extra, dict) else extra
        if uri:
            if any(part is not None for part in (conn_type, host, login, password, schema, port, extra)):
                raise AirflowException(
                    f"connection `{conn_id}` is given by a URI and by single values too: give one of both"
                )
            self._take_uri(uri)
        self._mask()

    def _mask(self) -> None:
        mask_secret(self.password)
        if self.extra:
            try:
                mask_secret(json.loads(self.extra), "")
            except ValueError:
                return  # whoever reads it is told that it is no JSON

    def _take_uri(self, uri: str) -> None:
        """Take a URI apart as Airflow does: `type://login:password@host:port/schema?extra`.

        The host may have a scheme of its own: `spark://k8s://10.0.0.1:443`.
        """
        from urllib.parse import parse_qsl, unquote, urlsplit

        scheme, separator, rest = uri.partition("://")
        if not separator:
            raise AirflowException(
                f"the URI of connection `{self.conn_id}` has no `://`; write type://login:password@host:port/schema"
            )
        # What is a secret here may stand elsewhere as it was written, quoted somehow.
        authority = rest.partition("/")[0].rpartition("@")[0]
        mask_secret(authority.partition(":")[2])
        protocol = ""
        if "://" in rest:
            protocol, _, rest = rest.partition("://")
            if "://" in rest or "@" in protocol or ":" in protocol:
                raise AirflowException(
                    f"the URI of connection `{self.conn_id}` has `://` in a place where it must be quoted"
                    " (%3A%2F%2F)"
                )
        self.conn_type = _kind(scheme.lower())
        # urlsplit treats only known schemes as having a host; any does here.
        parts = urlsplit(f"http://{rest}")
        host = _host(parts)
        self.host = f"{protocol}://{host}" if protocol and host else host
        self.login = unquote(parts.username) if parts.username is not None else None
        self.password = unquote(parts.password) if parts.password is not None else None
        self.schema = unquote(parts.path[1:])
        try:
            self.port = parts.port
        except ValueError:
            raise AirflowException(
                f"the URI of connection `{self.conn_id}` has a port that is no number"
            ) from None
        if parts.query:
            pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
            self.extra = pairs["__extra__"] if "__extra__" in pairs else json.dumps(pairs)

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """`extra` as what its JSON says, a dict nearly always; empty where there is none or it is no JSON."""
        if not self.extra:
            return {}
        try:
            loaded: dict[str, Any] = json.loads(self.extra)
        except ValueError:
            # As in Airflow, which goes on too. Without the text: it may be a secret.
            logging.getLogger(__name__).error("the extra of connection %s is not JSON", self.conn_id)
            return {}
        return loaded

    def get_extra_dejson(self, nested: bool = False) -> dict[str, Any]:
        """Return `extra` as a dict; `nested` reads texts in it that are JSON, too."""
        extra = self.extra_dejson
        if not nested:
            return extra
        for name, value in extra.items():
            if isinstance(value, str):
                try:
                    extra[name] = json.loads(value)
                except ValueError:
                    continue
        return extra

    def get_password(self) -> str | None:
        """Return the password."""
        return self.password

    def get_uri(self) -> str:
        """Return it as a URI."""
        from urllib.parse import quote, urlencode

        kind = (self.conn_type or "").lower().replace("_", "-")
        host, protocol = self.host or "", ""
        if "://" in host and not host.startswith(f"{self.conn_type}://"):
            protocol, _, host = host.partition("://")
            protocol += "://"
        who = "" if self.login is None else quote(self.login, safe="")
        if self.password is not None:
            who += ":" + quote(self.password, safe="")
        where = quote(host, safe="")
        if self.port:
            where += f"{'' if where or who else '@'}:{self.port}"
        uri = f"{kind and f'{kind}:'}//{protocol}{who}{'@' if who else ''}{where}"
        if self.schema or self.extra:
            uri += "/" + quote(self.schema or "", safe="")
        if self.extra:
            extra = self.extra_dejson
            flat = (
                isinstance(extra, dict) and extra and all(isinstance(value, str) for value in extra.values())
            )
            uri += "?" + urlencode(extra if flat else {"__extra__": self.extra})
        return uri

    def get_hook(self, *, hook_params: dict[str, Any] | None = None) -> Any:
        """Return a hook for it, by its type."""
        from dagbok.models.hooks import hook_of

        return hook_of(self, hook_params)

    def test_connection(self) -> tuple[bool, str]:
        """Try it by its hook; return whether it works, and what was said."""
        from dagbok.models.hooks import tested

        return tested(self)

    @classmethod
    def from_json(cls, text: str, conn_id: str | None = None) -> Connection:
        """Make one from a JSON object."""
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise AirflowException(
                f"connection `{conn_id}` must be a JSON object, not {type(fields).__name__}"
            )
        unknown = sorted(set(fields) - _JSON_FIELDS)
        if unknown:
            raise AirflowException(
                f"connection `{conn_id}` has {', '.join(map(repr, unknown))}, which no connection has; "
                f"there are {', '.join(sorted(_JSON_FIELDS))}"
            )
        port, extra = fields.pop("port", None) or None, fields.pop("extra", None)
        try:
            port = None if port is None else int(port)
        except (TypeError, ValueError):
            raise AirflowException(
                f"the port of connection `{conn_id}` must be a whole number, not {port!r}"
            ) from None
        if extra and not isinstance(extra, str):
            extra = json.dumps(extra)
        return cls(conn_id=conn_id, port=port, extra=extra or None, **fields)

    @classmethod
    def get(cls, conn_id: str) -> Connection:
        """Return the connection of an id."""
        return get_connection(conn_id)

    get_connection_from_secrets = get

    def __repr__(self) -> str:
        return f"Connection(conn_id={self.conn_id!r}, conn_type={self.conn_type!r}, host={self.host!r})"


def _kind(conn_type: str) -> str:
    """Return the type as hooks know it."""
    return "postgres" if conn_type == "postgresql" else conn_type.replace("-", "_")


def _host(parts: Any) -> str:
    """Return the host of split parts: a name in lower case, or a path in its place (a socket) as it is."""
    from urllib.parse import unquote

    host = unquote(parts.hostname or "")
    if "/" in host:
        host = unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
    return host


def read(conn_id: str, text: str) -> Connection:
    """Read a connection as it is given: a URI, or JSON."""
    text = text.strip()
    if not text.startswith("{"):
        return Connection(conn_id=conn_id, uri=text)
    try:
        return Connection.from_json(text, conn_id)
    except ValueError:
        raise AirflowException(
            f"what is given for connection `{conn_id}` ({CONNECTIONS.name(conn_id)}) is neither JSON "
            "nor a URI"
        ) from None


def get_connection(conn_id: str) -> Connection:
    """Return the connection of an id, or an error that says where it was looked for."""
    looks = {
        "environment_variable": lambda: _read_found(conn_id, CONNECTIONS.in_environment(conn_id)),
        "folder": lambda: _read_found(conn_id, CONNECTIONS.in_folder(conn_id)),
        "custom": lambda: _of_backend(conn_id),
        "metastore": lambda: of_log(conn_id),
    }
    found: Connection | None = backends.first(looks)
    if found is None:
        places = ", or ".join(backends.places("CONN", conn_id))
        raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined: set it by {places}")
    return found


def _read_found(conn_id: str, text: str | None) -> Connection | None:
    return read(conn_id, text) if text and text.strip() else None


def _of_backend(conn_id: str) -> Any:
    backend = backends.backend()
    return None if backend is None else backend.get_connection(conn_id=conn_id)


def of_log(conn_id: str) -> Connection | None:
    """Return a connection that is on the log."""
    try:
        answer = lookup.ask_anybody({"type": "GetConnection", "conn_id": conn_id})
    except SupervisorError as error:
        if error.code == "CONNECTION_NOT_FOUND":
            return None
        raise
    if answer is None:
        return None
    return Connection(conn_id=conn_id, **{name: answer.get(name) for name in (*_FIELDS, "description")})


class ConnectionAccessor:
    """`{{ conn.my_db.host }}`."""

    def __getattr__(self, conn_id: str) -> Connection:
        if conn_id.startswith("__"):
            raise AttributeError(conn_id)
        return get_connection(conn_id)

    def get(self, conn_id: str, default_conn: Any = None) -> Any:
        """Return a connection, with a default."""
        try:
            return get_connection(conn_id)
        except AirflowNotFoundException:
            return default_conn
