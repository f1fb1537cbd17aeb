"""Entries whose text stands in the tables although their call is under secrecy: it is withheld from every list, search,
page and print (requirement 6.5-a). Such are those that were numbered before, for the chain holds them for ever; and
drafts as long as there is no master key to seal them with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.elements import ColumnElement

from duty.domain.entries import EntryState
from duty.domain.rights import Actor
from duty.domain.secrecy import ACTIVE
from duty.services.sealedtexts import BLANK, under_secrecy, unwarned_fields
from duty.store.tables import EntryRow, OpeningRow, SecrecyRow

_DRAFTED = EntryRow.state == EntryState.DRAFT.value


def is_withheld() -> ColumnElement[bool]:
    """The condition on entries: numbered before the flag, or a draft that waits to be sealed. What was numbered later
    was written by somebody warned."""
    return exists().where(
        SecrecyRow.call_id == EntryRow.call_id,
        SecrecyRow.state.in_([state.value for state in ACTIVE]),
        or_(EntryRow.finalized_at <= SecrecyRow.flagged_at, _DRAFTED & SecrecyRow.wrapped_key.is_(None)),
    )


def withheld_among(session: Session, rows: Sequence[EntryRow]) -> dict[int, str]:
    """Of these entries those that are withheld, with the calls they are about."""
    ids = [row.id for row in rows if row.call_id is not None]
    if not ids:
        return {}
    query = select(EntryRow.id, EntryRow.call_id).where(EntryRow.id.in_(ids), is_withheld())
    return {entry_id: call_id for entry_id, call_id in session.execute(query) if call_id is not None}


def waits_for_key(session: Session, call_id: str) -> bool:
    """Whether the call's words could not be sealed yet: nothing of them may be numbered into the chain meanwhile."""
    row = under_secrecy(session, call_id)
    return row is not None and row.wrapped_key is None


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
            for name in _before_the_flag(session, row):
                set_committed_value(row, name, BLANK[name])
            set_committed_value(row, "amendments", [])


def _before_the_flag(session: Session, row: EntryRow) -> list[str]:
    if row.state != EntryState.DRAFT.value:
        return list(BLANK)
    return unwarned_fields(session, row.id, session.get_one(SecrecyRow, row.call_id).flagged_at)
