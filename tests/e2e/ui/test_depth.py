"""Views that go into depth: code and what differs, tables and grids of many, runs by their params, who is on call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import wait_until
from playwright.sync_api import Page, Route, expect

from ui.stage import Standalone

Visit = Callable[..., Page]
CHANGING = """
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=["code"])
def changing():
    @task
    def one():
        return "<script>window.broken=1</script>"
    {more}one()

changing()
"""


def versions(stage: Standalone) -> int:
    """How many versions of it there are."""
    return int(stage.api.get("/dags/changing/dagVersions")["total_entries"])


def test_code_of_each_version_and_what_differs(normal: Standalone, visit: Visit) -> None:
    """The file as it was published with each version; lines that are more or fewer, in colours and in words."""
    file = normal.home.parent / "dags/changing.py"
    file.write_text(CHANGING.format(more=""))
    normal.wait_dag("changing")
    file.write_text(CHANGING.format(more="@task\n    def two():\n        return 2\n    two() >> "))
    wait_until("a second version", lambda: versions(normal) == 2)
    page = visit(normal, "/dags/changing/code")
    text = page.locator(".code")
    expect(text).to_contain_text("def two()")
    copied = text.evaluate("it => { getSelection().selectAllChildren(it); return getSelection().toString() }")
    assert copied.strip() == file.read_text().strip(), "it is copied as it stands"
    assert page.evaluate("() => window.broken") is None
    page.get_by_label("As of").select_option("1")
    expect(text).not_to_contain_text("def two()")
    page.get_by_label("As of").select_option("2")
    page.get_by_label("Against").select_option("1")
    page.wait_for_url("**/code?version=2&against=1")
    expect(page.locator(".difference .gone")).to_have_attribute("data-o", "10")
    come = page.locator(".difference .come").evaluate_all("all => all.map(it => it.dataset.n).join('\\n').split('\\n')")
    assert come == ["10", "11", "12", "13"]
    expect(page.locator("p.filter")).to_contain_text("4 lines more, 1 fewer")
    page.get_by_label("As of").select_option("1")
    expect(page.locator(".nothing")).to_contain_text("alike")


SHARED = """
from datetime import datetime
from airflow.decorators import dag, task
from common.words import GREETING

@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=["code"])
def greeting():
    @task(task_id="greet_{number}")
    def greet():
        return GREETING
    greet()

greeting()
"""


def test_every_file_that_differs_between_versions_is_shown(normal: Standalone, visit: Visit) -> None:
    """The DAG's own first, then the module that it imports and one that is new; each opens to its lines."""
    dags = normal.home.parent / "dags"
    (dags / "common").mkdir()
    (dags / "common/__init__.py").write_text("")
    (dags / "common/words.py").write_text('GREETING = "hello"\nOTHER = "<i>bye</i>"\n')
    (dags / "greeting.py").write_text(SHARED.replace("{number}", "1"))
    normal.wait_dag("greeting")
    (dags / "common/words.py").write_text('GREETING = "good day"\nOTHER = "<i>bye</i>"\n')
    (dags / "common/more.py").write_text("MORE = 1\n")
    (dags / "greeting.py").write_text(SHARED.replace("{number}", "2"))
    wait_until("a second version", lambda: normal.api.get("/dags/greeting/dagVersions")["total_entries"] == 2)
    page = visit(normal, "/dags/greeting/code?version=2&against=1")
    files = page.locator("details.changed")
    expect(files).to_have_count(3)
    expect(page.locator(".foot")).to_contain_text("3 files of Python in the DAG folder differ")
    assert files.locator("summary code").all_inner_texts() == ["greeting.py", "common/more.py", "common/words.py"]
    expect(files.first.locator(".difference .come")).to_contain_text("greet_2")
    expect(page.locator(".difference")).to_have_count(1)
    files.nth(1).locator("summary").click()
    expect(files.nth(1)).to_contain_text("new")
    expect(files.nth(1).locator(".difference .come")).to_contain_text("MORE = 1")
    files.nth(2).locator("summary").click()
    expect(files.nth(2).locator(".difference .gone")).to_contain_text('GREETING = "hello"')
    expect(files.nth(2).locator(".difference .come")).to_contain_text('GREETING = "good day"')
    page.goto(normal.api.url + "/dags/greeting/code?version=2&against=1&file=common/words.py")
    expect(files.nth(2).locator(".difference .come")).to_contain_text("good day")


