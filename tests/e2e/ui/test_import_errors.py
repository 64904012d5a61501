"""Files that can't be read: what is wrong, at which line, with its traceback, until somebody mends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Standalone, wait_until
from playwright.sync_api import Locator, Page, expect

from ui.stage import empty, ready
from ui.test_jobs import tab_to
from ui.walk import breaks

Visit = Callable[..., Page]
WELL = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("{dag}", schedule=None, start_date=datetime(2026, 1, 1)):
    BashOperator(task_id="one", bash_command="true")
"""
# Its last frame is another file's, and its traceback is longer than what is shown of it at once.
DEEP = """
from airflow import DAG
import helper

helper.down(60)
"""
HELPER = """
def down(left):
    if not left:
        raise LookupError("the table `ratings` is not there")
    down(left - 1) if left % 2 else down(left=left - 1)
"""
HALF = "from airflow import DAG\n\nwith DAG('half', schedule=None:\n    pass\n"
BAD = "</pre></script><script>window.broken=1</script><img src=x onerror='window.broken=1'>"
HOSTILE = f"""
from airflow import DAG  # {BAD}
raise ValueError({BAD!r})
"""
KEPT = "etl_kept"


def dags(it: Standalone) -> Path:
    """Its DAG folder."""
    return it.home.parent / "dags"


def unread(it: Standalone) -> dict[str, int]:
    """The files that can't be read, by the numbers of their records."""
    return {one["filename"]: one["import_error_id"] for one in it.api.get("/importErrors")["import_errors"]}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An installation with four files that can't be read; of one the DAG is in force as it was read before."""
    with empty(tmp_path_factory.mktemp("broken") / "it") as it:
        folder = dags(it)
        (folder / "well.py").write_text(WELL.format(dag="well"))
        (folder / "kept.py").write_text(WELL.format(dag=KEPT))
        it.wait_dag("well")
        it.wait_dag(KEPT)
        (folder / ".airflowignore").write_text("helper.py\n")
        (folder / "helper.py").write_text(HELPER)
        (folder / "deep.py").write_text(DEEP)
        (folder / "half.py").write_text(HALF)
        (folder / "hostile.py").write_text(HOSTILE)
        (folder / "kept.py").write_text(WELL.format(dag=KEPT) + "\nlimits['rows']\n")
        wait_until("all of them", lambda: len(unread(it)) == 4)
        yield it


def of(page: Page, file: str) -> Locator:
    """What is said of a file."""
    return page.locator("article", has=page.locator("h2", has_text=file))


def test_each_says_what_is_wrong_and_where_by_mouse(broken: Standalone, visit: Visit) -> None:
    """From home by its row: the file and the line, what was raised, the line itself, and the whole traceback."""
    page = visit(broken, "/")
    expect(page.locator(".verdict h1")).to_contain_text("4 files can't be read")
    page.get_by_role("link", name="half.py:3", exact=True).click()
    page.wait_for_url("**/import_errors")
    expect(page.locator("main h1")).to_have_text("Files that can't be read")
    expect(page.locator("article")).to_have_count(4)
    for file, line, said, source in (
        ("half.py", 3, "SyntaxError", "with DAG('half', schedule=None:"),
        ("deep.py", 5, "LookupError: in helper.py, line 4: the table `ratings` is not there", "helper.down(60)"),
        ("kept.py", 9, "NameError: name 'limits' is not defined", "limits['rows']"),
    ):
        one = of(page, file)
        expect(one.locator("h2")).to_have_text(f"{file}:{line}")
        expect(one.locator(".why")).to_contain_text(said)
        expect(one.locator(".source")).to_have_text(source)
        expect(one.get_by_role("region", name=f"Traceback of {file}")).to_contain_text(f'{file}", line {line}')
    # It runs as it was read before; that of the others there never was.
    expect(of(page, "kept.py")).to_contain_text(f"In force as it was read before: {KEPT}")
    assert page.get_by_text("In force as").count() == 1
    of(page, "kept.py").get_by_role("link", name=KEPT).click()
    page.wait_for_url(f"**/dags/{KEPT}")


