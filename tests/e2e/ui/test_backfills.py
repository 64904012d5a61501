"""A backfill from the form to its end: what would be done, how far it is, paused, gone on with, cancelled, refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from harness import Standalone, wait_until
from playwright.sync_api import Locator, Page, expect

from ui.files import timed
from ui.stage import empty, ready
from ui.test_jobs import done, tab_to
from ui.walk import breaks

Visit = Callable[..., Page]
# A run goes on once there is a file for its day.
GATED = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

for name in ("feeds", "prices"):
    with DAG(name, schedule="DAILY", start_date=datetime(2025, 1, 1), catchup=False, max_active_runs=1) as made:
        BashOperator(task_id="load", bash_command="until [ -e GATE/{{ ds }} ]; do sleep 0.1; done")
    globals()[name] = made

with DAG("by_hand", schedule=None, start_date=datetime(2025, 1, 1)):
    BashOperator(task_id="load", bash_command="true")
"""


def day(ago: int) -> date:
    """The day so many days ago, in UTC, which is the DAGs' zone."""
    return (datetime.now(UTC) - timedelta(days=ago)).date()


class Gated:
    """An installation whose runs wait for their day's file."""

    def __init__(self, it: Standalone, gate: Path) -> None:
        """The gate is shut but for the last days: what runs by its schedule is in nobody's way."""
        self.it, self.gate = it, gate
        for ago in range(-2, 5):
            self.let(ago)

    def let(self, ago: int) -> None:
        """Lets the run of a day go on."""
        (self.gate / day(ago).isoformat()).touch()

    def backfill(self, dag: str) -> dict[str, object]:
        """The newest backfill of a DAG, as Dagbok tells of it."""
        found = self.it.api.get("/backfills", dag_id=dag, order_by="-id")["backfills"]
        return found[0]["dagbok"] | {"id": found[0]["id"]} if found else {}

    def over(self, dag: str) -> None:
        """Ends what is under way, for whoever comes next."""
        if (found := self.backfill(dag)).get("state") in ("running", "paused"):
            cancelled = httpx.put(f"{self.it.api.url}/api/v2/backfills/{found['id']}/cancel")
            # What the test itself let go on may be over by then.
            assert cancelled.is_success or self.backfill(dag).get("state") not in ("running", "paused"), cancelled.text
        for ago in range(60):
            self.let(ago)
        wait_until("no run under way", lambda: self.backfill(dag).get("running", 0) == 0)
        for ago in range(5, 60):
            (self.gate / day(ago).isoformat()).unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """The installation, with two DAGs that run each day and one that runs by hand alone."""
    folder = tmp_path_factory.mktemp("gated")
    gate = folder / "gate"
    gate.mkdir()
    with empty(folder / "it") as it:
        (it.home.parent / "dags/gated.py").write_text(timed(GATED).replace("GATE", str(gate)))
        for dag in ("feeds", "prices", "by_hand"):
            it.wait_dag(dag)
        yield Gated(it, gate)


@pytest.fixture
def gated(made: Gated) -> Iterator[Gated]:
    """With nothing of another test under way."""
    yield made
    for dag in ("feeds", "prices"):
        made.over(dag)


def row(page: Page) -> Locator:
    """The newest backfill's row."""
    return page.locator("tbody tr[data-row]").first


def ask(page: Page, first: int, last: int, at_once: int) -> Locator:
    """Fills the form in; returns what it says would be done."""
    page.get_by_role("button", name="Backfill…").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("First day").fill(day(first).isoformat())
    dialog.get_by_label("Last day").fill(day(last).isoformat())
    dialog.get_by_label("Runs at once").fill(str(at_once))
    return dialog.locator(".preview")


