"""`python -m dagbok FILE …`: runs a file as `python FILE` does, with its `airflow.…` imports answered."""

from __future__ import annotations

import os
import runpy
import sys

from dagbok.compat import activate


def main() -> None:
    """Run the file; its DAGs can be tried with `dag.test()`."""
    if len(sys.argv) < 2:
        raise SystemExit("which file? `python -m dagbok my_dag.py`")
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    activate()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
