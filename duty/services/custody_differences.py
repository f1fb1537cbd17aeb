"""What was found to differ between calls, recording rows and files: each difference is one row and one alarm from the
look that finds it to the look that no longer does (requirements 6.1-d, 6.4-a)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from duty.domain.custody import Difference, DifferenceKind
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallRow, DifferenceRow

MANY = 20
"""More open differences than this are one alarm, not so many: a disk that is not mounted differs in everything."""
MANY_SUBJECT = "many"
_PAGE = 500


class Look:
    """One look at everything, page by page, each page a transaction of its own: what differs is kept at once, and when
    the look has ended, what it no longer found is settled and alarms are raised and cleared. A look that is cut short
    settles nothing; the next one tells of what it found."""

    def __init__(self, store: Store, clock: Clock, kinds: Collection[DifferenceKind]) -> None:
        self._store = store
        self._clock = clock
        self._open = open_rows().where(DifferenceRow.kind.in_([kind.value for kind in kinds]))
        self._seen = array("q")

    def found(self, differences: Iterable[Difference]) -> None:
        """A page of what differs."""
        wanted = {each.subject: each for each in differences}
        if not wanted:
            return
        calls = [each.call_id for each in wanted.values() if each.call_id]
        places = [each.place for each in wanted.values() if not each.call_id]
        nameless = DifferenceRow.call_id.is_(None) & DifferenceRow.place.in_(places)
        with self._store.writing() as session:
            for named in (DifferenceRow.call_id.in_(calls), nameless):
                for row in session.scalars(self._open.where(named)):
                    if (again := wanted.pop(_subject(row), None)) is not None:
                        row.detail = again.detail
                        self._seen.append(row.id)
            self._seen.extend(row.id for row in _add(session, wanted.values(), at=self._clock()))

    def end(self) -> int:
        """Everything was looked at; how many differences of any kind are open, as far as they are counted."""
        seen, after = array("q", sorted(self._seen)), 0
        while True:
            with self._store.writing() as session:
                page = self._open.where(DifferenceRow.id > after).order_by(DifferenceRow.id).limit(_PAGE)
                rows = session.scalars(page).all()
                _settle(session, [row for row in rows if not _holds(seen, row.id)], at=self._clock())
                if len(rows) < _PAGE:
                    return alarm(session, at=self._clock())
                after = rows[-1].id


def _holds(ordered: array[int], number: int) -> bool:
    place = bisect_left(ordered, number)
    return place < len(ordered) and ordered[place] == number


def open_rows() -> Select[DifferenceRow]:
    """What differs now."""
    return select(DifferenceRow).where(DifferenceRow.settled_at.is_(None))


def merge(session: Session, rows: Iterable[DifferenceRow], differences: Iterable[Difference], *, at: datetime) -> None:
    """Settle those of the open ``rows`` that are no longer found, and add what is found and not open yet."""
    wanted = {each.subject: each for each in differences}
    _settle(session, [row for row in rows if wanted.pop(_subject(row), None) is None], at=at)
    _add(session, wanted.values(), at=at)


def _settle(session: Session, rows: Collection[DifferenceRow], *, at: datetime) -> None:
    for row in rows:
        row.settled_at = at
        clear_alarm(session, AlarmKind.RECORDING_DIFFERS, _subject(row), at=at)
    if rows:
        tell(session, EventKind.RECORDINGS_CHECKED, at=at)


def _add(session: Session, differences: Collection[Difference], *, at: datetime) -> list[DifferenceRow]:
    calls = [each.call_id for each in differences if each.call_id]
    known = session.execute(select(CallRow.id, CallRow.unit_id).where(CallRow.id.in_(calls)))
    units = {row.id: row.unit_id for row in known}
    rows = [
        DifferenceRow(
            kind=each.kind.value,
            call_id=each.call_id or None,
            unit_id=units.get(each.call_id),
            place=each.place,
            detail=each.detail,
            found_at=at,
        )
        for each in differences
    ]
    session.add_all(rows)
    session.flush()
    if rows:
        tell(session, EventKind.RECORDINGS_CHECKED, at=at)
    return rows


def alarm(session: Session, *, at: datetime) -> int:
    """Bring the alarms to what is open; how many that is, as far as they are counted."""
    rows = session.scalars(open_rows().limit(10 * MANY)).all()
    if len(rows) > MANY:
        raise_alarm(
            session,
            AlarmKind.RECORDING_DIFFERS,
            Severity.CRITICAL,
            at=at,
            unit_id=None,
            subject=MANY_SUBJECT,
            data={"count": len(rows)},
        )
        return len(rows)
    clear_alarm(session, AlarmKind.RECORDING_DIFFERS, MANY_SUBJECT, at=at)
    for row in rows:
        raise_alarm(
            session,
            AlarmKind.RECORDING_DIFFERS,
            Severity.CRITICAL,
            at=at,
            unit_id=row.unit_id,
            call_id=row.call_id if row.unit_id is not None else None,
            subject=_subject(row),
            data={"difference": row.kind, "place": row.place, "detail": row.detail},
        )
    return len(rows)


def _subject(row: DifferenceRow) -> str:
    return Difference(kind=DifferenceKind(row.kind), call_id=row.call_id or "", place=row.place).subject
