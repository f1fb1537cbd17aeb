"""涉密 at the console: marked by an officer, withheld from everybody on every page, opened by those who may with a
reason and for a time, lifted when false (requirement 6.5-a)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from duty.domain.rights import Right
from duty.domain.secrecy import SecrecySource
from duty.services.sealingacts import SealingActs
from duty.store.tables import AuditRow
from duty.vault.keyfile import MasterKeys, create_ring
from duty.vault.keys import KeyRing, new_master_key
from telephony.strongroom import Strongroom
from tests.web.conftest import SignIn
from tests.web.room import SPOKEN, Room, TestClock, answer, arrive, draft, make_room, transcript, whole_call
from web.app import create_app
from web.services import build

pytestmark = pytest.mark.rule("6.5-a")
CALL = "0123456789abcdef0123456789abcdef"
WARNING = "此通话不得涉密"


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> MasterKeys:
    path = tmp_path_factory.mktemp("keys") / "master.key"
    create_ring(path, KeyRing(keys=(new_master_key(),)))
    return MasterKeys(path)


@pytest.fixture
def room(tmp_path: Path, clock: TestClock, keys: MasterKeys) -> Iterator[Room]:
    """The room with a master key."""
    made = make_room(tmp_path, clock)
    secrecy = made.settings.secrecy.model_copy(update={"key_file": keys.path})
    made.settings = made.settings.model_copy(update={"secrecy": secrecy})
    built = build(made.services.store, clock, made.settings)
    made.services = dataclasses.replace(built, accounts=made.services.accounts)
    yield made
    made.services.store.close()


def seal(room: Room, keys: MasterKeys) -> None:
    """What the keeper of the recordings does."""
    acts = SealingActs(room.services.store, room.clock, keys)
    strongroom = Strongroom(room.settings.data.recordings, room.services.store, acts)
    while strongroom.step():
        pass


def spoken_in(text: str) -> list[str]:
    """What was spoken or made of it and stands in ``text``."""
    said = [line.strip("。，") for _, line in SPOKEN] + [draft().gist] + [field.value for field in draft().fields[1:]]
    bare = re.sub(r"<[^>]*>", "", text)
    return [each for each in said if each in text or each in bare]


PAGES = (
    "/desk",
    "/desk/drafts",
    "/desk/calls",
    "/calls",
    "/register",
    "/register?words=仓库",
    "/review",
    f"/calls/{CALL}",
    f"/calls/{CALL}/part/transcript",
    f"/calls/{CALL}/part/gist",
    f"/calls/{CALL}/part/transcription",
    f"/api/v1/calls/{CALL}",
    "/api/v1/entries",
    "/api/v1/entries/1",
    "/api/v1/entries?words=仓库",
)


def test_nothing_of_a_marked_call_is_on_any_page_until_somebody_opens_it(
    room: Room, sign_in: SignIn, keys: MasterKeys, clock: TestClock
) -> None:
    whole_call(room, CALL)
    wav = (room.settings.data.recordings / CALL / "recording.wav").read_bytes()
    officer, leader, supervisor = sign_in("officer1"), sign_in("leader1"), sign_in("supervisor1")
    peaks = officer.get(f"/calls/{CALL}/peaks").json()
    assert spoken_in(officer.get(f"/calls/{CALL}").text)
    assert "标记涉密" in officer.get(f"/calls/{CALL}").text
    assert officer.post(f"/calls/{CALL}/secrecy/mark").status_code == 303
    assert officer.post(f"/calls/{CALL}/secrecy/mark").status_code == 422
    for client in (officer, leader, supervisor):
        for page in PAGES:
            got = client.get(page)
            assert got.status_code in (200, 403, 404), page
            assert spoken_in(got.text) == [], page
    seal(room, keys)
    assert not (room.settings.data.recordings / CALL / "recording.wav").exists()
    page = officer.get(f"/calls/{CALL}").text
    assert WARNING in page
    assert "启封查阅理由" not in page
    assert officer.get(f"/calls/{CALL}/audio").status_code == 403
    assert officer.get(f"/calls/{CALL}/peaks").status_code == 403
    assert officer.post(f"/calls/{CALL}/secrecy/open", data={"reason": "想听一听"}).status_code == 403
    assert "启封查阅理由" in leader.get(f"/calls/{CALL}").text
    assert leader.get(f"/calls/{CALL}/audio").status_code == 422
    assert leader.post(f"/calls/{CALL}/secrecy/open", data={"reason": " "}).status_code == 422
    assert leader.post(f"/calls/{CALL}/secrecy/open", data={"reason": "核实来电内容"}).status_code == 303
    page = leader.get(f"/calls/{CALL}").text
    assert len(spoken_in(page)) > 10
    assert "采用" not in page, "nothing of it is offered for the entry"
    assert 'data-audio="' in page
    assert "已启封" in page
    assert leader.get(f"/calls/{CALL}/audio").content == wav
    assert leader.get(f"/calls/{CALL}/peaks").json() == peaks
    assert spoken_in(supervisor.get(f"/calls/{CALL}").text) == [], "an opening is one person's own"
    assert "核实来电内容" in supervisor.get(f"/calls/{CALL}").text
    clock.move(31 * 60)
    assert leader.get(f"/calls/{CALL}/audio").status_code == 422
    assert spoken_in(leader.get(f"/calls/{CALL}").text) == []
    with room.services.store.reading() as session:
        told = list(
            session.scalars(select(AuditRow.action).where(AuditRow.action.startswith("secret")).order_by(AuditRow.id))
        )
    assert told == ["secret_mark", "secret_seal", *["secret_refuse"] * 3, "secret_open", *["secret_look"] * 2]
    assert supervisor.post(f"/calls/{CALL}/secrecy/lift", data={"reason": "误报，属普通通知"}).status_code == 303
    seal(room, keys)
    page = officer.get(f"/calls/{CALL}").text
    assert WARNING not in page
    assert spoken_in(page)
    assert "误报，属普通通知" in page
    assert officer.get(f"/calls/{CALL}/audio").content == wav


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=65530-65545", 206, 65530, 65546),
        ("bytes=100000-", 206, 100_000, None),
        ("bytes=-50", 206, -50, None),
        ("bytes=0-9999999", 206, 0, None),
        ("bytes=9999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("seconds=1-2", 200, 0, None),
    ],
)
def test_a_sealed_recording_plays_in_ranges(
    room: Room, sign_in: SignIn, keys: MasterKeys, wanted: str, status: int, start: int, end: int | None
) -> None:
    whole_call(room, CALL)
    wav = (room.settings.data.recordings / CALL / "recording.wav").read_bytes()
    leader = sign_in("leader1")
    leader.post(f"/calls/{CALL}/secrecy/mark")
    seal(room, keys)
    leader.post(f"/calls/{CALL}/secrecy/open", data={"reason": "核实来电内容"})
    got = leader.get(f"/calls/{CALL}/audio", headers={"Range": wanted})
    assert got.status_code == status
    assert got.content == (b"" if status == 416 else wav[start:end])
    assert got.headers["cache-control"] == "no-store"
    if status == 206:
        first = start if start >= 0 else len(wav) + start
        assert got.headers["content-range"] == f"bytes {first}-{first + len(got.content) - 1}/{len(wav)}"


def test_a_call_that_lives_is_warned_of_on_desk_and_page(room: Room, sign_in: SignIn) -> None:
    arrive(room, CALL)
    answer(room, CALL)
    officer = sign_in("officer1")
    assert WARNING not in officer.get("/desk").text
    room.services.secrecy.suspect(CALL, SecrecySource.CAPTIONS)
    assert WARNING in officer.get("/desk/calls").text
    assert "可能涉密" in officer.get("/desk/alarms").text
    assert CALL not in officer.get("/desk/alarms").text.replace(f"/calls/{CALL}", "")
    page = officer.get(f"/calls/{CALL}").text
    assert WARNING in page
    assert "请立即提醒对方" in page
    assert "涉密" in officer.get("/calls").text


def test_an_entry_numbered_before_the_mark_is_neither_shown_nor_printed(room: Room, sign_in: SignIn) -> None:
    entry_id = whole_call(room, CALL)
    officer = sign_in("officer1")
    leader = room.actor("leader1")
    entry = room.services.logbook.entry(leader, entry_id)
    version = room.services.logbook.edit(
        leader, entry_id, {"category": "routine", "caller_unit": "北郊乡"}, version=entry.version
    )
    room.services.logbook.finalize(leader, entry_id, version=version)
    assert officer.get(f"/entries/{entry_id}/print.pdf").status_code in (200, 503)
    officer.post(f"/calls/{CALL}/secrecy/mark")
    page = officer.get(f"/entries/{entry_id}")
    assert spoken_in(page.text) == []
    assert "不得打印或导出" in page.text
    for address in (f"/entries/{entry_id}/print.pdf", f"/api/v1/entries/{entry_id}/print.pdf"):
        assert officer.get(address).status_code == 422
    assert spoken_in(officer.get("/register").text) == []
    assert spoken_in(officer.get(f"/api/v1/entries/{entry_id}").text) == []


def test_without_a_key_the_console_says_so(tmp_path: Path, clock: TestClock) -> None:
    room = make_room(tmp_path / "keyless", clock)
    app: FastAPI = create_app(room.services, room.settings)
    whole_call(room, CALL)
    with TestClient(app, base_url="http://console.test", follow_redirects=False) as client:
        token = client.post("/api/v1/session", json={"login": "officer1", "password": "correct-horse-7"}).json()
        client.headers["x-csrf-token"] = token["csrf_token"]
        client.post(f"/calls/{CALL}/secrecy/mark")
        page = client.get(f"/calls/{CALL}").text
        assert "没有可用的主密钥" in page
        assert spoken_in(page) == []
        assert "涉密密封尚未启用" in client.get("/recordings").text
        assert "涉密密封尚未启用" in client.get("/desk/alarms").text
    room.services.store.close()


def test_a_result_that_arrives_for_a_marked_call_fills_nothing(room: Room, sign_in: SignIn) -> None:
    whole_call(room, CALL)
    room.services.secrecy.mark(room.actor("officer1"), CALL)
    room.services.versions.ask(room.actor("officer1"), CALL)
    assert room.services.recordings.claim() is not None
    room.services.recordings.complete(CALL, transcript(), draft())
    officer = sign_in("officer1")
    assert spoken_in(officer.get(f"/calls/{CALL}").text) == []
    assert room.actor("officer1").may(Right.MARK_SECRECY)
    assert room.services.secrecy.view(room.actor("officer1"), CALL) is not None
    assert timedelta(minutes=room.settings.secrecy.opening_minutes) == timedelta(minutes=30)
