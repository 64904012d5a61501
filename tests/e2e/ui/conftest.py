"""One installation of each kind and one Chromium for all tests of the UI."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import ROOT, Standalone
from playwright.sync_api import Browser, Page

from ui.stage import browser, empty, played

ASSETS = ROOT / "services/ui/web/dist/assets"


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The binary has the UI in it only where that was built before."""
    if not ASSETS.is_dir():
        pytest.fail("the web UI is not built: run `make web`, then build the binary again")


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    """A Chromium without a window."""
    with browser() as it:
        yield it


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An installation in which runs have failed and somebody was told."""
    with played(tmp_path_factory.mktemp("failed") / "it") as it:
        yield it


@pytest.fixture(scope="session")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """One in which all went well."""
    with played(tmp_path_factory.mktemp("normal") / "it", failed=False, waiting=False, wide=True) as it:
        yield it


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """One without a DAG."""
    with empty(tmp_path_factory.mktemp("nothing") / "it") as it:
        yield it


@pytest.fixture
def visit(chrome: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; each must load nothing from elsewhere and break no rule of its own security policy."""
    with contextlib.ExitStack() as stack:
        wrong: list[str] = []

        def visit(stage: Standalone, path: str, scheme: str = "light", width: int = 1440) -> Page:
            context = chrome.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
            stack.callback(context.close)
            page = context.new_page()
            page.on(
                "request", lambda it: wrong.append(it.url) if not it.url.startswith((stage.api.url, "data:")) else None
            )
            page.on("console", lambda it: wrong.append(it.text) if "Content Security Policy" in it.text else None)
            page.on("pageerror", lambda it: wrong.append(str(it)))
            page.goto(stage.api.url + path)
            page.wait_for_selector("main h1")
            return page

        yield visit
        assert not wrong


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return Path(ROOT / "services/ui/web/node_modules/axe-core/axe.min.js").read_text()