def test_from_the_form_to_its_end_by_mouse(gated: Gated, visit: Visit) -> None:
    """What it counts is what is made; how far it is comes by itself; it pauses, goes on, and leads to its runs."""
    page = visit(gated.it, "/dags/feeds/backfills")
    expect(page.locator("main")).to_contain_text("Nobody has asked for a backfill of it.")
    preview = ask(page, 30, 26, 2)
    expect(preview).to_contain_text("5 runs are made")
    expect(preview.locator("li")).to_have_count(5)
    page.get_by_label("Why, for others to read").fill("<i>the source</i> was late")
    page.evaluate("() => { window.born = 1 }")
    page.get_by_role("button", name="Backfill 5", exact=True).click()
    done(page)
    expect(page.locator("dialog")).to_have_count(0)
    expect(row(page)).to_contain_text("2 running, 3 to come", timeout=20_000)
    expect(row(page)).to_contain_text("<i>the source</i> was late")
    assert gated.backfill("feeds")["total"] == 5

    gated.let(30)
    expect(row(page)).to_contain_text("1 done, 2 running, 2 to come", timeout=20_000)
    row(page).get_by_role("button", name="Pause").click()
    expect(page.locator("dialog .consequences")).to_contain_text("2 runs that are under way go on to their end.")
    expect(page.locator("dialog .consequences")).to_contain_text("2 dates are not seen to until it goes on.")
    page.locator("dialog").get_by_role("button", name="Pause").click()
    expect(row(page).locator("td").nth(1)).to_have_text("paused")
    for ago in range(26, 30):
        gated.let(ago)
    expect(row(page)).to_contain_text("3 done, 2 to come", timeout=20_000)
    assert gated.backfill("feeds")["left"] == 2, "nothing began while it was paused"

    row(page).get_by_role("button", name="Let go on").click()
    expect(page.locator("dialog .consequences")).to_contain_text("2 of its 5 dates go on.")
    page.locator("dialog").get_by_role("button", name="Let go on").click()
    expect(row(page)).to_contain_text("5 done", timeout=20_000)
    expect(row(page).locator("td").nth(1)).to_have_text("completed")
    expect(row(page).get_by_role("button")).to_have_count(0)
    assert page.evaluate("() => window.born") == 1, "it was loaded again"


def test_its_dates_lead_to_its_runs(gated: Gated, visit: Visit) -> None:
    """From its row to the runs of its dates, each of which says of which backfill it is; and on to all runs."""
    for ago in range(12, 15):
        gated.let(ago)
    page = visit(gated.it, "/dags/feeds/backfills")
    expect(ask(page, 14, 12, 3)).to_contain_text("3 runs are made")
    page.get_by_role("button", name="Backfill 3", exact=True).click()
    done(page)
    number = gated.backfill("feeds")["id"]
    expect(row(page).locator("td").first).to_have_text(str(number))
    expect(row(page).locator("td").nth(1)).to_have_text("completed", timeout=30_000)
    row(page).get_by_role("link").click()
    page.wait_for_url("**/dags/feeds/runs?dates_from=*")
    rows = page.locator("tbody tr[data-row]")
    expect(rows).to_have_count(3)
    expect(rows.get_by_role("link", name=f"backfill {number}", exact=True)).to_have_count(3)
    page.get_by_role("button", name=re.compile("^dates from ")).click()
    page.wait_for_url(re.compile(r"/dags/feeds/runs$"))
    expect(rows.nth(3)).to_be_visible()
    page.go_back()
    expect(rows).to_have_count(3)
    rows.first.get_by_role("link", name=f"backfill {number}").click()
    page.wait_for_url("**/dags/feeds/backfills")


def test_asked_for_and_cancelled_by_keyboard(gated: Gated, visit: Visit) -> None:
    """Tab to the form, days by digits, Enter; Tab to Cancel, what follows is said, Enter, and it is over."""
    page = visit(gated.it, "/dags/prices/backfills")
    tab_to(page, "Backfill…")
    page.keyboard.press("Enter")
    expect(page.get_by_label("First day")).to_be_focused()
    page.keyboard.type(day(20).strftime("%m%d%Y"))
    page.get_by_label("Last day").focus()
    page.keyboard.type(day(17).strftime("%m%d%Y"))
    tab_to_field(page, "Runs at once")
    page.keyboard.press("Control+a")
    page.keyboard.type("1")
    expect(page.locator("dialog .preview")).to_contain_text("4 runs are made")
    tab_to(page, "Backfill 4")
    page.keyboard.press("Enter")
    done(page)
    expect(row(page)).to_contain_text("1 running, 3 to come", timeout=20_000)
    tab_to(page, "Cancel")
    page.keyboard.press("Enter")
    expect(page.locator("dialog .consequences")).to_contain_text("1 run that is under way go")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    assert gated.backfill("prices")["state"] == "running", "Escape does nothing but close"
    tab_to(page, "Cancel")
    page.keyboard.press("Enter")
    tab_to(page, "Cancel")
    page.keyboard.press("Enter")
    expect(row(page).locator("td").nth(1)).to_have_text("cancelled", timeout=20_000)
    gated.let(20)
    expect(row(page)).to_contain_text("1 done, 3 never begun", timeout=20_000)
    expect(row(page).get_by_role("button")).to_have_count(0)


