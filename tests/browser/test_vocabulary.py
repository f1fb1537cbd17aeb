"""The vocabulary in a real browser: deciding by keys, taking selected words in, choosing the reading of a polyphone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from duty.domain.times import utc_now
from duty.services.words import WordFilter
from tests.browser.conftest import Watch
from tests.web.room import PASSWORD, Room, make_room
from tests.web.server import serving
from tests.web.test_vocabulary import CALL, misheard_call
from web.app import create_app

pytestmark = pytest.mark.peer
expect.set_options(timeout=20_000)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = make_room(tmp_path, utc_now)
    with closing(made.services.store):
        yield made


@pytest.fixture
def desk_page(room: Room, browser: Browser) -> Iterator[Page]:
    """An officer signed in; what the page must not do fails the test."""
    watch = Watch()
    with serving(create_app(room.services, room.settings), room.settings) as address:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=address, locale="zh-CN")
        page = context.new_page()
        watch.over(page)
        page.goto("/sign-in")
        page.fill("#login", "officer1")
        page.fill("#password", PASSWORD)
        page.press("#password", "Enter")
        page.wait_for_url("**/desk")
        yield page
        context.close()
    assert (watch.errors, watch.foreign) == ([], [])


@pytest.mark.rule("6.2-b", "10-a")
def test_names_are_decided_by_keys_and_selected_words_are_taken_in(room: Room, desk_page: Page) -> None:
    entry_id = misheard_call(room)
    actor = room.actor("officer1")
    room.services.logbook.edit(
        actor, entry_id, {"remarks": "北郊香来电"}, version=room.services.logbook.entry(actor, entry_id).version
    )
    page = desk_page
    page.goto(f"/calls/{CALL}")
    expect(page.locator(".suggest-current")).to_contain_text("北郊香")
    page.keyboard.press("y")
    expect(page.locator(".suggest-accepted")).to_contain_text("北郊乡")
    expect(page.locator(".suggest-accepted .suggest-heard")).to_have_text("北郊香")
    expect(page.locator("#f-remarks")).to_have_value("北郊乡来电")
    expect(page.locator(".suggest-current")).to_contain_text("孙里唐村")
    page.keyboard.press("x")
    expect(page.locator(".suggest-declined")).to_have_text("孙里唐村撤销")
    expect(page.locator("#suggestions-open")).to_be_empty()

    page.evaluate(
        """() => {
          var text = document.querySelector("#segment-2 .word").firstChild;
          var range = document.createRange();
          range.setStart(text, 0);
          range.setEnd(text, 4);
          window.getSelection().removeAllRanges();
          window.getSelection().addRange(range);
        }"""
    )
    expect(page.locator("#add-selected")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("#w-word")).to_have_value("孙里唐村")
    page.fill("#w-word", "长行街")
    expect(page.locator("[data-reading=hang2]")).to_be_visible()
    page.click("[data-reading=hang2]")
    page.click("[data-reading=chang2]")
    expect(page.locator("#w-pinyin")).to_have_value("chang2 hang2 jie1")
    page.select_option("#w-class", "road")
    page.click("#new-word button.btn-primary")
    expect(page.locator("#new-word-result")).to_contain_text("“长行街”已加入词库")
    (added,) = room.services.words.listing(actor, WordFilter())
    assert (added.word, added.pinyin, added.by) == ("长行街", "chang2 hang2 jie1", "李晓明")


@pytest.mark.rule("10-a")
def test_a_list_is_imported_and_a_word_corrected(room: Room, desk_page: Page, tmp_path: Path) -> None:
    page = desk_page
    page.goto("/vocabulary")
    file = tmp_path / "own.csv"
    file.write_bytes("类别,词语\r\n道路,前进巷\r\n道路,坏X\r\n".encode("gb18030"))
    page.click("text=导入")
    page.set_input_files("#import-file", str(file))
    page.click("#import-words button.btn-primary")
    expect(page.locator("#import-result")).to_contain_text("第 3 行")
    page.click("#import-words [data-close]")
    page.click("text=修改")
    page.fill("#e-within", "龙亭区")
    page.click("#edit-word button.btn-primary")
    expect(page.locator(".list tbody")).to_contain_text("龙亭区")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click(".list tbody >> text=停用")
    expect(page.locator(".empty")).to_be_visible()
    assert [
        view.within for view in room.services.words.listing(room.actor("officer1"), WordFilter(source="withdrawn"))
    ] == ["龙亭区"]
