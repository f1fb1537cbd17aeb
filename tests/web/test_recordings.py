"""The recordings at the console: what differs and what to do, holds, gaps, and the copy that is played when the WAV is
gone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete

from duty.domain.custody import SHALLOW, CustodyAct, Difference, DifferenceKind
from duty.domain.errors import Refused
from duty.services.custody_acts import CustodyActs, ProvenCopy, Retention
from duty.store.tables import EntryRow, RecordingRow
from tests.web.conftest import SignIn
from tests.web.room import Room, whole_call
from web.words import gaps

CALL = "0123456789abcdef0123456789abcdef"


def acts(room: Room) -> CustodyActs:
    return CustodyActs(
        room.services.store, room.clock, Retention(general=timedelta(days=400), by_unit={"BJ": timedelta(days=3000)})
    )


@pytest.mark.rule("6.4-a")
def test_what_differs_is_shown_with_what_to_do_and_no_longer_when_it_is_right(room: Room, sign_in: SignIn) -> None:
    officer = sign_in("officer1")
    whole_call(room, CALL)
    assert "通话、录音登记与录音文件一致" in officer.get("/recordings").text
    gone = Difference(kind=DifferenceKind.FILE_MISSING, call_id=CALL, place=f"2026/11/23/{CALL}")
    stray = Difference(kind=DifferenceKind.STRAY, place="2026/readme.txt")
    room.services.custody.found([gone, stray], SHALLOW)
    page = officer.get("/recordings").text
    assert "录音文件缺失" in page
    assert "请从备份恢复原文件" in page
    assert f'href="/calls/{CALL}"' in page
    assert "2026/readme.txt" in page
    desk = officer.get("/desk").text
    assert "通话、录音登记与录音文件不一致" in desk
    assert 'href="/recordings"' in desk
    room.services.custody.found([], SHALLOW)
    assert "录音文件缺失" not in officer.get("/recordings").text
    assert sign_in("auditor1").get("/recordings").status_code == 403


@pytest.mark.rule("6.2-c")
def test_a_hold_keeps_a_recording_until_another_person_lifts_it(room: Room, sign_in: SignIn) -> None:
    whole_call(room, CALL)
    with room.services.store.writing() as session:
        session.execute(delete(EntryRow))
        session.get_one(RecordingRow, CALL).state = "done"
    leader, supervisor, officer = sign_in("leader1"), sign_in("supervisor1"), sign_in("officer1")
    assert officer.post(f"/calls/{CALL}/holds", data={"reason": "信访调查"}).status_code == 403
    assert leader.post(f"/calls/{CALL}/holds", data={"reason": " "}).status_code == 422
    assert leader.post(f"/calls/{CALL}/holds", data={"reason": "信访调查"}).status_code == 303
    assert "信访调查" in officer.get(f"/calls/{CALL}").text
    with pytest.raises(Refused, match="recording_held"):
        acts(room).perform(CustodyAct.RELEASE_RAW, CALL, reason="free_mb")
    own = leader.post(f"/calls/{CALL}/holds/1/lift", data={"reason": "结案"})
    assert own.status_code == 422
    assert "须由另一人解除" in own.text
    assert supervisor.post(f"/calls/{CALL}/holds/1/lift", data={"reason": "结案"}).status_code == 303
    assert supervisor.post(f"/calls/{CALL}/holds/1/lift", data={"reason": "结案"}).status_code == 422
    assert "已解除" in officer.get(f"/calls/{CALL}").text
    acts(room).perform(CustodyAct.RELEASE_RAW, CALL, reason="free_mb")


@pytest.mark.rule("6.2-c")
def test_nobody_removes_a_recording_before_its_time(room: Room) -> None:
    whole_call(room, CALL)
    with room.services.store.writing() as session:
        session.execute(delete(EntryRow))
        session.get_one(RecordingRow, CALL).state = "done"
    for _ in range(40):
        with pytest.raises(Refused, match="retention_not_over"):
            acts(room).perform(CustodyAct.REMOVE, CALL, reason="free_mb")
        room.clock.move(10 * 86_400)  # type: ignore[attr-defined]
    room.clock.move(86_400)  # type: ignore[attr-defined]
    acts(room).perform(CustodyAct.REMOVE, CALL, reason="free_mb")


def test_a_year_is_the_least_whatever_the_settings_say() -> None:
    retention = Retention(general=timedelta(days=3), by_unit={"BJ": timedelta(days=3000)})
    assert retention.of("LT") == timedelta(days=365)
    assert retention.of("BJ") == timedelta(days=3000)


@pytest.mark.rule("6.1-d")
def test_where_the_wav_was_released_the_copy_is_played(room: Room, sign_in: SignIn) -> None:
    officer = sign_in("officer1")
    whole_call(room, CALL)
    root = room.settings.data.recordings
    (root / CALL / "recording.opus").write_bytes(b"OggS as it were")
    with room.services.store.writing() as session:
        session.execute(delete(EntryRow))
        session.get_one(RecordingRow, CALL).state = "done"
    copy = ProvenCopy(path=f"{CALL}/recording.opus", sha256="b" * 64, bytes=15, similarity=0.99)
    acts(room).archived(CALL, copy)
    assert officer.get(f"/calls/{CALL}/audio").headers["content-type"] == "audio/wav"
    acts(room).perform(CustodyAct.RELEASE_WAV, CALL, reason="free_mb")
    (root / CALL / "recording.wav").unlink()
    heard = officer.get(f"/calls/{CALL}/audio")
    assert (heard.headers["content-type"], heard.content) == ("audio/ogg", b"OggS as it were")
    assert officer.get(f"/calls/{CALL}/peaks").status_code == 200
    assert "所播放的是经校验的归档副本" in officer.get(f"/calls/{CALL}").text
    room.services.recordings.again([CALL])
    job = room.services.recordings.claim()
    assert job is not None
    assert (job.path, job.sha256) == (copy.path, copy.sha256), "a better model hears the copy"
    shown = officer.get(f"/api/v1/calls/{CALL}").json()["recording"]
    assert shown["archive_sha256"] == "b" * 64
    assert shown["wav_released_at"] is not None


@pytest.mark.rule("6.1-d")
def test_gaps_are_named_where_they_are_and_can_be_heard(room: Room, sign_in: SignIn) -> None:
    whole_call(room, CALL)
    with room.services.store.writing() as session:
        row = session.get_one(RecordingRow, CALL)
        row.gaps = [["caller", 16_000, 4_000], ["officer", 0, 8_000]]
    page = sign_in("officer1").get(f"/calls/{CALL}").text
    assert "来电人一侧有 1 处没有收到话音，共 0.5 秒" in page
    assert 'data-from="1.0" data-to="3.5"' in page
    assert "值班员一侧有" not in page


def test_before_the_first_and_after_the_last_sound_nothing_is_missing() -> None:
    noted = [
        ["caller", 0, 800],
        ["caller", 7200, 800],
        ["officer", 100, 20],
        *(["officer", 200 * n, 9] for n in range(2, 14)),
    ]
    [officer] = gaps(noted, 8000)
    assert (officer.speaker, officer.count, len(officer.shown)) == ("officer", 13, 8)
    assert officer.shown[0] == (100 / 8000, 120 / 8000)
    assert officer.seconds == pytest.approx((20 + 12 * 9) / 8000)
