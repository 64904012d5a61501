"""Tasks for `executor.py` and `executor.mjs`: callables of Python, or commands. Runs the one that it is told of."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

told: dict[str, Any] = json.load(sys.stdin)
key, conf = told["key"], told["conf"]


def witness(word: str) -> None:
    """Append a line to the file that the run's conf names."""
    if path := conf.get("witness"):
        with open(path, "a") as file:
            file.write(json.dumps([word, key["task_id"], key["run_id"], key["try_number"], os.getpid()]) + "\n")


def succeed() -> dict[str, int]:
    """Say a line, and hand on a value."""
    print("said by succeed")
    return {"answer": 42}


def brief() -> None:
    """Say a line, and take a while."""
    print("said by brief", flush=True)
    time.sleep(conf.get("seconds", 1))


def hog() -> None:
    """Use up to 1 GiB of memory."""
    held = []
    for _ in range(64):
        held.append(b"x" * (16 << 20))
        time.sleep(0.1)


TASKS: dict[str, Callable[[], Any] | list[str]] = {
    "succeed": succeed,
    "brief": brief,
    "hog": hog,
    "read": lambda: json.loads(told["succeed"]),
    "fail": ["sh", "-c", "echo it was meant to fail; exit 3"],
    "slow": ["sh", "-c", "echo said by slow; sleep 600"],
}


def main() -> None:
    """Run it; what it returns is said on a line of its own that begins with a zero byte."""
    task = TASKS[key["task_id"]]
    witness("begin")
    value = task() if callable(task) else subprocess.run(task, check=True).returncode
    witness("end")
    if callable(task) and value is not None:
        print("\0" + json.dumps(value), flush=True)


main()
