"""Whether files that import a library may be forked: `python tests/bench/forks.py [--forks N] [LIBRARY …]`.

For each library that is installed: imported, its threads before and after a fork for trial as the zygote counts
them, and where none is left, N forks, eight at a time, whose children do the library's work and compare what comes
of it, while the parent does the same work between forks. Prints a line of JSON for each library; `hung` and `wrong`
must be 0.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

AT_ONCE = 8
HANGS_AFTER = 30.0  # seconds


def numpy() -> object:
    import numpy as np

    a = np.arange(90_000.0).reshape(300, 300) % 13
    return float((a @ a).sum()), np.linalg.svd(a[:40, :40] + np.eye(40))[1].round(6).tolist()


def pandas() -> object:
    import pandas as pd

    frame = pd.DataFrame({"a": [n % 7 for n in range(5_000)], "b": [str(n % 3) for n in range(5_000)]})
    return frame.groupby("b")["a"].sum().to_dict(), frame.merge(frame.head(50), on="a").shape


def scipy() -> object:
    import numpy as np
    from scipy import linalg

    a = np.arange(10_000.0).reshape(100, 100) % 11 + np.eye(100) * 50
    return linalg.solve(a, np.ones(100)).round(9).tolist()


def sklearn() -> object:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    x = np.arange(2_000.0).reshape(500, 4) % 17
    return LogisticRegression(max_iter=50).fit(x, x[:, 0] > 8).predict(x).tolist()


def pyarrow() -> object:
    import io

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pa.table({"a": list(range(20_000)), "b": [str(n % 9) for n in range(20_000)]})
    file = io.BytesIO()
    pq.write_table(table, file)
    back = pq.read_table(io.BytesIO(file.getvalue()))
    return pc.sum(back["a"]).as_py(), back.group_by("b").aggregate([("a", "sum")]).sort_by("b").to_pydict()


def polars() -> object:
    import polars as pl

    return pl.DataFrame({"a": list(range(5_000))}).with_columns(b=pl.col("a") % 7).group_by("b").sum().sort("b").rows()


def torch() -> object:
    import torch as t

    a = t.arange(40_000.0).reshape(200, 200) % 13
    return float((a @ a).sum())


WORK: dict[str, Callable[[], object]] = {
    work.__name__: work for work in [numpy, pandas, scipy, sklearn, pyarrow, polars, torch]
}


def forked(work: Callable[[], object], expected: object, forks: int) -> dict[str, int]:
    """Fork so often; return how many hung, and how many said something else or died."""
    running: dict[int, float] = {}
    counts = {"forks": 0, "hung": 0, "wrong": 0}
    while counts["forks"] < forks or running:
        if counts["forks"] < forks and len(running) < AT_ONCE:
            pid = os.fork()
            if pid == 0:
                os._exit(0 if work() == expected else 1)
            running[pid] = time.monotonic()
            counts["forks"] += 1
            if counts["forks"] % 10 == 0:
                counts["wrong"] += work() != expected
            continue
        for pid, began in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                counts["wrong"] += status != 0
            elif time.monotonic() - began > HANGS_AFTER:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                counts["hung"] += 1
            else:
                continue
            del running[pid]
        time.sleep(0.001)
    return counts


def judge(library: str, forks: int) -> dict[str, object]:
    """Import it, and see, in this process."""
    from dagbok.runtime.processes import threads, threads_after_a_fork

    importlib.import_module(library)
    before, after = threads(), threads_after_a_fork()
    said: dict[str, object] = {"library": library, "threads": before, "left_by_a_fork": after}
    if not after:
        began = time.monotonic()
        said.update(forked(WORK[library], WORK[library](), forks))
        said["seconds"] = round(time.monotonic() - began, 1)
    return said


def main() -> int:
    """Judge each library in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*", default=list(WORK))
    parser.add_argument("--forks", type=int, default=1_000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(judge(args.libraries[0], args.forks)), flush=True)
        return 0
    failed = 0
    for library in args.libraries:
        if importlib.util.find_spec(library) is None:
            print(json.dumps({"library": library, "installed": False}), flush=True)
            continue
        command = [sys.executable, __file__, library, "--forks", str(args.forks), "--here"]
        failed += subprocess.run(command, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
