"""Prints what a parser makes of a file: `answer.py own|exact FOLDER FILE`, in the Python of that parser."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

START = Path(__file__).resolve().parents[2] / "shared" / "python" / "src" / "dagbok" / "exact" / "start.py"


def main() -> None:
    """Ask it, and print its DAGs by id and its errors."""
    kind, folder, file = sys.argv[1:]
    del sys.path[0]
    if kind == "exact":
        runpy.run_path(str(START))["put_in"]()
        from dagbok import exact

        exact.begin()
        from dagbok.exact.parse import parse_file
    else:
        from dagbok import compat

        compat.activate()
        from dagbok.parsing.parse import parse_file
    answer = parse_file(folder, file)
    dags = {dag["dag_id"]: {**dag, "source": dag["source"]["file"]} for dag in answer["dags"]}
    print("\n" + json.dumps({"dags": dags, "errors": answer["errors"]}))


if __name__ == "__main__":
    main()
