"""Holds what we make of Airflow's own example DAG files to what real Airflow said of them.

`tests/airflow/compare.py` compares with the answers recorded beside it (`record.py`), prints each difference and
the share that is equal; `--live PYTHON` asks the real Airflow of that interpreter now. The files are fetched by
`install.py`. Runs need the binary (`DAGBOK_BIN`); `--graphs` leaves them out.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILES = Path(os.environ.get("DAGBOK_AIRFLOW_EXAMPLES", ROOT / ".tools" / "airflow"))
VERSIONS = ("2.11.2", "3.3.2")
STANDARD = "providers/standard/example_dags/"
DATE = "2024-03-01T02:00:00Z"
Json = dict[str, Any]


@dataclass
class Score:
    """What was compared, and what differs."""

    what: str
    total: int = 0
    differences: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, difference: str) -> None:
        """Count one; an empty difference is none."""
        self.total += 1
        if difference:
            self.differences[name] = difference

    def __str__(self) -> str:
        equal = self.total - len(self.differences)
        return f"{self.what}: {equal} of {self.total} equal ({100 * equal / max(self.total, 1):.1f} %)"


def answers(version: str) -> Json:
    """Return what was recorded of one Airflow."""
    told: Json = json.loads((HERE / f"answers-{version}.json").read_text())
    return told


def place(version: str, name: str) -> tuple[Path, str]:
    """Return folder and file of what Airflow calls `name`."""
    if name.startswith(STANDARD):
        return FILES / version / "standard", name.removeprefix(STANDARD)
    return FILES / version / "airflow" / "example_dags", name.removeprefix("example_dags/")


def environment(version: str) -> dict[str, str]:
    """Return what our processes run with: the examples import each other, and are of one version's era."""
    package = str(ROOT / "shared" / "python" / "src")
    path = os.pathsep.join([package, str(FILES / version)])
    return {**os.environ, "DAGBOK_AIRFLOW": "shim", "PYTHONPATH": path}


def python() -> str:
    """Return the interpreter that DAG files are parsed in."""
    own = ROOT / ".venv" / "bin" / "python"
    return os.environ.get("DAGBOK_PYTHON", str(own) if own.exists() else sys.executable)


def parsed(version: str, names: list[str]) -> Iterator[tuple[str, Json]]:
    """Yield our answer about each file, parsed as the processor does."""
    folders: dict[Path, dict[str, str]] = {}
    for name in names:
        folder, file = place(version, name)
        folders.setdefault(folder, {})[file] = name
    for folder, files in folders.items():
        command = [python(), "-P", "-m", "dagbok.parsing", "--folder", str(folder)]
        command += [part for file in files for part in ("--file", file)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(version), timeout=300, check=False
        )
        for line in done.stdout.splitlines():
            answer = json.loads(line)
            if "dags" in answer:
                yield files[answer["file"]], answer


def condition(told: Any) -> Any:
    """Return what a run waits for, in one form for both; one of several ones is itself."""
    if told is None:
        return None
    if "__type" in told:
        kind = told["__type"].rpartition("_")[2]
        several = told.get("objects")
        leaf = told.get("uri") or told.get("name")
    else:
        kind, body = next(iter(told.items()))
        several, leaf = body["of"], None
        if kind == "One":
            body = next(iter(several.values()))
            # Before Airflow 3 an alias is spelt by what it stood for, which is nothing yet.
            several, leaf = None, body.get("uri") or body["name"]
    if several is None:
        return leaf
    parts = [condition(one) for one in several]
    return parts[0] if len(parts) == 1 else [kind.lower(), *parts]


def their_schedule(told: Json) -> Json:
    """Return a timetable as Airflow keeps it, by meaning."""
    kind = told["type"].removesuffix("Timetable")
    form: Json = {"kind": kind}
    if kind.endswith("OrTimeSchedule"):
        inner = told["timetable"]
        form = their_schedule({"type": inner["__type"].rpartition(".")[2], **inner["__var"]})
    elif kind.endswith("Triggered"):
        form = {"kind": "Null"}
    if "expression" in told:
        form |= {"expression": told["expression"], "timezone": told["timezone"]}
    if told.get("interval"):
        form["interval"] = told["interval"]
    if "delta" in told:
        form["delta"] = told["delta"]
    if kind == "CronPartition":
        form |= {"key_format": told["key_format"], "run_offset": told["run_offset"] or 0}
    if kind == "PartitionedAsset":
        form["default"] = their_mapper(told["default_partition_mapper"])
        form["rules"] = [[condition(of), their_mapper(it)] for of, it in told["partition_mapper_config"]]
    waits = told.get("asset_condition", told.get("dataset_condition"))
    return {**form, "assets": condition(waits)} if waits else form


