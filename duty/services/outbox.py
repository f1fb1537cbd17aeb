"""The outbox: what one process tells the others, written in the same transaction as the change it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from duty.domain.happenings import Event, EventKind, Json
from duty.store.database import Store, post
from duty.store.tables import EventRow


def tell(
    session: Session,
    kind: EventKind,
    *,
    at: datetime,
    unit_id: int | None = None,
    call_id: str | None = None,
    entry_id: int | None = None,
    data: Mapping[str, Json] | None = None,
) -> dict[str, Any]:
    """Add one event to the running transaction; it gets its id when the transaction ends. Its values until then."""
    values: dict[str, Any] = {
        "at": at,
        "kind": kind.value,
        "unit_id": unit_id,
        "call_id": call_id,
        "entry_id": entry_id,
        "data": dict(data or {}),
    }
    post(session, EventRow.__table__, values)
    return values


class Outbox:
    """Reading side of the outbox."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last_id(self) -> int:
        """Id of the newest event, 0 when there is none."""
        with self._store.reading() as session:
            return session.scalar(select(func.max(EventRow.id))) or 0

    def after(self, event_id: int, *, limit: int = 500) -> list[Event]:
        """Events with a greater id, oldest first, at most ``limit``."""
        query = select(EventRow).where(EventRow.id > event_id).order_by(EventRow.id).limit(limit)
        with self._store.reading() as session:
            return [_event(row) for row in session.scalars(query)]


def _event(row: EventRow) -> Event:
    return Event(
        event_id=row.id,
        at=row.at,
        kind=EventKind(row.kind),
        unit_id=row.unit_id,
        call_id=row.call_id,
        entry_id=row.entry_id,
        data=row.data,
    )
