"""Takes a picture of every view, in both themes and two sizes: `python tests/e2e/ui/look.py FOLDER`. Look at them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import wait_until
from playwright.sync_api import Browser

from ui.stage import Standalone, browser, empty, played, ready

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
VIEWS = {
    "home": "/",
    "dags": "/dags",
    "dag": "/dags/reco_training",
    "dag-details": "/dags/reco_training/details",
    "dag-graph": "/dags/reco_training/graph",
    "dag-trends": "/dags/reco_training/trends?task=train",
    "dag-calendar": "/dags/reco_training/calendar",
    "dag-backfills": "/dags/reco_training/backfills",
    "dag-code": "/dags/reco_training/code?line=34",
    "dag-difference": "/dags/etl_source_a/code?version=2&against=1",
    "dag-events": "/dags/reco_training/events",
    "run-failed": "/dags/reco_training/runs/bad_1",
    "run-events": "/dags/reco_training/runs/bad_1?show=events",
    "run-graph": "/dags/reco_training/runs/bad_1?show=graph",
    "run-table": "/dags/reco_training/runs/bad_1?show=table",
    "run-good": "/dags/reco_training/runs/good_3",
    "run-waiting": "/dags/gpu_fits/runs/wait",
    "task-failed": "/dags/reco_training/runs/bad_1/tasks/train",
    "task-xcom": "/dags/reco_training/runs/good_3/tasks/train?tab=xcom",
    "task-why": "/dags/gpu_fits/runs/wait/tasks/fit_2?tab=why",
    "task-hostile": "/dags/hostile/runs/bad/tasks/raise_it",
    "alerts": "/alerts?state=all",
    "oncall": "/oncall",
    "silences": "/alerts/silences",
    "routes": "/alerts/routes",
    "runs": "/dag_runs",
    "runs-found": "/dag_runs?q=state%3Afailed+since%3A7d+nonsense%3Ax",
    "expected": "/expected",
    "import-errors": "/import_errors",
    "missing": "/dags/nowhere",
    "pools": "/pools",
    "executors": "/executors",
    "connections": "/connections",
    "variables": "/variables",
    "assets": "/assets",
    "health": "/health",
    "audit": "/audit",
}
WIDE = {
    "wide-dag": "/dags/wide",
    "wide-zoomed": "/dags/wide?zoom=3",
    "wide-run": "/dags/wide/runs/wide_0",
    "wide-table": "/dags/wide/runs/wide_0?show=table",
    "wide-graph": "/dags/wide/graph",
}
EMPTY = {"empty-home": "/", "empty-dags": "/dags", "empty-runs": "/dag_runs", "empty-alerts": "/alerts"}


def differing(stage: Standalone) -> None:
    """Has a DAG have two versions and a silence hold, so that there is something to see of both."""
    file = stage.home.parent / "dags/sources.py"
    file.write_text(
        file.read_text().replace(
            "extract >> Python", "extract >> BashOperator(task_id='check', bash_command='true') >> Python"
        )
    )
    wait_until("a second version", lambda: stage.api.get("/dags/etl_source_a/dagVersions")["total_entries"] == 2)
    until = (datetime.now(UTC) + timedelta(hours=4)).isoformat()
    matchers = ['dag="etl_source_a"']
    stage.api.post("/dagbok/silences", {"matchers": matchers, "until": until, "reason": "the source moves house"})


def shoot(chrome: Browser, stage: Standalone, views: dict[str, str], folder: Path, only: str) -> None:
    """Takes the pictures of one installation."""
    for theme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            context = chrome.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
            page = context.new_page()
            for name, path in views.items():
                if only and only not in name:
                    continue
                page.goto(stage.api.url + path)
                ready(page)
                page.wait_for_timeout(400)
                page.screenshot(path=folder / f"{name}-{size}-{theme}.png")
            if size == "wide" and not only and "home" in views:
                page.goto(stage.api.url + "/dags/reco_training/runs/bad_1")
                ready(page)
                for name, act in (("rerun", "r"), ("palette", "Control+k"), ("keys", "?")):
                    page.keyboard.press(act)
                    page.wait_for_timeout(500)
                    page.screenshot(path=folder / f"dialog-{name}-{size}-{theme}.png")
                    page.keyboard.press("Escape")
                    page.wait_for_timeout(300)
                page.goto(stage.api.url + "/dags/reco_training")
                ready(page)
                page.keyboard.press("t")
                page.wait_for_selector("dialog form")
                page.screenshot(path=folder / f"dialog-trigger-{size}-{theme}.png")
            context.close()


README = {
    "home": "/",
    "failed-run": "/dags/reco_training/runs/bad_1",
    "why": "/dags/gpu_fits/runs/wait/tasks/fit_2?tab=why",
    "trends": "/dags/reco_training/trends?task=train",
    "told": "/dags/reco_training/runs/bad_1/tasks/train?tab=told",
    "code": "/dags/reco_training/code?run=bad_1&line=33",
    "oncall": "/oncall",
}
# What is done over a page: its name, the page, the keys, and what is waited for.
ACTS = (
    ("rerun", "/dags/reco_training/runs/bad_1", ["r"], "dialog .cleared li"),
    ("trigger", "/dags/reco_training", ["t"], "dialog form"),
    ("backfill", "/dags/reco_training/backfills", [], "dialog .cleared li"),
    ("search", "/", ["Control+k", "text:state:failed dag:reco* lr=0.9"], "dialog [role=option] >> nth=1"),
)


def readme(chrome: Browser, folder: Path) -> None:
    """Takes those of the README: of an installation as people have one, without what only tests are for."""
    with tempfile.TemporaryDirectory() as scratch, played(Path(scratch) / "readme", hostile=False) as stage:
        page = chrome.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        for name, path in README.items():
            page.goto(stage.api.url + path)
            ready(page)
            page.wait_for_timeout(600)
            page.screenshot(path=folder / f"{name}.png")
        for name, path, keys, there in ACTS:
            page.goto(stage.api.url + path)
            ready(page)
            for key in keys:
                if key.startswith("text:"):
                    page.keyboard.type(key.removeprefix("text:"))
                else:
                    page.keyboard.press(key)
            if not keys:
                page.get_by_role("button", name="Backfill…").first.click()
            page.locator(there).first.wait_for()
            page.wait_for_timeout(400)
            page.screenshot(path=folder / f"{name}.png")
        page.close()


def main() -> None:
    """Takes them all, or with `--only` those with a word in their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--readme", type=Path, help="the folder of the README's pictures, taken too")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser() as chrome:
        with played(Path(scratch) / "played", wide=True) as stage:
            differing(stage)
            shoot(chrome, stage, VIEWS | WIDE, asked.folder, asked.only)
        with empty(Path(scratch) / "empty") as stage:
            shoot(chrome, stage, EMPTY, asked.folder, asked.only)
        if asked.readme:
            readme(chrome, asked.readme)


if __name__ == "__main__":
    main()
