"""What people come for, by mouse and by keyboard alone, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from ui.stage import Standalone

Visit = Callable[..., Page]
RUNS = "/dags/reco_training/runs"


def done(page: Page) -> int:
    """Waits until what was asked for is done; returns the sequence of its record."""
    said = page.locator(".asked")
    expect(said).to_contain_text(re.compile(r"done · seq \d+"), timeout=20_000)
    found = re.search(r"seq (\d+)", said.inner_text())
    assert found
    return int(found.group(1))


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the control of this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(
            "() => (document.activeElement.innerText || document.activeElement.ariaLabel || '').trim()"
        ).startswith(name):
            return
    raise AssertionError(f"Tab never came to `{name}`")


def test_home_says_what_failed_and_its_numbers_are_the_rows_behind_them(failed: Standalone, visit: Visit) -> None:
    """Job 1: no click. The number, home's rows and the list behind the link are the same."""
    page = visit(failed, "/")
    count = failed.api.get("/dags/~/dagRuns", state="failed")["total_entries"]
    expect(page.locator(".verdict h1")).to_contain_text(f"{count} runs failed")
    expect(page.locator(".verdict h1")).to_contain_text("1 file can't be read")
    assert page.locator("section[aria-label=Failed] .row").count() == count
    expect(page.locator("section[aria-label=Failed]")).to_contain_text("RuntimeError: loss diverged (NaN) at step 412")
    page.get_by_role("link", name=re.compile(r"\d+ failed")).click()
    expect(page.locator("tbody tr")).to_have_count(count)


def test_all_right_is_one_calm_line(normal: Standalone, visit: Visit) -> None:
    """Job 1 again, where nothing failed."""
    page = visit(normal, "/")
    expect(page.locator(".verdict.ok h1")).to_contain_text("Everything is all right.")
    assert page.locator("section.group[aria-label=Failed]").count() == 0


def opened_at_the_error(page: Page) -> None:
    """The line that says why is in sight, in the log."""
    line = page.locator(".lines .here")
    expect(line).to_contain_text("Task failed with RuntimeError")
    box, frame = line.bounding_box(), page.locator(".lines").bounding_box()
    assert box
    assert frame
    assert frame["y"] <= box["y"] <= frame["y"] + frame["height"]


def test_one_click_from_home_to_the_failing_line(failed: Standalone, visit: Visit) -> None:
    """Job 2, by mouse."""
    page = visit(failed, "/")
    page.locator("section[aria-label=Failed] .row", has_text="loss diverged").first.locator("a.line").click()
    expect(page.locator(".failure")).to_contain_text("training.py:")
    expect(page.locator(".failure .source")).to_contain_text("raise RuntimeError")
    opened_at_the_error(page)