def their_mapper(told: Json) -> Json:
    """Return a partition mapper as Airflow keeps it, by meaning."""
    kind, body = told["__type"].rpartition(".")[2].removesuffix("Mapper"), told["__var"]
    said: Json = {"kind": kind}
    for name, value in body.items():
        if name == "mappers":
            said[name] = [their_mapper(one) for one in value]
        elif name in ("upstream_mapper", "downstream_mapper"):
            said[name.removesuffix("_mapper")] = their_mapper(value)
        elif name == "window":
            window = value["__type"].rpartition(".")[2].removesuffix("Window")
            said[name] = [window, value["__var"].get("segments", value["__var"].get("direction"))]
        elif name == "wait_policy":
            said["wait"] = value["__var"].get("n", "all")
        else:
            said[name] = value
    return said


def our_mapper(told: Any, most: int | None = None) -> Json:
    """Return a partition mapper of a DAG spec, by meaning."""
    kind, body = (told, {}) if isinstance(told, str) else next(iter(told.items()))
    said: Json = {"kind": kind if kind != "StartOf" else f"StartOf{body['period'].title()}"}
    for name, value in body.items():
        if name == "mappers":
            said[name] = [our_mapper(one) for one in value]
        elif name in ("upstream", "downstream"):
            said[name] = our_mapper(value)
        elif name == "window":
            window, of = next(iter(value.items()))
            way = "backward" if of.get("backward") else "forward"
            said[name] = ["Segment", of["segments"]] if window == "Segments" else [of["period"].title(), way]
        elif name == "wait":
            said[name] = "all" if value == "All" else value["MinimumCount"]["n"]
        elif name != "period":
            said[name] = value
    return {**said, "max_downstream_keys": most} if most is not None else said


def our_schedule(spec: Json, era: str) -> Json:
    """Return the schedule of a DAG spec, by meaning."""
    told = spec["schedule"]["timetable"]
    kind, body = (told, {}) if isinstance(told, str) else next(iter(told.items()))
    form: Json = {"kind": {"Manual": "Null"}.get(kind, kind)}
    if kind == "Python":
        form = {"kind": body["class"].rpartition(".")[2].removesuffix("Timetable")}
    if "expression" in body:
        form |= {"expression": body["expression"], "timezone": spec["schedule"]["timezone"]}
    if kind == "CronPartition":
        form |= {"key_format": body["key_format"], "run_offset": body.get("run_offset", 0)}
    if kind == "PartitionedAsset":
        mapped = [body["default"], *(it["rule"] for it in body.get("rules", ()))]
        mappers = [our_mapper(it["mapper"], it.get("max_downstream_keys")) for it in mapped]
        named = [condition({"One": {"of": it["asset"]}}) for it in body.get("rules", ())]
        form |= {"default": mappers[0], "rules": [list(it) for it in zip(named, mappers[1:], strict=True)]}
    if "every" in body:
        form["delta"] = body["every"] / 1_000_000
    if waits := spec.get("asset_condition"):
        form["assets"] = condition(waits)
        if era == "2" and "Alias" in json.dumps(waits):
            form["assets"] = ["any"]
    return form


def our_task(task: Json, ids: list[str]) -> Json:
    """Return a task of a DAG spec as `record.py` tells it."""
    said = {
        "operator": task["operator"],
        "upstream": sorted(ids[index] for index in task.get("upstream", ())),
        "rule": task.get("trigger_rule"),
        "retries": task.get("retries"),
        "group": task.get("group"),
        "mapped": task.get("is_mapped"),
        "setup": task.get("is_setup"),
        "teardown": task.get("is_teardown"),
    }
    return {name: value for name, value in said.items() if value}


