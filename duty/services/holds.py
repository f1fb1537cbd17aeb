"""封存: a hold on a recording. While it stands nothing of the recording is removed or released, whatever its age
(requirement 6.2-c). Placed by who reviews calls, lifted by another such person, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallRow, HoldRow, OfficerRow

MAX_REASON_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """One hold as the console shows it; names in place of ids. ``lifted_at`` None while it stands."""

    hold_id: int
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str
    lifted_at: datetime | None
    lift_reason: str


class Holds:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def place(self, actor: Actor, call_id: str, *, reason: str) -> int:
        """Put the call's recording under a hold; its id. Raises NotFound, Forbidden, Refused without a reason."""
        with self._store.writing() as session:
            call = _call(session, actor, call_id)
            row = HoldRow(call_id=call_id, reason=_reason(reason), placed_by=actor.officer_id, placed_at=self._clock())
            session.add(row)
            session.flush()
            self._note(session, actor, "place_hold", call)
            return row.id

    def lift(self, actor: Actor, hold_id: int, *, reason: str) -> None:
        """End a hold, by another person than who placed it. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = session.get(HoldRow, hold_id, with_for_update=True)
            if row is None:
                raise NotFound("hold_not_found")
            call = _call(session, actor, row.call_id)
            if row.lifted_at is not None:
                raise Refused("hold_lifted")
            if row.placed_by == actor.officer_id:
                raise Refused("hold_is_own")
            row.lifted_by, row.lifted_at, row.lift_reason = actor.officer_id, self._clock(), _reason(reason)
            self._note(session, actor, "lift_hold", call)

    def of_call(self, call_id: str) -> list[HoldView]:
        """Every hold there was, the oldest first; the caller has seen to it that the person may see the call."""
        query = select(HoldRow).where(HoldRow.call_id == call_id).order_by(HoldRow.id)
        with self._store.reading() as session:
            rows = list(session.scalars(query))
            wanted = {row.placed_by for row in rows} | {row.lifted_by for row in rows if row.lifted_by}
            people = session.scalars(select(OfficerRow).where(OfficerRow.id.in_(wanted))).unique()
            names = {person.id: person.name for person in people}
        return [
            HoldView(
                hold_id=row.id,
                reason=row.reason,
                placed_by=names.get(row.placed_by, ""),
                placed_at=row.placed_at,
                lifted_by=names.get(row.lifted_by, "") if row.lifted_by else "",
                lifted_at=row.lifted_at,
                lift_reason=row.lift_reason,
            )
            for row in rows
        ]

    def _note(self, session: Session, actor: Actor, action: str, call: CallRow) -> None:
        now = self._clock()
        note(session, at=now, actor=actor, action=action, subject=f"call:{call.id}")
        tell(session, EventKind.RECORDING_SEALED, at=now, unit_id=call.unit_id, call_id=call.id)


def _call(session: Session, actor: Actor, call_id: str) -> CallRow:
    call = session.get(CallRow, call_id)
    if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
        raise NotFound("call_not_found", call_id=call_id)
    actor.require(Right.REVIEW_CALLS, call.unit_id)
    return call


def _reason(text: str) -> str:
    refuse_unreadable(text)
    reason = text.strip()[:MAX_REASON_CHARS]
    if not reason:
        raise Refused("hold_reason_missing")
    return reason
