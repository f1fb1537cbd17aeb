"""Takes pictures of every screen on a seeded room with Debian's Chromium: ``python -m tests.web.screenshots FOLDER``.

Prints each console error and each request that would have left the machine; the number of them is the exit status.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from duty.domain.calls import CallEventKind
from duty.domain.happenings import EventKind
from duty.domain.times import utc_now
from duty.services.outbox import tell
from tests.web.room import PASSWORD, Room, answer, arrive, happen, make_room, missed_call, whole_call
from tests.web.server import serving
from web.app import create_app

SIZES = {"1440": (1440, 900), "1920": (1920, 1080)}


class Camera:
    """One browser window that notes what it should not have done."""

    def __init__(self, browser: Browser, address: str, folder: Path, size: str) -> None:
        width, height = SIZES[size]
        self._context = browser.new_context(viewport={"width": width, "height": height}, locale="zh-CN")
        self.page: Page = self._context.new_page()
        self.faults: list[str] = []
        self._address, self._folder, self._size = address, folder, size
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._address, "data:", "blob:")):
            self.faults.append(f"left the machine: {request.url}")

    def open(self, path: str) -> None:
        self.page.goto(self._address + path)
        self.page.wait_for_timeout(500)

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self._folder / f"{name}-{self._size}.png")

    def sign_in(self, login: str) -> None:
        self.open("/sign-in")
        self.shoot("sign-in")
        self.page.fill("#login", login)
        self.page.fill("#password", PASSWORD)
        self.page.press("#password", "Enter")
        self.page.wait_for_url("**/desk")

    def close(self) -> None:
        self._context.close()


def caption(room: Room, call_id: str, speaker: str, text: str, *, final: bool = True) -> None:
    """A live caption as transcription tells it."""
    unit = room.services.calls.present(room.actor("hub1"))[0].unit_id
    with room.services.store.writing() as session:
        data = {"speaker": speaker, "text": text, "final": final}
        tell(session, EventKind.CAPTION, at=room.clock(), unit_id=unit, call_id=call_id, data=data)


def visit(room: Room, camera: Camera) -> None:
    """Every screen, first empty, then with a busy evening in it."""
    camera.sign_in("hub1")
    camera.open("/desk")
    camera.shoot("desk-empty")
    entry_id = whole_call(room, "a" * 32)
    whole_call(room, "c" * 32, number="037122595301")
    missed_call(room, "b" * 32)
    room.book.block_forward(
        None,
        at=room.clock(),
        way="feature_code",
        target="*57*13800000000#",
        source="1001",
        raw=b"x",
        line_number="037122595110",
    )
    arrive(room, "d" * 32)
    happen(room, "d" * 32, CallEventKind.RINGING)
    camera.page.wait_for_timeout(700)
    camera.shoot("desk-incoming")
    answer(room, "d" * 32)
    caption(room, "d" * 32, "officer", "您好，龙亭区政府值班室。")
    caption(room, "d" * 32, "caller", "您好，我是北郊乡党政办值班员张建国。")
    caption(room, "d" * 32, "caller", "有一个情况向", final=False)
    camera.page.wait_for_timeout(900)
    camera.shoot("desk-talking")
    camera.page.keyboard.press("?")
    camera.page.wait_for_timeout(200)
    camera.shoot("keys")
    camera.page.keyboard.press("Escape")
    camera.open(f"/calls/{'d' * 32}")
    camera.shoot("call-live")
    conflict(room, camera, "d" * 32)
    call(room, camera, entry_id)
    for name, path in (
        ("calls", "/calls"),
        ("register", "/register"),
        ("directory", "/directory"),
        ("review", "/review"),
        ("lines", "/lines"),
        ("vocabulary", "/vocabulary?source=shipped"),
        ("error", "/calls/none"),
    ):
        camera.open(path)
        camera.shoot(name)


def conflict(room: Room, camera: Camera, call_id: str) -> None:
    """A colleague writes the same field while the officer does."""
    actor = room.actor("leader1")
    row = room.services.logbook.entries_of_call(actor, call_id)[0]
    room.services.logbook.edit(actor, row.id, {"place": "孙李唐村东仓库"}, version=row.version)
    camera.page.fill("#f-place", "孙李唐村西仓库")
    camera.page.wait_for_timeout(1500)
    camera.shoot("conflict")
    camera.page.check("text=用我的 >> input")
    camera.page.wait_for_timeout(900)
    assert room.services.logbook.entry(actor, row.id).place == "孙李唐村西仓库"
    camera.shoot("conflict-settled")


def call(room: Room, camera: Camera, entry_id: int) -> None:
    """The call page, from the draft to the numbered entry, by the keyboard where there is a key."""
    page = camera.page
    camera.open(f"/calls/{'a' * 32}")
    page.wait_for_timeout(800)
    camera.shoot("call")
    page.click("text=听原话 >> nth=1")
    page.wait_for_timeout(1200)
    camera.shoot("call-playing")
    page.fill("#f-remarks", "已电告区领导")
    page.wait_for_timeout(1400)
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.wait_for_timeout(500)
    page.keyboard.press("r")
    page.wait_for_timeout(500)
    camera.shoot("call-checked")
    page.keyboard.press("f")
    page.fill("#finalize-password", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_timeout(700)
    camera.shoot("finalize-refused")
    page.fill("#finalize-password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_timeout(700)
    camera.shoot("finalized")
    actor = room.actor("hub1")
    room.services.logbook.amend(actor, entry_id, {"place": "孙李唐村东仓库"}, reason="回听录音更正")
    camera.open(f"/entries/{entry_id}")
    camera.shoot("entry")


def administer(camera: Camera) -> None:
    """The administrator makes an account and is shown its one-time password."""
    camera.page.click("text=退出")
    camera.sign_in("administrator1")
    camera.open("/officers")
    camera.page.keyboard.press("n")
    camera.page.fill("#o-login", "wang.fang")
    camera.page.fill("#o-name", "王芳")
    camera.page.check("text=值班员 >> input")
    camera.page.click("#new-officer >> text=保存")
    camera.page.wait_for_timeout(700)
    camera.shoot("officers")


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for size in SIZES:
            with tempfile.TemporaryDirectory() as data:
                room = make_room(Path(data), utc_now)
                with serving(create_app(room.services, room.settings), room.settings) as address:
                    camera = Camera(browser, address, folder, size)
                    visit(room, camera)
                    administer(camera)
                    camera.open("/desk")
                faults += camera.faults
                camera.page.wait_for_timeout(1500)
                camera.shoot("lost")
                camera.close()
                room.services.store.close()
        browser.close()
    print("\n".join(faults) or "no faults")
    return len(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
