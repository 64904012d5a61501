"""In which order variables and connections are looked for, and Airflow's secrets backends among those places.

`[secrets] backends_order` names the places: `environment_variable`, `folder` (`dagbok.models.secrets`),
`custom` (the backend of `[secrets] backend`, or of `[workers] secrets_backend`) and `metastore` (the log, by
way of the API).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from dagbok.exceptions import AirflowConfigException
from dagbok.masking import mask_secret

ORDER = ("environment_variable", "folder", "custom", "metastore")
_ORDER_VARIABLE = "AIRFLOW__SECRETS__BACKENDS_ORDER"
# Where tasks' own backend is named, and where everybody's is; as in Airflow, the first that is there counts.
_PLACES = (("workers", "secrets_backend", "secrets_backend_kwargs"), ("secrets", "backend", "backend_kwargs"))
# The last backend that was made, with what it was made from.
_made: tuple[Any, Any] = (None, None)


def order() -> tuple[str, ...]:
    """Return the places in order.

    One that is not named is not looked at, but for the folder, which comes with the environment.
    """
    text = os.environ.get(_ORDER_VARIABLE)
    if not text:
        return ORDER
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(ORDER))
    if unknown:
        raise AirflowConfigException(
            f"{_ORDER_VARIABLE} names {', '.join(unknown)}; there are {', '.join(ORDER)}"
        )
    if "folder" not in names and "environment_variable" in names:
        names.insert(names.index("environment_variable") + 1, "folder")
    return tuple(names)


def backend() -> Any:
    """Return the secrets backend that is set up, or None. It is made once for each setting."""
    global _made
    named = _named()
    if named is None:
        return None
    path, kwargs = named
    if _made[0] == named:
        return _made[1]
    from dagbok.surface.modules import import_string

    try:
        made = import_string(path)(**kwargs)
    except ImportError as error:
        raise AirflowConfigException(
            f"the secrets backend {path} can't be imported: {error}; install its package in the tasks' Python"
        ) from error
    _made = (named, made)
    return made


def _named() -> tuple[str, dict[str, Any]] | None:
    from dagbok.models.configuration import conf

    for section, key, kwargs_key in _PLACES:
        # The environment alone: most tasks have no backend, and Airflow's list of options is long.
        if f"AIRFLOW__{section.upper()}__{key.upper()}" not in os.environ:
            continue
        path = conf.get(section, key, fallback="")
        if path:
            return path, _kwargs(section, kwargs_key)
    return None


def _kwargs(section: str, key: str) -> dict[str, Any]:
    from dagbok.models.configuration import conf

    text = conf.get(section, key, fallback="") or "{}"
    try:
        kwargs = json.loads(text)
    except ValueError:
        kwargs = None
    if not isinstance(kwargs, dict):
        # Without the text itself: it may hold a token.
        raise AirflowConfigException(f"the option {key} in section [{section}] is no JSON object")
    prefix = f"AIRFLOW__{section.upper()}__{key.upper().removesuffix('S')}__"
    for name, value in os.environ.items():
        if name.startswith(prefix):
            kwargs[name.removeprefix(prefix).lower()] = _read(value)
    mask_secret(kwargs, "")
    return kwargs


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def first(looks: dict[str, Callable[[], Any]]) -> Any:
    """Return what the first place has, each by its look; None where no place has any.

    A backend that fails is passed over with a warning, as in Airflow: what comes after may have the answer.
    """
    for place in order():
        try:
            found = looks[place]()
        except Exception as error:
            if place != "custom" or isinstance(error, AirflowConfigException):
                raise
            logging.getLogger(__name__).warning(
                "the secrets backend %s failed: %s; looking further",
                type(backend()).__name__,
                error,
            )
            continue
        if found is not None:
            return found
    return None


def places(kind: str, key: str) -> Iterator[str]:
    """Yield where a variable or a connection can be set, for people; `kind` is VAR or CONN."""
    from dagbok.models.lookup import is_there
    from dagbok.runtime.current import supervisor_or_none

    words = {"VAR": ("variables", "dagbok variables set"), "CONN": ("connections", "dagbok connections add")}
    part, command = words[kind]
    # Where a file is read on its own, nobody is there to ask for what is on the log.
    if "metastore" in order() and (supervisor_or_none() is not None or is_there()):
        yield f"`{command} {key}`"
    yield f"the environment variable AIRFLOW_{kind}_{key.upper()} for the executor"
    yield f"a file {part}/{key} in the folder that DAGBOK_SECRETS_FOLDER names"
