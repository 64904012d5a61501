"""Branches, short circuits and the latest run only: what the file says, and what a try decides."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from conftest import Bench, Folder
from fake_supervisor import Result

OLDER = """
from airflow.operators.python import BranchPythonOperator, ShortCircuitOperator
from airflow.operators.branch import BaseBranchOperator
from airflow.operators.latest_only import LatestOnlyOperator
from airflow.models.skipmixin import SkipMixin

def choose(**context):
    return context['params']['way']

class Odd(BaseBranchOperator):
    def choose_branch(self, context):
        return {'a', 'g'}

class Own(PythonOperator, SkipMixin):
    def execute(self, context):
        self.skip(context['dag_run'], context['execution_date'], [self.dag.get_task('a')])
        return 'went on'

with DAG('d', schedule_interval='@daily', start_date=datetime(2024, 1, 1), params={'way': 'a'}) as d:
    a, b, join = [EmptyOperator(task_id=name) for name in ('a', 'b', 'join')]
    with TaskGroup('g') as g:
        first, last = EmptyOperator(task_id='first'), EmptyOperator(task_id='last')
        first >> last
    branch = BranchPythonOperator(task_id='branch', python_callable=choose)
    odd = Odd(task_id='odd')
    own = Own(task_id='own', python_callable=print)
    check = ShortCircuitOperator(task_id='check', python_callable=lambda: 0)
    near = ShortCircuitOperator(task_id='near', python_callable=lambda: '', ignore_downstream_trigger_rules=False)
    passes = ShortCircuitOperator(task_id='passes', python_callable=lambda: 'yes')
    latest = LatestOnlyOperator(task_id='latest')
    for one in (branch, odd, own, check, near, passes, latest):
        one >> [a, b, g]
    a >> join
    branch >> join
"""

NEWER = """
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task.branch
    def branch(way='a'):
        return way

    @task.short_circuit
    def check(x):
        return x

    @task
    def a(): pass

    @task
    def b(): pass

    branch() >> [a(), b()] << check(False)
d()
"""


def decided(result: Result) -> list[str]:
    """The tasks that a try decided against."""
    assert result.state == "success", (result.stdout, result.error)
    return sorted(task for one in result.of("SkipDownstreamTasks") for task in one["tasks"])


def pushed(result: Result) -> dict[str, Any]:
    """What a try pushed, by key."""
    return {one["key"]: one["value"] for one in result.of("SetXCom")}


@pytest.mark.parametrize(
    ("way", "skipped", "followed"),
    [
        ('"a"', ["b", "g.first"], ["a", "join"]),
        ('["b", "g"]', ["a", "join"], ["b", "g.first"]),
        ("null", ["a", "b", "g.first", "join"], []),
        ("[]", ["a", "b", "g.first", "join"], []),
        # A task that is there and not right below is no error in Airflow, either.
        ('"g.last"', ["a", "b", "g.first", "join"], []),
    ],
)
def test_a_branch_follows_tasks_and_groups(
    bench: Bench, way: str, skipped: list[str], followed: list[str]
) -> None:
    result = bench.load(OLDER).run("branch", conf={"way": json.loads(way)})
    assert decided(result) == skipped
    assert sorted(pushed(result)["skipmixin_key"]["followed"]) == followed


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ('"c"', "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {'c'}."),
        ("[1]", "'branch_task_ids' expected all task IDs are strings. Invalid tasks found: [(1, 'int')]."),
        ("7", "'branch_task_ids' expected all task IDs are strings. Invalid tasks found: [(7, 'int')]."),
    ],
)
def test_a_choice_that_is_none_fails_the_task(bench: Bench, way: str, message: str) -> None:
    result = bench.load(OLDER).run("branch", conf={"way": json.loads(way)})
    assert (result.state, result.error["message"]) == ("failed", message)
    assert not result.of("SkipDownstreamTasks")


def test_an_operator_of_ones_own_chooses(bench: Bench) -> None:
    assert decided(bench.load(OLDER).run("odd")) == ["b"]


def test_the_mixin_skips_what_an_operator_names(bench: Bench) -> None:
    result = bench.load(OLDER).run("own")
    assert decided(result) == ["a"]
    assert pushed(result) == {"skipmixin_key": {"skipped": ["a"]}, "return_value": "went on"}


def test_a_short_circuit_skips_all_or_what_is_right_below(bench: Bench) -> None:
    bench.load(OLDER)
    assert decided(bench.run("check")) == ["a", "b", "g.first", "g.last", "join"]
    assert decided(bench.run("near")) == ["a", "b", "g.first"]
    result = bench.run("passes")
    assert (decided(result), pushed(result)) == ([], {"return_value": "yes"})


def test_in_the_older_era_the_choice_is_pushed_and_in_the_newer_where_nothing_is_skipped(
    bench: Bench,
) -> None:
    older = bench.load(OLDER).run("branch", conf={"way": "a"})
    assert pushed(older)["return_value"] == "a"
    newer = bench.load(NEWER).run("branch")
    assert decided(newer) == ["b"]
    assert pushed(newer) == {"skipmixin_key": {"followed": ["a"]}}
    result = bench.run("check")
    assert decided(result) == ["a", "b"]
    assert set(pushed(result)) == {"skipmixin_key"}


def latest(bench: Bench, run_type: str, following: tuple[int, int] | None) -> list[str]:
    """What LatestOnly skips where the next run's data begin and end so many seconds from now."""
    now = dt.datetime.now(dt.UTC)
    next_interval = following and (
        now + dt.timedelta(seconds=following[0]),
        now + dt.timedelta(seconds=following[1]),
    )
    own_end = next_interval[0] if next_interval else now
    interval = (own_end - dt.timedelta(seconds=100), own_end)
    return decided(bench.run("latest", run_type=run_type, interval=interval, next_interval=next_interval))


