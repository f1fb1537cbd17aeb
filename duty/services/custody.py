"""The book's side of the comparison between calls, recording rows and files: what it says, and what was found to differ
(requirements 6.1-d, 6.4-a)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from duty.domain.custody import DEEP, SEALED, Booked, Difference, DifferenceKind, Locked
from duty.domain.rights import Actor, Right
from duty.domain.secrecy import LOCKED, MOVING
from duty.domain.times import Clock
from duty.services.custody_differences import Look, alarm, merge, open_rows
from duty.store.database import Store
from duty.store.tables import CallRow, DifferenceRow, HoldRow, RecordingRow, SealedFileRow, SecrecyRow

PAGE = 500
_LOCKED, _MOVING = ([state.value for state in states] for states in (LOCKED, MOVING))


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

    def pages(self) -> Iterator[list[Booked]]:
        """Every call with what the book says of its recording, a page at a time: a book of many years is not held in
        memory."""
        after = ""
        while True:
            with self._store.reading() as session:
                rows = session.execute(_all().where(CallRow.id > after).order_by(CallRow.id).limit(PAGE)).all()
                page = _booked_all(session, rows)
            yield page
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    def of(self, call_ids: Sequence[str]) -> list[Booked]:
        """What the book says of the recordings of a page of calls; those that it does not know are left out."""
        with self._store.reading() as session:
            return _booked_all(session, session.execute(_all().where(CallRow.id.in_(call_ids))).all())

    def one(self, call_id: str) -> Booked | None:
        """What the book says of one call's recording; None for a call it does not know."""
        with self._store.reading() as session:
            found = _booked_all(session, session.execute(_all().where(CallRow.id == call_id)).all())
        return found[0] if found else None

    def longest_unread(self, before: datetime) -> str | None:
        """The sealed recording whose files were last read through before that instant, the longest ago; None for
        none."""
        query = (
            select(RecordingRow.call_id)
            .where(
                RecordingRow.state.in_(SEALED),
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
            rows = session.scalars(open_rows().where(DifferenceRow.kind.in_([kind.value for kind in kinds]))).all()
            merge(session, rows, differences, at=self._clock())
            return alarm(session, at=self._clock())

    def look(self, kinds: Collection[DifferenceKind]) -> Look:
        """A whole look that finds differences of these kinds page by page."""
        return Look(self._store, self._clock, kinds)

    def read(self, call_id: str, differences: Iterable[Difference]) -> None:
        """The files of one recording were read through and this is what differs."""
        with self._store.writing() as session:
            deep = [kind.value for kind in DEEP]
            query = open_rows().where(DifferenceRow.call_id == call_id, DifferenceRow.kind.in_(deep))
            merge(session, session.scalars(query).all(), differences, at=self._clock())
            recording = session.get(RecordingRow, call_id)
            if recording is not None:
                recording.verified_at = self._clock()
            alarm(session, at=self._clock())

    def open_differences(self, actor: Actor) -> list[DifferenceView]:
        """What differs now, oldest first, of the units the person sees; what belongs to no unit is everybody's."""
        scope = actor.unit_scope(Right.SEE_DESK)
        query = open_rows().order_by(DifferenceRow.id).limit(200)
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
        ).where(RecordingRow.state.in_(SEALED))
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


def _all() -> Select[*tuple[Any, ...]]:
    """Columns, not objects: those of a whole book would wait for the garbage collector."""
    columns = (
        CallRow.id,
        CallRow.ended_at,
        RecordingRow.state,
        RecordingRow.path,
        RecordingRow.sha256,
        RecordingRow.samples,
        RecordingRow.chain,
        RecordingRow.archive_path,
        RecordingRow.archive_sha256,
        RecordingRow.archive_bytes,
        RecordingRow.raw_released_at,
        RecordingRow.wav_released_at,
        RecordingRow.removed_at,
        SecrecyRow.state.label("secrecy"),
    )
    recorded = select(*columns).outerjoin(RecordingRow, RecordingRow.call_id == CallRow.id)
    return recorded.outerjoin(SecrecyRow, SecrecyRow.call_id == CallRow.id)


def _booked_all(session: Session, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Booked]:
    """A page of rows with the sealed files of those under secrecy."""
    locked: dict[str, list[Locked]] = {row.id: [] for row in rows if row.secrecy in _LOCKED}
    if locked:
        query = select(SealedFileRow).where(SealedFileRow.call_id.in_(locked)).order_by(SealedFileRow.name)
        for file in session.scalars(query):
            locked[file.call_id].append(Locked(name=file.name, bytes=file.sealed_bytes, sha256=file.sealed_sha256))
    return [_booked(row, locked.get(row.id)) for row in rows]


def _booked(row: Row[*tuple[Any, ...]], locked: list[Locked] | None) -> Booked:
    if row.state is None:
        return Booked(call_id=row.id, ended_at=row.ended_at, state=None)
    return Booked(
        call_id=row.id,
        ended_at=row.ended_at,
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
        locked=tuple(locked) if locked is not None else None,
        moving=row.secrecy in _MOVING,
    )
