"""What views must keep while they are read: their frame, their rows, and what is true."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, Route, expect

from ui.stage import Standalone

Visit = Callable[..., Page]
FAR = {"far_east": "Pacific/Kiritimati", "far_west": "Pacific/Pago_Pago"}


def test_a_page_is_there_before_what_it_asks_for(failed: Standalone, visit: Visit) -> None:
    """The frame, the title and all that is known already stand while an answer is on its way."""
    page = visit(failed, "/")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v2/dagbok/alerts?**", hold)
    page.get_by_role("link", name="Alerts", exact=True).click()
    expect(page.locator("main h1")).to_have_text("Alerts")
    expect(page.get_by_role("button", name="acknowledged")).to_be_visible()
    expect(page.locator("main [aria-busy=true]")).to_be_visible()
    assert held
    page.unroute("**/api/v2/dagbok/alerts?**")
    expect(page.locator("article.alert").first).to_be_visible()

    page.route("**/api/v2/dagbok/ui/tasks/**", hold)
    page.goto(failed.api.url + "/dags/reco_training/runs/bad_1")
    expect(page.locator(".gantt tr.chosen")).to_contain_text("train")
    expect(page.locator(".sentence")).to_contain_text("failed after")
    page.unroute("**/api/v2/dagbok/ui/tasks/**")
    expect(page.locator(".side .failure")).to_contain_text("loss diverged")


def mark(page: Page, row: str) -> None:
    """Puts the focus on the link of a row, selects its text, and remembers the row itself."""
    page.wait_for_selector(row)
    page.evaluate(
        """row => { window.row = document.querySelector(row); const link = row_link(window.row);
        function row_link(it) { return it.querySelector('a, summary') }
        link.focus(); getSelection().selectAllChildren(link); window.text = getSelection().toString() }""",
        row,
    )


def is_kept(page: Page) -> bool:
    """Whether that row is still the one that is read."""
    return bool(
        page.evaluate(
            "() => window.row.isConnected && window.row.contains(document.activeElement)"
            "&& window.text.length > 0 && getSelection().toString() === window.text"
        )
    )


def test_rows_stay_under_the_reader(normal: Standalone, visit: Visit) -> None:
    """What comes is put beside what is read: the row, the focus and the selection stay."""
    for path, row in (("/dag_runs", "tbody tr"), ("/dags/etl_source_a/events", ".events li"), ("/audit", ".events li")):
        page = visit(normal, path)
        mark(page, row)
        count = page.locator(row).count()
        run = f"beside_{path.count('/')}{len(path)}"
        assert normal.trigger("etl_source_a", run, conf={}).status_code == 200
        normal.api.wait_run("etl_source_a", run)
        page.wait_for_function(
            "at => document.querySelectorAll(at[0]).length > at[1] || document.querySelector(at[0]) !== window.row",
            arg=[row, count],
            timeout=15_000,
        )
        assert is_kept(page), path
        page.close()


def test_a_busy_log_is_asked_for_now_and_then(normal: Standalone, visit: Visit) -> None:
    """Many records in a row are one question or two, and each question says where it ends."""
    page = visit(normal, "/audit")
    page.wait_for_selector(".events li")
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url) if "/dagbok/events" in it.url else None)
    began = time.monotonic()
    first = normal.api.events()[-1]["seq"]
    for number in range(8):
        assert normal.trigger("etl_source_b", f"burst_{number}", conf={}).status_code == 200
    for number in range(8):
        normal.api.wait_run("etl_source_b", f"burst_{number}")
    last = normal.api.events()[-1]["seq"]
    expect(page.locator(f".events code:text-is('{last}')")).to_be_visible(timeout=15_000)
    assert last - first > 40
    assert 1 <= len(asked) <= 2 + (time.monotonic() - began) / 2
    assert all("to=" in url for url in asked), asked


def test_the_past_of_a_quiet_dag_is_up_to_date(normal: Standalone, visit: Visit) -> None:
    """One run more is in the trends and in the calendar, though it is all that is written to the log."""
    normal.wait_dag("far_east")
    assert normal.trigger("far_east", "quiet_0", conf={}).status_code == 200
    page = visit(normal, "/dags/far_east/trends")
    page.get_by_text("The charts as a table").click()
    rows = page.locator("details tbody tr")
    expect(rows).to_have_count(1)
    calendar = visit(normal, "/dags/far_east/calendar")
    expect(calendar.locator(".day.today")).to_have_attribute("aria-label", re.compile("1 queued"))
    # It is paused: the run waits, and nothing else is recorded.
    assert normal.trigger("far_east", "quiet_1", conf={}).status_code == 200
    expect(rows).to_have_count(2, timeout=15_000)
    expect(calendar.locator(".day.today")).to_have_attribute("aria-label", re.compile("2 queued"), timeout=15_000)


def test_days_are_days_of_the_dags_zone(normal: Standalone, visit: Visit) -> None:
    """Today in the calendar, and the days that the palette's backfill begins with, wherever the reader is."""
    for dag, zone in FAR.items():
        normal.wait_dag(dag)
        page = visit(normal, f"/dags/{dag}/calendar")
        page.wait_for_selector(".day.today")
        assert page.locator(".day.today").get_attribute("data-day") == datetime.now(ZoneInfo(zone)).date().isoformat()
        page.keyboard.press("Control+k")
        page.keyboard.type(f"backfill {dag}")
        expect(page.locator("[role=option]").first).to_have_text(re.compile(f"Backfill {dag}"))
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_contain_text(f"Days are days in {zone}")
    dates = {datetime.now(ZoneInfo(zone)).date() for zone in FAR.values()}
    assert dates - {datetime.now(UTC).date()}