def test_all_of_a_long_traceback_is_come_to_by_keyboard(broken: Standalone, visit: Visit) -> None:
    """g o, Tab to the list, Enter; Tab to a traceback, which scrolls to its end; j to a DAG that is in force."""
    page = visit(broken, "/dags")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/pools")
    tab_to(page, "Import errors")
    page.keyboard.press("Enter")
    page.wait_for_url("**/import_errors")
    expect(page.locator("article")).to_have_count(4)
    trace = page.get_by_role("region", name="Traceback of deep.py")
    for _ in range(40):
        page.keyboard.press("Tab")
        if trace.evaluate("it => it === document.activeElement"):
            break
    assert trace.evaluate("it => it === document.activeElement && it.scrollHeight > it.clientHeight")
    page.keyboard.press("End")
    page.wait_for_function(
        "() => { const it = document.activeElement; return it.scrollTop + it.clientHeight >= it.scrollHeight - 1 }"
    )
    page.locator("main h1").click()
    page.keyboard.press("j")
    expect(page.locator("a:focus")).to_have_text(KEPT)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dags/{KEPT}")


def test_hostile_text_is_text(broken: Standalone, visit: Visit) -> None:
    """What a file raises and has in its lines is shown as it is, on the page and on home, and nothing of it runs."""
    page = visit(broken, "/import_errors")
    expect(of(page, "hostile.py").locator(".why")).to_contain_text(f"ValueError: {BAD}")
    expect(of(page, "hostile.py").locator("pre")).to_contain_text(BAD)
    assert page.locator("main img, main script, main pre pre").count() == 0
    assert page.evaluate("() => window.broken") is None
    page.goto(broken.api.url)
    expect(page.locator('section[aria-label="Can\'t be read"]')).to_contain_text("onerror='window.broken=1'>")
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("() => window.broken") is None


def test_what_is_mended_goes_and_what_breaks_comes(broken: Standalone, visit: Visit) -> None:
    """While the page is open, without a reload; the others stay the rows that they are, where they are read."""
    page = visit(broken, "/import_errors")
    expect(page.locator("article")).to_have_count(4)
    page.evaluate(
        "() => { window.born = 1; "
        "window.row = [...document.querySelectorAll('article')].find(it => it.innerText.includes('deep.py')) }"
    )
    (dags(broken) / "half.py").write_text(WELL.format(dag="half"))
    expect(of(page, "half.py")).to_have_count(0, timeout=30_000)
    expect(page.locator("article")).to_have_count(3)
    broken.wait_dag("half")
    (dags(broken) / "half.py").write_text(WELL.format(dag="half") + "\nraise RuntimeError('again')\n")
    expect(of(page, "half.py").locator(".why")).to_contain_text("RuntimeError: again", timeout=30_000)
    expect(of(page, "half.py")).to_contain_text(re.compile(r"In force as it was read before: ?half"))
    (dags(broken) / "half.py").unlink()
    expect(of(page, "half.py")).to_have_count(0, timeout=30_000)
    (dags(broken) / "half.py").write_text(HALF)
    expect(of(page, "half.py")).to_have_count(1, timeout=30_000)
    assert page.evaluate("() => window.born === 1 && window.row.isConnected")


def test_it_holds_in_both_themes_and_on_a_phone(
    broken: Standalone, nothing: Standalone, visit: Visit, axe: str
) -> None:
    """With files and without, wide and 390 px: the rules of accessibility, and no page that scrolls sideways."""
    wrong = []
    for stage in (broken, nothing):
        for width in (1440, 390):
            page = visit(stage, "/import_errors", width=width)
            ready(page)
            if stage is nothing:
                expect(page.locator("main")).to_contain_text("Every file in the DAG folder can be read.")
            else:
                expect(page.locator("article")).to_have_count(4)
            wrong += [f"{width} px: {it}" for it in breaks(page, axe)]
    assert not wrong, "\n".join(wrong)
