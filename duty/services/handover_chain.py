"""The chain of handovers: each takeover is a link that cannot be taken out again (requirement 6.2-d)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from duty.domain.times import to_text
from duty.services.chaining import next_link
from duty.store.database import hold
from duty.store.tables import HandoverLinkRow, HandoverRow

_LOCK = 0x6861_6E64


def append_link(session: Session, row: HandoverRow) -> None:
    """The link of a handover that was taken, in the running transaction."""
    hold(session, _LOCK)
    link = next_link(
        session,
        HandoverLinkRow,
        {
            "handover": row.id,
            "unit": row.unit_id,
            "sheet": row.sheet,
            "notes": row.notes,
            "documents": row.documents,
            "given_by": row.given_by,
            "given_at": to_text(row.given_at) if row.given_at else None,
            "taken_by": row.taken_by,
            "taken_at": to_text(row.taken_at) if row.taken_at else None,
            "excuse": row.excuse,
            "excused_by": row.excused_by,
            "excused_at": to_text(row.excused_at) if row.excused_at else None,
            "excused_entries": row.excused_entries,
        },
    )
    session.add(
        HandoverLinkRow(
            position=link.position,
            handover_id=row.id,
            payload=link.payload,
            previous=link.previous,
            hash=link.hash,
        )
    )
    session.flush()