def tab_to_field(page: Page, name: str) -> None:
    """Presses Tab until the field of this name has the focus: a date has a stop for each of its parts."""
    field = page.get_by_label(name)
    for _ in range(20):
        page.keyboard.press("Tab")
        if field.evaluate("it => it === document.activeElement"):
            return
    raise AssertionError(f"Tab never came to `{name}`")


def test_what_is_refused_says_why(gated: Gated, visit: Visit) -> None:
    """Before it is asked for, where there are no dates; after, where another is not over: the form stays as it was."""
    page = visit(gated.it, "/dags/by_hand/backfills")
    page.get_by_role("button", name="Backfill…").click()
    said = page.locator("dialog .preview .fault")
    expect(said).to_contain_text("by_hand has no schedule, so there are no dates to backfill")
    expect(page.locator("dialog").get_by_role("button", name="Backfill", exact=True)).to_be_disabled()

    page = visit(gated.it, "/dags/feeds/backfills")
    preview = ask(page, -3, -5, 1)
    expect(preview.locator(".fault")).to_contain_text("lies ahead")
    page.locator("dialog").get_by_label("First day").fill(day(40).isoformat())
    page.locator("dialog").get_by_label("Last day").fill(day(42).isoformat())
    expect(preview.locator(".fault")).to_contain_text("is later than the last one")
    page.locator("dialog").get_by_label("Last day").fill(day(39).isoformat())
    expect(preview).to_contain_text("2 runs are made")
    expect(preview.locator(".fault")).to_have_count(0)
    # Somebody else was quicker.
    span = {"from_date": f"{day(50)}T00:00:00Z", "to_date": f"{day(49)}T23:59:59Z"}
    assert gated.it.api.post("/backfills", span | {"dag_id": "feeds", "max_active_runs": 1}).status_code == 200
    page.locator("dialog").get_by_label("Why, for others to read").fill("a second one")
    page.get_by_role("button", name="Backfill 2", exact=True).click()
    fault = page.locator("dialog .fault")
    expect(fault).to_contain_text("of feeds is not over, and a DAG has one at a time; wait for it, or cancel it")
    expect(page.get_by_label("Why, for others to read")).to_have_value("a second one")
    gated.over("feeds")
    page.get_by_role("button", name="Backfill 2", exact=True).click()
    expect(page.locator("dialog")).to_have_count(0)
    done(page)


def test_it_holds_in_both_themes_and_on_a_phone(gated: Gated, visit: Visit, axe: str) -> None:
    """None yet, one that runs, and the form over it; wide and 390 px."""
    wrong = []
    span = {"from_date": f"{day(34)}T00:00:00Z", "to_date": f"{day(33)}T23:59:59Z"}
    assert gated.it.api.post("/backfills", span | {"dag_id": "prices", "max_active_runs": 1}).status_code == 200
    for width in (1440, 390):
        for dag, there in (("by_hand", ".nothing"), ("prices", "tbody tr[data-row]")):
            page = visit(gated.it, f"/dags/{dag}/backfills", width=width)
            page.locator(f"main {there}").first.wait_for()
            ready(page)
            wrong += [f"{dag}, {width} px: {it}" for it in breaks(page, axe)]
        page.get_by_role("button", name="Backfill…").click()
        page.locator("dialog .cleared li").first.wait_for()
        wrong += [f"the form, {width} px: {it}" for it in breaks(page, axe)]
    assert not wrong, "\n".join(wrong)