def test_lines_that_failed_are_marked_in_the_code(failed: Standalone, visit: Visit) -> None:
    """From the error to its line in the text that the run ran; the line says what failed there, with the run."""
    page = visit(failed, "/dags/reco_training/runs/bad_0/tasks/train")
    page.locator(".failure .frame a").first.click()
    page.wait_for_url("**/code?run=bad_0&file=*&line=*")
    line = page.locator(".code .l.bad")
    expect(line).to_contain_text('raise RuntimeError("loss diverged (NaN) at step 412")')
    expect(line).to_be_in_viewport()
    expect(page.locator(".code .said")).to_contain_text("RuntimeError: loss diverged")
    page.locator(".code .said a").click()
    page.wait_for_url("**/tasks/train")


def test_what_templates_came_to(normal: Standalone, visit: Visit) -> None:
    """A try's rendered fields, as the operator had them."""
    page = visit(normal, "/dags/etl_source_a/runs/run_0/tasks/extract")
    page.get_by_role("tab", name="Rendered").click()
    expect(page.locator("tbody tr", has_text="bash_command")).to_contain_text("echo 1,204 rows from run_0")
    page.goto(normal.api.url + "/dags/long_log/runs/long/tasks/speak?tab=rendered")
    expect(page.locator(".tabpanel .nothing")).to_contain_text("no templates")


def test_all_tasks_of_a_run_in_one_table(normal: Standalone, visit: Visit) -> None:
    """A thousand tasks: few rows are drawn, the server sorts and picks them out, and every one can be scrolled to."""
    page = visit(normal, "/dags/wide/runs/wide_0?show=table")
    table = page.locator("table.long")
    expect(table).to_have_attribute("aria-rowcount", "1002")
    assert table.locator("[data-row]").count() < 100
    page.locator(".scrolled").evaluate("it => { it.scrollTop = it.scrollHeight }")
    expect(table.locator("[data-row]").last).to_have_attribute("aria-rowindex", "1002")
    page.get_by_role("button", name="Task", exact=True).click()
    expect(table.locator("[data-row]").first).to_contain_text("first")
    page.get_by_role("button", name="Task", exact=True).click()
    expect(table.locator("th[aria-sort=descending]")).to_have_text(re.compile("Task"))
    expect(table.locator("[data-row]").first).to_contain_text("shard_0999")
    page.get_by_label("Find tasks").fill("shard_07")
    page.get_by_label("Find tasks").press("Enter")
    expect(table).to_have_attribute("aria-rowcount", "101")
    page.get_by_role("button", name=re.compile("^skipped")).click()
    expect(page.locator(".foot")).to_contain_text("100 tasks and copies")
    table.locator("[data-row] a").first.click()
    page.wait_for_url("**/tasks/shard_0799")


def test_a_run_of_many_tasks_draws_those_in_sight(normal: Standalone, visit: Visit) -> None:
    """The bars of a thousand tasks: few rows in the page, and the keys go through all."""
    page = visit(normal, "/dags/wide/runs/wide_0")
    rows = page.locator(".gantt tbody tr:not(.room)")
    expect(rows.first).to_contain_text("first")
    assert rows.count() < 120
    page.evaluate("() => scrollTo(0, document.querySelector('.gantt').offsetHeight)")
    expect(rows.last).to_contain_text("shard_0999")
    page.evaluate("() => scrollTo(0, 0)")
    for _ in range(60):
        page.keyboard.press("j")
    expect(page.locator(".gantt tr.chosen")).to_contain_text("shard_0059")
    expect(page.locator(".gantt tr.chosen")).to_be_in_viewport()


