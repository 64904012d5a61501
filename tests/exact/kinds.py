"""Prints what this Airflow's task runner may ask its supervisor, and what exact mode says of each, as JSON."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import get_args

START = Path(__file__).resolve().parents[2] / "shared" / "python" / "src" / "dagbok" / "exact" / "start.py"


def main() -> None:
    """Print each kind: whether it is refused, ends the try, is answered here, or is said to the executor."""
    del sys.path[0]
    runpy.run_path(str(START))["put_in"]()
    from airflow.sdk.execution_time.comms import ToSupervisor

    from dagbok.exact import comms

    told = {}
    for kind in get_args(get_args(ToSupervisor)[0]):
        name = kind.__name__
        if name in comms.NOT_HERE or any(store in name for store in comms.STORES):
            told[name] = "refused"
        elif name in comms.LAST_WORDS:
            told[name] = "last"
        elif name in comms.HERE or (name in comms.SHAPES and name.startswith("GetXComSequence")):
            told[name] = "here"
        else:
            told[name] = "executor"
    print("\n" + json.dumps(told))


if __name__ == "__main__":
    main()
