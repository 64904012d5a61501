"""Arguments of providers' operators as their older releases took them, for files that still say them so.

Only what a current release refuses is put into its new form, and only where that means the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
_P = "airflow.providers"


def _docker(given: Json, named: frozenset[str]) -> None:
    """Put `auto_remove=True` into the word for it: a truth was taken until the fourth release."""
    if isinstance(given.get("auto_remove"), bool):
        given["auto_remove"] = "success" if given["auto_remove"] else "never"


def _pod(given: Json, named: frozenset[str]) -> None:
    """Put `is_delete_operator_pod` into `on_finish_action`, which took its place in the tenth release."""
    if "is_delete_operator_pod" in given and "is_delete_operator_pod" not in named:
        delete = given.pop("is_delete_operator_pod")
        given.setdefault("on_finish_action", "delete_pod" if delete else "keep_pod")


_BY_CLASS: dict[str, Callable[[Json, frozenset[str]], None]] = {
    f"{_P}.docker.operators.docker.DockerOperator": _docker,
    f"{_P}.cncf.kubernetes.operators.pod.KubernetesPodOperator": _pod,
}


def former_arguments(module: str, name: str) -> Callable[[Json, frozenset[str]], None] | None:
    """Return what puts a class' arguments into their present form, by the names it takes; None for most."""
    return _BY_CLASS.get(f"{module}.{name}")
