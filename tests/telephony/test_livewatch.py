"""Calls in the book and calls on the line: what lasts is told and closed, what passes is nobody's business."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from duty.domain.calls import CallHappening
from duty.domain.times import utc_now
from duty.domain.transcripts import Speaker
from duty.services.custody import Custody
from duty.store.database import Store
from duty.store.tables import AlarmRow, CallRow, RecordingRow
from telephony.livewatch import Lasting, LiveWatch
from telephony.recorder import Recorder
from telephony.rtp.g711 import Law
from tests.duty.room import Room


class Line:
    """What the endpoint says of itself, as the test wants it."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.recording: set[str] = set()

    def live_calls(self) -> set[str]:
        return set(self.live)

    def recording_calls(self) -> set[str]:
        return set(self.recording)


class Book:
    """Writes at once."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.troubled = False

    def write(self, work: CallHappening) -> Future[None]:
        self.room.book.record(work)
        done: Future[None] = Future()
        done.set_result(None)
        return done


class Watched:
    def __init__(self, folder: Path, store: Store) -> None:
        self.store, self.room, self.now = store, Room(store), 0.0
        self.room.clock.now = utc_now() - timedelta(minutes=5)
        self.line, self.book, self.root = Line(), Book(self.room), folder / "recordings"
        self.watch = LiveWatch(
            endpoint=self.line,  # type: ignore[arg-type]
            book=self.book,  # type: ignore[arg-type]
            calls=self.room.book,
            recordings=self.room.recordings,
            custody=Custody(store, utc_now),
            root=self.root,
            clock=lambda: self.now,
        )

    async def look(self, *, after: float = 10.0) -> None:
        self.now += after
        await self.watch.look()

    def outcome(self, call_id: str) -> tuple[str | None, str]:
        with self.store.reading() as session:
            row = session.get_one(CallRow, call_id)
            return row.outcome, row.end_reason

    def alarms(self) -> list[tuple[str, bool]]:
        with self.store.reading() as session:
            rows = session.scalars(select(AlarmRow).where(AlarmRow.kind == "recording_differs").order_by(AlarmRow.id))
            return [(row.subject, row.cleared_at is not None) for row in rows]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "dutyline.db"
    with closing(Store(f"sqlite:///{path}")) as store:
        store.migrate()
    return path


@pytest.fixture
def watched(template: Path, tmp_path: Path) -> Iterator[Watched]:
    shutil.copy(template, tmp_path / "dutyline.db")
    with closing(Store(f"sqlite:///{tmp_path / 'dutyline.db'}")) as store:
        yield Watched(tmp_path, store)


def test_only_what_is_there_at_every_look_lasts() -> None:
    lasting = Lasting(30.0)
    assert lasting.still({"a", "b"}, 0.0) == []
    assert lasting.still({"a"}, 20.0) == []
    assert lasting.still({"a", "b"}, 30.0) == ["a"]
    lasting.forget()
    assert lasting.still({"a", "b"}, 60.0) == []


@pytest.mark.rule("6.1-a")
async def test_a_call_in_the_book_that_is_not_on_the_line_is_told_and_closed(watched: Watched) -> None:
    lost, live = watched.room.arrive(), watched.room.arrive()
    watched.line.live = {live}
    for _ in range(3):
        await watched.look()
    assert (watched.outcome(lost), watched.alarms()) == ((None, ""), [])
    await watched.look()
    assert watched.outcome(lost) == ("interrupted", "not_live")
    assert watched.outcome(live) == (None, "")
    assert watched.alarms() == [(f"call_not_live {lost}", False)]
    await watched.look()
    assert watched.alarms() == [(f"call_not_live {lost}", True)]


@pytest.mark.rule("6.1-a")
async def test_a_call_on_the_line_that_is_not_in_the_book_is_told(watched: Watched) -> None:
    watched.line.live = {"e" * 32}
    for _ in range(5):
        await watched.look()
    assert watched.alarms() == [(f"call_not_booked {'e' * 32}", False)]
    watched.line.live = set()
    await watched.look()
    assert watched.alarms() == [(f"call_not_booked {'e' * 32}", True)]


async def test_while_the_book_is_behind_nothing_is_concluded(watched: Watched) -> None:
    lost = watched.room.arrive()
    watched.book.troubled = True
    for _ in range(6):
        await watched.look()
    watched.book.troubled = False
    for _ in range(3):
        await watched.look()
    assert (watched.outcome(lost), watched.alarms()) == ((None, ""), [])


@pytest.mark.rule("6.1-d")
async def test_a_recording_that_nobody_has_in_hand_is_sealed(watched: Watched) -> None:
    """Its sealing failed at the last start, say for want of room."""
    in_hand, left = (watched.room.answered_call() for _ in range(2))
    for call_id in (in_hand, left):
        recorder = Recorder(root=watched.root, call_id=call_id, started_at=watched.room.clock.now)
        recorder.write(Speaker.CALLER, position=0, payload=b"\xd5" * 1600, law=Law.PCMA)
        recorder.tick(0.0)
    watched.line.recording = {in_hand}
    for _ in range(5):
        await watched.look()
    with watched.store.reading() as session:
        states = [session.get_one(RecordingRow, call_id) for call_id in (in_hand, left)]
        assert [(row.state, row.salvaged) for row in states] == [("open", False), ("waiting", True)]
    watched.watch._sealing.close()
