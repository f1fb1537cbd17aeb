"""The outbox: a reader that resumes after the last id it saw misses nothing, whoever else writes."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import event, update

from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.services.alarms import raise_alarm
from duty.services.outbox import Outbox, tell
from duty.store.database import Store
from duty.store.tables import UnitRow
from tests.duty.conftest import hurried
from tests.duty.room import Room

WRITERS, EACH = 6, 25


def test_the_reader_sees_every_event_once_and_in_order(store: Store) -> None:
    """Writers linger between the event's id and the commit, so that later ones would overtake them if they could."""
    room = Room(store)
    written: list[tuple[int, int]] = []

    def write(writer: int) -> None:
        dice = random.Random(writer)
        with closing(hurried(store.url)) as own:
            event.listen(own.engine, "commit", lambda _: time.sleep(dice.random() * 0.004))
            for number in range(EACH):
                with own.writing() as session:
                    tell(session, EventKind.CAPTION, at=room.clock(), data={"writer": writer, "number": number})
                written.append((writer, number))

    seen: list[tuple[int, int]] = []
    last = room.outbox.last_id()
    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    end = time.monotonic() + 60
    reader = Outbox(store)
    while len(seen) < WRITERS * EACH and time.monotonic() < end:
        time.sleep(0.002)  # a reader that never rests would keep the interpreter from the writers
        for told in reader.after(last, limit=7):
            assert told.event_id > last
            last = told.event_id
            seen.append((int(told.data["writer"] or 0), int(told.data["number"] or 0)))
    for writer in writers:
        writer.join(30)
    assert sorted(seen) == sorted(written), "an event was passed over"
    for number in range(WRITERS):
        assert [n for w, n in seen if w == number] == list(range(EACH))


def test_a_change_that_fails_tells_nobody(store: Store) -> None:
    room = Room(store)
    last = room.outbox.last_id()

    def fail() -> None:
        with store.writing() as session:
            tell(session, EventKind.CAPTION, at=room.clock())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert room.outbox.after(last) == []
    assert room.outbox.last_id() == last


def test_what_is_told_comes_back_as_it_was(store: Store) -> None:
    room = Room(store)
    with store.writing() as session:
        tell(
            session,
            EventKind.ENTRY_CHANGED,
            at=room.clock(),
            unit_id=3,
            call_id="c" * 32,
            entry_id=9,
            data={"text": "着火\ud83d\x00", "final": True, "share": 0.5, "none": None},
        )
    [told] = room.outbox.after(room.outbox.last_id() - 1)
    assert (told.at, told.unit_id, told.call_id, told.entry_id) == (room.clock(), 3, "c" * 32, 9)
    assert told.data == {"text": "着火\ud83d\x00", "final": True, "share": 0.5, "none": None}


@pytest.mark.peer
def test_telling_before_and_after_a_row_lock_cannot_deadlock(swept_postgres: str) -> None:
    """One use case tells and then changes a row, the other changes it and then tells."""
    with closing(Store(swept_postgres)) as store:
        unit_id = Room(store).units["LT"]
        clock = Room(store, provision=False).clock
        failures: list[BaseException] = []
        barrier = threading.Barrier(2)

        def work(tell_first: bool) -> None:
            try:
                for _ in range(20):
                    barrier.wait(20)
                    with store.writing() as session:
                        if tell_first:
                            raise_alarm(session, AlarmKind.CALL_MISSED, Severity.NOTICE, at=clock(), unit_id=unit_id)
                            time.sleep(0.002)
                        session.execute(update(UnitRow).where(UnitRow.id == unit_id).values(name="龙亭区"))
                        if not tell_first:
                            time.sleep(0.002)
                            raise_alarm(session, AlarmKind.CALL_MISSED, Severity.NOTICE, at=clock(), unit_id=unit_id)
            except Exception as error:  # noqa: BLE001 - a thread hands its failure to the test
                failures.append(error)
                barrier.abort()

        workers = [threading.Thread(target=work, args=(first,)) for first in (True, False)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert failures == []
