"""The rest of the twelve jobs by mouse and by keyboard alone, and what every page has: palette, undo, old links."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from ui.stage import Standalone
from ui.test_jobs import done, tab_to

Visit = Callable[..., Page]
BAD = "/dags/reco_training/runs/bad_1"


def test_slower_over_weeks_by_keyboard(normal: Standalone, visit: Visit) -> None:
    """Job 5: to the DAG by the palette, Tab to its trends, Tab to a task, Tab to the table of what the charts show."""
    page = visit(normal, "/")
    page.keyboard.press("Control+k")
    page.keyboard.type("reco_tr")
    expect(page.locator("[role=option]").first).to_contain_text("reco_training")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dags/reco_training")
    tab_to(page, "Trends")
    page.keyboard.press("Enter")
    expect(page.locator(".chart").first).to_be_visible()
    tab_to(page, "train")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trends?task=train")
    expect(page.locator(".chart", has_text="Memory")).to_contain_text("MB")
    tab_to(page, "The charts as a table")
    page.keyboard.press("Enter")
    expect(page.locator("details tbody tr").first).to_contain_text("success")


def test_trigger_with_params_by_mouse(normal: Standalone, visit: Visit) -> None:
    """Job 6: the button, the last run's values, one of them changed, and the button that does it."""
    page = visit(normal, "/dags/reco_training")
    page.get_by_role("button", name=re.compile("^Trigger")).click()
    page.get_by_role("button", name="Take the last run's values").click()
    page.get_by_label("epochs").fill("5")
    page.locator("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url("**/runs/**")
    done(page)
    run = normal.api.get("/dags/reco_training/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
    assert run["conf"]["epochs"] == 5
    assert "lr" in run["conf"]
    normal.api.wait_run("reco_training", run["dag_run_id"])


def test_backfill_a_week_by_mouse(normal: Standalone, visit: Visit) -> None:
    """Job 7: dragged over the calendar's days, what would be done is said, and it is done."""
    page = visit(normal, "/dags/etl_source_c/calendar")
    week = page.locator(".week").nth(-4)
    first, last = week.locator(".day").nth(1), week.locator(".day").nth(2)
    first.hover()
    page.mouse.down()
    last.hover()
    page.mouse.up()
    expect(page.locator(".day[aria-pressed=true]")).to_have_count(2)
    page.get_by_role("button", name="Backfill…").click()
    expect(page.locator("dialog .preview")).to_contain_text("48 runs are made")
    page.locator("dialog").get_by_label("Runs at once").fill("16")
    expect(page.locator("dialog .preview")).to_contain_text("48 runs are made")
    page.get_by_role("button", name="Backfill 48").click()
    done(page)
    made = normal.api.get("/backfills", dag_id="etl_source_c")["backfills"][-1]
    assert made["dagbok"]["total"] == 48
    # The others on this stage have their turn.
    httpx.put(f"{normal.api.url}/api/v2/backfills/{made['id']}/cancel").raise_for_status()


def test_what_runs_next_by_mouse(normal: Standalone, visit: Visit) -> None:
    """Job 9: no click, on home; and the list of DAGs by what comes first, the other way round, and as it was."""
    page = visit(normal, "/")
    soon = page.locator("section[aria-label='Next 12 hours'] .soon")
    expect(soon.locator("li").first).to_contain_text(re.compile(r"etl_source_.*in \d+ m"))
    page.get_by_role("link", name="DAGs", exact=True).click()
    head = page.get_by_role("button", name="Next run")
    head.click()
    page.wait_for_url("**sort%3Anext")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Next run")
    expect(page.locator("tbody tr .name a").first).to_have_text(re.compile("etl_source_"))
    due = page.locator("tbody td:nth-child(5) time").evaluate_all("all => all.map(it => it.dateTime)")
    assert due == sorted(due)
    assert len(due) >= 3
    head.click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Next run")
    expect(page.locator("tbody tr .name a").first).to_have_text("reco_training")
    head.click()
    expect(page.locator("th[aria-sort]")).to_have_count(0)


def test_what_runs_next_by_keyboard(normal: Standalone, visit: Visit) -> None:
    """Job 9: g h to home; Tab to the run that comes first, Enter to its DAG."""
    page = visit(normal, "/pools")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url(normal.api.url + "/")
    page.locator(".soon li").first.wait_for()
    tab_to(page, "etl_source_")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dags/etl_source_*")
    expect(page.locator(".crumbs")).to_contain_text("next")


def test_find_a_run_by_mouse(failed: Standalone, visit: Visit) -> None:
    """Job 11: the box at the top, the words, a click on the run."""
    page = visit(failed, "/health")
    page.get_by_role("button", name="Search or do").click()
    page.keyboard.type("lr=0.9 state:failed")
    page.locator("[role=option]", has_text="bad_0").click()
    page.wait_for_url("**/dags/reco_training/runs/bad_0")


def test_a_pause_is_undone_at_once(normal: Standalone, visit: Visit) -> None:
    """Job 12: by mouse alone, and back by what the notice offers."""
    page = visit(normal, "/dags/far_west")
    assert normal.api.get("/dags/far_west")["is_paused"]
    page = visit(normal, "/dags/etl_source_b")
    page.get_by_role("switch").click()
    expect(page.locator("dialog .consequences")).to_contain_text("will not be made")
    page.locator("dialog").get_by_role("button", name="Pause").click()
    done(page)
    expect(page.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    page.locator(".asked").get_by_role("button", name="Undo").click()
    expect(page.get_by_role("switch")).to_have_attribute("aria-checked", "true")
    assert not normal.api.get("/dags/etl_source_b")["is_paused"]


def test_the_palette_is_on_every_page_and_knows_tasks(failed: Standalone, visit: Visit) -> None:
    """A DAG's first letters and a task's lead to the task in the newest run, from wherever one is."""
    page = visit(failed, "/")
    for path in (
        "/",
        "/dags",
        "/dag_runs",
        "/alerts",
        "/assets",
        "/pools",
        "/audit",
        "/health",
        BAD,
        "/dags/nowhere",
    ):
        page.goto(failed.api.url + path)
        page.wait_for_selector("main h1")
        page.keyboard.press("Control+k")
        expect(page.locator("dialog [role=option]").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.keyboard.type("reco regis")
    expect(page.locator("[role=option]").first).to_contain_text("register of reco_training")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dags/reco_training/runs/*/tasks/register")


def test_who_was_told_of_a_run_has_a_place(failed: Standalone, visit: Visit) -> None:
    """In the run's own row of views, and under the address that is named for it."""
    page = visit(failed, BAD)
    page.get_by_role("group", name="What is shown").get_by_role("button", name="Told").click()
    page.wait_for_url("**show=told")
    expect(page.locator(".pane").first.locator(".ledger")).to_contain_text("answered 202")
    page.goto(f"{failed.api.url}{BAD}/told")
    expect(page.locator(".pane").first.locator(".ledger")).to_contain_text("answered 202")


def test_a_log_is_read_by_how_loud_its_lines_are(failed: Standalone, visit: Visit) -> None:
    """Only the errors; one of them opens the log where it stands."""
    page = visit(failed, f"{BAD}/tasks/train")
    page.get_by_label("How loud").select_option("error")
    lines = page.locator(".lines .l")
    expect(lines).to_have_count(2)
    expect(lines.first).to_have_text("loss is NaN at step 412, aborting")
    lines.first.dblclick()
    expect(page.get_by_label("How loud")).to_have_value("")
    expect(lines.nth(20)).to_contain_text("step")


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ("/home", "/home"),
        ("/tree?dag_id=reco_training", "/dags/reco_training"),
        ("/graph?dag_id=reco_training&run_id=bad_1", f"{BAD}?show=graph"),
        ("/dags/reco_training/grid", "/dags/reco_training"),
        ("/dags/reco_training/grid?dag_run_id=bad_1", BAD),
        ("/dags/reco_training/grid?dag_run_id=bad_1&task_id=train&tab=logs", f"{BAD}/tasks/train?tab=log"),
        ("/dags/reco_training/graph?dag_run_id=bad_1", f"{BAD}?show=graph"),
        ("/dags/reco_training/duration", "/dags/reco_training/trends"),
        (
            "/log?dag_id=reco_training&task_id=train&dag_run_id=bad_1&map_index=-1&try_number=2",
            f"{BAD}/tasks/train?tab=log&try=2",
        ),
        (
            "/xcom?dag_id=reco_training&task_id=evaluate&dag_run_id=bad_1&map_index=3",
            f"{BAD}/tasks/evaluate/mapped/3?tab=xcom",
        ),
        ("/dagrun/list/?_flt_3_dag_id=x", "/dag_runs"),
        ("/taskinstance/list/", "/task_instances"),
        ("/pool/list/", "/pools"),
        ("/datasets", "/assets"),
        ("/log/list/", "/audit"),
        ("/why?dag_id=reco_training&dag_run_id=bad_1&task_id=train", f"{BAD}/tasks/train?tab=why"),
        ("/graph?dag_id=%2F%2Fevil.example", "/dags/%2F%2Fevil.example/graph"),
    ],
)
def test_old_links_lead_on(old: str, now: str, failed: Standalone) -> None:
    """What Airflow 2 had at another address, by a way that holds behind a prefix, too."""
    answer = httpx.get(failed.api.url + old, follow_redirects=True)
    assert str(answer.url).removeprefix(failed.api.url) == now
    for step in answer.history:
        assert step.headers["location"].startswith("."), "it says no host, and no path from the root"


def test_a_logical_date_of_an_old_link_is_its_run(failed: Standalone) -> None:
    """As Airflow 2 named runs: by `execution_date`, with the plus that its own pages did not escape. A scheduled run
    has a plus and colons in its own id, which are escaped in the path that it leads to."""
    runs = [run for run in failed.api.get("/dags/reco_training/dagRuns", limit=50)["dag_runs"] if run["logical_date"]]
    assert any("+" in run["dag_run_id"] for run in runs)
    for run in runs:
        date = run["logical_date"].replace("Z", "+00:00")
        path = f"/log?dag_id=reco_training&task_id=train&execution_date={date}"
        answer = httpx.get(failed.api.url + path, follow_redirects=True)
        its = f"/dags/reco_training/runs/{quote(run['dag_run_id'], safe='')}/tasks/train"
        assert str(answer.url).removeprefix(failed.api.url) == f"{its}?tab=log"
        assert answer.status_code == 200
