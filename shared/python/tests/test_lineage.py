"""What operators say of what they read and wrote: asked after the end of a try, and never a part of it."""

from __future__ import annotations

import json
import textwrap
import time
from typing import Any

import pytest

from conftest import Bench
from fake_supervisor import Result, alive

OPERATORS = """
import dataclasses, logging
from types import SimpleNamespace
import attr
from airflow.exceptions import TaskDeferred
from airflow.models import BaseOperator
from airflow.sdk.log import mask_secret


@attr.define
class Facet:
    query: str
    note: str = None
    at: datetime = datetime(2024, 1, 1)
    _producer: str = "me"


@dataclasses.dataclass
class Dataset:
    namespace: str
    name: str
    facets: dict = dataclasses.field(default_factory=dict)
    inputFacets: dict = dataclasses.field(default_factory=dict)


def told(word, *inputs, **facets):
    return SimpleNamespace(
        inputs=[Dataset("db", name) for name in inputs], outputs=[Dataset("db", word)],
        run_facets={}, job_facets={name: Facet(query) for name, query in facets.items()},
    )


class Plain(BaseOperator):
    def __init__(self, how="", **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def execute(self, context):
        self.seen = "seen"
        if self.how == "fail":
            raise ValueError("no")
        if self.how == "skip":
            raise AirflowSkipException("no")
        return "done"


class Starts(Plain):
    def get_openlineage_facets_on_start(self):
        return told(f"start {self.seen}", "a", sql="select 1")


class Completes(Starts):
    def get_openlineage_facets_on_complete(self, task_instance):
        return told(f"complete {task_instance.task_id} {self.seen}")


class Fails(Completes):
    def get_openlineage_facets_on_failure(self, task_instance):
        return told(f"failure {task_instance.task_id}")


class Hooks(Plain):
    def execute(self, context):
        from airflow.sdk.lineage import get_hook_lineage_collector

        kept = get_hook_lineage_collector()
        for _ in range(2):
            kept.add_input_asset(self, uri="s3://lake/in")
        kept.add_input_asset(self, uri="x-db://me:pass@db/t")
        kept.add_output_asset(context=self, scheme="nobody's", asset_kwargs={"key": 1})
        kept.add_output_asset(context=self, uri="file:///tmp/out")
        kept.add_extra(context=self, key="sql_job", value={"a": 1})
        for n in range(200 if self.how == "many" else 0):
            kept.add_output_asset(context=self, uri=f"s3://lake/{n}")


class HooksAndSays(Hooks):
    def get_openlineage_facets_on_complete(self, task_instance):
        return told("said") if self.how == "says" else SimpleNamespace(run_facets={"a": {"b": 1}})


class Bad(Plain):
    def get_openlineage_facets_on_complete(self, task_instance):
        how = self.how
        if how == "raises":
            raise KeyError("lost")
        if how == "exits":
            sys.exit(3)
        if how == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "hangs":
            print("hangs as", os.getpid(), flush=True)
            while True:
                time.sleep(60)
        if how == "nothing":
            return None
        if how == "nonsense":
            return 42
        if how == "secret":
            mask_secret("hush-hush")
            return told("b", sql="login with hush-hush")
        if how == "odd":
            loop = []
            loop.append(loop)
            return SimpleNamespace(
                inputs=[Dataset("", "x"), 3, Dataset("db", "a", {"v": 3, "w": {"n": 2**80, "s": "\\ud800", "f": float("nan")}})],
                outputs=None, run_facets={"set": {"of": {2, 1}}}, job_facets={},
            )
        if how == "loop":
            loop = {}
            loop["it"] = loop
            return SimpleNamespace(run_facets={"loop": loop})
        if how == "large":
            one = {"big": {"text": "x" * 40_000}, "small": {"text": "y"}}
            return SimpleNamespace(
                inputs=[Dataset("db", "a", one), Dataset("db", "b", one)], outputs=[Dataset("db", "c")],
                job_facets={"sql": Facet("select 1")},
            )
        if how == "many":
            return SimpleNamespace(inputs=[Dataset("db", f"{n:0100}") for n in range(1_500)])


with DAG("d", schedule=None, default_args={"on_success_callback": lambda context: print("called back")}):
    Plain(task_id="plain")
    Hooks(task_id="hooks")
    Hooks(task_id="many_hooks", how="many")
    HooksAndSays(task_id="hooks_says", how="says")
    HooksAndSays(task_id="hooks_facets")
    Starts(task_id="starts")
    Completes(task_id="completes")
    for how in ("fail", "skip"):
        Starts(task_id=f"starts_{how}", how=how)
        Completes(task_id=f"completes_{how}", how=how)
        Fails(task_id=f"fails_{how}", how=how)
    for how in ("raises", "exits", "dies", "hangs", "nothing", "nonsense", "secret", "odd", "loop", "large", "many"):
        Bad(task_id=how, how=how)
"""


@pytest.fixture
def loaded(bench: Bench) -> Bench:
    bench.load(OPERATORS)
    assert bench.ready["type"] == "Ready", bench.ready
    return bench


def lineage(result: Result) -> dict[str, Any] | None:
    """What was told; the end was told before it."""
    told = result.of("TaskLineage")
    if not told:
        return None
    kinds = [request["type"] for request in result.requests]
    end = next(n for n, kind in enumerate(kinds) if kind in {"SucceedTask", "RetryTask", "TaskState"})
    assert kinds.index("TaskLineage") > end
    (one,) = told
    return one["lineage"]


def written(result: Result) -> list[str]:
    """The lines of the try's log about it."""
    return [line["event"] for line in result.logs if "lineage" in line["event"]]