def many(answer: dict[str, Any], tasks: int, runs: int) -> dict[str, Any]:
    """The snapshot of a DAG with so many tasks and runs in its place."""
    column = next(iter(answer["columns"].values()))
    order = [f"run_{number:03}" for number in range(runs)]
    good = "41" * tasks
    bad = good[: 2 * 7_777] + "52" + good[2 * 7_778 :]
    columns = {run: column | {"cells": bad if number == runs - 3 else good} for number, run in enumerate(order)}
    names = [{"task_id": f"shard_{number:05}", "operator": "EmptyOperator"} for number in range(tasks)]
    return answer | {"tasks": names, "order": order, "columns": columns, "total_runs": runs}


def test_a_grid_of_ten_thousand_by_twenty_five(normal: Standalone, visit: Visit) -> None:
    """Drawn where one looks: scrolled, zoomed, and a failure found by a key; the page stays small."""
    page = visit(normal, "/dags?q=reco")
    page.route(
        "**/api/v2/dagbok/ui/dags/reco_training*",
        lambda route: give(route, lambda answer: many(answer, 10_000, 25)),
    )
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    page.get_by_role("link", name="reco_training", exact=True).click()
    grid = page.locator(".grid")
    expect(grid).to_have_attribute("aria-label", re.compile("10000 tasks by 25 runs"))
    frames = page.evaluate(
        """async () => { const box = document.querySelector('.grid'); const took = [];
        let last = await new Promise(requestAnimationFrame);
        for (let at = 0; at < 90; at++) { box.scrollTop += 777;
          const now = await new Promise(requestAnimationFrame); took.push(now - last); last = now }
        return took.sort((a, b) => a - b) }"""
    )
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("]")
    expect(page.locator(".gridwrap [aria-live]")).to_have_text(re.compile("shard_07777, .*, failed, try 2"))
    expect(page.locator(".gridwrap table caption")).to_have_text("shard_07777")
    expect(page.locator(".gridwrap table td")).to_have_count(25)
    for _ in range(3):
        page.keyboard.press("-")
    page.wait_for_url("**zoom=3")
    assert grid.evaluate("it => it.scrollHeight") < 41_000
    metrics = {it["name"]: it["value"] for it in devtools.send("Performance.getMetrics")["metrics"]}
    elements, heap = page.evaluate("() => document.querySelectorAll('*').length"), metrics["JSHeapUsedSize"] / 1e6
    print(
        f"10,000 x 25: half of the frames within {frames[45]:.0f} ms, 19 of 20 within {frames[85]:.0f} ms,"
        f" {elements} elements, heap {heap:.1f} MB"
    )
    assert elements <= 1_000
    assert heap <= 60


