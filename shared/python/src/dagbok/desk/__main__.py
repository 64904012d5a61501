"""`python -P -m dagbok.desk render|test`, which is how `dagbok tasks` asks; answers in JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
from typing import Any

from dagbok.compat import activate


def main() -> int:
    """Render or run one task."""
    parser = argparse.ArgumentParser(prog="dagbok tasks")
    parser.add_argument("what", choices=["render", "test"])
    for name in ("folder", "file", "task", "date"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dag")
    parser.add_argument("--conf", type=json.loads)
    asked = parser.parse_args()
    activate()
    from dagbok.desk.alone import find, render, run
    from dagbok.loading import put_last
    from dagbok.tracebacks import report

    # What the file and the task print goes to standard error: the answer alone is the output.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    put_last(asked.folder)
    date = dt.datetime.fromisoformat(asked.date)
    try:
        task = find(asked.folder, asked.file, asked.dag, asked.task)
        told: dict[str, Any] = {"task_id": task.task_id, "dag_id": task.dag.dag_id}
        if asked.what == "render":
            told["fields"] = render(task, date, asked.conf)
        else:
            told.update(run(task, date, asked.conf))
    except (Exception, SystemExit) as error:
        seen = report(error, asked.folder)
        told = {"exception": seen.exception, "message": seen.message, "traceback": seen.traceback}
    print(json.dumps(told, default=str), file=answer, flush=True)
    return int("exception" in told)


if __name__ == "__main__":
    sys.exit(main())