@pytest.mark.parametrize(
    ("task", "output"),
    [
        ("starts", "start seen"),
        ("starts_fail", "start seen"),
        ("completes", "complete completes seen"),
        ("completes_fail", "complete completes_fail seen"),
        ("completes_skip", "complete completes_skip seen"),
        ("fails_fail", "failure fails_fail"),
        ("fails_skip", "complete fails_skip seen"),
    ],
)
def test_the_method_of_the_end_is_asked_or_else_the_one_before(loaded: Bench, task: str, output: str) -> None:
    told = lineage(loaded.run(task, lineage=True))
    assert told is not None
    assert told["outputs"] == [{"namespace": "db", "name": output}]


def test_models_are_told_as_json(loaded: Bench) -> None:
    result = loaded.run("starts", lineage=True)
    assert lineage(result) == {
        "inputs": [{"namespace": "db", "name": "a"}],
        "outputs": [{"namespace": "db", "name": "start seen"}],
        "job_facets": {"sql": {"query": "select 1", "at": "2024-01-01T00:00:00", "_producer": "me"}},
    }
    assert result.state == "success"
    assert written(result) == []


def test_nobody_is_asked_where_nobody_wants_it_or_nobody_can_say(loaded: Bench) -> None:
    assert lineage(loaded.run("starts")) is None
    for task in ("plain", "nothing"):
        result = loaded.run(task, lineage=True)
        assert lineage(result) is None
        assert written(result) == []


def test_what_hooks_touched_is_told_where_the_operator_names_nothing(loaded: Bench) -> None:
    touched = {
        "inputs": [{"uri": "s3://lake/in"}, {"uri": "x-db://db/t"}],
        "outputs": [{"uri": "file:///tmp/out"}],
    }
    assert lineage(loaded.run("hooks", lineage=True)) == touched
    assert lineage(loaded.run("hooks_facets", lineage=True)) == {**touched, "run_facets": {"a": {"b": 1}}}
    assert lineage(loaded.run("hooks_says", lineage=True)) == {
        "outputs": [{"namespace": "db", "name": "said"}]
    }
    many = lineage(loaded.run("many_hooks", lineage=True))
    assert many is not None
    assert len(many["outputs"]) == 100
    result = loaded.run("hooks")
    assert (result.state, lineage(result)) == ("success", None)


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("raises", "KeyError: 'lost'"),
        ("exits", "SystemExit: 3"),
        ("dies", "ended with -11"),
        ("nonsense", "int is no OperatorLineage"),
        ("loop", "levels within each other"),
    ],
)
def test_a_bad_extractor_is_a_line_in_the_log(loaded: Bench, task: str, line: str) -> None:
    result = loaded.run(task, lineage=True)
    assert result.state == "success"
    assert lineage(result) is None
    (found,) = written(result)
    assert line in found
    assert "called back" in result.stdout
    assert result.exited["exit_code"] == 0


def test_one_that_hangs_is_ended_in_its_time(loaded: Bench) -> None:
    began = time.monotonic()
    env = {"AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "0.5"}
    result = loaded.run("hangs", lineage=True, env=env)
    assert time.monotonic() - began < 8
    assert result.state == "success"
    assert lineage(result) is None
    assert "within 0.5 s" in written(result)[0]
    assert not alive(int(result.stdout.split("hangs as ")[1].split()[0]))


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_imported_for_it_is_imported_once_for_all_tries_of_a_file(bench: Bench, wanted: bool) -> None:
    package = bench.folder.path / "airflow" / "providers" / "openlineage"
    package.mkdir(parents=True)
    for name in ("__init__", "extractors", "sqlparser"):
        (package / f"{name}.py").write_text("")
    says = """
    class Imported(Completes):
        def get_openlineage_facets_on_complete(self, task_instance):
            return told(str("airflow.providers.openlineage.sqlparser" in sys.modules))

    with DAG("e", schedule=None):
        Imported(task_id="imported")
    """
    env = {"OPENLINEAGE_URL": "http://127.0.0.1:1"} if wanted else {}
    bench.load(OPERATORS + textwrap.dedent(says), env=env)
    assert bench.ready["fork_safe"]
    told = lineage(bench.run("imported", dag_id="e", lineage=True))
    assert told is not None
    assert told["outputs"][0]["name"] == str(wanted)


def test_secrets_are_masked(loaded: Bench) -> None:
    told = lineage(loaded.run("secret", lineage=True))
    assert told is not None
    assert told["job_facets"]["sql"]["query"] == "login with ***"


def test_what_json_or_a_frame_has_not_is_told_otherwise_or_left_out(loaded: Bench) -> None:
    result = loaded.run("odd", lineage=True)
    told = lineage(result)
    assert told == {
        "inputs": [
            {"namespace": "db", "name": "a", "facets": {"w": {"n": str(2**80), "s": "?", "f": "nan"}}}
        ],
        "run_facets": {"set": {"of": [1, 2]}},
    }
    (line,) = written(result)
    assert "inputs[0], inputs[1], inputs[2].v" in line


def test_what_is_too_large_is_left_out_and_said(loaded: Bench) -> None:
    result = loaded.run("large", lineage=True)
    told = lineage(result)
    assert told is not None
    assert len(json.dumps(told)) < 60 << 10
    assert [sorted(of["facets"]) for of in told["inputs"]] in (
        [["small"], ["big", "small"]],
        [["big", "small"], ["small"]],
    )
    assert told["outputs"]
    assert told["job_facets"]
    (line,) = written(result)
    assert ".big" in line
    result = loaded.run("many", lineage=True)
    told = lineage(result)
    assert told is not None
    assert 100 < len(told["inputs"]) < 1_000
    assert len(json.dumps(told)) < 64 << 10
    assert "more" in written(result)[0]