def give(route: Route, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answers with what the server says, changed."""
    answer = route.fetch()
    route.fulfill(response=answer, body=json.dumps(change(answer.json())))


def test_runs_are_found_by_words(failed: Standalone, visit: Visit) -> None:
    """Job 11: the palette answers with the runs themselves, and the list with all of them."""
    page = visit(failed, "/")
    page.keyboard.press("Control+k")
    page.keyboard.type("state:failed dag:reco* since:7d lr=0.9")
    options = page.locator("[role=option]")
    expect(options).to_have_count(2)
    expect(options.nth(1)).to_contain_text("bad_0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dags/reco_training/runs/bad_0")
    page.goto(failed.api.url + "/dag_runs")
    page.get_by_label("Find runs").fill("dag:reco* lr=0.015")
    page.get_by_label("Find runs").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody a[title=good_5]")).to_be_visible()
    page.get_by_label("Find runs").fill("state:nonsense good_1")
    page.get_by_label("Find runs").press("Enter")
    expect(page.locator(".note")).to_contain_text("Not understood: state:nonsense")


def test_who_is_on_call_and_a_route_is_tried(failed: Standalone, visit: Visit) -> None:
    """Now and next by the configuration; a test goes out by the real way, and stands among the alerts."""
    page = visit(failed, "/alerts")
    page.get_by_role("link", name="On call").click()
    week = page.locator("section[aria-label=week]")
    expect(week).to_contain_text(re.compile(r"(ana|bo) is on call until"))
    people = week.locator("tbody td:nth-child(4)").all_inner_texts()
    assert people[:3] in (["ana", "bo", "ana"], ["bo", "ana", "bo"])
    expect(week.locator("tbody tr").first).to_contain_text("oncall")
    expect(week.locator("tbody tr").last).to_contain_text("in 21 days or later")
    page.get_by_role("link", name="Routes").click()
    expect(page.locator("tbody tr").first).to_contain_text("oncall")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("dialog .consequences")).to_contain_text("A real message")
    page.get_by_role("button", name="Send it").click()
    expect(page.locator(".asked")).to_contain_text("done", timeout=20_000)
    page.goto(failed.api.url + "/alerts?state=all")
    expect(page.locator("article.alert", has_text="test").first).to_contain_text("answered 202", timeout=10_000)


def test_silences_are_made_and_ended(failed: Standalone, visit: Visit) -> None:
    """From an alert: which, how long and why; whoever looks sees by whom, and ends it."""
    page = visit(failed, "/alerts?state=all")
    alert = page.locator("article.alert", has=page.get_by_role("button", name="Silence")).first
    alert.get_by_role("button", name="Silence").click()
    dialog = page.locator("dialog")
    expect(dialog.locator("textarea")).to_have_value(re.compile("dag=|file="))
    yes = dialog.get_by_role("button", name="Silence them")
    expect(yes).to_be_disabled()
    dialog.locator("textarea").fill('dag="nobodys"')
    dialog.get_by_label("How long").select_option("24")
    dialog.get_by_label("Why, for others to read").fill("<b>moving</b> house")
    yes.click()
    expect(page.locator(".asked")).to_contain_text("done", timeout=20_000)
    page.get_by_role("link", name="Silences").click()
    row = page.locator("tbody tr", has_text='dag="nobodys"')
    expect(row).to_contain_text("holds")
    expect(row).to_contain_text("<b>moving</b> house")
    row.get_by_role("button", name="End it").click()
    page.locator("dialog").get_by_role("button", name="End it").click()
    expect(row).to_contain_text("over", timeout=20_000)


GOES_ON = """
import pathlib, time
from airflow.decorators import dag, task
from airflow.operators.python import get_current_context

@dag(schedule=None)
def goes_on():
    @task
    def train():
        ti = get_current_context()["ti"]
        (ti.checkpoint.path / "weights").write_text("12345")
        ti.checkpoint.set("epoch", 1)
        ti.checkpoint.save()
        ti.progress(0.25, "epoch 1 of 4 <b>of lr=0.1</b>")
        while not pathlib.Path({gate!r}).exists():
            time.sleep(0.05)
        ti.progress(1.0, "all epochs")

    train()

goes_on()
"""


def test_how_far_a_task_has_come_is_on_its_page_as_it_says_so(normal: Standalone, visit: Visit, tmp_path: Path) -> None:
    """The page is open before the task begins. Nothing but its word changes: the try goes on as it was."""
    gate = tmp_path / "gate"
    (normal.home.parent / "dags/goes_on.py").write_text(GOES_ON.format(gate=str(gate)))
    normal.wait_dag("goes_on")
    normal.trigger("goes_on", "r1")
    page = visit(normal, "/dags/goes_on/runs/r1/tasks/train")
    bar = page.get_by_role("progressbar", name="Progress")
    expect(bar).to_have_attribute("value", "0.25")
    expect(page.locator("main")).to_contain_text("25 %: epoch 1 of 4 <b>of lr=0.1</b>")
    expect(page.locator("main")).to_contain_text("Keeps for its next try 1 file of 5 B, and 1 value")
    gate.touch()
    expect(bar).to_have_attribute("value", "1")
    expect(page.locator("main")).to_contain_text("100 %: all epochs")
    expect(page.locator("main")).not_to_contain_text("Keeps for its next try")
