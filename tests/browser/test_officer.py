"""An officer at the console during a real call: sees it arrive, writes, checks the caller, finalizes; by keyboard."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import datetime

import pytest
from playwright.sync_api import Page

from duty.services.directory import NewContact, insert_contact
from duty.services.numbering import number_plan
from duty.store.database import Store
from duty.store.tables import OfficerRow
from duty.verifier import verify
from tests.browser.conftest import FIRST_PASSWORD, LINE, Watch
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

PASSWORD = "kai-feng-2026-zb"
CALLER = "037122660071"
ON_SCREEN_WITHIN_S = 0.5
DRAFT_LIMIT_S = 180.0


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until the field ``name`` has the focus."""
    for _ in range(60):
        if page.evaluate("document.activeElement.name || ''") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the field {name} cannot be reached by Tab")


def _crowding() -> float:
    """How many times more the machine is asked to do than its processors can; 1.0 on a quiet one."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _until(page: Page, condition: str, *, timeout_s: float = 20.0) -> None:
    """Wait until the JavaScript ``condition`` holds. (The page's own policy forbids Playwright's waiting by eval.)"""
    limit = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < limit, f"never came true: {condition}\n{page.inner_text('body')[:1500]}"
        page.wait_for_timeout(50)


def _until_text(page: Page, text: str, *, timeout_s: float = 20.0) -> None:
    _until(page, f"document.body.innerText.includes('{text}')", timeout_s=timeout_s)


def _write(page: Page, name: str, text: str) -> None:
    _tab_to(page, name)
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def _sign_in(page: Page) -> None:
    page.goto("/")
    page.keyboard.type("zhiban")
    page.keyboard.press("Tab")
    page.keyboard.type(FIRST_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/password**")
    for text in (FIRST_PASSWORD, PASSWORD, PASSWORD):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/desk")


def _add_contact(service: Service) -> None:
    store = Store(service.settings.store_url)
    with store.writing() as session:
        officer = session.query(OfficerRow).filter(OfficerRow.login == "zhiban").one()
        contact = NewContact(organisation="北郊乡人民政府", name="张建国", title="值班员", numbers=(CALLER,))
        insert_contact(session, officer.unit_id, contact, number_plan(service.settings.numbers))
    store.close()


def _row(service: Service, query: str) -> tuple[object, ...]:
    with sqlite3.connect(service.data / "dutyline.db") as database:
        return tuple(database.execute(query).fetchone())


@pytest.mark.rule("6.1-a", "6.1-c", "6.2-b")
def test_an_officer_takes_a_call_to_its_number_by_keyboard_alone(
    page: Page, service: Service, desk: Desk, sipp: Sipp, utterance: bytes
) -> None:
    watch = Watch()
    watch.over(page)
    _add_contact(service)
    _sign_in(page)
    _until_text(page, "实时连接")
    page.evaluate(
        """number => { new MutationObserver(() => {
            if (!window.seenAt && document.body.innerText.includes(number)) { window.seenAt = Date.now() / 1000; }
        }).observe(document.body, {childList: true, subtree: true, characterData: true}); }""",
        CALLER,
    )
    desk.phone("phone_answers_and_talks", "7001", audio=utterance, values={"answer_ms": 1500})
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance,
        values={"line": LINE.number, "caller": CALLER},
    )

    _until(page, "window.seenAt > 0")
    arrived = datetime.fromisoformat(f"{_row(service, 'SELECT arrived_at FROM calls')[0]}+00:00").timestamp()
    assert page.evaluate("window.seenAt") - arrived <= ON_SCREEN_WITHIN_S * _crowding()
    assert "北郊乡人民政府" in page.inner_text("body")

    page.keyboard.press("o")
    page.wait_for_url("**/calls/**")
    page.wait_for_selector("#draft-form")
    caller.wait().check()
    _until_text(page, "转写完成", timeout_s=DRAFT_LIMIT_S)

    page.keyboard.press("e")
    _tab_to(page, "category")
    page.keyboard.press("ArrowDown")
    _write(page, "event_time", "2026年11月23日15时20分许")
    _write(page, "place", "北郊乡孙李唐村")
    _write(page, "event", "一处仓库发生火灾，明火已扑灭")
    _until(page, "document.querySelector('#finish').innerText.includes('身份')")
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.wait_for_selector(".check-verified")
    page.keyboard.press("r")
    page.wait_for_selector("#repeat-back .done")
    page.keyboard.press("f")
    page.wait_for_selector("dialog#finalize[open]")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    _until_text(page, "1号")

    state, number, place, category = _row(service, "SELECT state, number_text, place, category FROM entries")
    assert (state, place, category) == ("finalized", "北郊乡孙李唐村", "incident")
    assert str(number) in page.inner_text("body")
    report = verify(str(service.data / "dutyline.db"), service.settings.data.recordings)
    assert report.first_broken is None
    assert watch.foreign == []
    assert watch.errors == []


def test_a_lost_connection_is_said_and_mends_itself(page: Page, service: Service) -> None:
    """The console is killed; the page says so, and is live again when the supervisor has restarted it."""
    page.goto("/")
    page.keyboard.type("zhiban")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/desk")
    _until_text(page, "实时连接")
    service.kill("web")
    _until_text(page, "失去连接", timeout_s=30.0)
    began = time.monotonic()
    _until(page, "!document.body.innerText.includes('失去连接')", timeout_s=60.0)
    assert time.monotonic() - began < 60
