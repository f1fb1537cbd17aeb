"""When the lines were not served: from the last sign of life of telephony to its return (requirement 6.1-a, 4-a).

What happened on a line meanwhile is in no book. So the book says at least from when to when that was, whether telephony
was stopped or lost, and what the PBX did with the calls by the line's ``on_outage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.times import Clock, to_text
from duty.services.alarms import raise_alarm
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import HeartbeatRow, LineRow, OutageRow

TELEPHONY = "telephony"
BEAT_S = 10.0
"""How often telephony gives a sign of life."""
OUTAGE_AFTER = timedelta(seconds=3 * BEAT_S)
"""A shorter silence is no outage: a process that died is back within seconds, and one beat may be late."""
RECENT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageView:
    """One outage of one line. ``open``: the PBX may have put callers through to the bare phone meanwhile, else nobody
    was put through. ``stopped``: on purpose."""

    line_number: str
    line_name: str
    began_at: datetime
    ended_at: datetime
    stopped: bool
    open: bool


class Outages:
    """Telephony's signs of life, and the gaps between them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def beat(self) -> None:
        """Telephony serves the lines now."""
        with self._store.writing() as session:
            row = session.get(HeartbeatRow, TELEPHONY)
            if row is None:
                session.add(HeartbeatRow(name=TELEPHONY, beat_at=self._clock(), stopped_at=None))
            else:
                row.beat_at, row.stopped_at = self._clock(), None

    def stop(self) -> None:
        """Telephony ends on purpose now."""
        with self._store.writing() as session:
            row = session.get(HeartbeatRow, TELEPHONY)
            if row is not None:
                row.stopped_at = self._clock()

    def note_return(self, on_outage: Mapping[str, str], *, at: datetime) -> timedelta | None:
        """Telephony serves the lines again since ``at``: where it was away too long, the book says so of every line.
        ``on_outage`` is ``open`` or ``refuse`` by line number. How long it was away, where that was an outage."""
        with self._store.writing() as session:
            row = session.get(HeartbeatRow, TELEPHONY)
            if row is None:
                return None
            began, stopped = row.stopped_at or row.beat_at, row.stopped_at is not None
            row.beat_at, row.stopped_at = max(at, row.beat_at), None
            if at - began < OUTAGE_AFTER:
                return None
            for line in session.scalars(select(LineRow).where(LineRow.number.in_(on_outage)).order_by(LineRow.id)):
                _write(session, line, began=began, ended=at, stopped=stopped, manner=on_outage[line.number])
            return at - began

    def recent(self, unit_id: int | None = None) -> list[OutageView]:
        """The latest outages of one unit's lines or of all, newest first."""
        query = select(OutageRow, LineRow).join(LineRow).order_by(OutageRow.id.desc()).limit(RECENT)
        if unit_id is not None:
            query = query.where(LineRow.unit_id == unit_id)
        with self._store.reading() as session:
            return [
                OutageView(
                    line_number=line.number,
                    line_name=line.name,
                    began_at=row.began_at,
                    ended_at=row.ended_at,
                    stopped=row.stopped,
                    open=row.on_outage == "open",
                )
                for row, line in session.execute(query).unique()
            ]


def _write(session: Session, line: LineRow, *, began: datetime, ended: datetime, stopped: bool, manner: str) -> None:
    session.add(OutageRow(line_id=line.id, began_at=began, ended_at=ended, stopped=stopped, on_outage=manner))
    raise_alarm(
        session,
        AlarmKind.LINE_OUTAGE,
        Severity.WARNING,
        at=ended,
        unit_id=line.unit_id,
        subject=line.number,
        data={"from": to_text(began), "to": to_text(ended), "stopped": stopped, "on_outage": manner},
    )
    tell(session, EventKind.LINE_CHANGED, at=ended, unit_id=line.unit_id, data={"kind": "outage", "name": line.number})
