"""Entries that were numbered before their call came under secrecy: the chain holds their text for ever, so it cannot be
sealed; it is withheld from every list, search, page and print instead (requirement 6.5-a)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.elements import ColumnElement

from duty.domain.entries import Category, EntryContent
from duty.domain.rights import Actor
from duty.domain.secrecy import ACTIVE
from duty.store.tables import EntryRow, OpeningRow, SecrecyRow

_BLANK = {**EntryContent().as_dict(), "category": Category.ROUTINE.value}


def is_withheld() -> ColumnElement[bool]:
    """The condition on entries: numbered before the flag. What was numbered later was written by somebody warned."""
    return exists().where(
        SecrecyRow.call_id == EntryRow.call_id,
        SecrecyRow.state.in_([state.value for state in ACTIVE]),
        EntryRow.finalized_at <= SecrecyRow.flagged_at,
    )


def withheld_among(session: Session, rows: Sequence[EntryRow]) -> dict[int, str]:
    """Of these entries those that are withheld, with the calls they are about."""
    ids = [row.id for row in rows if row.call_id is not None and row.finalized_at is not None]
    if not ids:
        return {}
    query = select(EntryRow.id, EntryRow.call_id).where(EntryRow.id.in_(ids), is_withheld())
    return {entry_id: call_id for entry_id, call_id in session.execute(query) if call_id is not None}


def withhold(session: Session, actor: Actor, rows: Sequence[EntryRow], now: datetime) -> None:
    """Blank the text of withheld entries in memory, for this look only, unless the person has opened their call."""
    found = withheld_among(session, rows)
    if not found:
        return
    query = select(OpeningRow.call_id).where(
        OpeningRow.officer_id == actor.officer_id,
        OpeningRow.call_id.in_(found.values()),
        OpeningRow.closed_at.is_(None),
        OpeningRow.ends_at > now,
    )
    opened = set(session.scalars(query))
    for row in rows:
        if row.id in found and found[row.id] not in opened:
            for name, value in _BLANK.items():
                set_committed_value(row, name, value)
            set_committed_value(row, "amendments", [])
