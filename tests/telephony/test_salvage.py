"""After a crash: what the process left open is closed in the book, once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from duty.domain.calls import CallEventKind
from duty.domain.numbers import NumberPlan
from duty.domain.times import utc_now
from duty.services.callbook import CallBook
from duty.services.recordings import Recordings
from duty.store.tables import CallRow, RecordingRow
from telephony.salvage import close_unfinished, seal_unsealed
from tests.telephony.test_bookkeeper import Desk, arrival, expected, happening, whole_call

LATER = datetime(2100, 1, 1, tzinfo=UTC)


pytestmark = pytest.mark.rule("6.1-a")


def test_calls_of_a_killed_process_are_ended_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for work in (*whole_call(1), arrival(2), arrival(3), happening(3, CallEventKind.ANSWERED)):
        desk.writer.write(work)
    calls = CallBook(desk.store, utc_now, NumberPlan())
    assert [close_unfinished(calls, LATER), close_unfinished(calls, LATER)] == [2, 0]
    assert desk.book()[:4] == expected(1)
    with desk.store.reading() as session:
        rows = [session.get_one(CallRow, f"{number:032x}") for number in (1, 2, 3)]
        assert [row.outcome for row in rows] == ["answered", "interrupted", "interrupted"]
        assert [row.end_reason for row in rows][1:] == ["process_killed"] * 2
    desk.store.close()


def test_a_call_without_audio_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for work in (*whole_call(1), *whole_call(2)):
        desk.writer.write(work)
    recordings = Recordings(desk.store, utc_now)
    root = tmp_path / "recordings"
    empty = root / "2026" / "11" / "23" / f"{2:032x}"
    empty.mkdir(parents=True)
    assert seal_unsealed(recordings, root, LATER) == 0
    assert not empty.exists()
    with desk.store.reading() as session:
        assert [session.get_one(RecordingRow, f"{number:032x}").state for number in (1, 2)] == ["none", "none"]
    assert recordings.unsealed(LATER) == []
    desk.store.close()
