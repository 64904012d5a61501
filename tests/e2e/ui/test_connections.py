"""Connections and variables: made, changed and deleted; what is secret of them goes one way and never comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from harness import Standalone, standalone
from playwright.sync_api import Locator, Page, Response, expect

from ui.stage import ready
from ui.test_jobs import done, tab_to
from ui.walk import breaks

Visit = Callable[..., Page]
SECRET, INNER = "hunter2-of-the-warehouse", "key-within-the-extra"
BAD = "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'>"
# What tasks get, with what is secret of it as a digest: nothing of this installation says it in clear.
READS = """
import hashlib
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def reads():
    @task
    def see(params=None, dag_run=None):
        from airflow.hooks.base import BaseHook
        from airflow.models import Variable
        found = {}
        for name in dag_run.conf.get("connections", []):
            it = BaseHook.get_connection(name)
            secret = (it.password or "") + str(it.extra_dejson.get("key", ""))
            found[name] = [it.host, it.port, hashlib.sha256(secret.encode()).hexdigest()]
        for name in dag_run.conf.get("variables", []):
            found[name] = hashlib.sha256(Variable.get(name).encode()).hexdigest()
        return found
    see()

reads()
"""
ELSEWHERE = {"AIRFLOW_CONN_LAKE": "http://someone:hidden-word@lake.example:81", "AIRFLOW_VAR_REGION": "eu-south"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An installation whose executor has a connection and a variable in its environment."""
    folder = tmp_path_factory.mktemp("kept") / "it"
    (folder / "dags").mkdir(parents=True)
    (folder / "dags/reads.py").write_text(READS)
    with standalone(folder, folder / "dags", env=ELSEWHERE) as it:
        it.wait_dag("reads")
        yield it


class Watched:
    """A page of which all that it asks, is answered and has in it is looked through for what is secret."""

    def __init__(self, page: Page, *secrets: str) -> None:
        """From now on."""
        self.page, self.secrets = page, secrets
        self.found: list[str] = []
        self.answers: list[Response] = []
        page.on("response", lambda it: self.answers.append(it))
        page.on("console", lambda it: self.look("the console", it.text))

    def look(self, where: str, text: str) -> None:
        """Notes a secret that is in a text."""
        self.found += [f"{where} has it" for secret in self.secrets if secret in text]

    def clean(self) -> int:
        """Looks through all there is by now; returns how many answers. A page that is left takes them along."""
        looked = 0
        while self.answers:
            answer = self.answers.pop()
            looked += 1
            self.look("an address", answer.url)
            # A stream has no end, and no content has no body.
            if "/ui/stream" not in answer.url and answer.status != 204:
                self.look(answer.url, answer.text())
        self.look("the page", self.page.content())
        self.look(
            "a field", json.dumps(self.page.locator("input, textarea").evaluate_all("all => all.map(it => it.value)"))
        )
        self.look("the address", self.page.url)
        self.look("what is kept", self.page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])"))
        assert not self.found, self.found
        return looked


def row(page: Page, name: str) -> Locator:
    """The row of a connection or variable."""
    return page.locator("tbody tr[data-row]", has=page.locator(f"code:text-is('{name}')"))


def seen(it: Standalone, run: str, **conf: list[str]) -> dict[str, object]:
    """What a task gets."""
    assert it.trigger("reads", run, conf=conf).status_code == 200
    assert it.api.wait_run("reads", run) == "success"
    found = it.api.get(f"/dags/reads/dagRuns/{run}/taskInstances/see/xcomEntries/return_value")["value"]
    return dict(json.loads(found) if isinstance(found, str) else found)


