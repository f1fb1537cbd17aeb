"""The handover sheet, built by itself from the book: what was entered since the last handover, and what is still owed
(requirement 6.2-d).

It names entries, calls and alarms by number, kind and time and holds no words of a call: it goes into a chain that is
never altered, while a call may come under secrecy later (6.5-a). Which links of the book it covers is told by the
book's position, so that each link stands on exactly one sheet, and by the hash of the book there, so that each handover
holds the book as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.calls import Outcome
from duty.domain.chain import Canonical
from duty.domain.entries import Category, EntryState
from duty.domain.linechecks import CheckKind, CheckState
from duty.domain.numbers import mask
from duty.domain.times import to_text
from duty.services.lines import GOOD
from duty.store.tables import (
    AlarmRow,
    BookRow,
    CallRow,
    ChainLinkRow,
    ComponentRow,
    EntryRow,
    LineCheckRow,
    LineRow,
    PendingRow,
)

Sheet = dict[str, Canonical]


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Where the last handover ended: its instant, and the book's position where it is known."""

    at: datetime
    position: int | None


def build(session: Session, unit_id: int, since: Since, now: datetime, *, signing: bool = False) -> Sheet:
    """The sheet of a unit as it is now. For ``signing`` the book is locked, so that nothing is entered meanwhile."""
    book = session.get_one(BookRow, unit_id, with_for_update={"of": BookRow} if signing else None)
    return {
        "from": to_text(since.at),
        "to": to_text(now),
        "book": {"position": book.position, "hash": book.hash},
        "entries": _entries(session, unit_id, since),
        "drafts": _drafts(session, unit_id),
        "pending": _pending(session, unit_id),
        "missed": _missed(session, unit_id, since),
        "alarms": _alarms(session, unit_id),
        "lines": _lines(session, unit_id),
    }


def open_incidents(session: Session, unit_id: int) -> list[int]:
    """Ids of the entries about incidents that are still being written."""
    query = select(EntryRow.id).where(
        EntryRow.unit_id == unit_id,
        EntryRow.state == EntryState.DRAFT.value,
        EntryRow.category == Category.INCIDENT.value,
    )
    return list(session.scalars(query.order_by(EntryRow.id)))


def _entries(session: Session, unit_id: int, since: Since) -> Sequence[Mapping[str, Canonical]]:
    query = (
        select(ChainLinkRow, EntryRow.number_text, EntryRow.category)
        .join(EntryRow, EntryRow.id == ChainLinkRow.entry_id)
        .where(ChainLinkRow.unit_id == unit_id)
        .order_by(ChainLinkRow.position)
    )
    if since.position is None:
        query = query.where(ChainLinkRow.at >= since.at)
    else:
        query = query.where(ChainLinkRow.position > since.position)
    return [
        {
            "entry": link.entry_id,
            "number": number,
            "category": category,
            "link": link.kind,
            "position": link.position,
            "at": to_text(link.at),
        }
        for link, number, category in session.execute(query)
    ]


def _drafts(session: Session, unit_id: int) -> Sequence[Mapping[str, Canonical]]:
    query = select(EntryRow).where(EntryRow.unit_id == unit_id, EntryRow.state == EntryState.DRAFT.value)
    return [
        {"entry": row.id, "category": row.category, "at": to_text(row.created_at), "number": _number(row.call)}
        for row in session.scalars(query.order_by(EntryRow.id))
    ]


def _pending(session: Session, unit_id: int) -> Sequence[Mapping[str, Canonical]]:
    query = select(PendingRow).where(PendingRow.unit_id == unit_id, PendingRow.done_at.is_(None))
    return [
        {
            "pending": row.id,
            "kind": row.kind,
            "text": row.text,
            "at": to_text(row.created_at),
            "number": _number(row.call),
        }
        for row in session.scalars(query.order_by(PendingRow.id))
    ]


def _missed(session: Session, unit_id: int, since: Since) -> Sequence[Mapping[str, Canonical]]:
    query = select(CallRow).where(
        CallRow.unit_id == unit_id, CallRow.outcome == Outcome.MISSED.value, CallRow.arrived_at >= since.at
    )
    return [
        {"call": row.id, "at": to_text(row.arrived_at), "number": _number(row)}
        for row in session.scalars(query.order_by(CallRow.arrived_at, CallRow.id))
    ]


def _alarms(session: Session, unit_id: int) -> Sequence[Mapping[str, Canonical]]:
    query = select(AlarmRow).where(
        AlarmRow.unit_id.is_(None) | (AlarmRow.unit_id == unit_id), AlarmRow.acknowledged_at.is_(None)
    )
    return [
        {"alarm": row.id, "kind": row.kind, "severity": row.severity, "at": to_text(row.raised_at)}
        for row in session.scalars(query.order_by(AlarmRow.id))
    ]


def _lines(session: Session, unit_id: int) -> Sequence[Mapping[str, Canonical]]:
    query = select(LineRow).where(LineRow.unit_id == unit_id).order_by(LineRow.number)
    return [_line(session, row) for row in session.scalars(query).unique()]


def _line(session: Session, line: LineRow) -> Mapping[str, Canonical]:
    checks = select(LineCheckRow).where(
        LineCheckRow.line_id == line.id,
        LineCheckRow.kind == CheckKind.LINE.value,
        LineCheckRow.state == CheckState.DONE.value,
    )
    last = session.scalars(checks.order_by(LineCheckRow.finished_at.desc(), LineCheckRow.id.desc()).limit(1)).first()
    parts = select(ComponentRow).where(ComponentRow.line_id == line.id).order_by(ComponentRow.id)
    return {
        "number": line.number,
        "name": line.name,
        "check": last.verdict if last else "",
        "checked_at": to_text(last.finished_at) if last and last.finished_at else None,
        "bad": [
            {"kind": part.kind, "name": part.name, "state": part.state}
            for part in session.scalars(parts)
            if part.state not in GOOD
        ],
    }


def _number(call: CallRow | None) -> str:
    """The other side's number as the sheet may show it: a restricted contact's is masked (6.1-b)."""
    if call is None:
        return ""
    number = call.caller_number if call.direction == "inbound" else call.callee_number
    return mask(number) if call.contact is not None and call.contact.restricted else number
