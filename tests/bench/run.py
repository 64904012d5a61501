"""All figures of the issue, measured on this machine: `make bench`. Prints a table; `--json` a document.

Nothing here decides pass or fail: timings are for people, with the machine and the durability said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("DAGBOK_BIN", str(ROOT / "target/release/dagbok"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

import itertools

import grown
import imports

import httpx
from harness import Nats, Standalone, standalone, wait_until, write_dag
from scenes import Apart
from surface import surface
from telemetry import telemetry
from triggers import triggers

BENCH = ROOT / "target/release/dagbok-bench"

FIBO = """
import os, time
FIRST = time.time()
from datetime import datetime
from airflow.decorators import dag, task

OUT = os.environ["BENCH_OUT"]


def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


@task
def step(number, before=None):
    first = time.time()
    fibo(10)
    with open(OUT, "a") as out:
        out.write(f"{number} {first} {time.time()}\\n")
    return number


@dag(dag_id="sequence", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def sequence():
    value = None
    for number in range(40):
        value = step.override(task_id=f"step_{number:02}")(number, value)


@dag(dag_id="fan", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False, max_active_tasks=64)
def fan():
    first = step.override(task_id="first")(0)
    middle = [step.override(task_id=f"middle_{number:04}")(number, first) for number in range(1000)]
    last = step.override(task_id="last")(1001)
    middle >> last


@task
def numbers():
    return list(range(1, 1001))


# The same copies by a loop and by a list that a task returns: neither says when it ran.
@task(trigger_rule="all_done")
def quiet(number):
    return number


@dag(
    dag_id="looped", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
    max_active_tasks=64,
)
def looped():
    first = numbers()
    last = quiet.override(task_id="last")(0)
    for number in range(1, 1001):
        first >> quiet.override(task_id=f"middle_{number:04}")(number) >> last


@dag(
    dag_id="mapped", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
    max_active_tasks=64,
)
def mapped():
    quiet.override(task_id="middle").expand(number=numbers()) >> quiet.override(task_id="last")(0)


@dag(dag_id="one", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def one():
    step.override(task_id="only")(0)


sequence()
fan()
looped()
mapped()
one()
"""

# Copies that each use one element of a list, copies over those, and a task that gathers all.
LISTS = """
from datetime import datetime
from airflow.decorators import dag, task


def lists(size):
    @task
    def source():
        return [{"number": number, "text": "x" * 80} for number in range(size)]

    @task
    def take(one):
        return one["number"]

    @task
    def again(number):
        return number

    @task
    def gather(numbers):
        assert sum(numbers) == size * (size - 1) // 2

    @dag(dag_id=f"lists_{size}", schedule=None, start_date=datetime(2024, 1, 1), max_active_tasks=64)
    def made():
        gather(again.expand(number=take.expand(one=source())))

    return made()


for size in (100, 1_000, 10_000, 100_000):
    globals()[f"lists_{size}"] = lists(size)
"""

rows: list[dict[str, Any]] = []
# One connection kept open, as a program that triggers runs would.
CLIENT = httpx.Client(timeout=60.0)


def post(api: Any, dag_id: str, run_id: str) -> None:
    """Triggers a run."""
    answer = CLIENT.post(f"{api.url}/api/v2/dags/{dag_id}/dagRuns", json={"dag_run_id": run_id, "logical_date": None})
    assert answer.status_code == 200, answer.text


def wait_end(api: Any, dag_id: str, run_id: str, patience: float = 120.0) -> str:
    """The state of a run once it is over. One request stands open meanwhile: asking over and over would take of the
    cores that are measured."""
    until = time.monotonic() + patience
    path = f"{api.url}/api/v2/dagbok/runs/{dag_id}/{run_id}/wait"
    while time.monotonic() < until:
        answer = CLIENT.get(path, params={"timeout": 60}, timeout=90.0)
        # A run is shown a moment after it was decided.
        if answer.status_code == 200 and (state := answer.json()["dag_run"]["state"]) in ("success", "failed"):
            return str(state)
    raise AssertionError(f"{dag_id}/{run_id} is not over after {patience} s")


def row(what: str, figure: str, goal: str, met: bool | None) -> None:
    """Adds a line and prints it at once."""
    rows.append({"what": what, "figure": figure, "goal": goal, "met": met})
    mark = {True: "met", False: "MISSED", None: ""}[met]
    print(f"{what:<78} {figure:<34} {goal:<24} {mark}", flush=True)


def core(*args: str) -> Any:
    """Runs one measurement of the Rust side."""
    done = subprocess.run([str(BENCH), *args], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def quantile(values: list[float], q: float) -> float:
    """The value below which a part `q` of `values` lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def spans(out: Path) -> list[tuple[int, float, float]]:
    """What the tasks noted: number, first line, last line."""
    if not out.exists():
        return []
    return [(int(a), float(b), float(c)) for a, b, c in (line.split() for line in out.read_text().splitlines())]


def bare_forks() -> None:
    """The floor: forty forks of a small Python, one after the other."""
    code = """
import os, time
start = time.time()
for _ in range(40):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
print(time.time() - start)
"""
    python = os.environ.get("DAGBOK_PYTHON", sys.executable)
    took = float(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
    row("floor: forty bare forks of a Python", f"{took:.3f} s", "", None)


def run_time(trigger: Callable[[str], None], api: Any, dag_id: str, run_id: str) -> float:
    """Seconds from the trigger to the run's success, by the log's own clock at its end."""
    start = time.time()
    trigger(run_id)
    assert wait_end(api, dag_id, run_id) == "success"
    for record in reversed(api.events()):
        if record.get("run_id") == run_id and any(fact["type"] == "RunSucceeded" for fact in record["facts"]):
            return instant(record["at"]) - start
    raise AssertionError("no end")


def instant(text: str) -> float:
    """RFC 3339 as seconds since the epoch."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def sequence(it: Any, trigger: Callable[[str, str], None], out: Path, where: str, goal: float, rounds: int) -> None:
    """Forty tasks one after the other, and the hand-offs between them."""
    took, gaps = [], []
    for number in range(rounds):
        out.unlink(missing_ok=True)
        took.append(run_time(lambda run: trigger("sequence", run), it.api, "sequence", f"s{number}"))
        notes = sorted(spans(out))
        gaps += [1e3 * (after[1] - before[2]) for before, after in itertools.pairwise(notes)]
    best, mid = min(took), statistics.median(took)
    row(
        f"40 sequential Python tasks of fibo(10), {where}",
        f"{mid:.3f} s (best {best:.3f})",
        f"<= {goal} s",
        mid <= goal,
    )
    p50, p99 = statistics.median(gaps), quantile(gaps, 0.99)
    embedded = "embedded" in where
    row(
        f"hand-off: a task's end to its successor's first line, {where}",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        "p50 <= 6, p99 <= 25 ms" if embedded else "",
        (p50 <= 6 and p99 <= 25) if embedded else None,
    )


def fan(it: Any, trigger: Callable[[str, str], None], where: str, goal: float | None) -> None:
    """One task, a thousand side by side, one."""
    took = [run_time(lambda run: trigger("fan", run), it.api, "fan", f"f{number}") for number in range(3)]
    mid = statistics.median(took)
    row(
        f"1 -> 1,000 -> 1 trivial Python tasks, {where}",
        f"{mid:.2f} s (best {min(took):.2f})",
        f"<= {goal} s" if goal else "",
        mid <= goal if goal else None,
    )


def mapped(it: Any, trigger: Callable[[str, str], None], where: str) -> None:
    """The same thousand copies by a loop in the file, and over a list that the first task returns, by turns."""
    took: dict[str, list[float]] = {"looped": [], "mapped": []}
    for number in range(5):
        for name, times in took.items():
            times.append(run_time(lambda run, name=name: trigger(name, run), it.api, name, f"m{number}"))
    by_loop, by_list = (statistics.median(times) for times in took.values())
    row(
        f"1 -> 1,000 -> 1 trivial Python tasks, mapped over a result, {where}",
        f"{by_list:.2f} s (looped {by_loop:.2f})",
        "no slower than looped",
        by_list <= by_loop * 1.02,
    )


def elements(folder: Path) -> None:
    """What a copy costs by how long the list is that it has one element of: 100,000 take some ten minutes."""
    dags = folder / "dags"
    write_dag(dags, "lists.py", LISTS)
    env = {"DAGBOK__EXECUTOR__MAX_MAP_LENGTH": "100000"}
    with standalone(folder, dags, "--slots", "8", env=env) as it:
        it.wait_dag("lists_100000")
        sizes = [int(size) for size in os.environ.get("BENCH_LISTS", "100,1000,10000").split(",")]
        each = {}
        for size in sizes:
            dag_id = f"lists_{size}"
            start = time.time()
            post(it.api, dag_id, "r")
            assert wait_end(it.api, dag_id, "r", 3600) == "success"
            each[size] = 1e3 * (time.time() - start) / (2 * size)
            row(f"copies over a list of {size:,}, and over those: each copy", f"{each[size]:.2f} ms", "", None)
        least, most = each[sizes[0]], each[sizes[-1]]
        row("the same, of the longest against the shortest", f"{most / least:.2f}", "<= 1.2", most <= 1.2 * least)


def first_line(it: Any, trigger: Callable[[str, str], None], out: Path, where: str) -> None:
    """From the trigger's request to the first line of a one-task DAG."""
    took = []
    for number in range(60):
        out.unlink(missing_ok=True)
        start = time.time()
        trigger("one", f"o{number}")
        assert wait_end(it.api, "one", f"o{number}") == "success"
        took.append(1e3 * (spans(out)[0][1] - start))
    p50, p99 = statistics.median(took[5:]), quantile(took[5:], 0.99)
    row(
        f"trigger by API to the first line of a one-task DAG, {where}",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        "p50 <= 15 ms",
        p50 <= 15,
    )


def embedded(folder: Path) -> None:
    """What a standalone does on the embedded durable log."""
    out = folder / "out"
    dags = folder / "dags"
    write_dag(dags, "bench.py", FIBO)
    with standalone(folder, dags, "--slots", "8", env={"BENCH_OUT": str(out)}) as it:
        it.wait_dag("fan")

        def trigger(dag_id: str, run_id: str) -> None:
            post(it.api, dag_id, run_id)

        run_time(lambda run: trigger("one", run), it.api, "one", "warm")
        sequence(it, trigger, out, "embedded durable", 0.4, 7)
        first_line(it, trigger, out, "embedded durable")
        fan(it, trigger, "embedded durable", 4.0)
        mapped(it, trigger, "embedded durable")


def on_nats(folder: Path) -> None:
    """The same services apart, on a real broker with its default sync."""
    out = folder / "out"
    apart = Apart(folder)
    for service in apart.services.values():
        service.env["BENCH_OUT"] = str(out)
    with apart:
        write_dag(apart.dags, "bench.py", FIBO)
        wait_until("the DAG", lambda: apart.api.get("/dags/fan"))

        def trigger(dag_id: str, run_id: str) -> None:
            post(apart.api, dag_id, run_id)

        run_time(lambda run: trigger("one", run), apart.api, "one", "warm")
        sequence(apart, trigger, out, "JetStream R1 default sync", 0.6, 7)
        fan(apart, trigger, "JetStream R1 default sync", None)


def rules() -> None:
    """The rules alone."""
    for tasks, goal in ((1_000, 10.0), (10_000, 120.0)):
        ms = core("decide", "--tasks", str(tasks))["ms"]
        row(
            f"decide and evolve a run of {tasks:,} tasks, in memory",
            f"{ms:.1f} ms",
            f"<= {goal:g} ms",
            ms <= goal,
        )
    sizes = core("sizes", "--tasks", "100,1000,10000,20000")
    each = {figure["tasks"]: figure["us_per_task"] for figure in sizes}
    shown = "; ".join(f"{tasks:,}: {us:.2f} us" for tasks, us in each.items())
    # It grows with none of them; the machine's caches give it some room.
    row("each task of a fan of so many, in memory", shown, "10,000 <= 2 x 1,000", each[10_000] <= 2 * each[1_000])
    figure = core("day")
    for name, what in (("rules", "the rules alone"), ("scheduler", "the scheduler on the embedded log")):
        share = figure[name]["share_of_a_core"] * 100
        shown = f"{share:.2f} % of a core, {figure[name]['us_per_try']:.0f} us a try"
        row(f"{figure['tries_a_day']:,} tries a day: {what}", shown, "<= 10 %", share <= 10)
    for figure in core("minutely"):
        cores, lag = figure["cores"], figure["lag_max_ms"]
        row(
            f"{figure['dags']:,} DAGs with a minute schedule, all due at once, in memory",
            f"{cores:.3f} cores; made in {lag:,.0f} ms",
            "<= 1 core, 1,000 ms",
            cores <= 1 and lag <= 1_000,
        )


def waiting() -> None:
    """What one decision costs while ever more waits, and about runs that are over while the log grows."""
    figures = core("waiting")
    for name, what in (("hand_off_us", "handing on a slot"), ("start_us", "letting another DAG's run begin")):
        each = {figure["waiting"]: figure[name] for figure in figures}
        shown = "; ".join(f"{tasks:,}: {us:.0f} us" for tasks, us in each.items())
        met = each[max(each)] <= 2 * max(each[min(each)], 50)
        row(f"{what} while so many wait, in memory", shown, "the most <= 2 x none", met)
    figures = core("past")
    for name, what in (("clear_ms", "what a clear would do"), ("delete_ms", "a deletion")):
        each = {figure["records"]: (figure[name]["p50"], figure[name]["max"]) for figure in figures}
        shown = "; ".join(f"{records:,}: {p50:.1f}, most {most:.1f} ms" for records, (p50, most) in each.items())
        met = each[max(each)][0] <= max(2 * each[min(each)][0], 20)
        row(f"{what}, of a run that is over, on a log of so many records", shown, "the most <= 2 x the least", met)


def copies() -> None:
    """Runs of ever more copies of one task, on the embedded log with the read model; nothing runs as a process."""
    for figure in core("mapped"):
        what = f"{figure['copies']:,} copies"
        expanded, memory = figure["expanded_ms"], figure["memory_mb"]
        row(f"{what}: from the list's end until they are there", f"{expanded:.0f} ms", "<= 2 s", expanded <= 2_000)
        others = figure["hand_off_of_others"]
        for name in ("while_expanding", "meanwhile"):
            p50, p99, most = (others[name][part] for part in ("p50_ms", "p99_ms", "max_ms"))
            shown = f"p50 {p50:.1f}, p99 {p99:.1f}, most {most:.0f} ms"
            row(f"{what}: hand-off of other runs, {name.replace('_', ' ')}", shown, "p99 <= 50 ms", p99 <= 50)
        row(f"{what}: memory of all services", f"{memory['most']} MB", "<= 300 MB", memory["most"] <= 300)
        row(f"{what}: what the end of each costs", f"{figure['us_for_each']:.0f} us", "", None)
        for when, pages in figure["pages"].items():
            name, page = max(pages.items(), key=lambda it: it[1]["p99_ms"])
            shown = f"p99 {page['p99_ms']:.1f} ms ({name})"
            row(f"{what}: slowest page, {when.replace('_', ' ')}", shown, "<= 50 ms", page["p99_ms"] <= 50)


def broker(folder: Path) -> None:
    """The scheduler over JetStream with an executor that does nothing."""
    for always in (False, True):
        part = folder / ("always" if always else "default")
        part.mkdir()
        nats = Nats(part, sync_always=always).start()
        try:
            rate = core("jetstream", "--nats", nats.url, "--tasks", "4000" if always else "20000")["tasks_per_s"]
        finally:
            nats.process.kill()
        what = "sync_interval: always" if always else "default sync"
        row(
            f"scheduler over JetStream R1, {what}, executor that does nothing",
            f"{rate:,.0f} tasks/s",
            "" if always else ">= 2,000 tasks/s",
            None if always else rate >= 2_000,
        )


def start_time(folder: Path, dags: Path) -> float:
    """Seconds from the process' start to the API's first answer."""
    it = Standalone(folder, dags)
    start = time.monotonic()
    try:
        it.process.start()
        it.wait_ready()
        return time.monotonic() - start
    finally:
        it.process.stop()


def alerting() -> None:
    """Alerting's fold, what it keeps, its start, and how long a failure takes to reach somebody."""
    figure = core("alerts")
    rate, open_mib, start = figure["fold"]["facts_per_s"], figure["open"]["mib"], figure["start"]["s"]
    told = figure["told"]
    row("alerting: facts folded a second", f"{rate:,.0f}", ">= 100,000", rate >= 100_000)
    row(f"alerting: {figure['open']['alerts']:,} open alerts", f"{open_mib} MiB", "<= 50 MiB", open_mib <= 50)
    row(
        f"alerting: checkpoint of {figure['start']['records']:,} records of the alert log, read",
        f"{start:.2f} s",
        "<= 2 s",
        start <= 2,
    )
    met = told["p50_ms"] <= 50 and told["p99_ms"] <= 250
    figures = f"p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} ms"
    row("alerting: failure durable to its message at the receiver", figures, "p50 <= 50 ms, p99 <= 250 ms", met)


def long_history(folder: Path, records: int) -> None:
    """Replay, and start-up, with a long log."""
    dags = folder / "dags"
    dags.mkdir(parents=True)
    empty = folder / "empty"
    empty.mkdir()
    took = statistics.median(start_time(empty, dags) for _ in range(3))
    row("standalone: start to API answering, empty", f"{took:.2f} s", "<= 1 s", took <= 1)
    core("fill", str(folder / "home"), "--records", str(records))
    figure = core("replay", str(folder / "home"))
    row(
        f"replay: fold {figure['records']:,} records from the embedded log",
        f"{figure['s']:.2f} s",
        "<= 4 s",
        figure["s"] <= 4,
    )
    first = start_time(folder, dags)
    row(
        f"standalone: start to API answering, {records:,} records, no snapshot",
        f"{first:.2f} s",
        "<= 3 s",
        first <= 3,
    )
    again = start_time(folder, dags)
    row(
        f"standalone: start to API answering, {records:,} records, again",
        f"{again:.2f} s",
        "<= 3 s",
        again <= 3,
    )


def idle(folder: Path) -> None:
    """CPU and memory of the Rust process with 100 DAGs and nothing to do."""
    dags = folder / "dags"
    hello = (
        "from datetime import datetime\nfrom airflow import DAG\nfrom airflow.operators.empty import EmptyOperator\n"
    )
    hello += 'with DAG("idle_{n:03}", schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False) as dag:\n'
    hello += '    EmptyOperator(task_id="a") >> EmptyOperator(task_id="b")\n'
    for n in range(100):
        write_dag(dags, f"idle_{n:03}.py", hello.format(n=n))
    with standalone(folder, dags) as it:
        wait_until("100 DAGs", lambda: it.api.get("/dags", limit=1)["total_entries"] == 100, 120)
        time.sleep(5)
        assert it.process.child is not None
        pid, window = it.process.child.pid, 20.0
        before = cpu_seconds(pid)
        time.sleep(window)
        share = 100 * (cpu_seconds(pid) - before) / window
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        rss = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
        row(
            "idle, 100 DAGs: CPU and memory of the Rust process",
            f"{share:.2f} % of a core, {rss:.0f} MB",
            "<= 1 %, <= 80 MB",
            share <= 1 and rss <= 80,
        )


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def surface_import() -> None:
    """What a plain DAG file's imports take, beyond a bare interpreter."""
    took = imports.surface()
    row("import of the authoring surface, CPU beyond a bare Python", f"{took:.1f} ms", "<= 25 ms", took <= 25)


def machine() -> str:
    """This machine in a line."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load {load}"


PARTS: dict[str, Callable[[Path], None]] = {
    "floor": lambda _: bare_forks(),
    "imports": lambda _: surface_import(),
    "rules": lambda _: rules(),
    "waiting": lambda _: waiting(),
    "copies": lambda _: copies(),
    "embedded": embedded,
    "surface": lambda folder: surface(folder, row),
    "triggers": lambda folder: triggers(folder, row),
    "lists": elements,
    "telemetry": lambda folder: telemetry(folder, row),
    "nats": on_nats,
    "broker": broker,
    "alerting": lambda _: alerting(),
    "history": lambda folder: long_history(folder, 1_000_000),
    "pages": lambda _: grown.pages(core, row),
    "scrape": lambda _: grown.scrape(core, row),
    "idle": idle,
}
# What takes the better part of an hour is measured where it is named.
LONG: dict[str, Callable[[Path], None]] = {"year": lambda folder: grown.year(folder, core, row)}


def main() -> None:
    """Measures the parts asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, *LONG, []], help="what to measure; all but `year` by default"
    )
    parser.add_argument("--json", action="store_true", help="print one document at the end as well")
    args = parser.parse_args()
    print(f"machine: {machine()}")
    print("embedded durable: every append is flushed by fdatasync before it is acknowledged\n")
    for name in args.parts or PARTS:
        folder = Path(tempfile.mkdtemp(prefix="dagbok-bench-"))
        try:
            (PARTS | LONG)[name](folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps({"machine": machine(), "figures": rows}))


if __name__ == "__main__":
    main()