def digest(text: str) -> str:
    """As the task makes it."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def test_a_connection_by_mouse(kept: Standalone, visit: Visit) -> None:
    """Made, changed without its password being known to anybody, deleted; tasks get it, and no page has its secrets."""
    page = visit(kept, "/connections")
    watched = Watched(page, SECRET, INNER)
    expect(page.locator("main")).to_contain_text("No connection is kept here.")
    page.get_by_role("button", name="New connection").click()
    dialog = page.locator("dialog")
    assert dialog.get_by_label("Password").get_attribute("type") == "password"
    expect(dialog.get_by_role("button", name="Make it")).to_be_disabled()
    for label, text in (
        ("Connection id", "warehouse"),
        ("Type", "postgres"),
        ("Host", "db.internal"),
        ("Port", "5432"),
        ("Login", "etl"),
        ("What it is for", BAD),
        ("Password", SECRET),
        ("Extra, as JSON", json.dumps({"key": INNER})),
    ):
        dialog.get_by_label(label).fill(text)
    dialog.get_by_role("button", name="Make it").click()
    done(page)
    expect(row(page, "warehouse")).to_contain_text("db.internal:5432")
    expect(row(page, "warehouse")).to_contain_text("sealed")
    assert watched.clean() > 0
    assert seen(kept, "made", connections=["warehouse"])["warehouse"] == ["db.internal", 5432, digest(SECRET + INNER)]

    row(page, "warehouse").get_by_role("button", name="Change").click()
    expect(dialog.get_by_label("Host")).to_have_value("db.internal")
    expect(dialog.get_by_label("Password")).to_have_value("")
    expect(dialog.get_by_label("Password")).to_have_attribute("placeholder", "sealed; leave empty to keep it")
    expect(dialog.get_by_label("Extra, as JSON")).to_have_value("")
    dialog.get_by_label("Host").fill("db2.internal")
    dialog.get_by_role("button", name="Change").click()
    expect(row(page, "warehouse")).to_contain_text("db2.internal:5432")
    assert seen(kept, "moved", connections=["warehouse"])["warehouse"] == ["db2.internal", 5432, digest(SECRET + INNER)]
    watched.clean()

    row(page, "warehouse").get_by_role("button", name="Delete").click()
    expect(dialog.locator(".consequences")).to_contain_text("Tasks that ask for it fail.")
    dialog.get_by_role("button", name="Close").click()
    expect(row(page, "warehouse")).to_be_visible()
    row(page, "warehouse").get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete it").click()
    expect(row(page, "warehouse")).to_have_count(0)
    assert kept.api.get("/connections")["total_entries"] == 0
    assert page.evaluate("() => window.broken") is None
    watched.clean()
    assert SECRET not in json.dumps(kept.api.events()), "the log itself has it sealed alone"


def test_what_is_refused_is_said_at_its_field(kept: Standalone, visit: Visit) -> None:
    """An extra that is no JSON object, an id that can't be one, one that there is: what was typed stays."""
    page = visit(kept, "/connections")
    watched = Watched(page, SECRET, INNER)
    page.get_by_role("button", name="New connection").click()
    dialog = page.locator("dialog")
    extra = dialog.get_by_label("Extra, as JSON")
    dialog.get_by_label("Connection id").fill("lab/1")
    dialog.get_by_label("Type").fill("http")
    dialog.get_by_label("Password").fill(SECRET)
    for bad in (f'{{"key": "{INNER}"', f'["{INNER}"]'):
        extra.fill(bad)
        dialog.get_by_label("Connection id").fill("lab")
        dialog.get_by_role("button", name="Make it").click()
        said = dialog.locator(".field", has=page.get_by_label("Extra, as JSON")).locator(".why")
        expect(said).to_contain_text("the extra must be a JSON object")
        expect(extra).to_have_attribute("aria-invalid", "true")
        assert extra.evaluate("it => document.getElementById(it.getAttribute('aria-describedby')).innerText") == (
            said.inner_text()
        )
        expect(extra).to_have_value(bad)
        expect(dialog.get_by_label("Password")).to_have_value(SECRET)
    extra.fill("{}")
    dialog.get_by_label("Connection id").fill("lab/1")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.locator(".field", has=page.get_by_label("Connection id")).locator(".why")).to_be_visible()
    expect(said).to_have_count(0)
    dialog.get_by_label("Connection id").fill("lab")
    dialog.get_by_role("button", name="Make it").click()
    done(page)
    expect(row(page, "lab")).to_be_visible()

    page.get_by_role("button", name="New connection").click()
    dialog.get_by_label("Connection id").fill("lab")
    dialog.get_by_label("Type").fill("ftp")
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.locator(".fault, .why")).to_contain_text("lab")
    page.keyboard.press("Escape")
    expect(row(page, "lab")).to_contain_text("http")
    watched.clean()
    assert kept.api.get("/connections")["total_entries"] == 1


def test_a_variable_by_keyboard(kept: Standalone, visit: Visit) -> None:
    """g o, Tab to the list; made, changed and deleted without a hand on the mouse; Enter does what a form asks."""
    page = visit(kept, "/")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url("**/pools")
    tab_to(page, "Variables")
    page.keyboard.press("Enter")
    page.wait_for_url("**/variables")
    tab_to(page, "New variable")
    page.keyboard.press("Enter")
    page.keyboard.type("model_bucket")
    page.keyboard.press("Tab")
    page.keyboard.type("s3://models")
    page.keyboard.press("Tab")
    page.keyboard.type("where models lie")
    page.keyboard.press("Enter")
    done(page)
    expect(row(page, "model_bucket")).to_contain_text("s3://models")
    assert seen(kept, "first", variables=["model_bucket"])["model_bucket"] == digest("s3://models")

    tab_to(page, "Change")
    page.keyboard.press("Enter")
    expect(page.locator("dialog textarea")).to_be_focused()
    page.keyboard.type("s3://models-2")
    tab_to(page, "Change")
    page.keyboard.press("Enter")
    expect(row(page, "model_bucket")).to_contain_text("s3://models-2")
    expect(row(page, "model_bucket")).to_contain_text("where models lie")

    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_contain_text("Delete the variable model_bucket")
    page.keyboard.press("Escape")
    assert kept.api.get("/variables")["total_entries"] == 1
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    tab_to(page, "Delete it")
    page.keyboard.press("Enter")
    expect(row(page, "model_bucket")).to_have_count(0)
    assert kept.api.get("/variables")["total_entries"] == 0


