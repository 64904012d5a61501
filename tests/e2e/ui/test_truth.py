"""What a view says must be so: how far it looked, of what an answer is, and that nothing is asked for twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import wait_until
from playwright.sync_api import Page, Request, Route, expect

from ui.stage import Standalone
from ui.test_depth import give

Visit = Callable[..., Page]
HELPED = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator
from lib.helpers import helped

with DAG("helped", schedule=None, start_date=datetime(2026, 1, 1)):
    PythonOperator(task_id="fails", python_callable=lambda: helped(0))
    BashOperator(task_id="much", bash_command="true", env={f"V{n}": "{{ run_id }}" * 300 for n in range(30)})
"""
HELPERS = '''"""Nothing of the DAG's own."""


def helped(by):
    return 1 / by
'''


@pytest.fixture(scope="module")
def helped(failed: Standalone) -> Standalone:
    """With a run that failed in a file that is not the DAG's, and a task whose templates came to very much."""
    dags = failed.home.parent / "dags"
    (dags / "lib").mkdir(exist_ok=True)
    (dags / "lib/__init__.py").write_text("")
    (dags / "lib/helpers.py").write_text(HELPERS)
    (dags / "helped.py").write_text(HELPED)
    failed.wait_dag("helped")
    failed.trigger("helped", "one", conf={})
    failed.api.wait_run("helped", "one")
    return failed


def test_a_frame_leads_to_the_line_of_its_own_file(helped: Standalone, visit: Visit) -> None:
    """The text of the helper as the run ran it, not that of the DAG's file at the same number."""
    page = visit(helped, "/dags/helped/runs/one/tasks/fails")
    frame = page.locator(".failure .frame", has_text="lib/helpers.py:5")
    frame.locator("a").click()
    page.wait_for_url("**/code?run=one&file=lib%2Fhelpers.py&line=5")
    line = page.locator(".code .l.bad")
    expect(line).to_have_text(re.compile(r"return 1 / by"))
    expect(page.locator(".code .said")).to_contain_text("ZeroDivisionError")
    page.goto(helped.api.url + "/dags/helped/code?run=one&file=lib%2Fno.py")
    expect(page.locator(".nothing")).to_contain_text("no such file")
    page.get_by_role("button", name="The DAG's own file").click()
    expect(page.locator(".code")).to_contain_text("import helped")


def test_rendered_fields_that_are_not_kept_are_said_not_to_be(helped: Standalone, visit: Visit) -> None:
    """More than is kept is not nothing."""
    page = visit(helped, "/dags/helped/runs/one/tasks/much?tab=rendered")
    expect(page.locator(".tabpanel .nothing")).to_have_text(
        re.compile(r"is \d\d,\d{3} bytes, which is more than is kept")
    )


def test_a_search_that_was_broken_off_says_so_and_goes_on(failed: Standalone, visit: Visit) -> None:
    """That none of two thousand is like it is not that none is: the list and the palette say which."""
    page = visit(failed, "/dags")

    def broken(route: Route) -> None:
        if "run_after_lte" in route.request.url:
            route.continue_()
            return
        extra = {"total_is_exact": False, "complete": False, "looked_to": "2099-01-01T00:00:00Z"}
        give(route, lambda answer: answer | {"dag_runs": [], "total_entries": 0, "dagbok": extra})

    page.route("**/api/v2/dags/~/dagRuns?**", broken)
    page.keyboard.press("Control+k")
    page.keyboard.type("lr=0.9")
    expect(page.locator("[role=option]").first).to_contain_text("2,000 looked through, back to")
    page.keyboard.press("Enter")
    expect(page.locator(".nothing")).to_contain_text("among the 2,000 that were looked through, back to")
    page.get_by_role("button", name="Look at older ones").click()
    page.wait_for_url("**before=2099**")
    expect(page.locator("tbody a[title=bad_0]")).to_be_visible()
    page.get_by_role("button", name=re.compile("^due up to")).click()
    expect(page.locator(".nothing")).to_contain_text("looked through")
    page.route("**/api/v2/dags/~/dagRuns?**", lambda route: route.abort())
    page.keyboard.press("Control+k")
    page.keyboard.type("lr=0.8")
    expect(page.locator("dialog [role=alert]")).to_contain_text("can't be had")


