"""Alarms: raised once, shown until somebody acknowledges them, never twice for the same standing fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound
from duty.domain.happenings import AlarmKind, EventKind, Json, Severity
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import AlarmRow

STANDING = frozenset(
    {
        AlarmKind.PHONE_UNREACHABLE,
        AlarmKind.TRUNK_UNREACHABLE,
        AlarmKind.DISK_LOW,
        AlarmKind.NO_ENGINE,
        AlarmKind.DISK_FILLING,
        AlarmKind.DISK_NOTHING_TO_FREE,
        AlarmKind.RECORDING_DIFFERS,
        AlarmKind.ARCHIVE_FAILED,
        AlarmKind.SECRECY_SUSPECTED,
        AlarmKind.SECRECY_NO_KEY,
        AlarmKind.SECRECY_UNSEALED,
    }
)
"""Kinds that describe a state: one open alarm per subject, cleared when the state passes."""


SUBJECT_CHARS = 120
"""How much of an alarm's subject is kept."""

COUNTED = frozenset({AlarmKind.PROCESS_RESTARTED, AlarmKind.CHORE_FAILED})
"""Kinds that may repeat many times a minute: while one is unacknowledged, a further one only counts up."""


def raise_alarm(
    session: Session,
    kind: AlarmKind,
    severity: Severity,
    *,
    at: datetime,
    unit_id: int | None,
    call_id: str | None = None,
    subject: str = "",
    data: Mapping[str, Json] | None = None,
) -> None:
    """Raise an alarm in the running transaction; a standing one that is still open is not raised again."""
    if kind in STANDING and _open(session, kind, subject) is not None:
        return
    if kind in COUNTED and (again := _unacknowledged(session, kind, subject)) is not None:
        again.data = {**again.data, **(data or {}), "times": int(again.data.get("times", 1)) + 1}
        return
    session.add(
        AlarmRow(
            unit_id=unit_id,
            kind=kind.value,
            severity=severity.value,
            call_id=call_id,
            subject=subject[:SUBJECT_CHARS],
            data=dict(data or {}),
            raised_at=at,
        )
    )
    tell(session, EventKind.ALARM_RAISED, at=at, unit_id=unit_id, call_id=call_id, data={"kind": kind.value})


def clear_alarm(session: Session, kind: AlarmKind, subject: str, *, at: datetime) -> None:
    """The fault has passed: the open alarm says so, and stays in the list until acknowledged."""
    row = _open(session, kind, subject)
    if row is not None:
        row.cleared_at = at
        tell(session, EventKind.ALARM_CLEARED, at=at, unit_id=row.unit_id, data={"kind": kind.value})


def _open(session: Session, kind: AlarmKind, subject: str) -> AlarmRow | None:
    query = select(AlarmRow).where(
        AlarmRow.kind == kind.value, AlarmRow.subject == subject[:SUBJECT_CHARS], AlarmRow.cleared_at.is_(None)
    )
    return session.scalars(query.limit(1)).first()


def _unacknowledged(session: Session, kind: AlarmKind, subject: str) -> AlarmRow | None:
    query = select(AlarmRow).where(
        AlarmRow.kind == kind.value, AlarmRow.subject == subject, AlarmRow.acknowledged_at.is_(None)
    )
    return session.scalars(query.limit(1)).first()


class Alarms:
    """What the console asks of alarms."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def report(
        self, kind: AlarmKind, severity: Severity, *, subject: str, unit_id: int | None = None, **data: Json
    ) -> None:
        """Raise an alarm in a transaction of its own."""
        with self._store.writing() as session:
            raise_alarm(session, kind, severity, at=self._clock(), unit_id=unit_id, subject=subject, data=data)

    def settle(self, kind: AlarmKind, *, subject: str) -> None:
        """Clear a standing alarm in a transaction of its own."""
        with self._store.writing() as session:
            clear_alarm(session, kind, subject, at=self._clock())

    def stands(self, kind: AlarmKind) -> bool:
        """True while a fault of this kind has not passed."""
        query = select(AlarmRow.id).where(AlarmRow.kind == kind.value, AlarmRow.cleared_at.is_(None)).limit(1)
        with self._store.reading() as session:
            return session.scalars(query).first() is not None

    def unacknowledged(self, actor: Actor) -> list[AlarmRow]:
        """Alarms nobody has acknowledged yet, newest first, of the units the person sees."""
        scope = actor.unit_scope(Right.SEE_DESK)
        query = select(AlarmRow).where(AlarmRow.acknowledged_at.is_(None)).order_by(AlarmRow.id.desc()).limit(100)
        if scope is not None:
            query = query.where((AlarmRow.unit_id == scope) | (AlarmRow.unit_id.is_(None)))
        with self._store.reading() as session:
            return list(session.scalars(query))

    def acknowledge(self, actor: Actor, alarm_id: int) -> None:
        """Somebody has seen it. Raises NotFound, Forbidden."""
        with self._store.writing() as session:
            row = session.get(AlarmRow, alarm_id)
            if row is None:
                raise NotFound("alarm_not_found")
            actor.require(Right.ACKNOWLEDGE_ALARM, row.unit_id)
            if row.acknowledged_at is None:
                row.acknowledged_at = self._clock()
                row.acknowledged_by = actor.officer_id
                note(
                    session,
                    at=self._clock(),
                    actor=actor,
                    action="acknowledge_alarm",
                    subject=f"alarm:{alarm_id}",
                )
                tell(
                    session,
                    EventKind.ALARM_CLEARED,
                    at=self._clock(),
                    unit_id=row.unit_id,
                    data={"kind": row.kind},
                )
