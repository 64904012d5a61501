"""XCom as a class, for files that import it; values are pushed and pulled by the task instance."""

from __future__ import annotations

from typing import Any

from dagbok.authoring.xcom_arg import XCOM_RETURN_KEY
from dagbok.exceptions import NotSupportedYet


class XCom:
    """What tasks hand to each other."""

    XCOM_RETURN_KEY = XCOM_RETURN_KEY

    @classmethod
    def get_one(
        cls,
        *,
        key: str = XCOM_RETURN_KEY,
        task_id: str,
        dag_id: str,
        run_id: str,
        map_index: int | None = None,
    ) -> Any:
        """Return one value of any run, None where there is none."""
        from dagbok.runtime.current import supervisor
        from dagbok.runtime.xcom import get_value

        value, _ = get_value(supervisor(), key, dag_id, run_id, task_id, map_index)
        return value

    @classmethod
    def get_many(cls, **kwargs: Any) -> Any:
        """Refused: there is no session to query."""
        raise NotSupportedYet("XCom.get_many is not supported yet; use ti.xcom_pull")

    @classmethod
    def set(cls, **kwargs: Any) -> Any:
        """Refused: a task pushes its own."""
        raise NotSupportedYet("XCom.set is not supported; use ti.xcom_push")


BaseXCom = XCom
