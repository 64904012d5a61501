"""Lists that are longer than a page: all of it is filtered, sorted and counted, and every row can be come to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from harness import Standalone, wait_until
from playwright.sync_api import Page, Route, expect

from ui.stage import empty
from ui.test_budget import BUDGET

Visit = Callable[..., Page]
DAGS = 230
# Of every tenth the owner is another, and the name is one that comes last by the order of ids.
MANY = f"""
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.sdk import Asset

for number in range({DAGS}):
    owner = "ada" if number % 10 == 9 else "eva"
    parity = "odd" if number % 2 else "even"
    with DAG(f"many_{{number:03}}", schedule=None, start_date=datetime(2026, 1, 1), tags=[parity],
             default_args={{"owner": owner}}) as made:
        BashOperator(task_id="one", bash_command="true", outlets=[Asset(f"asset_{{number:03}}")])
    globals()[f"dag_{{number}}"] = made
"""
VARIABLES = 205


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An installation with more of everything than a page has."""
    with empty(tmp_path_factory.mktemp("many") / "it") as it:
        (it.home.parent / "dags/many.py").write_text(MANY)
        wait_until("all DAGs", lambda: it.api.get("/dags", limit=1)["total_entries"] == DAGS)
        made = [{"key": f"v_{number:03}", "value": "x"} for number in range(VARIABLES)]
        body = {"actions": [{"action": "create", "entities": made}]}
        assert httpx.patch(f"{it.api.url}/api/v2/variables", json=body, timeout=120).status_code == 200
        yield it


def names(page: Page) -> list[str]:
    """The ids of the DAGs that are shown, from top to bottom."""
    return page.locator("table.dags td.name > a").all_inner_texts()


def pages(page: Page) -> str:
    """What stands above a list about its pages."""
    return page.locator(".pages").first.inner_text().split("\n")[0].strip()


def test_every_dag_is_on_one_of_the_pages(many: Standalone, visit: Visit) -> None:
    """By mouse: from page to page, the first and the last; each DAG once, and the address says which page."""
    page = visit(many, "/dags")
    above = page.get_by_role("navigation", name="Pages", exact=True)
    expect(above).to_contain_text(f"1–50 of {DAGS}")
    found = names(page)
    below = page.get_by_role("navigation", name="Pages, below the list")
    below.get_by_role("link", name="next").click()
    page.wait_for_url("**/dags?page=2")
    expect(above).to_contain_text(f"51–100 of {DAGS}")
    assert page.evaluate("() => scrollY") == 0, "a page is looked at from its top"
    found += names(page)
    for first in (101, 151):
        above.get_by_role("link", name="next").click()
        expect(above).to_contain_text(f"{first}–{first + 49} of {DAGS}")
        found += names(page)
    above.get_by_role("link", name="last").click()
    expect(above).to_contain_text(f"201–{DAGS} of {DAGS}")
    assert above.get_by_role("link", name="next").count() == 0
    assert found + names(page) == [f"many_{number:03}" for number in range(DAGS)]
    above.get_by_role("link", name="first").click()
    page.wait_for_url("**/dags")
    expect(above).to_contain_text(f"1–50 of {DAGS}")


