"""Retry policies of Airflow 3.3: asked in the task's process, told to the executor."""

from __future__ import annotations

import pytest

from conftest import Bench, Folder

POLICY = """
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction, RetryDecision, RetryPolicy, RetryRule, task
from airflow.sdk.exceptions import AirflowFailException

class Own(RetryPolicy):
    def evaluate(self, exception, try_number, max_tries, context=None):
        if "odd" in str(exception):
            raise RuntimeError("the policy itself")
        return RetryDecision.retry(timedelta(seconds=try_number), f"{max_tries} {context['ti'].task_id}")

RULES = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=ConnectionError, retry_delay=timedelta(minutes=5), reason="a rate limit"),
        RetryRule(exception=["builtins.KeyError", "no.such.Thing"], action=RetryAction.FAIL),
        RetryRule(exception=LookupError, action=RetryAction.DEFAULT, match_subclasses=False),
    ],
    default=RetryAction.RETRY,
)

with DAG("d", schedule=None):
    for name, policy, error in [
        ("refused", RULES, ConnectionRefusedError("busy")), ("key", RULES, KeyError("k")),
        ("other", RULES, ValueError("v")), ("final", RULES, AirflowFailException("enough")),
        ("own", Own(), ValueError("v")), ("odd", Own(), ValueError("odd")),
    ]:
        @task(task_id=name, retry_policy=policy, retries=2)
        def fails(error=None):
            raise error
        fails(error)
"""


@pytest.mark.parametrize(
    ("task_id", "state", "kind", "told"),
    [
        (
            "refused",
            "up_for_retry",
            "exception",
            {"retry_delay_us": 300_000_000, "retry_reason": "a rate limit"},
        ),
        ("key", "failed", "fail_without_retry", {"retry_reason": "Matched rule for KeyError"}),
        ("other", "up_for_retry", "exception", {}),
        ("final", "failed", "fail_without_retry", {}),
        ("own", "up_for_retry", "exception", {"retry_delay_us": 1_000_000, "retry_reason": "2 own"}),
        ("odd", "up_for_retry", "exception", {}),
    ],
)
def test_a_failure_is_seen_to_as_the_policy_has_it(
    bench: Bench, task_id: str, state: str, kind: str, told: dict[str, object]
) -> None:
    result = bench.load(POLICY).run(task_id, should_retry=True)
    assert (result.state, result.error["kind"]) == (state, kind)
    assert {name: value for name, value in result.error.items() if name.startswith("retry_")} == told


def test_where_no_retry_is_left_a_policy_can_not_add_one(bench: Bench) -> None:
    assert bench.load(POLICY).run("refused", should_retry=False).state == "failed"


def test_policies_and_rules_go_through_json_and_back(folder: Folder) -> None:
    body = """
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
rule = RetryRule(exception=[ConnectionError, "a.b"], retry_delay=timedelta(seconds=30), reason="why")
told = ExceptionRetryPolicy([rule], RetryAction.FAIL).serialize()
assert ExceptionRetryPolicy.deserialize(told).serialize() == told, told
assert told["rules"][0]["exception"] == ["builtins.ConnectionError", "a.b"], told
try:
    RetryRule(exception="NoDots")
except ValueError as error:
    assert "must be a dotted import path" in str(error)
else:
    raise AssertionError
with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)):
    EmptyOperator(task_id="a", retry_policy=ExceptionRetryPolicy([rule]))
"""
    assert folder.spec(body)["dag_id"] == "d"
