"""Every view, in every state and both themes, keeps its budget and the rules of accessibility."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from harness import Standalone
from playwright.sync_api import Browser, Page

from ui.walk import LEAST, TIMED, Walk, reference

pytestmark = pytest.mark.alone

Visit = Callable[..., Page]
LIST = "main table.list, main .nothing"


def titled(title: str) -> str:
    """The title of a page whose file has its title in it: what it asks for is waited for by what is busy."""
    return f'main h1:text-is("{title}")'


# What each has that no other view has, and its frame has not: a file or an answer that has not come is no view.
ROUTES = {
    "/": ".home",
    "/dags": titled("DAGs"),
    "/dag_runs": f"{LIST}",
    "/expected": titled("Expected"),
    "/import_errors": titled("Files that can't be read"),
    "/alerts?state=all": "article.alert, main .nothing",
    "/dags/nowhere": ".fault",
    "/pools": ".pool",
    "/executors": LIST,
    "/connections": LIST,
    "/variables": LIST,
    "/assets": LIST,
    "/health": "table.list",
    "/audit": ".events li",
    "/oncall": "section.duty, main .nothing",
    "/alerts/silences": LIST,
    "/alerts/routes": ".receivers, main .nothing",
}
GRID = {"/dags/reco_training": ".grid"}
DAG = {
    "/runs": "table.list [data-row]",
    "/graph": ".graph canvas",
    "/trends": ".chart",
    "/trends?task=train": ".chart",
    "/calendar": ".calendar",
    "/backfills": LIST,
    "/code": ".code .l",
    "/code?against=1": ".difference, main .nothing",
    "/events": ".events li",
    "/tasks": "table.list code",
    "/why": ".why .says",
    "/details": "dl.facts",
}
OF_DAGS = GRID | {f"/dags/reco_training{path}": own for path, own in DAG.items()}
OF_RUNS = {
    "/dags/reco_training/runs/good_3": ".gantt tr.chosen",
    "/dags/reco_training/runs/good_3?show=table": "table.long [data-row]",
    "/dags/reco_training/runs/good_3/tasks/train?tab=xcom": ".tabpanel table",
    "/dags/reco_training/runs/good_3/tasks/evaluate": ".copies",
}
OF_WIDE = {
    "/dags/wide": ".grid",
    "/dags/wide?zoom=3": ".grid",
    "/dags/wide/graph": ".graph canvas",
    "/dags/wide/trends": ".chart",
    "/dags/wide/code": ".code .l",
    "/dags/wide/runs/wide_0": ".gantt tr.chosen",
    "/dags/wide/runs/wide_0?show=graph": ".graph canvas",
    "/dags/wide/runs/wide_0?show=table": "table.long [data-row]",
    "/dags/wide/runs/wide_0/tasks/shard_0500": ".why .says",
}
BAD = "/dags/reco_training/runs/bad_1"
OF_FAILED = GRID | {
    "/dags/reco_training/code?run=bad_1": ".code .l.bad",
    BAD: ".side .failure",
    f"{BAD}?show=events": ".events li",
    f"{BAD}?show=graph": ".graph canvas",
    f"{BAD}/tasks/train?tab=log": ".lines .l",
    f"{BAD}/tasks/train?tab=why": ".why .says",
    f"{BAD}/tasks/train?tab=rendered": ".tabpanel table",
    f"{BAD}/tasks/train?tab=tries": ".tabpanel table",
    f"{BAD}/tasks/train?tab=resources": ".tabpanel .nothing, .tabpanel .chart",
    f"{BAD}/tasks/train?tab=details": ".tabpanel dl",
    f"{BAD}/tasks/train?tab=told": ".tabpanel .told",
    "/dags/hostile/runs/bad/tasks/raise_it": ".failure",
}
OF = {"nothing": ROUTES, "normal": ROUTES | OF_DAGS | OF_RUNS, "failed": ROUTES | OF_FAILED, "wide": OF_WIDE}
# What a page may be, read from an empty cache: KB that are sent, requests, elements, MB of heap, layout shift.
BUDGET = {"KB": 120.0, "requests": 8.0, "elements": 3_000.0, "heap": 60.0, "CLS": 0.02}

# How many times the reference page's own time each may take, at the worst of all views. A loaded machine is slow with
# both. On a quiet one the worst were 1.6, 2.0, 2.0 and 2.1 (2 cores, November 2026): what becomes somewhat more than
# twice as slow is beyond.
RATIO = {"FCP ratio": 3.5, "usable ratio": 4.5, "CPU ratio": 4.5, "longest ratio": 5.0}
# Views that are passed between two looks at the reference: a machine is not equally loaded for minutes.
LEG = 8
# Whoever else works on the machine may begin between the reference and a view. A view that seems slow is held against
# the reference of that very moment, so often: one that is slow is so each time, and the best of them is judged.
AGAIN = 3


def ratios(found: dict[str, float], measure: dict[str, float]) -> dict[str, float]:
    """How many times the reference's own milliseconds a view took."""
    return {f"{name} ratio": found[name] / max(measure[name], LEAST[name]) for name in TIMED}


@pytest.mark.parametrize("kind", OF)
def test_every_view_keeps_its_budget(
    kind: str, visit: Visit, chrome: Browser, axe: str, request: pytest.FixtureRequest
) -> None:
    """Bytes, requests, elements, heap, layout shift and axe's rules: hard, on every view. Milliseconds are printed, and
    judged by how many times the reference page's they are."""
    stage: Standalone = request.getfixturevalue("normal" if kind == "wide" else kind)
    wrong: list[str] = []
    again: list[str] = []
    most: dict[str, tuple[float, str]] = {}
    page = visit(stage, "/")
    # The reference has a page of its own: what is visited by the other is held against the application's rules.
    walk, other, began = Walk(page, axe), Walk(chrome.new_page(), axe), time.monotonic()
    measure: dict[str, float] = {}
    with reference() as fixed:
        for at, (route, own) in enumerate(OF[kind].items()):
            if at % LEG == 0:
                measure = other.measure(fixed)
            found = walk.go(stage.api.url + route, own)
            found |= ratios(found, measure)
            for _ in range(AGAIN):
                if all(found[name] <= RATIO[name] for name in RATIO):
                    break
                measure = other.measure(fixed)
                once_more = ratios(walk.go(stage.api.url + route, own), measure)
                found |= {name: min(found[name], figure) for name, figure in once_more.items()}
                again.append(route)
            for name, figure in found.items():
                may = (BUDGET | RATIO).get(name, 1e9)
                if figure > may:
                    wrong.append(f"{route}: {figure:.2f} {name}, where {may} may be")
                most[name] = max(most.get(name, (0.0, "")), (figure, route))
            wrong += [f"{route}: {it}" for it in walk.breaks()]
    other.page.close()
    page.keyboard.press("Control+k")
    page.locator("dialog [role=option]").first.wait_for()
    wrong += [f"palette: {it}" for it in walk.breaks()]
    print(f"the reference: {'; '.join(f'{name} {figure:.0f} ms' for name, figure in measure.items())}")
    print(
        f"{kind}: {len(OF[kind])} views in {time.monotonic() - began:.0f} s; at most "
        + "; ".join(f"{name} {figure:.2f} at {route}" for name, (figure, route) in most.items())
    )
    print(f"measured once more: {', '.join(again) or 'none'}")
    assert not wrong, "\n".join(wrong)