def test_filter_and_order_are_of_all_dags(many: Standalone, visit: Visit) -> None:
    """What the last page has is found from the first; the order goes over pages; both stay from page to page."""
    page = visit(many, "/dags?page=4")
    page.get_by_label("Filter DAGs").fill("owner:ada")
    page.wait_for_url("**/dags?q=owner%3Aada")
    expect(page.locator("table.dags [data-row]")).to_have_count(DAGS // 10)
    assert pages(page) == f"1–{DAGS // 10} of {DAGS // 10}"
    page.get_by_label("Filter DAGs").fill("tag:odd")
    expect(page.locator(".pages").first).to_contain_text(f"1–50 of {DAGS // 2}")
    page.get_by_role("button", name=re.compile("^DAG")).click()
    page.get_by_role("button", name=re.compile("^DAG")).click()
    expect(page.locator("table.dags [data-row] td.name > a").first).to_have_text("many_229")
    page.locator(".pages").first.get_by_role("link", name="last").click()
    page.wait_for_url(re.compile(r"q=tag%3Aodd\+sort%3A-name.*page=3"))
    expect(page.locator(".pages").first).to_contain_text(f"101–{DAGS // 2} of {DAGS // 2}")
    assert names(page)[-1] == "many_001"
    page.reload()
    expect(page.locator(".pages").first).to_contain_text(f"101–{DAGS // 2} of {DAGS // 2}")
    assert names(page)[-1] == "many_001"
    expect(page.get_by_label("Filter DAGs")).to_have_value("tag:odd sort:-name")


def test_pages_by_keyboard_and_back_to_the_same_row(many: Standalone, visit: Visit) -> None:
    """The keys turn pages and walk rows; whoever opens a DAG and goes back is at the same page, row and height."""
    page = visit(many, "/")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_selector("table.dags")
    page.keyboard.press(">")
    page.wait_for_url("**/dags?page=2")
    expect(page.locator(".pages").first).to_contain_text("51–100")
    for _ in range(40):
        page.keyboard.press("j")
    expect(page.locator("a:focus")).to_have_text("many_089")
    page.wait_for_function("() => scrollY > 500")
    height = page.evaluate("() => scrollY")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dags/many_089")
    expect(page.locator("main h1")).to_have_text("many_089")
    page.go_back()
    page.wait_for_url("**/dags?page=2")
    expect(page.locator("a:focus")).to_have_text("many_089")
    assert abs(page.evaluate("() => scrollY") - height) <= 2
    page.keyboard.press("j")
    expect(page.locator("a:focus")).to_have_text("many_090")
    page.keyboard.press("<")
    page.wait_for_url("**/dags")
    expect(page.locator(".pages").first).to_contain_text("1–50")
    page.keyboard.press("<")
    page.keyboard.press("j")
    expect(page.locator("a:focus")).to_have_text("many_000")


def test_a_page_that_is_not_there_leads_to_one_that_is(many: Standalone, visit: Visit) -> None:
    """A link of a time at which there were more; and an address that is no number is the first page."""
    page = visit(many, "/dags?page=9")
    expect(page.locator(".nothing")).to_contain_text(f"it has {DAGS} rows")
    page.locator(".nothing a").click()
    expect(page.locator(".pages").first).to_contain_text(f"201–{DAGS} of {DAGS}")
    page.goto(many.api.url + "/dags?page=x")
    expect(page.locator(".pages").first).to_contain_text(f"1–50 of {DAGS}")


def test_a_page_lives(many: Standalone, visit: Visit) -> None:
    """What changes of a DAG of the second page is seen there without a reload, and its rows stay that page's."""
    page = visit(many, "/dags?page=4")
    row = page.locator("[data-row]", has=page.get_by_role("link", name="many_160", exact=True))
    switch = row.get_by_role("switch")
    was = switch.get_attribute("aria-checked")
    assert many.api.patch("/dags/many_160", {"is_paused": was == "true"}).status_code == 200
    expect(switch).to_have_attribute("aria-checked", "false" if was == "true" else "true", timeout=15_000)
    assert names(page)[0] == "many_150"
    expect(page.locator(".pages").first).to_contain_text(f"151–200 of {DAGS}")


def test_other_lists_have_pages_too(many: Standalone, visit: Visit) -> None:
    """Assets and variables: all of them by pages, found among all, and the address says where one is."""
    page = visit(many, "/assets")
    expect(page.locator(".pages").first).to_contain_text(f"1–100 of {DAGS}")
    page.keyboard.press(">")
    page.wait_for_url("**/assets?page=2")
    expect(page.locator("td.name a").first).to_have_text("asset_100")
    page.locator("td.name a", has_text="asset_150").click()
    page.wait_for_url("**/assets?page=2&asset=*")
    expect(page.locator("section[aria-label='Events of the asset']")).to_be_visible()
    expect(page.locator("tr.chosen")).to_contain_text("asset_150")
    page.get_by_label("Find assets by name").fill("asset_22")
    page.get_by_label("Find assets by name").press("Enter")
    expect(page.locator(".pages").first).to_contain_text("1–10 of 10")
    page.goto(many.api.url + "/variables?page=3")
    expect(page.locator(".pages").first).to_contain_text(f"201–{VARIABLES} of {VARIABLES}")
    expect(page.locator("tbody code").first).to_have_text("v_200")
    page.get_by_label("Find variables by key").fill("v_19")
    page.get_by_label("Find variables by key").press("Enter")
    page.wait_for_url("**/variables?q=v_19")
    expect(page.locator(".pages").first).to_contain_text("1–10 of 10")


def test_the_palette_leads_to_all_that_it_has_no_room_for(many: Standalone, visit: Visit) -> None:
    """It shows the first few DAGs, and the way to the list of all that are like that."""
    page = visit(many, "/")
    page.keyboard.press("Control+k")
    page.keyboard.type("many_1")
    page.locator("[role=option]", has_text="All 100 DAGs like many_1").click()
    page.wait_for_url("**/dags?q=many_1")
    expect(page.locator(".pages").first).to_contain_text("1–50 of 100")


def test_a_full_page_of_busy_dags_keeps_its_budget(many: Standalone, visit: Visit) -> None:
    """All its rows, each with all the runs that a row has: the elements that any page may have."""
    page = visit(many, "/")
    bar = {"run_id": "r", "state": "success", "seconds": 12.5, "run_after": "2026-11-19T02:00:00Z"}

    def busy(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        for row in found["dags"]:
            row |= {
                "last": [bar | {"run_id": f"r{n}"} for n in range(14)],
                "next": bar["run_after"],
                "p50": 12.0,
                "trend": 40,
            }
        route.fulfill(response=answer, body=json.dumps(found))

    page.route("**/api/v2/dagbok/ui/dags?**", busy)
    page.route("**/api/v2/dagbok/ui/dags", busy)
    page.route("**/api/v2/dagbok/ui/stream?view=dags**", lambda route: route.abort())
    page.get_by_role("link", name="DAGs", exact=True).click()
    expect(page.locator(".bars a")).to_have_count(50 * 14)
    elements = page.evaluate("() => document.querySelectorAll('*').length")
    print(f"a full page of DAGs: {elements} elements")
    assert elements <= BUDGET["elements"]
