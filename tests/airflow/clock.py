"""What real Airflow says of the example DAGs whose way depends on when they run.

The answers were recorded once, on any day but a Monday. Where a branch asks the clock, the recorded answer is
turned into the one of the moment that our run began at, by what the example's file says.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

Json = dict[str, Any]


def _turned(answer: Json, first: str, second: str) -> Json:
    """Return an answer in which two tasks have changed places."""
    one, other = json.dumps(first), json.dumps(second)
    parts = json.dumps(answer).split(one)
    turned: Json = json.loads(other.join(part.replace(other, one) for part in parts))
    return turned


def _on_monday(answer: Json) -> Json:
    """Return what a Monday's run is: the second choice is behind the way that is not taken."""
    turned = _turned(answer, "branch_true", "branch_false")
    skipped = dict.fromkeys(("make_weekend_choice", "branch_weekend", "branch_mid_week"), "skipped")
    xcoms = {task: values for task, values in turned["xcoms"].items() if task != "make_weekend_choice"}
    return {**turned, "tasks": turned["tasks"] | skipped, "xcoms": xcoms}


def at(dag_id: str, answer: Json, now: dt.datetime) -> Json:
    """Return what Airflow answers of a run that its clock says begins at `now`, in UTC."""
    ended = answer.get("tasks", {})
    if dag_id == "example_branch_datetime_operator_2" and (ended["date_in_range"] == "success") != (now.hour >= 15):
        return _turned(answer, "date_in_range", "date_outside_range")
    if dag_id == "example_weekday_branch_operator" and ended["branch_false"] == "success":
        if now.isoweekday() == 1:
            return _on_monday(answer)
        if (ended["branch_weekend"] == "success") != (now.isoweekday() > 5):
            return _turned(answer, "branch_weekend", "branch_mid_week")
    return answer