def asked(page: Page, of: str) -> list[Request]:
    """What is asked for from now on of one address."""
    found: list[Request] = []
    page.on("request", lambda it: found.append(it) if urlsplit(it.url).path.endswith(of) else None)
    return found


def query(request: Request) -> dict[str, str]:
    """The query of a request."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(request.url).query).items()}


def test_a_text_and_records_are_asked_for_once(normal: Standalone, visit: Visit) -> None:
    """While the DAG runs: only which lines failed, and only the records since."""
    page = visit(normal, "/dags/etl_source_b")
    texts, records = asked(page, "/etl_source_b/code"), asked(page, "/dagbok/events")
    page.get_by_role("link", name="Code").click()
    expect(page.locator(".code")).to_contain_text("etl_source_")
    assert normal.trigger("etl_source_b", "again", conf={}).status_code == 200
    normal.api.wait_run("etl_source_b", "again")
    wait_for(page, lambda: len(texts) > 1)
    assert [query(it).get("text") for it in texts] == [None, *["false"] * (len(texts) - 1)]
    expect(page.locator(".code")).to_contain_text("etl_source_")
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".events li").first).to_contain_text("run succeeded")
    first = len(records)
    assert normal.trigger("etl_source_b", "and_again", conf={}).status_code == 200
    expect(page.locator(".events li", has_text="and_again").first).to_be_visible()
    upto = max(int(query(it)["to"]) for it in records[:first])
    assert all(int(query(it)["from"]) > upto for it in records[first:])
    normal.api.wait_run("etl_source_b", "and_again")
    page.goto(normal.api.url + "/dags/etl_source_b/runs/and_again?show=events")
    expect(page.locator(".events li").last).to_contain_text("run succeeded")
    assert page.locator(".events pre").count() == 0, "what nobody opened is not made"
    page.locator(".events summary").last.click()
    expect(page.locator(".events pre")).to_contain_text('"RunSucceeded"')


def wait_for(page: Page, met: Callable[[], bool]) -> None:
    """Until something holds, with the page's own events taken."""

    def look() -> bool:
        page.evaluate("() => 0")
        return met()

    wait_until("what is asked for", look)


def with_text(content: str) -> Callable[[Route], None]:
    """Answers with this text in the place of a file's own."""
    return lambda route: give(route, lambda answer: answer | {"content": content})


def test_a_text_of_any_length_is_few_elements_and_is_copied_whole(normal: Standalone, visit: Visit) -> None:
    """Twenty thousand lines; and three thousand in colours, a text of several lines among them."""
    page = visit(normal, "/dags/etl_source_a")
    text = '"""Of\nmany\nlines."""\n\n' + "".join(f"x_{n} = {n}\n\n" if n % 7 else "\n" for n in range(1_400))
    for content in (text, text * 8):
        page.route("**/dags/etl_source_a/code*", with_text(content))
        page.get_by_role("link", name="Code").click()
        code = page.locator(".code")
        expect(code).to_contain_text("x_1399 = 1399")
        copied = code.evaluate("it => { getSelection().selectAllChildren(it); return getSelection().toString() }")
        assert copied.strip() == content.strip()
        assert page.evaluate("() => document.querySelectorAll('*').length") < 1_000
        if content is text:
            ranges = "[...CSS.highlights.get('py-text')]"
            texts = page.evaluate(
                f"() => {ranges}.map(it => it.startContainer.data.slice(it.startOffset, it.endOffset))"
            )
            assert texts == ['"""Of', "many", 'lines."""']
        page.get_by_role("link", name="Details").click()
        page.unroute("**/dags/etl_source_a/code*")


def test_no_answer_stands_under_another_name(failed: Standalone, visit: Visit) -> None:
    """Rows that answer what was asked before are marked as such; of another task nothing stays."""
    page = visit(failed, "/dag_runs")
    expect(page.locator("tbody tr").first).to_be_visible()
    held: list[Route] = []
    page.route("**/api/v2/dags/~/dagRuns?**", lambda route: held.append(route))
    page.get_by_role("button", name="failed").click()
    expect(page.locator(".held[aria-busy=true]")).to_have_count(1)
    wait_for(page, lambda: bool(held))
    # A server that is at fault for a moment is asked again.
    held.pop().fulfill(status=503, json={"detail": "for a moment"})
    page.unroute("**/api/v2/dags/~/dagRuns?**")
    expect(page.locator("[role=alert]")).to_contain_text("for a moment")
    expect(page.locator("tbody tr")).not_to_have_count(0, timeout=15_000)
    expect(page.locator("[role=alert]")).to_have_count(0)

    page.goto(failed.api.url + "/dags/reco_training/runs/bad_1")
    expect(page.locator(".side .task h2")).to_contain_text("train")
    page.route("**/api/v2/dagbok/ui/tasks/**", lambda route: held.append(route))
    page.locator(".gantt tr", has_text="features.ingest").first.click()
    expect(page.locator(".side .coming")).to_be_visible()
    expect(page.locator(".side .task")).to_have_count(0)


