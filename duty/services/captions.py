"""Live captions: those already spoken for a console that opens while the call lives, and new ones by the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.services.outbox import tell
from duty.services.sealedtexts import under_secrecy
from duty.store.database import Store
from duty.store.tables import CallRow, EventRow

_WINDOW = 20_000
"""How far back the outbox is searched, in events: a call lives now, so its captions are near the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """One finished stretch of live speech; ``speaker`` is ``caller`` or ``officer``; ``event_id`` is
    the outbox's, by which a page that also hears the event stream shows it once."""

    event_id: int
    at: datetime
    speaker: str
    text: str


class Captions:
    """Reading side of the live captions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of_calls(self, actor: Actor, call_ids: list[str], *, last: int = 6) -> dict[str, list[Caption]]:
        """Call id to its latest ``last`` finished captions, oldest first; calls one may not hear are left out."""
        found: dict[str, list[Caption]] = {}
        with self._store.reading() as session:
            newest = session.scalar(select(func.max(EventRow.id))) or 0
            for call_id in call_ids:
                call = session.get(CallRow, call_id)
                if call is None or not actor.may(Right.LISTEN, call.unit_id):
                    continue
                query = (
                    select(EventRow)
                    .where(
                        EventRow.id > newest - _WINDOW,
                        EventRow.call_id == call_id,
                        EventRow.kind == EventKind.CAPTION.value,
                    )
                    .order_by(EventRow.id)
                )
                spoken = [_caption(row) for row in session.scalars(query) if row.data.get("final")]
                found[call_id] = spoken[-last:]
        return found


def show_caption(store: Store, *, at: datetime, call_id: str, speaker: str, text: str, final: bool) -> None:
    """Tell the consoles what was just heard on a call; a call that is not in the book is passed over, and so is one
    under secrecy, whose words are told nowhere (6.5-a)."""
    with store.writing() as session:
        call = session.get(CallRow, call_id)
        if call is not None and under_secrecy(session, call_id) is None:
            tell(
                session,
                EventKind.CAPTION,
                at=at,
                unit_id=call.unit_id,
                call_id=call_id,
                data={"speaker": speaker, "text": text, "final": final},
            )


def _caption(row: EventRow) -> Caption:
    return Caption(
        event_id=row.id, at=row.at, speaker=str(row.data.get("speaker", "")), text=str(row.data.get("text", ""))
    )
