"""The book's side of the comparison between calls, recording rows and files: what it says, and what was found to differ
(requirements 6.1-d, 6.4-a). Each difference is one row and one alarm from the look that finds it to the look that no
longer does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from duty.domain.custody import DEEP, Booked, Difference, DifferenceKind
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallRow, DifferenceRow, HoldRow, RecordingRow

MANY = 20
"""More open differences than this are one alarm, not so many: a disk that is not mounted differs in everything."""
MANY_SUBJECT = "many"
_PAGE = 1000
_FINAL = ("waiting", "running", "done", "set_aside", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceView:
    """One open difference as the console shows it."""

    kind: DifferenceKind
    call_id: str | None
    place: str
    detail: str
    found_at: datetime
    known: bool
    """Whether the book has the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Recordings: ``sealed`` and not removed; of these ``read`` through at least once, the one longest ago at
    ``oldest_read``; with a copy; without their WAV; and those ``removed``, and calls under a hold."""

    sealed: int
    read: int
    oldest_read: datetime | None
    archived: int
    wav_released: int
    removed: int
    held: int


class Custody:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def booked(self) -> Iterator[Booked]:
        """Every call with what the book says of its recording, in pages: a book of many years is not held in memory
        as rows."""
        after = ""
        while True:
            with self._store.reading() as session:
                rows = session.execute(_all().where(CallRow.id > after).order_by(CallRow.id).limit(_PAGE)).all()
            yield from (_booked(ended_at, call_id, row) for call_id, ended_at, row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def one(self, call_id: str) -> Booked | None:
        """What the book says of one call's recording; None for a call it does not know."""
        with self._store.reading() as session:
            found = session.execute(_all().where(CallRow.id == call_id)).first()
        return _booked(found[1], found[0], found[2]) if found else None

    def longest_unread(self, before: datetime) -> str | None:
        """The sealed recording whose files were last read through before that instant, the longest ago; None for
        none."""
        query = (
            select(RecordingRow.call_id)
            .where(
                RecordingRow.state.in_(_FINAL),
                RecordingRow.removed_at.is_(None),
                RecordingRow.verified_at.is_(None) | (RecordingRow.verified_at < before),
            )
            .order_by(RecordingRow.verified_at.is_not(None), RecordingRow.verified_at, RecordingRow.sealed_at)
            .limit(1)
        )
        with self._store.reading() as session:
            return session.scalars(query).first()

    def found(self, differences: Iterable[Difference], kinds: Collection[DifferenceKind]) -> int:
        """The differences of these kinds as a whole look found them: new ones are alarmed, those no longer found are
        settled; how many are open now."""
        with self._store.writing() as session:
            open_rows = session.scalars(_open().where(DifferenceRow.kind.in_([kind.value for kind in kinds]))).all()
            self._merge(session, open_rows, differences)
            return self._alarm(session)

    def read(self, call_id: str, differences: Iterable[Difference]) -> None:
        """The files of one recording were read through and this is what differs."""
        with self._store.writing() as session:
            deep = [kind.value for kind in DEEP]
            rows = session.scalars(_open().where(DifferenceRow.call_id == call_id, DifferenceRow.kind.in_(deep))).all()
            self._merge(session, rows, differences)
            recording = session.get(RecordingRow, call_id)
            if recording is not None:
                recording.verified_at = self._clock()
            self._alarm(session)

    def open_differences(self, actor: Actor) -> list[DifferenceView]:
        """What differs now, oldest first, of the units the person sees; what belongs to no unit is everybody's."""
        scope = actor.unit_scope(Right.SEE_DESK)
        query = _open().order_by(DifferenceRow.id).limit(200)
        if scope is not None:
            query = query.where((DifferenceRow.unit_id == scope) | DifferenceRow.unit_id.is_(None))
        with self._store.reading() as session:
            return [
                DifferenceView(
                    kind=DifferenceKind(row.kind),
                    call_id=row.call_id,
                    place=row.place,
                    detail=row.detail,
                    found_at=row.found_at,
                    known=row.unit_id is not None,
                )
                for row in session.scalars(query)
            ]

    def sums(self) -> Sums:
        """How the store of recordings stands."""
        kept = RecordingRow.removed_at.is_(None)
        query = select(
            func.count().filter(kept),
            func.count(RecordingRow.verified_at).filter(kept),
            func.min(RecordingRow.verified_at).filter(kept),
            func.count(RecordingRow.archived_at).filter(kept),
            func.count(RecordingRow.wav_released_at).filter(kept),
            func.count(RecordingRow.removed_at),
        ).where(RecordingRow.state.in_(_FINAL))
        held = select(func.count(HoldRow.call_id.distinct())).where(HoldRow.lifted_at.is_(None))
        with self._store.reading() as session:
            sealed, read, oldest, archived, released, removed = session.execute(query).one()
            return Sums(
                sealed=sealed,
                read=read,
                oldest_read=oldest,
                archived=archived,
                wav_released=released,
                removed=removed,
                held=session.scalar(held) or 0,
            )

    def _merge(self, session: Session, rows: Iterable[DifferenceRow], differences: Iterable[Difference]) -> None:
        now, wanted = self._clock(), {each.subject: each for each in differences}
        changed = False
        for row in rows:
            if wanted.pop(_subject(row), None) is None:
                row.settled_at, changed = now, True
                clear_alarm(session, AlarmKind.RECORDING_DIFFERS, _subject(row), at=now)
        for each in wanted.values():
            call = session.get(CallRow, each.call_id) if each.call_id else None
            session.add(
                DifferenceRow(
                    kind=each.kind.value,
                    call_id=each.call_id or None,
                    unit_id=call.unit_id if call else None,
                    place=each.place,
                    detail=each.detail,
                    found_at=now,
                )
            )
            changed = True
        session.flush()
        if changed:
            tell(session, EventKind.RECORDINGS_CHECKED, at=now)

    def _alarm(self, session: Session) -> int:
        now, rows = self._clock(), session.scalars(_open().limit(10 * MANY)).all()
        if len(rows) > MANY:
            raise_alarm(
                session,
                AlarmKind.RECORDING_DIFFERS,
                Severity.CRITICAL,
                at=now,
                unit_id=None,
                subject=MANY_SUBJECT,
                data={"count": len(rows)},
            )
            return len(rows)
        clear_alarm(session, AlarmKind.RECORDING_DIFFERS, MANY_SUBJECT, at=now)
        for row in rows:
            raise_alarm(
                session,
                AlarmKind.RECORDING_DIFFERS,
                Severity.CRITICAL,
                at=now,
                unit_id=row.unit_id,
                call_id=row.call_id if row.unit_id is not None else None,
                subject=_subject(row),
                data={"difference": row.kind, "place": row.place, "detail": row.detail},
            )
        return len(rows)


def _subject(row: DifferenceRow) -> str:
    return Difference(kind=DifferenceKind(row.kind), call_id=row.call_id or "", place=row.place).subject


def _open() -> Select[DifferenceRow]:
    return select(DifferenceRow).where(DifferenceRow.settled_at.is_(None))


def _all() -> Select[str, datetime | None, RecordingRow | None]:
    return select(CallRow.id, CallRow.ended_at, RecordingRow).outerjoin(
        RecordingRow, RecordingRow.call_id == CallRow.id
    )


def _booked(ended_at: datetime | None, call_id: str, row: RecordingRow | None) -> Booked:
    if row is None:
        return Booked(call_id=call_id, ended_at=ended_at, state=None)
    return Booked(
        call_id=call_id,
        ended_at=ended_at,
        state=row.state,
        path=row.path,
        sha256=row.sha256,
        samples=row.samples,
        chain=row.chain,
        archive_path=row.archive_path,
        archive_sha256=row.archive_sha256,
        archive_bytes=row.archive_bytes,
        raw_released=row.raw_released_at is not None,
        wav_released=row.wav_released_at is not None,
        removed=row.removed_at is not None,
    )
