"""Questions to people in a real browser: found on home, answered by mouse and by keys, and told who answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness import Standalone, standalone, wait_until, write_dag
from playwright.sync_api import Page, expect

from ui.test_jobs import done
from ui.walk import AXE, RULES

Visit = Callable[..., Page]
ASKS = """
from datetime import timedelta
from airflow.sdk import DAG, Param
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

with DAG("asks", schedule=None):
    ApprovalOperator(task_id="approve", subject="Ship <b>it</b>?", body="**All** tests pass.",
                     response_timeout=timedelta(hours=3))

with DAG("fields", schedule=None):
    HITLOperator(task_id="choose", subject="Which?", options=["a", "b", "c"], multiple=True,
                 params={"n": Param(1, type="integer", description="how many")})
"""


def asked(stage: Standalone, dag: str) -> None:
    """A run whose task waits for an answer."""
    assert stage.trigger(dag, "r1", conf={}).status_code == 200
    path = f"/dags/{dag}/dagRuns/r1/hitlDetails"
    wait_until("it asks", lambda: stage.api.get(path, response_received="false")["hitl_details"] or None)


def by_mouse(stage: Standalone, page: Page, axe: str) -> None:
    """From home's row to the page, the button, and what was answered by whom."""
    row = page.locator("section[aria-label='Needs an answer'] .row", has_text="Ship <b>it</b>?")
    expect(row).to_contain_text("due")
    row.get_by_role("link", name="answer").click()
    question = page.locator(".question")
    expect(question).to_contain_text("**All** tests pass.")
    expect(question).to_contain_text("of anybody")
    page.evaluate(axe)
    assert not page.evaluate(AXE, RULES)
    question.get_by_role("button", name="Approve").click()
    done(page)
    expect(question.locator(".answered")).to_contain_text("Approve by anonymous")
    expect(question.get_by_role("button")).to_have_count(0)
    assert stage.api.wait_run("asks", "r1") == "success"


def by_keys(stage: Standalone, page: Page) -> None:
    """The number leads to the option, Enter takes it; the field goes with it."""
    page.locator(".question input[type=number]").fill("7")
    page.locator(".question input[type=number]").blur()
    for number in ("1", "3"):
        page.keyboard.press(number)
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    done(page)
    expect(page.locator(".question .answered")).to_contain_text("a, c by anonymous")
    expect(page.locator(".question .answered")).to_contain_text("n=7")
    assert stage.api.wait_run("fields", "r1") == "success"


def test_a_question_is_found_and_answered(tmp_path: Path, visit: Visit, axe: str) -> None:
    """By mouse from home; by keys on the run's page, where a mailed link's choice is only proposed."""
    dags = tmp_path / "dags"
    write_dag(dags, "asks.py", ASKS)
    with standalone(tmp_path, dags) as stage:
        for dag in ("asks", "fields"):
            stage.wait_dag(dag)
            asked(stage, dag)
        by_mouse(stage, visit(stage, "/"), axe)
        mailed = visit(stage, "/dags/fields/runs/r1/tasks/choose/required_actions?_options=%5B%27b%27%5D&map_index=-1")
        expect(mailed.locator(".question button[aria-pressed=true]")).to_have_text("b 2")
        by_keys(stage, visit(stage, "/dags/fields/runs/r1"))


PARTITIONED = """
from airflow.sdk import DAG, PartitionedAtRuntime, task

with DAG("regions", schedule=PartitionedAtRuntime()):
    @task
    def see(dag_run=None):
        return dag_run.partition_key

    see()

with DAG("plain", schedule=None):
    task(task_id="t")(lambda: None)()
"""


def test_a_partition_is_said_where_a_run_is_triggered(tmp_path: Path, visit: Visit, axe: str) -> None:
    """By keys in the trigger form of a DAG that has some, and of no other; the run's page shows it."""
    dags = tmp_path / "dags"
    write_dag(dags, "regions.py", PARTITIONED)
    with standalone(tmp_path, dags) as stage:
        for dag in ("regions", "plain"):
            stage.wait_dag(dag)
        page = visit(stage, "/dags/regions")
        page.keyboard.press("t")
        field = page.get_by_label("Partition that the run stands for")
        field.wait_for()
        page.evaluate(axe)
        assert not page.evaluate(AXE, RULES)
        field.fill("eu|2026-06-14")
        field.press("Enter")
        page.wait_for_url("**/runs/**")
        expect(page.locator(".facts")).to_contain_text("eu|2026-06-14")
        run = stage.api.get("/dags/regions/dagRuns")["dag_runs"][0]
        assert run["partition_key"] == "eu|2026-06-14"
        assert stage.api.wait_run("regions", run["dag_run_id"]) == "success"
        other = visit(stage, "/dags/plain")
        other.keyboard.press("t")
        other.get_by_text("It has no params.").wait_for()
        expect(other.get_by_label("Partition that the run stands for")).to_have_count(0)
