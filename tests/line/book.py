"""What the book says of a call, read beside the running service."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from duty.store.database import Store
from duty.store.tables import AlarmRow, CallEventRow, CallRow, ComponentRow, EntryRow, EvidenceRow, PendingRow
from tests.peers.audio import Samples, encode_alaw, read_wav


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPage:
    """One call with everything that hangs on it. ``events`` are (kind, data) in order."""

    call_id: str
    direction: str
    state: str
    outcome: str | None
    end_reason: str
    caller_number: str
    callee_number: str
    arrived_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    answered_by: str
    events: tuple[tuple[str, dict[str, Any]], ...]
    recording_state: str
    recording_path: str
    recording_sha256: str
    recording_seconds: float
    recording_samples: int
    recording_gaps: tuple[tuple[str, int, int], ...]
    damage: str | None
    salvaged: bool
    pending: tuple[str, ...]
    alarms: tuple[str, ...]
    evidence: tuple[bytes, ...]
    entries: int

    @property
    def kinds(self) -> list[str]:
        """The kinds of its events in order."""
        return [kind for kind, _ in self.events]

    def data_of(self, kind: str) -> dict[str, Any]:
        """What the only event of ``kind`` says."""
        (data,) = (data for known, data in self.events if known == kind)
        return data


class Book:
    """Reads the database of a service; ``recordings`` is the recordings' root."""

    def __init__(self, store: Store, recordings: Path) -> None:
        self.store = store
        self.recordings = recordings

    def pages(self) -> list[CallPage]:
        """Every call, in the order of arrival."""
        with self.store.reading() as session:
            rows = session.scalars(select(CallRow).order_by(CallRow.arrived_at)).all()
            return [_page(session, row) for row in rows]

    def calls(self, number: str) -> list[CallPage]:
        """The calls from, or to, ``number``."""
        return [page for page in self.pages() if number in (page.caller_number, page.callee_number)]

    def call(self, number: str) -> CallPage | None:
        """The only call from, or to, ``number``; None while there is none."""
        found = self.calls(number)
        assert len(found) <= 1, found
        return found[0] if found else None

    def wait(self, number: str, done: Callable[[CallPage], bool], timeout_s: float = 10.0) -> CallPage:
        """The only call of ``number``, as soon as ``done`` says so."""
        deadline = time.monotonic() + timeout_s
        while True:
            page = self._patiently(number)
            if page is not None and done(page):
                return page
            assert time.monotonic() < deadline, f"the book does not come to it: {page}"
            time.sleep(0.05)

    def wait_for(self, call_id: str, done: Callable[[CallPage], bool], timeout_s: float = 10.0) -> CallPage:
        """The call of that id, as soon as ``done`` says so."""
        deadline = time.monotonic() + timeout_s
        while True:
            page = next(one for one in self.pages() if one.call_id == call_id)
            if done(page):
                return page
            assert time.monotonic() < deadline, f"the book does not come to it: {page}"
            time.sleep(0.05)

    def ended(self, number: str, timeout_s: float = 10.0) -> CallPage:
        """The only call of ``number``, ended and with its recording sealed; what holds for every such call is checked
        here: its events, and that the file is the one the book describes."""
        page = self.wait(number, lambda one: one.state == "ended" and one.recording_state != "open", timeout_s)
        assert page.kinds[0] == "arrived"
        assert page.kinds.count("ended") == 1
        assert (page.answered_at is not None) == ("answered" in page.kinds)
        assert page.ended_at is not None
        assert page.ended_at >= page.arrived_at
        if page.recording_path:
            self._check_file(page)
        return page

    def sound(self, page: CallPage) -> Samples:
        """The recording, shape (n, 2): caller left, officer right."""
        samples, rate = read_wav(self.recordings / page.recording_path)
        assert rate == 8000
        return samples

    def voices(self, page: CallPage) -> tuple[bytes, bytes]:
        """The recording as A-law: caller, officer."""
        samples = self.sound(page)
        return encode_alaw(samples[:, 0]), encode_alaw(samples[:, 1])

    def alarms(self, kind: str) -> list[AlarmRow]:
        """All alarms of a kind."""
        with self.store.reading() as session:
            return list(session.scalars(select(AlarmRow).where(AlarmRow.kind == kind).order_by(AlarmRow.id)))

    def component(self, name: str) -> tuple[str, str]:
        """State and reason of a phone or trunk."""
        with self.store.reading() as session:
            row = session.scalars(select(ComponentRow).where(ComponentRow.name == name)).one()
            return row.state, row.reason

    def _patiently(self, number: str) -> CallPage | None:
        try:
            return self.call(number)
        except OperationalError:
            return None

    def _check_file(self, page: CallPage) -> None:
        path = self.recordings / page.recording_path
        assert hashlib.sha256(path.read_bytes()).hexdigest() == page.recording_sha256
        assert self.sound(page).shape == (page.recording_samples, 2)
        assert page.recording_seconds == page.recording_samples / 8000


def _page(session: Any, row: CallRow) -> CallPage:
    def of(table: Any) -> list[Any]:
        return list(session.scalars(select(table).where(table.call_id == row.id).order_by(table.id)))

    recording = row.recording
    assert recording is not None
    return CallPage(
        call_id=row.id,
        direction=row.direction,
        state=row.state,
        outcome=row.outcome,
        end_reason=row.end_reason,
        caller_number=row.caller_number,
        callee_number=row.callee_number,
        arrived_at=row.arrived_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        answered_by=row.answered_by,
        events=tuple((event.kind, event.data) for event in of(CallEventRow)),
        recording_state=recording.state,
        recording_path=recording.path,
        recording_sha256=recording.sha256,
        recording_seconds=recording.seconds,
        recording_samples=recording.samples,
        recording_gaps=tuple(tuple(gap) for gap in recording.gaps),
        damage=recording.damage,
        salvaged=recording.salvaged,
        pending=tuple(item.kind for item in of(PendingRow)),
        alarms=tuple(alarm.kind for alarm in of(AlarmRow)),
        evidence=tuple(item.raw for item in of(EvidenceRow)),
        entries=len(of(EntryRow)),
    )
