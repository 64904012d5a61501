"""Variables: from the environment and the folder of secrets, then from the supervisor of the running task."""

from __future__ import annotations

import json
from typing import Any

from dagbok.exceptions import NotSupportedYet, SupervisorError
from dagbok.masking import mask_secret
from dagbok.models.secrets import FOLDER, VARIABLES

_MISSING: Any = object()
_WHY_NOT = (
    "from a task is not supported yet: it would have to be kept, and variables come from the environment and "
    "from files; hand values on as XComs, which xcom_pull(include_prior_dates=True) reads in later runs"
)


class Variable:
    """A setting that is kept apart from the DAG's code."""

    @staticmethod
    def get(
        key: str, default_var: Any = _MISSING, deserialize_json: bool = False, default: Any = _MISSING
    ) -> Any:
        """Return a variable's value; without a default, one that is not there is a KeyError."""
        fallback = default if default is not _MISSING else default_var
        value = VARIABLES.find(key)
        if value is None:
            value = _ask_supervisor(key)
        if value is None:
            if fallback is not _MISSING:
                return fallback
            raise KeyError(
                f"there is no variable `{key}`: set the environment variable {VARIABLES.name(key)} for the "
                f"executor, or a file variables/{key} in the folder that {FOLDER} names"
            )
        mask_secret(value, key)
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
    def set(key: str, value: Any, **kwargs: Any) -> None:
        """Refused: tasks don't change variables yet."""
        raise NotSupportedYet(f"setting the variable `{key}` {_WHY_NOT}")

    @staticmethod
    def delete(key: str, **kwargs: Any) -> None:
        """Refused: tasks don't change variables yet."""
        raise NotSupportedYet(f"deleting the variable `{key}` {_WHY_NOT}")

    @classmethod
    def setdefault(cls, key: str, default: Any, deserialize_json: bool = False, **kwargs: Any) -> Any:
        """Return a variable's value, which must be there already."""
        found = cls.get(key, default=_MISSING_VALUE, deserialize_json=deserialize_json)
        if found is _MISSING_VALUE:
            cls.set(key, default)
        return found


_MISSING_VALUE: Any = object()


def _ask_supervisor(key: str) -> str | None:
    from dagbok.runtime.current import supervisor_or_none

    supervisor = supervisor_or_none()
    if supervisor is None:
        return None
    try:
        value = supervisor.ask({"type": "GetVariable", "key": key})["value"]
    except SupervisorError as error:
        if error.code == "VARIABLE_NOT_FOUND":
            return None
        raise
    return None if value is None else str(value)


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
