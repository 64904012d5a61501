"""A walk from view to view: what each costs, and what it breaks of the rules of accessibility."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import Error, Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Only what is broken is wanted: the nodes that keep a rule are most of the work, and so is the text of style sheets.
AXE = """async runOnly => {
const found = await axe.run(document, {runOnly, resultTypes: ['violations'], preload: false});
return found.violations.filter(it => it.impact !== 'minor')
.map(it => `${it.id}: ${it.nodes.map(node => node.html.slice(0, 160)).slice(0, 3).join(' | ')}`) }"""
# The other theme has other colours and no other elements; the application puts it on by this attribute.
BOTH = f"""async rules => {{ const look = {AXE}; const root = document.documentElement; const was = root.dataset.theme;
const found = await look(rules); root.dataset.theme = was === 'dark' ? 'light' : 'dark';
const other = await look(['color-contrast']); root.dataset.theme = was;
return [...found, ...other.map(it => `the other theme: ${{it}}`)] }}"""
SHIFT = """window.shift = 0; new PerformanceObserver(list => list.getEntries()
.forEach(it => { if (!it.hadRecentInput) shift += it.value })).observe({type: 'layout-shift', buffered: true});
window.longest = 0; new PerformanceObserver(list => list.getEntries()
.forEach(it => { longest = Math.max(longest, it.duration) })).observe({type: 'longtask', buffered: true})"""
DRAWN = """async () => { for (let at = 0; at < 4; at++) await new Promise(requestAnimationFrame);
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return [window.shift, document.querySelectorAll('*').length, paint ? paint.startTime : 0, window.longest] }"""
# What is told in milliseconds: a figure of the machine as much as of the page, so that only its ratio is judged.
TIMED = ("FCP", "usable", "CPU", "longest")
# What a ratio is of at least: a task that is no long one is not counted at all, and a quick machine's is no measure.
LEAST = {"FCP": 10.0, "usable": 10.0, "CPU": 10.0, "longest": 50.0}


class Walk:
    """A page that goes from view to view with nothing in its cache, and says what each costs and breaks."""

    def __init__(self, page: Page, axe: str) -> None:
        """Has the browser count."""
        self.page, self.axe = page, axe
        self.sent: dict[str, float] = {}
        self.asked: dict[str, str] = {}
        self.devtools = page.context.new_cdp_session(page)
        self.script = ""
        for wish in ("Network.enable", "Performance.enable", "Runtime.enable"):
            self.devtools.send(wish)
        self.devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self.devtools.on("Network.requestWillBeSent", self.began)
        self.devtools.on("Network.loadingFinished", self.ended)
        page.add_init_script(SHIFT)

    def began(self, it: dict[str, Any]) -> None:
        """A request was sent."""
        self.asked[it["requestId"]] = it["request"]["url"]

    def ended(self, it: dict[str, Any]) -> None:
        """A request of this view, and of none before it, was answered."""
        if it["requestId"] in self.asked:
            self.sent[it["requestId"]] = it["encodedDataLength"]

    def go(self, url: str, own: str) -> dict[str, float]:
        """Opens a view and waits for what only its own content has; what it cost."""
        self.sent.clear()
        self.asked.clear()
        before = self.metrics()["TaskDuration"]
        self.page.goto(url, wait_until="commit")
        self.page.locator(own).first.wait_for()
        # What it asks for by itself is there, and has been drawn.
        self.page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        usable = self.page.evaluate("() => performance.now()")
        self.page.wait_for_load_state("load")
        shift, elements, paint, longest = self.page.evaluate(DRAWN)
        spent = self.metrics()["TaskDuration"]
        # Chrome counts from where it began to, which another process begins anew.
        spent = (spent - before if spent >= before else spent) * 1000
        # What the page before it and axe left is not its own.
        self.devtools.send("HeapProfiler.collectGarbage")
        # The icon stands in the head and in the page: it is one request only where there is a cache.
        icons = sum("/favicon-" in it for it in self.asked.values())
        return {
            "KB": sum(self.sent.values()) / 1024,
            "requests": len(self.asked) - max(0, icons - 1),
            "elements": elements,
            "heap": self.metrics()["JSHeapUsedSize"] / 1e6,
            "CLS": shift,
            "FCP": paint,
            "usable": usable,
            "CPU": spent,
            "longest": longest,
        }

    def measure(self, url: str) -> dict[str, float]:
        """What the reference takes here and now in milliseconds, the middle of three."""
        found = [self.go(url, "main.drawn") for _ in range(3)]
        return {name: statistics.median(it[name] for it in found) for name in TIMED}

    def metrics(self) -> dict[str, float]:
        """The browser's own counts."""
        return {it["name"]: it["value"] for it in self.devtools.send("Performance.getMetrics")["metrics"]}

    def breaks(self) -> list[str]:
        """What axe finds that is critical, serious or moderate; of the other theme, put on in place, its colours."""
        self.inject()
        return [str(it) for it in self.page.evaluate(BOTH, RULES)]

    def inject(self) -> None:
        """Has axe be there. Its source is read once, for as long as the browser has one process for the pages."""
        try:
            self.devtools.send("Runtime.runScript", {"scriptId": self.script})
        except Error:
            source = {"expression": self.axe, "sourceURL": "axe.js", "persistScript": True}
            self.script = str(self.devtools.send("Runtime.compileScript", source)["scriptId"])
            self.devtools.send("Runtime.runScript", {"scriptId": self.script})


def breaks(page: Page, axe: str) -> list[str]:
    """What a page breaks as it stands: axe's rules in both themes, and its own width."""
    page.evaluate(axe)
    found = [str(it) for it in page.evaluate(BOTH, RULES)]
    wide, may = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    return found + ([f"it is {wide} px wide, where {may} are"] if wide > may else [])


@contextlib.contextmanager
def reference() -> Iterator[str]:
    """Serves the reference page, which is the same for ever."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(Path(__file__).parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/reference.html"
    finally:
        server.shutdown()
        server.server_close()