def test_only_the_latest_run_by_the_schedule_goes_on(bench: Bench) -> None:
    bench.load(OLDER)
    everything = ["a", "b", "g.first"]
    assert latest(bench, "scheduled", (-100, 100)) == []
    assert latest(bench, "scheduled", (-200, -100)) == everything
    assert latest(bench, "backfill", (-200, -100)) == everything
    assert latest(bench, "manual", (-200, -100)) == []
    assert latest(bench, "scheduled", None) == []


def test_what_asks_for_the_next_interval_says_so(folder: Folder) -> None:
    tasks = {task["task_id"]: task for task in folder.spec(OLDER)["tasks"]}
    assert [name for name, task in tasks.items() if task.get("wants_next_interval")] == ["latest"]
    assert tasks["branch"]["operator"] == "BranchPythonOperator"


CLOCK = """
from airflow.operators.datetime import BranchDateTimeOperator
from airflow.operators.weekday import BranchDayOfWeekOperator
from airflow.utils.weekday import WeekDay
with DAG('d', schedule=None, start_date=datetime(2024, 1, 1)) as d:
    a, b = EmptyOperator(task_id='a'), EmptyOperator(task_id='b')
    way = {'follow_task_ids_if_true': 'a', 'follow_task_ids_if_false': ['b'], 'use_task_logical_date': True}
    day = lambda name, **how: BranchDateTimeOperator(task_id=name, **way, **how)
    # The run's logical date is Friday, 1 March 2024, 00:00 UTC.
    tasks = [
        day('inside', target_lower=datetime(2024, 2, 1), target_upper=datetime(2024, 4, 1)),
        day('outside', target_lower=datetime(2024, 3, 2), target_upper=None),
        BranchDayOfWeekOperator(task_id='friday', week_day='friday', **way),
        BranchDayOfWeekOperator(task_id='weekend', week_day={WeekDay.SATURDAY, WeekDay.SUNDAY}, **way),
    ]
    for one in tasks:
        one >> [a, b]
"""


@pytest.mark.parametrize(
    ("task_id", "skipped"), [("inside", "b"), ("outside", "a"), ("friday", "b"), ("weekend", "a")]
)
def test_branches_by_the_clock(bench: Bench, task_id: str, skipped: str) -> None:
    assert decided(bench.load(CLOCK).run(task_id)) == [skipped]


def test_the_names_stand_where_files_look_for_them(folder: Folder) -> None:
    folder.spec(
        """
        from airflow.operators.branch_operator import BaseBranchOperator
        from airflow.operators.python_operator import BranchPythonOperator, ShortCircuitOperator
        from airflow.operators.latest_only_operator import LatestOnlyOperator
        from airflow.models import SkipMixin
        from airflow.providers.standard.operators.branch import BaseBranchOperator, BranchMixIn
        from airflow.providers.standard.operators.datetime import BranchDateTimeOperator
        from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
        from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator
        from airflow.providers.standard.operators.weekday import BranchDayOfWeekOperator
        from airflow.providers.standard.utils.skipmixin import SkipMixin
        from airflow.providers.standard.utils.weekday import WeekDay
        from airflow.exceptions import DownstreamTasksSkipped
        from airflow.sdk import BaseBranchOperator, BranchMixIn, SkipMixin
        from airflow.sdk.bases.branch import BaseBranchOperator
        from airflow.sdk.bases.skipmixin import SkipMixin
        from airflow.sdk.exceptions import DownstreamTasksSkipped
        with DAG('d', schedule=None) as d:
            EmptyOperator(task_id='a')
        """
    )
