"""A whole service, a foreign caller and phone, and Debian's Chromium as the officer's browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from duty.domain.times import utc_now
from duty.services.accounts import Accounts
from duty.store.database import Store
from tests.line.conftest import prompt
from tests.line.desk import Desk
from tests.line.service import Line, Service, ask_console
from tests.peers.fixtures import sipp, utterance
from tests.peers.programs import require
from transcription import models

__all__ = ["prompt", "sipp", "utterance"]

LINE = Line(number="037122590071", phones=("7001",))
FIRST_PASSWORD = "kai-feng-1123"
_MODELS = Path(__file__).resolve().parents[2] / "build" / "models"


@dataclass(slots=True)
class Watch:
    """What a page did that it must not do: requests off this machine, errors on its console."""

    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Watch ``page`` from now on."""
        page.on("request", lambda request: self._requested(request.url))
        page.on(
            "console",
            lambda message: (
                self.errors.append(f"{message.text} {message.location}") if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _said(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)

    def _requested(self, url: str) -> None:
        if urlsplit(url).scheme in ("http", "https", "ws", "wss") and urlsplit(url).hostname != "127.0.0.1":
            self.foreign.append(url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; the suite downloads no browser of its own. Not for longer than a module: while Playwright
    runs, its event loop is the thread's, and no other test could start one."""
    executable = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(executable),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """All three processes with a speech model; the officer ``zhiban`` has a first password."""
    models.fetch("whisper-base", _MODELS)
    with Service(tmp_path_factory.mktemp("browser"), (LINE,), whole=True, models=_MODELS) as running:
        with closing(Store(running.settings.store_url)) as store:
            Accounts(store, utc_now).reset_password("zhiban", FIRST_PASSWORD)
        running.wait(lambda: ask_console(running) != 0, "the console does not answer", 60.0)
        yield running


@pytest.fixture
def desk(service: Service, sipp: object) -> Iterator[Desk]:
    """Phones on the desk of ``service``."""
    phones = Desk(service, sipp)  # type: ignore[arg-type]
    yield phones
    phones.clear()


@pytest.fixture
def page(browser: Browser, service: Service, tmp_path: Path) -> Iterator[Page]:
    """A fresh browser on a 1440 x 900 screen; a failing run leaves its trace in tmp_path."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900},
        base_url=f"http://127.0.0.1:{service.web_port}",
        locale="zh-CN",
    )
    context.tracing.start(screenshots=True, snapshots=True)
    opened = context.new_page()
    opened.set_default_timeout(20_000 if "CI" not in os.environ else 40_000)
    yield opened
    context.tracing.stop(path=tmp_path / "trace.zip")
    context.close()
