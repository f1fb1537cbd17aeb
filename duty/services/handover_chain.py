"""The chain of handovers: each takeover is a link that cannot be taken out again (requirement 6.2-d)."""

from __future__ import annotations

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from duty.domain.chain import GENESIS, forge
from duty.domain.times import to_text
from duty.store.tables import HandoverLinkRow, HandoverRow

_LOCK = 0x6861_6E64
"""Of PostgreSQL: two units hand over at once, and only one link can follow another. SQLite has one writer anyway."""


def append_link(session: Session, row: HandoverRow) -> None:
    """The link of a handover that was taken, in the running transaction."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    last = session.scalars(select(HandoverLinkRow).order_by(HandoverLinkRow.position.desc()).limit(1)).first()
    link = forge(
        position=last.position + 1 if last else 1,
        previous=last.hash if last else GENESIS,
        record={
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