def test_the_failing_line_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """Job 2: j to the row, Tab to its error, Enter."""
    page = visit(failed, "/")
    page.locator("section[aria-label=Failed] .row").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/**")
    opened_at_the_error(page)


def test_log_text_is_copied_as_it_stands(failed: Standalone, visit: Visit) -> None:
    """Whole lines, in order, without numbers or times between them; the search finds lines on the server."""
    page = visit(failed, f"{RUNS}/bad_1/tasks/train")
    opened_at_the_error(page)
    text = page.evaluate(
        """() => { const all = [...document.querySelectorAll('.lines .l:not(.debug)')].slice(-3);
        const range = document.createRange();
        range.setStart(all[0].firstChild, 0); range.setEnd(all[2].firstChild, all[2].firstChild.length);
        getSelection().addRange(range); return getSelection().toString() }"""
    )
    # The executor's own line on what the templates came to may be written among what the task wrote at once.
    assert [line for line in text.split("\n") if not line.startswith("rendered fields: ")] == [
        "step 399 loss 0.0025",
        "loss is NaN at step 412, aborting",
        "Task failed with RuntimeError",
    ]
    page.get_by_label("Search the log").fill("STEP 17 ")
    expect(page.locator(".lines .l")).to_have_count(1)
    page.get_by_role("button", name="begin").click()
    expect(page.locator(".lines .l:not(.debug)").first).to_have_text("step 0 loss 1.0000")


def test_rerun_from_the_failed_task_by_mouse(failed: Standalone, visit: Visit) -> None:
    """Job 3: the preview is what the rules say; it stands as asked until its record is there."""
    page = visit(failed, f"{RUNS}/bad_0/tasks/train")
    page.get_by_role("button", name="Rerun from here").click()
    expect(page.locator(".preview")).to_contain_text("3 tasks run again")
    page.get_by_role("button", name="Rerun 3").click()
    expect(page.locator(".asked")).to_contain_text(re.compile("asked|done"))
    seq = done(page)
    facts = next(record for record in failed.api.events() if record["seq"] == seq)
    assert "TaskCleared" in json.dumps(facts)
    failed.api.wait_run("reco_training", "bad_0")


def test_rerun_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """Job 3: r, Tab to the button, Enter."""
    page = visit(failed, f"{RUNS}/bad_1")
    page.keyboard.press("r")
    expect(page.locator(".preview")).to_contain_text("tasks run again")
    tab_to(page, "Rerun 3")
    page.keyboard.press("Enter")
    done(page)
    failed.api.wait_run("reco_training", "bad_1")
    expect(page.locator(".sentence")).to_contain_text("failed after", timeout=20_000)


def test_why_it_waits(failed: Standalone, visit: Visit) -> None:
    """Job 4: who holds the pool, with a link; w asks for it."""
    page = visit(failed, "/dags/gpu_fits/runs/wait")
    page.get_by_role("button", name="fit_2").click()
    page.keyboard.press("w")
    expect(page.locator(".why")).to_contain_text("the pool gpu is full")
    expect(page.locator(".holder a")).to_contain_text("fit_0")


def test_trigger_with_params_by_keyboard(normal: Standalone, visit: Visit) -> None:
    """Job 6: t, type, Enter; the run's page opens and follows it to its end."""
    page = visit(normal, "/dags/reco_training")
    page.keyboard.press("t")
    field = page.get_by_label("lr")
    field.wait_for()
    page.get_by_label("loss").select_option("warp")
    field.fill("0.125")
    field.press("Enter")
    page.wait_for_url("**/runs/**")
    done(page)
    run = normal.api.get("/dags/reco_training/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
    assert run["conf"] == {"lr": 0.125, "loss": "warp"}
    assert run["run_type"] == "manual"
    expect(page.locator(".sentence")).to_contain_text("succeeded after", timeout=30_000)


def test_who_was_told(failed: Standalone, visit: Visit) -> None:
    """Job 8: on home's row, and in full with the run; then somebody acknowledges."""
    page = visit(failed, "/dags/hostile/runs/bad")
    expect(page.locator(".facts")).to_contain_text("told oncall")
    page.get_by_role("tab", name="Told").click()
    expect(page.locator(".ledger")).to_contain_text("answered 202")
    page.get_by_role("button", name="Acknowledge").click()
    page.locator("dialog").get_by_label("A word for others").fill("on it")
    page.locator("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".facts")).to_contain_text("in hand", timeout=10_000)


def test_pause_with_its_consequences(normal: Standalone, visit: Visit) -> None:
    """Job 12: by the palette alone, then back by mouse."""
    page = visit(normal, "/")
    page.keyboard.press("Control+k")
    page.keyboard.type("pause etl_source_b")
    expect(page.locator("[role=option]").first).to_have_text(re.compile("Pause etl_source_b"))
    page.keyboard.press("Enter")
    expect(page.locator("dialog .consequences")).to_contain_text("will not be made")
    tab_to(page, "Pause")
    page.keyboard.press("Enter")
    done(page)
    assert normal.api.get("/dags/etl_source_b")["is_paused"]
    page.goto(normal.api.url + "/dags")
    page.get_by_role("switch", name="etl_source_b is paused").click()
    expect(page.locator("dialog .consequences")).to_contain_text("made at once")
    page.get_by_role("button", name="Unpause", exact=True).click()
    done(page)
    expect(page.get_by_role("switch", name="etl_source_b is on")).to_be_visible()


def test_the_grid_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """One stop of the Tab key; cells are spoken, ] goes to a failure, Enter opens it."""
    page = visit(failed, "/dags/reco_training")
    page.locator(".grid").focus()
    spoken = page.locator(".gridwrap [aria-live]")
    expect(spoken).to_contain_text("features.ingest")
    page.keyboard.press("Home")
    page.keyboard.press("]")
    expect(spoken).to_contain_text(re.compile("failed"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/**")


def test_cancel(failed: Standalone, visit: Visit) -> None:
    """A run that waits is cancelled, with why."""
    assert failed.trigger("gpu_fits", "another", conf={}).status_code == 200
    page = visit(failed, "/dags/gpu_fits/runs/another")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Why, for others to read").fill("not today")
    page.get_by_role("button", name="Cancel the run").click()
    done(page)
    expect(page.locator(".facts")).to_contain_text("not today", timeout=20_000)


def test_why_it_waits_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """Job 4: j to the task, w for why."""
    page = visit(failed, "/dags/gpu_fits/runs/wait")
    page.locator(".gantt tr.chosen").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("w")
    expect(page.locator(".why")).to_contain_text("the pool gpu is full")
    expect(page.locator(".holder a")).to_contain_text("fit_0")


def test_who_was_told_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """Job 8: Tab to the task's tabs, arrows to the last of them."""
    page = visit(failed, f"{RUNS}/bad_0/tasks/train")
    tab_to(page, "Log")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".ledger").last).to_contain_text("answered 202")


def test_slower_over_weeks(normal: Standalone, visit: Visit) -> None:
    """Job 5: durations and memory of a task, as charts and as a table, with the run behind each."""
    page = visit(normal, "/dags/reco_training")
    page.get_by_role("link", name="Trends").click()
    page.get_by_role("button", name="train", exact=True).click()
    page.wait_for_url("**/trends?task=train")
    expect(page.locator(".chart")).to_have_count(3)
    expect(page.locator(".chart", has_text="Memory")).to_contain_text("MB")
    page.get_by_text("The charts as a table").click()
    runs = normal.api.get("/dags/reco_training/dagRuns")["total_entries"]
    expect(page.locator("details tbody tr")).to_have_count(runs)
    page.locator("details tbody a").first.click()
    page.wait_for_url("**/tasks/train")


