"""What is done to the files of sealed recordings, and under which conditions: the copy for the archive, the release of
what the copy or the WAV stands for, the removal of what is past its retention (requirement 6.2-c).

Each act is one transaction: the row, a link of the custody chain, a line of the call's events and one of the audit log.
The files go only afterwards, so that a process killed in between leaves a file too many and never one too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from duty.domain.calls import CallEventKind
from duty.domain.custody import HEARD, MINIMUM_RETENTION, SEALED, CustodyAct, Kept, refusal
from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.texts import signalled
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.audit import note
from duty.services.custody_chain import append_link
from duty.services.outbox import tell
from duty.services.sealedtexts import is_secret, under_secrecy
from duty.store.database import Store
from duty.store.tables import (
    CallEventRow,
    CallRow,
    DifferenceRow,
    EntryRow,
    HoldRow,
    PendingRow,
    RecordingRow,
    UnitRow,
)

_EVENTS = {
    CustodyAct.ARCHIVE: CallEventKind.ARCHIVED,
    CustodyAct.RELEASE_RAW: CallEventKind.RAW_RELEASED,
    CustodyAct.RELEASE_WAV: CallEventKind.WAV_RELEASED,
    CustodyAct.REMOVE: CallEventKind.RECORDING_REMOVED,
}
_PAGE = 200
_NEEDED = (
    select(HoldRow.call_id).where(HoldRow.lifted_at.is_(None)),
    select(DifferenceRow.call_id).where(DifferenceRow.settled_at.is_(None), DifferenceRow.call_id.is_not(None)),
    select(EntryRow.call_id).where(EntryRow.state == "draft", EntryRow.call_id.is_not(None)),
    select(PendingRow.call_id).where(PendingRow.done_at.is_(None), PendingRow.call_id.is_not(None)),
)
"""Calls whose recordings somebody still needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long a unit's recordings are kept: by the unit's code, else ``general``; never less than a year."""

    general: timedelta
    by_unit: Mapping[str, timedelta]

    def of(self, code: str) -> timedelta:
        """The unit's."""
        return max(self.by_unit.get(code, self.general), MINIMUM_RETENTION)

    @property
    def shortest(self) -> timedelta:
        """No unit's is less."""
        return max(min([self.general, *self.by_unit.values()]), MINIMUM_RETENTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenCopy:
    """A copy that was decoded and compared: path relative to the recordings root, size in bytes, similarity 0..1."""

    path: str
    sha256: str
    bytes: int
    similarity: float


class CustodyActs:
    """What the keeper of the recordings does. Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, retention: Retention) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention

    def to_archive(self, *, sealed_before: datetime, tried_before: datetime) -> str | None:
        """The call whose recording was sealed before that instant, the longest ago, and has no copy; one whose copy
        failed only when that was before ``tried_before``."""
        query = (
            select(RecordingRow.call_id)
            .where(
                RecordingRow.state.in_(SEALED),
                RecordingRow.archive_path == "",
                RecordingRow.removed_at.is_(None),
                RecordingRow.samples > 0,
                ~is_secret(RecordingRow.call_id),
                RecordingRow.sealed_at < sealed_before,
                RecordingRow.archive_tried_at.is_(None) | (RecordingRow.archive_tried_at < tried_before),
            )
            .order_by(RecordingRow.sealed_at)
            .limit(1)
        )
        with self._store.reading() as session:
            return session.scalars(query).first()

    def archived(self, call_id: str, copy: ProvenCopy) -> None:
        """A proven copy lies on the disk. A second one for the same recording changes nothing. Raises NotFound."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            if row.archive_path or row.removed_at is not None:
                return
            row.archive_path, row.archive_sha256 = copy.path, copy.sha256
            row.archive_bytes, row.archive_similarity, row.archived_at = copy.bytes, copy.similarity, now
            row.archive_tried_at = None
            clear_alarm(session, AlarmKind.ARCHIVE_FAILED, call_id, at=now)
            _link(session, CustodyAct.ARCHIVE, row, call, at=now, reason="archive_after_days")

    def not_archived(self, call_id: str, reason: str) -> None:
        """No copy could be made, or none that says the same: nothing is released, somebody is told. Raises NotFound."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            row.archive_tried_at = now
            raise_alarm(
                session,
                AlarmKind.ARCHIVE_FAILED,
                Severity.WARNING,
                at=now,
                unit_id=call.unit_id,
                call_id=call_id,
                subject=call_id,
                data={"reason": signalled(reason)},
            )

    def candidates(self, act: CustodyAct, *, sealed_before: datetime, tried_before: datetime) -> Iterator[str]:
        """The recordings that ``act`` may be done to and that were sealed before that instant, the oldest first; one
        whose copy failed only when that was before ``tried_before``. Between two of them the database is not held."""
        query = rest = self._sieved(act, sealed_before, tried_before)
        while True:
            with self._store.reading() as session:
                page = session.execute(rest.limit(_PAGE)).all()
                allowed = [row.call_id for row in page if self._allows(session, act, row.call_id)]
            yield from allowed
            if len(page) < _PAGE:
                return
            rest = query.where(tuple_(CallRow.ended_at, CallRow.id) > (page[-1].ended_at, page[-1].call_id))

    def perform(self, act: CustodyAct, call_id: str, *, reason: str) -> None:
        """Book ``act``; the caller removes the files when this returns. Raises NotFound; Refused for what may not go,
        whoever asks."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            refused = self._refusal(session, act, row, call)
            if refused is not None or act is CustodyAct.ARCHIVE:
                raise Refused(refused or "refused", call_id=call_id)
            if act is CustodyAct.RELEASE_RAW:
                row.raw_released_at = now
            elif act is CustodyAct.RELEASE_WAV:
                row.wav_released_at = now
            else:
                row.removed_at = now
            _link(session, act, row, call, at=now, reason=reason)

    def _sieved(self, act: CustodyAct, sealed_before: datetime, tried_before: datetime) -> Select[str, datetime | None]:
        """What may be refused in great numbers and for years is left out here already: ten thousand recordings under a
        hold must neither hide the next one nor be asked one by one."""
        query = (
            select(RecordingRow.call_id, CallRow.ended_at)
            .join(CallRow, CallRow.id == RecordingRow.call_id)
            .where(
                RecordingRow.state.in_(SEALED if act is CustodyAct.RELEASE_RAW else HEARD),
                RecordingRow.removed_at.is_(None),
                RecordingRow.sealed_at < sealed_before,
                CallRow.ended_at.is_not(None),
                *(RecordingRow.call_id.not_in(those) for those in _NEEDED),
            )
        )
        if act is CustodyAct.RELEASE_RAW:
            query = query.where(RecordingRow.raw_released_at.is_(None))
        elif act is CustodyAct.RELEASE_WAV:
            untried = RecordingRow.archive_tried_at.is_(None) | (RecordingRow.archive_tried_at < tried_before)
            query = query.where(RecordingRow.wav_released_at.is_(None), RecordingRow.archive_path != "", untried)
        elif act is CustodyAct.REMOVE:
            query = query.where(CallRow.ended_at < self._clock() - self._retention.shortest)
        if act is not CustodyAct.REMOVE:
            query = query.where(~is_secret(RecordingRow.call_id))
        return query.order_by(CallRow.ended_at, CallRow.id)

    def _allows(self, session: Session, act: CustodyAct, call_id: str) -> bool:
        row, call = session.get_one(RecordingRow, call_id), session.get_one(CallRow, call_id)
        return self._refusal(session, act, row, call) is None

    def _refusal(self, session: Session, act: CustodyAct, row: RecordingRow, call: CallRow) -> str | None:
        if row.state not in SEALED or call.ended_at is None:
            return "recording_not_sealed"
        kept = Kept(
            ended_at=call.ended_at,
            retention=self._retention.of(session.get_one(UnitRow, call.unit_id).code),
            busy=row.state not in HEARD,
            secret=under_secrecy(session, call.id) is not None,
            held=_exists(session, select(HoldRow.id).where(HoldRow.call_id == call.id, HoldRow.lifted_at.is_(None))),
            unfinished=_unfinished(session, call.id),
            proven=bool(row.archive_path),
            differs=_exists(
                session,
                select(DifferenceRow.id).where(DifferenceRow.call_id == call.id, DifferenceRow.settled_at.is_(None)),
            ),
            raw_released=row.raw_released_at is not None,
            wav_released=row.wav_released_at is not None,
            removed=row.removed_at is not None,
        )
        return refusal(act, kept, self._clock())


def _link(session: Session, act: CustodyAct, row: RecordingRow, call: CallRow, *, at: datetime, reason: str) -> None:
    """One moment for the row and its link: the verifier compares them."""
    facts = {"sha256": row.sha256, "archive_sha256": row.archive_sha256, "reason": reason}
    append_link(session, act.value, call.id, at=at, facts=facts)
    session.add(CallEventRow(call_id=call.id, at=at, kind=_EVENTS[act].value, data=facts))
    note(session, at=at, actor=None, action=f"recording_{act.value}", subject=f"call:{call.id}", data=facts)
    tell(session, EventKind.RECORDING_SEALED, at=at, unit_id=call.unit_id, call_id=call.id)


def _exists(session: Session, query: Select[int]) -> bool:
    return session.scalars(query.limit(1)).first() is not None


def _unfinished(session: Session, call_id: str) -> bool:
    """An entry about the call is still a draft, or the shift still owes something for it."""
    draft = select(EntryRow.id).where(EntryRow.call_id == call_id, EntryRow.state == "draft")
    pending = select(PendingRow.id).where(PendingRow.call_id == call_id, PendingRow.done_at.is_(None))
    return _exists(session, draft) or _exists(session, pending)


def _recording(session: Session, call_id: str) -> tuple[RecordingRow, CallRow]:
    row = session.get(RecordingRow, call_id, with_for_update=True)
    if row is None:
        raise NotFound("recording_not_found", call_id=call_id)
    return row, session.get_one(CallRow, call_id)
