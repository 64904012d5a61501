"""Takes a picture of every view, in both themes and two sizes: `python tests/e2e/ui/look.py FOLDER`. Look at them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from harness import wait_until
from playwright.sync_api import Browser, Page

from ui.files import SHOWN
from ui.stage import MORE, Standalone, browser, empty, played, ready

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
VIEWS = {
    "home": "/",
    "dags": "/dags",
    "dag": "/dags/reco_training",
    "dag-details": "/dags/reco_training/details",
    "dag-graph": "/dags/reco_training/graph",
    "dag-trends": "/dags/reco_training/trends?task=train",
    "dag-runs": "/dags/reco_training/runs",
    "dag-tasks": "/dags/reco_training/tasks",
    "dag-next": "/dags/reco_training/why",
    "dag-paused": "/dags/etl_source_c",
    "dag-without-runs": "/dags/regions",
    "dag-calendar": "/dags/reco_training/calendar",
    "dag-backfills": "/dags/etl_source_b/backfills",
    "dag-backfills-none": "/dags/reco_training/backfills",
    "dag-code": "/dags/reco_training/code?line=34",
    "dag-difference": "/dags/etl_source_a/code?version=2&against=1",
    "dag-difference-none": "/dags/etl_source_a/code?version=2&against=2",
    "dag-events": "/dags/reco_training/events",
    "run-failed": "/dags/reco_training/runs/bad_1",
    "run-events": "/dags/reco_training/runs/bad_1?show=events",
    "run-graph": "/dags/reco_training/runs/bad_1?show=graph",
    "run-table": "/dags/reco_training/runs/bad_1?show=table",
    "run-good": "/dags/reco_training/runs/good_3",
    "run-waiting": "/dags/gpu_fits/runs/wait",
    "task-failed": "/dags/reco_training/runs/bad_1/tasks/train",
    "task-asks": "/dags/release/runs/r1/tasks/approve",
    "task-asks-more": "/dags/release/runs/r1?task=choose",
    "task-resources": "/dags/hungry/runs/r1/tasks/grow?tab=resources",
    "task-resources-none": "/dags/reco_training/runs/bad_1/tasks/train?tab=resources",
    "task-rendered": "/dags/etl_source_a/runs/run_0/tasks/extract?tab=rendered",
    "task-tries": "/dags/reco_training/runs/bad_1/tasks/train?tab=tries",
    "task-details": "/dags/reco_training/runs/bad_1/tasks/train?tab=details",
    "task-told": "/dags/reco_training/runs/bad_1/tasks/train?tab=told",
    "task-mapped": "/dags/reco_training/runs/good_3/tasks/evaluate",
    "task-xcom": "/dags/reco_training/runs/good_3/tasks/train?tab=xcom",
    "task-why": "/dags/gpu_fits/runs/wait/tasks/fit_2?tab=why",
    "task-hostile": "/dags/hostile/runs/bad/tasks/raise_it",
    "alerts": "/alerts?state=all",
    "alert-one": "/alerts/1",
    "alerts-none": "/alerts?state=acknowledged",
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
EMPTY = {
    "empty-home": "/",
    "empty-dags": "/dags",
    "empty-runs": "/dag_runs",
    "empty-alerts": "/alerts?state=all",
    "empty-expected": "/expected",
    "empty-pools": "/pools",
    "empty-executors": "/executors",
    "empty-connections": "/connections",
    "empty-variables": "/variables",
    "empty-assets": "/assets",
    "empty-import-errors": "/import_errors",
    "empty-oncall": "/oncall",
    "empty-silences": "/alerts/silences",
    "empty-routes": "/alerts/routes",
}
# What opens over a page: its name, the page, what is pressed one after the other (a key, or a button by its name), and
# what is waited for.
DIALOGS = (
    ("rerun", "/dags/reco_training/runs/bad_1", ["r"], "dialog .cleared li"),
    ("palette", "/dags/reco_training/runs/bad_1", ["Control+k"], "dialog [role=option]"),
    ("palette-query", "/", ["Control+k", "text:dag:reco* lr=0.9"], "dialog [role=option] >> nth=1"),
    ("palette-nothing", "/", ["Control+k", "text:zzzz"], "dialog .nothing"),
    ("keys", "/", ["?"], "dialog .keys"),
    ("trigger", "/dags/reco_training", ["t"], "dialog form"),
    ("trigger-partition", "/dags/regions", ["t"], "dialog form"),
    ("pause", "/dags/reco_training", ["reco_training is on"], "dialog .consequences"),
    ("cancel", "/dags/gpu_fits/runs/wait", ["Cancel"], "dialog .consequences"),
    ("mark", "/dags/reco_training/runs/bad_1/tasks/train", ["More", "Mark as…"], "dialog .cleared li"),
    ("mark-run", "/dags/reco_training/runs/bad_1", ["More", "Mark as success…"], "dialog .consequences"),
    ("note", "/dags/reco_training/runs/bad_1", ["More", "Add a note…"], "dialog textarea"),
    ("backfill", "/dags/etl_source_a/backfills", ["Backfill…"], "dialog .cleared li"),
    ("backfill-cancel", "/dags/etl_source_b/backfills", ["Cancel"], "dialog .consequences"),
    ("acknowledge", "/alerts?state=all", ["Acknowledge"], "dialog .consequences"),
    ("silence", "/alerts?state=all", ["Silence"], "dialog .consequences"),
    ("test", "/alerts/routes", ["Send a test"], "dialog .consequences"),
    ("uncordon", "/executors", ["Uncordon"], "dialog .consequences"),
    ("drain", "/executors", ["Drain"], "dialog .consequences"),
    ("pool", "/pools", ["New pool"], "dialog form"),
    ("connection", "/connections", ["New connection"], "dialog form"),
    ("connection-change", "/connections", ["Change"], "dialog form"),
    ("variable", "/variables", ["New variable"], "dialog form"),
    ("delete", "/variables", ["Delete"], "dialog .consequences"),
)


def furnish(stage: Standalone) -> None:
    """Has there be something to see of what runs alone don't show: questions, versions, a backfill, secrets."""
    dags = stage.home.parent / "dags"
    (dags / "shown.py").write_text(SHOWN)
    (dags / "lib").mkdir()
    (dags / "lib/paths.py").write_text('"""Where things lie."""\n\nBUCKET = "s3://models"\n')
    for dag in ("release", "regions", "hungry"):
        stage.wait_dag(dag)
    for dag in ("release", "hungry"):
        assert stage.trigger(dag, "r1", conf={}).status_code == 200
    api = stage.api
    connection = {
        "connection_id": "warehouse",
        "conn_type": "postgres",
        "host": "db.internal",
        "login": "etl",
        "password": "x",
    }
    assert api.post("/connections", connection).status_code == 201
    for key, value in (("model_bucket", "s3://models"), ("api_token", "hidden"), ("limits", '{"rows": 100000}')):
        assert (
            api.post("/variables", {"key": key, "value": value, "description": f"the {key} of all DAGs"}).status_code
            == 201
        )
    assert api.patch("/dags/etl_source_c", {"is_paused": True}).status_code == 200
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    body = {"from_date": (day - timedelta(days=2)).isoformat(), "to_date": (day - timedelta(days=1)).isoformat()}
    body |= {"dag_id": "etl_source_b", "reason": "the source was late"}
    assert api.post("/backfills", body | {"max_active_runs": 2}).status_code == 200
    # One is over, one pauses half-way.
    wait_until("its end", lambda: api.get("/backfills", dag_id="etl_source_b")["backfills"][0]["completed_at"])
    made = api.post("/backfills", body | {"max_active_runs": 2, "reprocess_behavior": "completed"}).json()
    wait_until("some of it", lambda: api.get(f"/backfills/{made['id']}")["dagbok"]["done"] >= 5)
    assert httpx.put(f"{api.url}/api/v2/backfills/{made['id']}/pause").status_code == 200
    name = api.get("/dagbok/executors")["executors"][0]["name"]
    differing(stage)
    wait_until("the questions", lambda: len(api.get("/dags/release/dagRuns/r1/hitlDetails")["hitl_details"]) == 2)
    wait_until("some memory", lambda: len(api.get("/dagbok/usage/hungry/r1/grow/1")["at_ms"]) >= 4)
    assert api.post(f"/dagbok/executors/{name}/cordon", {"reason": "its disk is exchanged"}).status_code in (200, 202)


