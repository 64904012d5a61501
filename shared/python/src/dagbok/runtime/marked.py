"""Tasks of a tried run that are marked success, not run: `dag.test(mark_success_pattern=…)` asks for it."""

from __future__ import annotations

import logging
import os
from typing import Any

# Their ids, a JSON list, from `dagbok dags test --mark-success-pattern`.
VARIABLE = "DAGBOK_MARK_SUCCESS"
log = logging.getLogger("airflow.task")


def is_marked(details: dict[str, Any]) -> bool:
    """Whether a try is of such a task; says so in its log."""
    named = os.environ.get(VARIABLE)
    if not named:
        return False
    from json import loads

    found = details["ti"]["task_id"] in loads(named)
    if found:
        log.info("Task is marked success, and not run")
    return found
