"""XCom as a class, for files that import it; values are pushed and pulled by the task instance."""

from __future__ import annotations

from typing import Any

from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY
from dagbok.exceptions import NotSupportedYet
from dagbok.surface.columns import WithColumns


class XCom(metaclass=WithColumns):
    """What tasks hand to each other."""

    XCOM_RETURN_KEY = XCOM_RETURN_KEY

    @classmethod
    def get_one(
        cls,
        *,
        key: str = XCOM_RETURN_KEY,
        task_id: str,
        dag_id: str | None = None,
        run_id: str | None = None,
        map_index: int | None = None,
        include_prior_dates: bool = False,
        session: Any = None,
    ) -> Any:
        """Return one value, None where there is none; of the running task's DAG and run by default."""
        from dagbok.runtime.current import current_context, supervisor
        from dagbok.runtime.xcom import get_value

        if dag_id is None or run_id is None:
            ti = current_context()["ti"]
            dag_id, run_id = dag_id or ti.dag_id, run_id or ti.run_id
        found = get_value(supervisor(), key, dag_id, run_id, task_id, map_index, include_prior_dates)
        return found[0]

    @classmethod
    def get_value(cls, *, ti_key: Any, key: str = XCOM_RETURN_KEY, session: Any = None) -> Any:
        """Return one value of a task instance, which is given by its key."""
        return cls.get_one(
            key=key,
            task_id=ti_key.task_id,
            dag_id=ti_key.dag_id,
            run_id=ti_key.run_id,
            map_index=ti_key.map_index,
        )

    @classmethod
    def get_many(cls, **kwargs: Any) -> Any:
        """Refused: there is no session to query."""
        raise NotSupportedYet("XCom.get_many is not supported yet; use ti.xcom_pull")

    @classmethod
    def set(cls, **kwargs: Any) -> Any:
        """Refused: a task pushes its own."""
        raise NotSupportedYet("XCom.set is not supported; use ti.xcom_push")


BaseXCom = XCom
