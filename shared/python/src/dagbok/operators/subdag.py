"""SubDAGs of Airflow before 3: a DAG of the same file, a run of which one task makes and waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagbok.authoring import session
from dagbok.authoring.dag import DAG
from dagbok.authoring.timetables import NullTimetable
from dagbok.exceptions import AirflowException
from dagbok.operators.other_dags import TriggerDagRunOperator

# Seconds between looks at the run, where the task does not say.
POKE_INTERVAL = 2


class SubDagOperator(TriggerDagRunOperator):
    """Runs another DAG, made by the same file, for the same logical date, and ends as that ends.

    The DAG has no schedule of its own, whatever it was given: as in Airflow it runs by this task alone.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#555"

    def __init__(
        self,
        *,
        subdag: DAG,
        session: Any = None,
        conf: dict[str, Any] | None = None,
        propagate_skipped_state: Any = None,
        poke_interval: float = POKE_INTERVAL,
        **kwargs: Any,
    ) -> None:
        if not isinstance(subdag, DAG):
            raise AirflowException(f"subdag must be a DAG, not {type(subdag).__name__}")
        kwargs = {key: value for key, value in kwargs.items() if key not in _OF_SENSORS}
        super().__init__(
            trigger_dag_id=subdag.dag_id,
            conf=conf,
            wait_for_completion=True,
            reset_dag_run=True,
            poke_interval=poke_interval,
            **kwargs,
        )
        self.subdag = subdag
        if propagate_skipped_state is not None:
            ignored = "propagate_skipped_state is ignored"
            self.ignored_arguments = [*self.ignored_arguments, ignored]
        self._adopt(subdag)

    def _adopt(self, subdag: DAG) -> None:
        parent = self.dag
        expected = f"{parent.dag_id}.{self.task_id}"
        if subdag.dag_id != expected:
            raise AirflowException(
                f"The subdag's dag_id should have the form '{{parent_dag_id}}.{{this_task_id}}'. "
                f"Expected '{expected}'; received '{subdag.dag_id}'."
            )
        subdag.is_subdag, subdag.parent_dag = True, parent
        subdag.timetable, subdag.catchup, subdag.is_paused_upon_creation = NullTimetable(), False, False
        session.register(subdag)

    def execute(self, context: Any) -> None:
        """Make a run of the other DAG for this run's logical date, and wait for its end."""
        self.logical_date, self._is_dated = context["logical_date"], True
        super().execute(context)


# What sensors take, which it was one of, and a task that waits has no use for.
_OF_SENSORS = frozenset({"mode", "soft_fail", "timeout", "exponential_backoff", "executor"})