def test_backfill_a_week(normal: Standalone, visit: Visit) -> None:
    """Job 7: days are chosen in the calendar by keyboard; what would be done is said by the rules; then it is done."""
    page = visit(normal, "/dags/reco_training/calendar")
    page.locator(".day.today").focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowUp")
    expect(page.locator(".day[aria-pressed=true]")).to_have_count(4)
    page.keyboard.press("Enter")
    expect(page.locator("dialog .preview")).to_contain_text("4 runs are made")
    page.get_by_label("Why, for others to read").fill("the source was late")
    page.get_by_role("button", name="Backfill 4").click()
    done(page)
    made = normal.api.get("/backfills", dag_id="reco_training")["backfills"][-1]
    assert (made["dagbok"]["total"], made["dagbok"]["reason"]) == (4, "the source was late")
    page.get_by_role("link", name="Backfills").click()
    expect(page.locator("tbody tr")).to_contain_text(["4 done"], timeout=60_000)


def test_mark_and_note(failed: Standalone, visit: Visit) -> None:
    """A failed task is marked as success after the rules said what that changes; a note is read by everybody."""
    page = visit(failed, f"{RUNS}/bad_0/tasks/train")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Add a note…").click()
    page.locator("dialog textarea").fill("<b>known</b>: the rate was too high")
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator(".noted")).to_contain_text("<b>known</b>: the rate was too high")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Mark as…").click()
    expect(page.locator("dialog .preview")).to_contain_text("1 task is marked as success")
    page.get_by_role("button", name="Mark 1").click()
    expect(page.locator(".task h2")).to_contain_text("success", timeout=20_000)
    assert failed.api.get("/dags/reco_training/dagRuns/bad_0/taskInstances/train")["state"] == "success"
    failed.api.wait_run("reco_training", "bad_0")
    page.goto(f"{failed.api.url}{RUNS}/bad_0")
    page.locator(".crumbs .menu summary").click()
    page.get_by_role("button", name=re.compile("Mark as failed")).click()
    page.get_by_role("button", name="Mark as failed").last.click()
    done(page)
    assert failed.api.get("/dags/reco_training/dagRuns/bad_0")["state"] == "failed"