def difference(theirs: Any, ours: Any, at: str = "") -> str:
    """Say the first thing that differs, or nothing; `*` stands for what is another each time."""
    if theirs == "*" or theirs == ours:
        return ""
    if isinstance(theirs, str) and theirs.startswith("sha256:") and isinstance(ours, str):
        same = theirs == f"sha256:{hashlib.sha256(ours.encode()).hexdigest()}"
        return "" if same else f"{at}: another long text"
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() != ours.keys():
            lacks, more = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
            return f"{at or 'it'} lacks {lacks[:5]}, has {more[:5]}"
        for key, value in theirs.items():
            if found := difference(value, ours[key], f"{at}.{key}".lstrip(".")):
                return found
        return ""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        each = (
            difference(one, other, f"{at}[{place}]")
            for place, (one, other) in enumerate(zip(theirs, ours, strict=True))
        )
        return next(filter(None, each), "")
    return f"{at}: {json.dumps(theirs)[:200]} there, {json.dumps(ours)[:200]} here"


def compare_graphs(told: Json) -> Score:
    """Compare every file's DAGs."""
    version = told["airflow"]
    score = Score(f"graphs of Airflow {version}")
    files = {name: file for name, file in told["files"].items() if file["dags"]}
    seen = dict(parsed(version, list(files)))
    for name, file in files.items():
        answer = seen.get(name, {"dags": [], "errors": [{"message": "the parser died"}]})
        ours = {spec["dag_id"]: spec for spec in answer["dags"]}
        for dag_id, dag in file["dags"].items():
            if dag_id not in ours:
                why = "; ".join(error["message"][:300] for error in answer["errors"])
                score.add(dag_id, f"is not there: {why}")
                continue
            spec = ours[dag_id]
            ids = [task["task_id"] for task in spec["tasks"]]
            tasks = {task["task_id"]: our_task(task, ids) for task in spec["tasks"]}
            found = difference(their_schedule(dag["schedule"]), our_schedule(spec, version[0]), "schedule")
            score.add(dag_id, found or difference(dag["tasks"], tasks, "tasks"))
    return score


@dataclass
class Ours:
    """How a run ended here."""

    state: str
    tasks: Json
    xcoms: Json
    began: dt.datetime
    ended: dt.datetime


def run(version: str, name: str, dag_id: str) -> Ours:
    """Run a DAG with `dagbok dags test`, and read from its log what happened."""
    folder, file = place(version, name)
    binary = os.environ.get("DAGBOK_BIN", str(ROOT / "target/debug/dagbok"))
    with tempfile.TemporaryDirectory(prefix="dagbok-example-") as home:
        command = [binary, "dags", "test", str(folder / file), "--dag", dag_id, "--dags", str(folder)]
        command += ["--logical-date", DATE, "--keep", f"{home}/log", "--json"]
        env = environment(version)
        began = dt.datetime.now(dt.UTC)
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
        ended = dt.datetime.now(dt.UTC)
        if not done.stdout.startswith("{"):
            return Ours("none: " + done.stderr[-300:], {}, {}, began, ended)
        told = json.loads(done.stdout)
        read = [binary, "events", "--home", f"{home}/log", "--json", "--dag", dag_id]
        lines = subprocess.run(read, capture_output=True, text=True, env=env, check=True).stdout.splitlines()
    ours = Ours(told["state"], {task: it["state"] for task, it in told["tasks"].items()}, {}, began, ended)
    for line in lines:
        for fact in json.loads(line)["facts"]:
            if fact["type"] == "XComPushed":
                index = f"[{fact['map_index']}]" if "map_index" in fact else ""
                pushed = ours.xcoms.setdefault(fact["task_id"] + index, {})
                pushed[fact["key"]] = json.loads(fact["value"].get("Inline", '"*"'))
    return ours


def values(xcoms: Json) -> Json:
    """Return what tasks handed on, without what Airflow itself puts there, and without orders that are chance.

    Airflow 2 pushes inlets and outlets as `pipeline_…` for lineage backends, Airflow 3 the links to its own
    pages; a branch's way is a set there.
    """
    kept = {}
    for task, pushed in xcoms.items():
        own = ("pipeline_outlets", "pipeline_inlets", "_link_")
        pushed = {key: value for key, value in pushed.items() if not key.startswith(own)}
        way = pushed.get("skipmixin_key")
        if isinstance(way, dict):
            pushed["skipmixin_key"] = {key: sorted(several) for key, several in way.items()}
        for key, value in pushed.items():
            if isinstance(value, str) and _BIRTH.match(value):
                pushed[key] = "when the file was written, which is another time wherever it was unpacked"
        if pushed:
            kept[task] = pushed
    return kept