def test_a_part_that_is_gone_is_said_to_be(failed: Standalone, visit: Visit) -> None:
    """After an upgrade an old page's files are not there: it says so, stays, and loads again when asked."""
    page = visit(failed, "/")
    before = page.evaluate("() => performance.timeOrigin")
    absent = re.compile(r"/assets/(operate|marks)-")
    page.route(absent, lambda route: route.fulfill(status=404))
    page.get_by_role("link", name="Operate", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Dagbok was upgraded")
    expect(page.get_by_role("link", name="Today", exact=True)).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("tbody tr").first).to_be_visible()
    page.get_by_role("button", name="not now").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.locator("tbody a[title=bad_1]").first.click()
    page.locator(".crumbs .menu summary").click()
    page.get_by_role("button", name="Mark as success…").click()
    expect(page.get_by_role("alert")).to_contain_text("can't be loaded")
    assert page.evaluate("() => performance.timeOrigin") == before, "it was loaded again by itself"
    page.unroute(absent)
    page.get_by_role("button", name="Load the page again").click()
    page.wait_for_function(f"() => performance.timeOrigin !== {before}")
    page.locator(".crumbs .menu summary").click()
    page.get_by_role("button", name="Mark as success…").click()
    expect(page.locator("dialog")).to_contain_text("Mark")


def test_a_part_of_a_run_is_said_to_be_one(failed: Standalone, visit: Visit) -> None:
    """Where a run has more tasks than are shown, its list and its graph both say so."""
    page = visit(failed, "/dag_runs")

    def cut(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"complete": False, "task_count": 20_000})

    page.route("**/api/v2/dagbok/ui/runs/**", cut)
    page.locator("tbody a[title=bad_1]").first.click()
    expect(page.locator(".pane").first).to_contain_text("more tasks than are shown here: it has 20,000")
    page.get_by_role("button", name="Graph").click()
    page.locator(".graph[aria-busy=false] canvas").wait_for()
    expect(page.locator(".pane").first).to_contain_text("more tasks than are shown here")


def test_a_name_of_dots_is_a_name(failed: Standalone, visit: Visit) -> None:
    """Browsers take them for ways: they come escaped twice, and are what is asked for."""
    page = visit(failed, "/dags/%252E%252E/runs/%252E")
    expect(page.locator(".fault")).to_contain_text("`.`")
    expect(page.locator(".crumbs")).to_contain_text("..")
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url))
    page.locator(".crumbs a", has_text="..").click()
    page.wait_for_url("**/dags/%252E%252E")
    expect(page.locator(".fault")).to_contain_text("`..`")
    assert any("/ui/dags/%252E%252E" in url for url in asked)
