"""Whoever sees otherwise: forced colours, no motion, pages twice as large; and a page that is open for a day."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, CDPSession, Page, expect

from ui.stage import Standalone, ready

Visit = Callable[..., Page]
BAD = "/dags/reco_training/runs/bad_1"
ROUTES = (
    "/",
    "/dags",
    "/dags/reco_training",
    "/dag_runs",
    BAD,
    f"{BAD}/tasks/train",
    "/pools",
    "/executors",
    "/oncall",
    "/audit",
)
# A stream that says what the test has it say.
STREAM = """window.EventSource = class extends EventTarget {
  constructor(url) { super(); window.source = this; this.url = url; setTimeout(() => this.onopen?.()) }
  close() {}
  say(name, data) { this.dispatchEvent(new MessageEvent(name, {data: JSON.stringify(data)})) }
}"""


def test_states_are_told_where_the_system_has_its_own_colours(failed: Standalone, chrome: Browser) -> None:
    """Each mark has its glyph, an edge or a colour of its own, and so has what is chosen."""
    context = chrome.new_context(forced_colors="active", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(failed.api.url + BAD)
    ready(page)
    assert page.evaluate("() => matchMedia('(forced-colors: active)').matches")
    found = page.locator(".gantt .dot").evaluate_all(
        "all => all.map(it => [it.className, getComputedStyle(it).backgroundColor, it.textContent])"
    )
    failed_ones = {tuple(it[1:]) for it in found if "failed" in it[0]}
    good_ones = {tuple(it[1:]) for it in found if "done" in it[0]}
    assert failed_ones
    assert good_ones
    assert not failed_ones & good_ones
    chosen = page.locator(".gantt tr.chosen button[aria-pressed=true]")
    expect(chosen).to_have_count(1)
    edge = chosen.evaluate("it => getComputedStyle(it.closest('tr')).outlineStyle + getComputedStyle(it).outlineStyle")
    assert "solid" in edge, "what is chosen is told by more than its ground, which the system takes away"
    context.close()


def test_nothing_moves_for_whoever_wants_that(failed: Standalone, chrome: Browser) -> None:
    """No animation and no transition, on any view."""
    context = chrome.new_context(reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    page = context.new_page()
    for route in ROUTES:
        page.goto(failed.api.url + route)
        ready(page)
        moving = page.evaluate(
            "() => [...document.querySelectorAll('*')].filter(it => { const style = getComputedStyle(it);"
            "return style.animationName !== 'none' || !/^(0s(, )?)+$/.test(style.transitionDuration) })"
            ".map(it => it.className)"
        )
        assert not moving, (route, moving)
        assert page.evaluate("() => document.getAnimations().length") == 0
    context.close()


def test_pages_twice_as_large_hold(failed: Standalone, chrome: Browser) -> None:
    """A window of 1,280 px at 200 %: nothing is cut off sideways, and nothing that is pressed lies over another."""
    context = chrome.new_context(viewport={"width": 640, "height": 450}, device_scale_factor=2)
    page = context.new_page()
    for route in ROUTES:
        page.goto(failed.api.url + route)
        ready(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 640, route
        over = page.evaluate(
            """() => { const all = ['.top', '.crumbs', '.tabs']
            .flatMap(it => [...document.querySelectorAll(`${it} a, ${it} button`)])
            .map(it => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width);
            return all.flatMap(([a, one], at) => all.slice(at + 1).filter(([b, two]) => !a.contains(b) && !b.contains(a)
              && one.left + 1 < two.right && two.left + 1 < one.right
              && one.top + 1 < two.bottom && two.top + 1 < one.bottom)
              .map(([b]) => `${a.innerText} over ${b.innerText}`)) }"""
        )
        assert not over, (route, over)
    context.close()


def heap(devtools: CDPSession) -> float:
    """What a page holds once what nobody holds is gone, in MB."""
    devtools.send("HeapProfiler.collectGarbage")
    return float(devtools.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def test_eight_hours_of_live_updates_leave_memory_flat(failed: Standalone, chrome: Browser) -> None:
    """One change a second while somebody works: what a tab holds at the end is what it held after the first minutes."""
    for path, patch in (
        (
            "/",
            "n => ({verdict: {...data.verdict, running: n % 7},"
            " failed: n % 2 ? data.failed : [...data.failed].reverse()})",
        ),
        (
            "/dags/reco_training",
            "n => { const id = data.order.at(-1); const column = data.columns[id];"
            "return {columns: {[id]: {...column, cells: column.cells.replace(/./, String(n % 6))}}} }",
        ),
        (BAD, "n => ({last_seq: n, counts: {...data.counts, running: n % 5}})"),
    ):
        page = chrome.new_page()
        page.add_init_script(STREAM)
        page.goto(failed.api.url + path)
        ready(page)
        page.wait_for_function("() => window.source")
        devtools = page.context.new_cdp_session(page)
        name = "home" if path == "/" else "runs/reco_training/bad_1" if path == BAD else "dags/reco_training"
        page.evaluate(
            f"""async name => {{ const data = await (await fetch('/api/v2/dagbok/ui/' + name)).json(); let n = data.seq;
            const patch = {patch};
            window.hours = async count => {{ for (let at = 0; at < count; at++) {{ n++;
              source.say('patch', {{seq: n, as_of: new Date().toISOString(), patch: patch(n)}});
              if (at % 100 === 99) await new Promise(requestAnimationFrame) }} }} }}""",
            name,
        )

        page.evaluate("() => hours(1800)")
        first, elements = heap(devtools), page.evaluate("() => document.querySelectorAll('*').length")
        page.evaluate("() => hours(28800 - 1800)")
        last = heap(devtools)
        print(f"{path}: {first:.2f} MB after half an hour, {last:.2f} MB after eight hours")
        assert last <= first * 1.1 + 0.2
        assert page.evaluate("() => document.querySelectorAll('*').length") <= elements * 1.1 + 20
        page.close()


# Where the first word of each begins, or its box where it has none: all that is at the page's left edge.
EDGES = """() => { const left = it => {
  const wanted = {acceptNode: one => one.data.trim() ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_REJECT};
  const text = document.createTreeWalker(it, NodeFilter.SHOW_TEXT, wanted).nextNode();
  if (!text || (it.matches('input, select, button') && !it.closest('.tabs'))) return it.getBoundingClientRect().left;
  const range = document.createRange(); range.selectNodeContents(text); return range.getBoundingClientRect().left };
return Object.fromEntries(['.crumbs li:first-child', '.tabs > :first-child', '.list:not(.padded *) th:first-child',
  '.list:not(.padded *) tr > td:first-child', '.foot', 'main > .nothing',
  '.filter.padded > :first-child', '.gantt th:first-child', '.pool h2', '.alert h2 code', '.grid .names span']
  .map(one => [one, document.querySelector(one)])
  .filter(([, it]) => it && !it.closest('.side') && !it.parentElement.scrollLeft && !it.querySelector('.switch, .dot'))
  .map(([one, it]) => [one, Math.round(left(it))])) }"""


def test_what_stands_first_begins_at_one_edge(failed: Standalone, visit: Visit) -> None:
    """Titles, tabs, heads, rows, and what stands below them: 16 px from the side, 10 px where the page is narrow."""
    lists = ("/connections", "/variables", "/import_errors", "/health", "/alerts/routes", "/dags/reco_training/runs")
    lists += ("/dags/reco_training/tasks", "/dags/reco_training/backfills", "/assets")
    seen: set[str] = set()
    for width, side in ((1440, 16), (390, 10)):
        page = visit(failed, "/pools", width=width)
        for route in (*ROUTES[1:], *lists):
            page.goto(failed.api.url + route)
            ready(page)
            found = page.evaluate(EDGES)
            seen |= set(found)
            # A letter may have a little room of its own.
            odd = {one: left for one, left in found.items() if not side <= left <= side + 1}
            assert not odd, f"{route}, {width} px: {odd}"
    assert len(seen) >= 9, f"no page has more than {seen}"