# The last line of `stat`.
_BIRTH = re.compile(r" Birth: \d{4}-")


def jobs(told: Json) -> list[tuple[str, str, Json]]:
    """Return file, DAG and outcome of each DAG that ended in real Airflow."""
    return [
        (name, dag_id, dag["run"])
        for name, file in told["files"].items()
        for dag_id, dag in file["dags"].items()
        if "state" in dag.get("run", {})
    ]


def compare_runs(told: Json) -> Score:
    """Run every DAG that ended in real Airflow; compare how the run and its tasks ended, and their XComs."""
    version = told["airflow"]
    score = Score(f"runs of Airflow {version}")
    asked = jobs(told)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = pool.map(lambda job: run(version, job[0], job[1]), asked)
        for (_, dag_id, theirs), ours in zip(asked, ended, strict=True):
            # A run in which the clock's answer changed is right by either.
            found = [outcome(clock.at(dag_id, theirs, now), ours) for now in (ours.began, ours.ended)]
            score.add(dag_id, "" if "" in found else found[0])
    return score


def outcome(theirs: Json, ours: Ours) -> str:
    """Say the first thing in which a run ended otherwise, or nothing."""
    found = difference(theirs["state"], ours.state, "run")
    found = found or difference(theirs["tasks"], ours.tasks, "tasks")
    return found or difference(values(theirs["xcoms"]), values(ours.xcoms), "xcoms")


_RENDER = """
import contextlib, datetime, json, os, sys
from dagbok.compat import activate
activate()
from dagbok.desk.alone import find, render
date = datetime.datetime.fromisoformat(sys.argv[1])
for line in sys.stdin:
    folder, file, dag_id, task_id, values = json.loads(line)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                told = render(find(folder, file, dag_id, task_id), date, None, values)
        except BaseException as error:
            told = {"*": f"{type(error).__name__}: {error}"}
        os.write(write, json.dumps(told).encode()[:60000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        print(answer.read(), flush=True)
    os.waitpid(child, 0)
"""


def compare_templates(told: Json) -> Score:
    """Render every template by a try that is made by hand, with what other tasks handed on in real Airflow."""
    version = told["airflow"]
    score = Score(f"templates of Airflow {version}")
    wanted = []
    for name, dag_id, run_ in jobs(told):
        folder, file = place(version, name)
        for task, fields in run_["rendered"].items():
            if "[" not in task:
                wanted.append(((str(folder), file, dag_id, task, run_["xcoms"]), fields))
    lines = "".join(json.dumps(asked) + "\n" for asked, _ in wanted)
    command = [python(), "-P", "-c", _RENDER, DATE.replace("Z", "+00:00")]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, env=environment(version), timeout=600, check=True
    )
    for ((_, _, dag_id, task, _), fields), line in zip(wanted, done.stdout.splitlines(), strict=True):
        ours = json.loads(line)
        for name, value in fields.items():
            mine = ours.get("*") or ours.get(name)
            mine = "<python>" if mine == python() else mine
            # `@task.bash` sets its command when it runs.
            if name == "bash_command" and "op_kwargs" in fields:
                continue
            score.add(f"{dag_id}.{task}.{name}", difference(value, mine))
    return score


def main() -> None:
    """Print the shares and each difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", metavar="PYTHON", help="an interpreter that has Airflow")
    parser.add_argument("--graphs", action="store_true", help="leave the runs out")
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    asked = parser.parse_args()
    if asked.live:
        record = [asked.live, str(HERE / "record.py"), "--print"]
        said = subprocess.run(record, check=True, stdout=subprocess.PIPE, text=True).stdout
        told = [json.loads(said.splitlines()[-1])]
    else:
        told = [answers(version) for version in asked.versions]
    for one in told:
        compared = [compare_graphs, compare_templates]
        for compare in compared if asked.graphs else [*compared, compare_runs]:
            score = compare(one)
            print(score, flush=True)
            for name, found in score.differences.items():
                print(f"  {name}: {found}")


if __name__ == "__main__":
    main()