@pytest.mark.parametrize(
    ("words", "asks", "odd"),
    [
        ("decode 5", {"run_id_pattern": "decode%5"}, ""),
        ("dec 5", {"run_after_gte": "-12-05T00:00:00", "run_after_lte": "-12-05T23:59:59"}, ""),
        ("february 31", {}, "february 31"),
        ("since:2026-02-30", {}, "since:2026-02-30"),
        ("manual:of:me x:y", {"run_id_pattern": "manual:of:me%x:y"}, ""),
    ],
)
def test_words_mean_what_they_say(words: str, asks: dict[str, str], odd: str, failed: Standalone, visit: Visit) -> None:
    """Months by their names, days that are, and ids with colons in them."""
    page = visit(failed, "/dags")
    found = asked(page, "/dags/~/dagRuns")
    page.goto(f"{failed.api.url}/dag_runs?q={words}")
    expect(page.locator(".foot, .nothing").first).to_be_visible()
    wait_for(page, lambda: bool(found))
    said: dict[str, Any] = query(found[0])
    assert all(value in said.get(name, "") for name, value in asks.items()), said
    assert {"run_id_pattern", "run_after_gte", "run_after_lte"} & set(said) == set(asks)
    if odd:
        expect(page.locator(".note")).to_contain_text(f"Not understood: {odd}")
    else:
        expect(page.locator(".note")).to_have_count(0)


def test_a_run_may_be_called_as_a_tab_is(failed: Standalone, visit: Visit) -> None:
    """`code` and `graph` are ids as any other."""
    for name in ("code", "graph"):
        failed.trigger("etl_source_b", name, conf={})
        page = visit(failed, f"/dags/etl_source_b/runs/{name}")
        expect(page.locator(".gantt")).to_be_visible()
        assert page.url.endswith(f"/runs/{name}")


def test_lists_of_alerting_say_how_much_there_is_and_who(failed: Standalone, visit: Visit) -> None:
    """More alerts than a page has, one of a round robin, a chain that begins again, and a silence to come."""
    page = visit(failed, "/dags")
    page.route("**/api/v2/dagbok/alerts?**", lambda route: give(route, lambda it: it | {"total_entries": 250}))
    page.goto(failed.api.url + "/alerts?state=all")
    foot = page.locator(".foot")
    expect(foot).to_contain_text(re.compile(r"1–\d+ of 250"))
    foot.get_by_role("link", name="older").click()
    page.wait_for_url("**page=2**")

    def by_turns(it: dict[str, Any]) -> dict[str, Any]:
        step = {"receivers": [], "people": [], "schedules": [], "by_turns": ["ana", "bo"], "wait_seconds": 60}
        return it | {"routes": [it["routes"][0] | {"steps": [step], "repeat": 2}]}

    page.route("**/api/v2/dagbok/oncall", lambda route: give(route, by_turns))
    page.goto(failed.api.url + "/alerts/routes")
    expect(page.locator("tbody tr").first).to_contain_text("one of ana, bo by turns")
    expect(page.locator("tbody tr").first).to_contain_text("2 times more from the first")
    to_come = {"active": False, "since": "2099-01-01T00:00:00Z", "until": "2099-01-02T00:00:00Z"}
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"matchers": ['dag="x"'], "until": until, "reason": "later"}
    assert failed.api.post("/dagbok/silences", body).status_code == 201
    page.route(
        "**/api/v2/dagbok/silences",
        lambda route: give(route, lambda it: it | {"silences": [it["silences"][0] | to_come]}),
    )
    page.goto(failed.api.url + "/alerts/silences")
    expect(page.locator("tbody tr").first).to_contain_text("to come")
    page.get_by_role("button", name="End it").click()
    expect(page.locator("dialog")).to_contain_text("it never holds")