def test_a_telling_name_hides_its_value(kept: Standalone, visit: Visit) -> None:
    """Its value goes there and never back, on no page; another's is shown as it is, whatever is in it."""
    page = visit(kept, "/variables")
    watched = Watched(page, SECRET)
    for key, value in (("api_token", SECRET), ("motd", BAD), ("limits", json.dumps({"rows": 9, "password": SECRET}))):
        page.get_by_role("button", name="New variable").click()
        page.locator("dialog").get_by_label("Key").fill(key)
        page.locator("dialog").get_by_label("Value").fill(value)
        page.locator("dialog").get_by_role("button", name="Make it").click()
        expect(row(page, key)).to_be_visible()
    expect(row(page, "api_token")).to_contain_text("***")
    expect(row(page, "motd")).to_contain_text(BAD)
    expect(row(page, "limits")).to_contain_text('"rows":9')
    assert page.evaluate("() => window.broken") is None
    row(page, "api_token").get_by_role("button", name="Change").click()
    expect(page.locator("dialog").get_by_label("Value")).to_have_value("")
    page.locator("dialog").get_by_label("What it is for").fill("of the lake")
    page.locator("dialog").get_by_role("button", name="Change").click()
    expect(row(page, "api_token")).to_contain_text("of the lake")
    assert seen(kept, "token", variables=["api_token"])["api_token"] == digest(SECRET)
    assert watched.clean() > 6
    page.goto(kept.api.url + "/audit")
    page.locator(".events summary").first.wait_for()
    for one in page.locator(".events summary").all()[:12]:
        one.click()
    assert watched.clean() > 0


def test_what_the_environment_has_is_not_to_be_changed_here(kept: Standalone, visit: Visit) -> None:
    """A task gets it, the page says where such things are, and there is no row to change it by."""
    assert seen(kept, "elsewhere", connections=["lake"], variables=["region"]) == {
        "lake": ["lake.example", 81, digest("hidden-word")],
        "region": digest("eu-south"),
    }
    for path, name, prefix in (("/connections", "lake", "AIRFLOW_CONN_"), ("/variables", "region", "AIRFLOW_VAR_")):
        page = visit(kept, path)
        watched = Watched(page, "hidden-word", "eu-south")
        page.reload()
        said = page.locator("main", has_text=prefix)
        expect(said).to_contain_text("has in its environment")
        expect(said).to_contain_text("are not listed: they are set where they are")
        assert page.locator("main code", has_text=name).count() == 0
        watched.clean()


def test_it_holds_in_both_themes_and_on_a_phone(kept: Standalone, nothing: Standalone, visit: Visit, axe: str) -> None:
    """With rows and without, their forms, and one that was refused; wide and 390 px."""
    if "held" not in {it["connection_id"] for it in kept.api.get("/connections")["connections"]}:
        body = {"connection_id": "held", "conn_type": "http", "host": "a-long-host." * 6}
        assert kept.api.post("/connections", body).status_code == 201
        assert kept.api.post("/variables", {"key": "held", "value": "wide " * 60}).status_code == 201
    wrong = []
    for width in (1440, 390):
        for path, add in (("/connections", "New connection"), ("/variables", "New variable")):
            page = visit(nothing, path, width=width)
            page.locator("main .nothing").wait_for()
            wrong += [f"{path}, none, {width} px: {it}" for it in breaks(page, axe)]
            page = visit(kept, path, width=width)
            row(page, "held").wait_for()
            ready(page)
            wrong += [f"{path}, {width} px: {it}" for it in breaks(page, axe)]
            row(page, "held").get_by_role("button", name="Delete").click()
            wrong += [f"{path}, to be deleted, {width} px: {it}" for it in breaks(page, axe)]
            page.keyboard.press("Escape")
            page.get_by_role("button", name=add).click()
            if path == "/connections":
                page.locator("dialog").get_by_label("Connection id").fill("x")
                page.locator("dialog").get_by_label("Type").fill("http")
                page.locator("dialog").get_by_label("Extra, as JSON").fill("no JSON")
                page.locator("dialog").get_by_role("button", name="Make it").click()
                page.locator("dialog .why").wait_for()
            wrong += [f"{path}, its form, {width} px: {it}" for it in breaks(page, axe)]
    assert not wrong, "\n".join(wrong)