def test_the_graph_by_keyboard(failed: Standalone, visit: Visit) -> None:
    """One stop of the Tab key; arrows follow the edges, groups close, ] goes to a failure, Enter opens it."""
    page = visit(failed, f"{RUNS}/bad_1?show=graph")
    page.locator(".graph[aria-busy=false] canvas").wait_for()
    page.locator(".sheetful").focus()
    spoken = page.locator(".graph [aria-live]")
    expect(spoken).to_contain_text("train, failed, 1 upstream, 1 downstream")
    page.keyboard.press("ArrowLeft")
    expect(spoken).to_contain_text("user, success")
    page.keyboard.press("Backspace")
    page.locator(".graph[aria-busy=false] canvas").wait_for()
    page.keyboard.press("]")
    expect(spoken).to_contain_text("train, failed")
    page.keyboard.press("ArrowRight")
    expect(spoken).to_contain_text("evaluate, upstream failed")
    page.keyboard.press("Enter")
    page.wait_for_url("**task=evaluate**")


def test_who_holds_the_pool(failed: Standalone, visit: Visit) -> None:
    """The pool's holders and who is to come, with why; its slots are changed, and the next one begins."""
    page = visit(failed, "/pools")
    pool = page.locator("section[aria-label=gpu]")
    expect(pool).to_contain_text("full")
    held = failed.api.get("/pools/gpu")["occupied_slots"]
    expect(pool.locator(".tasks").first.locator("li")).to_have_count(held)
    pool.get_by_role("button", name="Change").click()
    page.get_by_label("Slots, or -1 for no limit").fill("2")
    page.locator("dialog").get_by_role("button", name="Change").click()
    expect(pool).to_contain_text("2 of 2 slots taken", timeout=20_000)
    assert failed.api.get("/pools/gpu")["slots"] == 2


def test_secrets_are_written_and_never_read(normal: Standalone, visit: Visit) -> None:
    """A connection is made and changed without its password ever coming back."""
    page = visit(normal, "/connections")
    page.get_by_role("button", name="New connection").click()
    page.get_by_label("Connection id").fill("warehouse")
    page.get_by_label("Type").fill("postgres")
    page.get_by_label("Host").fill("db.internal")
    page.get_by_label("Password").fill("hunter2-secret")
    page.get_by_role("button", name="Make it").click()
    row = page.locator("tbody tr", has_text="warehouse")
    expect(row).to_contain_text("sealed")
    row.get_by_role("button", name="Change").click()
    expect(page.get_by_label("Password")).to_have_value("")
    page.get_by_label("Host").fill("db2.internal")
    page.locator("dialog").get_by_role("button", name="Change").click()
    expect(row).to_contain_text("db2.internal")
    expect(row).to_contain_text("sealed")
    assert "hunter2" not in page.content()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.locator(".nothing")).to_contain_text("No connection is kept here")


def test_the_log_has_every_line_once(normal: Standalone, visit: Visit) -> None:
    """Of a log beyond what a page keeps: read to its end and back to its beginning, no line is missing or doubled."""
    page = visit(normal, "/dags/long_log/runs/long/tasks/speak")
    page.get_by_role("button", name="begin").click()
    expect(page.locator(".lines .l").first).to_have_attribute("data-n", "1")
    total = normal.api.get("/dagbok/ui/logs/long_log/long/speak/1")["line_count"]
    assert total >= 7_000
    for way, last in (("1e9", total), ("0", 1)):
        before: list[int] = []
        for _ in range(80):
            numbers = page.evaluate(
                f"() => {{ const box = document.querySelector('.lines'); box.scrollTop = {way};"
                "return [...box.querySelectorAll('.l')].map(it => Number(it.dataset.n)) }"
            )
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(numbers) <= 4_000
            assert numbers != before
            if last in (numbers[0], numbers[-1]):
                break
            # What is scrolled to brings more lines; it is scrolled to again until then, as by whoever holds the key.
            page.wait_for_function(
                f"ends => {{ const box = document.querySelector('.lines'); box.scrollTop = {way};"
                "const all = box.querySelectorAll('.l');"
                "return Number(all[0].dataset.n) !== ends[0] || Number(all[all.length - 1].dataset.n) !== ends[1] }",
                arg=[numbers[0], numbers[-1]],
            )
            before = numbers
        assert last in (numbers[0], numbers[-1]), (numbers[0], numbers[-1])
