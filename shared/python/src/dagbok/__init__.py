"""Dagbok: DAGs on an append-only log, compatible with Apache Airflow DAG files.

Names are looked up when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG as DAG
    from dagbok.authoring.dag import dag as dag
    from dagbok.authoring.edges import Label as Label
    from dagbok.authoring.edges import chain as chain
    from dagbok.authoring.edges import cross_downstream as cross_downstream
    from dagbok.authoring.enums import TriggerRule as TriggerRule
    from dagbok.authoring.group import TaskGroup as TaskGroup
    from dagbok.authoring.group import task_group as task_group
    from dagbok.authoring.operator import BaseOperator as BaseOperator
    from dagbok.authoring.params import Param as Param
    from dagbok.authoring.taskflow import task as task
    from dagbok.authoring.xcom_arg import XComArg as XComArg
    from dagbok.models.connection import Connection as Connection
    from dagbok.models.hook import BaseHook as BaseHook
    from dagbok.models.variable import Variable as Variable
    from dagbok.operators.bash import BashOperator as BashOperator
    from dagbok.operators.empty import EmptyOperator as EmptyOperator
    from dagbok.operators.python import PythonOperator as PythonOperator
    from dagbok.operators.python import get_current_context as get_current_context

__version__ = "0.1.0"

_WHERE = {
    "DAG": "authoring.dag",
    "dag": "authoring.dag",
    "Label": "authoring.edges",
    "chain": "authoring.edges",
    "cross_downstream": "authoring.edges",
    "TriggerRule": "authoring.enums",
    "TaskGroup": "authoring.group",
    "task_group": "authoring.group",
    "BaseOperator": "authoring.operator",
    "Param": "authoring.params",
    "task": "authoring.taskflow",
    "XComArg": "authoring.xcom_arg",
    "Connection": "models.connection",
    "BaseHook": "models.hook",
    "Variable": "models.variable",
    "BashOperator": "operators.bash",
    "EmptyOperator": "operators.empty",
    "PythonOperator": "operators.python",
    "get_current_context": "operators.python",
}
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"dagbok has no {name}")
    import importlib

    value = getattr(importlib.import_module(f"dagbok.{module}"), name)
    globals()[name] = value
    return value