def differing(stage: Standalone) -> None:
    """Has a DAG have two versions and a silence hold, so that there is something to see of both."""
    (stage.home.parent / "dags/lib/paths.py").write_text('"""Where things lie."""\n\nBUCKET = "s3://models-2"\n')
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
            for name, path, acts, there in DIALOGS if "home" in views else ():
                if only and only not in f"dialog-{name}":
                    continue
                page.goto(stage.api.url + path)
                ready(page)
                do(page, acts, there)
                page.screenshot(path=folder / f"dialog-{name}-{size}-{theme}.png")
            context.close()


def do(page: Page, acts: list[str], there: str) -> None:
    """Presses keys and buttons, writes texts, and waits until what is to be seen is there."""
    for act in acts:
        if act.startswith("text:"):
            page.keyboard.type(act.removeprefix("text:"))
        elif act == "More":
            page.locator(".menu summary").first.click()
        elif len(act) == 1 or "+" in act:
            page.keyboard.press(act)
        else:
            button = page.get_by_role("button", name=act, exact=True).or_(page.get_by_role("switch", name=act))
            button.first.click()
    page.locator(there).first.wait_for()
    page.wait_for_timeout(300)


def lost(chrome: Browser, stage: Standalone, folder: Path) -> None:
    """That of a page whose server went, and of one on which something is asked for and refused."""
    for theme in ("light", "dark"):
        page = chrome.new_page(viewport={"width": 1440, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
        page.goto(stage.api.url + "/dags/reco_training")
        ready(page)
        page.route("**/api/v2/**", lambda route: route.abort())
        do(page, ["t"], "dialog .fault")
        page.screenshot(path=folder / f"dialog-refused-wide-{theme}.png")
        page.close()
    if stage.process.alive():
        page = chrome.new_page(viewport={"width": 1440, "height": 900})
        page.goto(stage.api.url + "/dags/reco_training/runs/bad_1")
        ready(page)
        # Asked to end, it would wait for what runs.
        stage.process.kill()
        page.locator(".as-of.lost").wait_for()
        page.wait_for_timeout(300)
        page.screenshot(path=folder / "connection-lost-wide-light.png")
        page.close()


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
    ("backfill", "/dags/reco_training/backfills", ["Backfill…"], "dialog .cleared li"),
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
            do(page, keys, there)
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
        with played(Path(scratch) / "played", wide=True, routes=MORE) as stage:
            furnish(stage)
            shoot(chrome, stage, VIEWS | WIDE, asked.folder, asked.only)
            if not asked.only or asked.only in "connection-lost":
                lost(chrome, stage, asked.folder)
        with empty(Path(scratch) / "empty") as stage:
            shoot(chrome, stage, EMPTY, asked.folder, asked.only)
        if asked.readme:
            readme(chrome, asked.readme)


if __name__ == "__main__":
    main()
