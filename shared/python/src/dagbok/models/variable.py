"""Variables: from the environment, the folder of secrets, secrets backends, and the log."""

from __future__ import annotations

import json
import logging
from typing import Any

from dagbok.exceptions import SupervisorError
from dagbok.masking import mask_secret
from dagbok.models import backends, lookup
from dagbok.models.secrets import VARIABLES

_MISSING: Any = object()


class Variable:
    """A setting that is kept apart from the DAG's code."""

    @staticmethod
    def get(
        key: str, default_var: Any = _MISSING, deserialize_json: bool = False, default: Any = _MISSING
    ) -> Any:
        """Return a variable's value; without a default, one that is not there is a KeyError."""
        fallback = default if default is not _MISSING else default_var
        value = find(key)
        if value is None:
            if fallback is not _MISSING:
                return fallback
            raise KeyError(f"there is no variable `{key}`: set it by {_or(key)}")
        if not deserialize_json:
            return value
        try:
            found = json.loads(value)
        except ValueError as error:
            # Without the text itself: it may be a secret.
            raise ValueError(f"the variable `{key}` is no JSON: {type(error).__name__}") from None
        mask_secret(found, key)
        return found

    @staticmethod
    def set(
        key: str,
        value: Any,
        description: str | None = None,
        serialize_json: bool = False,
        session: Any = None,
        team_name: str | None = None,
    ) -> None:
        """Give a variable a value, on the log: the next task that asks for it gets that."""
        text = json.dumps(value, indent=2) if serialize_json else str(value)
        mask_secret(text, key)
        _warn_of_shadow(key)
        _ask({"type": "PutVariable", "key": key, "value": text, "description": description}, "set", key)

    @staticmethod
    def update(
        key: str,
        value: Any,
        serialize_json: bool = False,
        session: Any = None,
        team_name: str | None = None,
    ) -> None:
        """Give a variable that there is another value; its description stays."""
        if find(key) is None:
            raise KeyError(f"Variable {key} does not exist")
        Variable.set(key, value, serialize_json=serialize_json)

    @staticmethod
    def delete(key: str, session: Any = None, team_name: str | None = None) -> int:
        """Let a variable of the log be gone; return how many went."""
        answer = _ask({"type": "DeleteVariable", "key": key}, "delete", key)
        return int((answer or {}).get("deleted", 0))

    @classmethod
    def setdefault(
        cls, key: str, default: Any, description: str | None = None, deserialize_json: bool = False
    ) -> Any:
        """Return a variable's value; where there is none, set the default, which is then its value."""
        found = cls.get(key, default=None, deserialize_json=deserialize_json)
        if found is not None:
            return found
        if default is None:
            raise ValueError("Default Value must be set")
        cls.set(key, default, description=description, serialize_json=deserialize_json)
        return default

    @staticmethod
    def check_for_write_conflict(key: str) -> None:
        """Warn where a value that is set would not be seen."""
        _warn_of_shadow(key)

    @staticmethod
    def get_variable_from_secrets(key: str, team_name: str | None = None) -> str | None:
        """Return a variable's value, None where there is none."""
        return find(key)


def find(key: str) -> str | None:
    """Return the text of a variable from the first place that has it, and have it masked by its name."""
    looks = {
        "environment_variable": lambda: VARIABLES.in_environment(key),
        "folder": lambda: VARIABLES.in_folder(key),
        "custom": lambda: _of_backend(key),
        "metastore": lambda: of_log(key),
    }
    value = backends.first(looks)
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    mask_secret(text, key)
    return text


def _or(key: str) -> str:
    return ", or ".join(backends.places("VAR", key))


def _of_backend(key: str) -> Any:
    backend = backends.backend()
    return None if backend is None else backend.get_variable(key=key)


def of_log(key: str) -> str | None:
    """Return the text of a variable that is on the log."""
    try:
        answer = lookup.ask_anybody({"type": "GetVariable", "key": key})
    except SupervisorError as error:
        if error.code == "VARIABLE_NOT_FOUND":
            return None
        raise
    return None if answer is None or answer["value"] is None else str(answer["value"])


def _ask(request: dict[str, Any], what: str, key: str) -> Any:
    from dagbok.exceptions import AirflowException
    from dagbok.runtime.current import supervisor_or_none

    supervisor = supervisor_or_none()
    if supervisor is None:
        raise AirflowException(
            f"the variable `{key}` can't be {what if what == 'set' else 'deleted'} while the DAG's file is "
            f"read, which happens again and again; do it in a task, or by `dagbok variables {what} {key}`"
        )
    return supervisor.ask(request)


def _warn_of_shadow(key: str) -> None:
    looks = (("environment", VARIABLES.in_environment), ("folder of secrets", VARIABLES.in_folder))
    for place, found in looks:
        if found(key) is not None:
            logging.getLogger(__name__).warning(
                "the variable %s is given by the %s too, which goes before the log: tasks get that value, "
                "not the one that is set",
                key,
                place,
            )


class VariableAccessor:
    """`{{ var.value.name }}` and `{{ var.json.name.field }}`."""

    def __init__(self, deserialize_json: bool) -> None:
        self._deserialize = deserialize_json

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return Variable.get(key, deserialize_json=self._deserialize)

    def get(self, key: str, default: Any = _MISSING, default_var: Any = _MISSING) -> Any:
        """Return a variable's value; without a default, one that is not there is a KeyError."""
        chosen = default if default is not _MISSING else default_var
        return Variable.get(key, default=chosen, deserialize_json=self._deserialize)
