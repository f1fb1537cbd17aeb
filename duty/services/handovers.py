"""交接班: from its beginning by whoever is on duty to the second signature, which is the takeover (requirement 6.2-d).

Every step is one committed transaction: a handover that is signed by one side only is found as it was after any
restart. Whoever signs was asked for their own credential; these methods take the person it proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.chain import Canonical
from duty.domain.errors import NotFound, Refused
from duty.domain.handover import (
    MAX_NOTES_CHARS,
    HandoverState,
    HandoverStep,
    check_calm,
    check_signers,
    next_state,
    same_owed,
)
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.handover_chain import append_link
from duty.services.handover_sheet import Since, build, open_incidents
from duty.services.linechecks import LineChecks
from duty.services.outbox import tell
from duty.services.watches import MAX_REASON_CHARS, begin, end, lock_unit, open_watches
from duty.store.database import Store
from duty.store.tables import HandoverLinkRow, HandoverRow, LineRow, OfficerRow, UnitRow

_PENDING = (HandoverState.OPEN.value, HandoverState.GIVEN.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverView:
    """A handover as shown: its sheet is as it is now until the first signature, as signed from then on. ``changed``:
    signed once, and something has happened since. ``incidents``: open ones that no leader's reason covers. ``hash`` is
    that of its link, empty before the takeover."""

    handover_id: int
    unit_id: int
    room_name: str
    state: HandoverState
    sheet: Mapping[str, Canonical]
    notes: str
    documents: str
    opened_by: str
    given_by: str
    given_at: datetime | None
    taken_by: str
    taken_at: datetime | None
    excuse: str
    excused_by: str
    excused_at: datetime | None
    changed: bool
    incidents: tuple[int, ...]
    position: int
    hash: str


class Handovers:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, *, checks: LineChecks) -> None:
        self._store = store
        self._clock = clock
        self._checks = checks

    def begin(self, actor: Actor) -> int:
        """Whoever is on duty begins to hand over; the lines are tested first. The id of the handover, or of the one
        that is under way. Raises Forbidden, Refused."""
        actor.require(Right.TAKE_DUTY, actor.unit_id)
        with self._store.writing() as session:
            lock_unit(session, actor.unit_id)
            if (under_way := _under_way(session, actor.unit_id)) is not None:
                return under_way.id
            _require_on_duty(session, actor)
            row = HandoverRow(
                unit_id=actor.unit_id,
                state=HandoverState.OPEN.value,
                opened_by=actor.officer_id,
                opened_at=self._clock(),
                sheet={},
                excused_entries=[],
            )
            session.add(row)
            session.flush()
            self._told(session, actor, "begin_handover", row)
            numbers = list(session.scalars(select(LineRow.number).where(LineRow.unit_id == actor.unit_id)))
        for number in numbers:
            self._checks.before_handover(actor, number)
        return row.id

    def write(self, actor: Actor, handover_id: int, *, notes: str, documents: str) -> None:
        """The free notes, and the documents handed over. Raises NotFound, Forbidden, Refused once it is signed."""
        refuse_unreadable(notes, documents)
        if max(len(notes), len(documents)) > MAX_NOTES_CHARS:
            raise Refused("handover_notes_long", limit=MAX_NOTES_CHARS)
        with self._store.writing() as session:
            row = self._step(session, actor, Right.TAKE_DUTY, handover_id, HandoverStep.WRITE)
            row.notes, row.documents = notes.strip(), documents.strip()
            self._told(session, actor, "write_handover", row)

    def excuse(self, leader: Actor, handover_id: int, reason: str) -> None:
        """A leader writes why the shifts may change although incidents are open; it covers those open now. Raises
        NotFound, Forbidden, Refused."""
        refuse_unreadable(reason)
        with self._store.writing() as session:
            row = self._step(session, leader, Right.ALLOW_DUTY, handover_id, HandoverStep.EXCUSE)
            if not reason.strip() or len(reason) > MAX_REASON_CHARS:
                raise Refused("duty_reason_missing", limit=MAX_REASON_CHARS)
            row.excuse, row.excused_by, row.excused_at = reason.strip(), leader.officer_id, self._clock()
            row.excused_entries = open_incidents(session, row.unit_id)
            self._told(session, leader, "excuse_handover", row)

    def give(self, giver: Actor, handover_id: int) -> None:
        """The first signature, of somebody on duty: the sheet is frozen. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = self._step(session, giver, Right.TAKE_DUTY, handover_id, HandoverStep.GIVE)
            _require_on_duty(session, giver)
            check_calm(open_incidents(session, row.unit_id), row.excused_entries)
            now = self._clock()
            row.sheet = build(session, row.unit_id, _since(session, row, giver.officer_id), now, signing=True)
            row.given_by, row.given_at = giver.officer_id, now
            self._told(session, giver, "give_handover", row)

    def take(self, taker: Actor, handover_id: int) -> None:
        """The second signature is the takeover: one watch ends, the other begins, and the chain grows by a link, all at
        once. Raises NotFound, Forbidden, Refused: the same person, not rostered, changed meanwhile, an incident."""
        with self._store.writing() as session:
            row = self._step(session, taker, Right.TAKE_DUTY, handover_id, HandoverStep.TAKE)
            if taker.unit_id != row.unit_id:
                raise Refused("not_rostered", name=taker.name)
            giver_id = row.given_by or 0
            check_signers(giver=giver_id, taker=taker.officer_id)
            check_calm(open_incidents(session, row.unit_id), row.excused_entries)
            now = self._clock()
            fresh = build(session, row.unit_id, _since(session, row, giver_id), now, signing=True)
            if not same_owed(row.sheet, fresh):
                raise Refused("handover_changed")
            if all(each.officer_id != taker.officer_id for each in open_watches(session, row.unit_id)):
                begin(session, taker, now)
            end(session, row.unit_id, giver_id, now)
            row.taken_by, row.taken_at = taker.officer_id, now
            append_link(session, row)
            self._told(session, taker, "take_handover", row)

    def send_back(self, actor: Actor, handover_id: int) -> None:
        """The first signature is taken back, to be given anew. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = self._step(session, actor, Right.TAKE_DUTY, handover_id, HandoverStep.RETURN)
            row.given_by, row.given_at, row.sheet = None, None, {}
            self._told(session, actor, "return_handover", row)

    def cancel(self, actor: Actor, handover_id: int) -> None:
        """No handover after all; it stays in the list. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = self._step(session, actor, Right.TAKE_DUTY, handover_id, HandoverStep.CANCEL)
            self._told(session, actor, "cancel_handover", row)

    def under_way(self, actor: Actor) -> int | None:
        """The id of the handover that is under way in one's unit. Raises Forbidden."""
        actor.require(Right.SEE_DUTY)
        with self._store.reading() as session:
            row = _under_way(session, actor.unit_id)
            return row.id if row else None

    def see(self, actor: Actor, handover_id: int) -> HandoverView:
        """One handover. Raises NotFound, Forbidden."""
        actor.require(Right.SEE_DUTY)
        with self._store.reading() as session:
            row = session.get(HandoverRow, handover_id)
            if row is None or not actor.may(Right.SEE_DUTY, row.unit_id):
                raise NotFound("handover_not_found")
            return self._view(session, row)

    def recent(self, actor: Actor, limit: int = 30) -> list[HandoverView]:
        """The last handovers of the units the person sees, newest first, the cancelled left out. Raises Forbidden."""
        scope = actor.unit_scope(Right.SEE_DUTY)
        query = select(HandoverRow).where(HandoverRow.state == HandoverState.TAKEN.value)
        if scope is not None:
            query = query.where(HandoverRow.unit_id == scope)
        with self._store.reading() as session:
            rows = session.scalars(query.order_by(HandoverRow.id.desc()).limit(limit))
            return [self._view(session, row) for row in rows]

    def _step(self, session: Session, actor: Actor, right: Right, handover_id: int, step: HandoverStep) -> HandoverRow:
        """The handover, locked and stepped on. Raises NotFound, Forbidden, Refused."""
        actor.require(right)
        row = session.get(HandoverRow, handover_id)
        if row is None or not actor.may(Right.SEE_DUTY, row.unit_id):
            raise NotFound("handover_not_found")
        actor.require(right, row.unit_id)
        lock_unit(session, row.unit_id)
        session.refresh(row)
        row.state = next_state(HandoverState(row.state), step).value
        return row

    def _view(self, session: Session, row: HandoverRow) -> HandoverView:
        state, sheet, changed = HandoverState(row.state), dict(row.sheet), False
        if row.state in _PENDING:
            now = build(session, row.unit_id, _since(session, row, row.given_by or row.opened_by), self._clock())
            changed = state is HandoverState.GIVEN and not same_owed(sheet, now)
            sheet = sheet if state is HandoverState.GIVEN else now
        incidents = open_incidents(session, row.unit_id) if row.state in _PENDING else []
        link = session.scalars(select(HandoverLinkRow).where(HandoverLinkRow.handover_id == row.id)).first()
        unit = session.get_one(UnitRow, row.unit_id)
        return HandoverView(
            handover_id=row.id,
            unit_id=row.unit_id,
            room_name=unit.room_name,
            state=state,
            sheet=sheet,
            notes=row.notes,
            documents=row.documents,
            opened_by=_name(session, row.opened_by),
            given_by=_name(session, row.given_by),
            given_at=row.given_at,
            taken_by=_name(session, row.taken_by),
            taken_at=row.taken_at,
            excuse=row.excuse,
            excused_by=_name(session, row.excused_by),
            excused_at=row.excused_at,
            changed=changed,
            incidents=tuple(each for each in incidents if each not in row.excused_entries),
            position=link.position if link else 0,
            hash=link.hash if link else "",
        )

    def _told(self, session: Session, actor: Actor, action: str, row: HandoverRow) -> None:
        now = self._clock()
        note(session, at=now, actor=actor, action=action, subject=f"handover:{row.id}")
        tell(session, EventKind.DUTY_CHANGED, at=now, unit_id=row.unit_id, data={"handover": row.id})


def _under_way(session: Session, unit_id: int) -> HandoverRow | None:
    query = select(HandoverRow).where(HandoverRow.unit_id == unit_id, HandoverRow.state.in_(_PENDING))
    return session.scalars(query.limit(1)).first()


def _require_on_duty(session: Session, actor: Actor) -> None:
    if all(row.officer_id != actor.officer_id for row in open_watches(session, actor.unit_id)):
        raise Refused("not_on_duty", name=actor.name)


def _since(session: Session, row: HandoverRow, giver_id: int) -> Since:
    """Where the unit's last handover ended; before the first one, where the giver's watch began."""
    query = select(HandoverRow).where(
        HandoverRow.unit_id == row.unit_id,
        HandoverRow.state == HandoverState.TAKEN.value,
        HandoverRow.id != row.id,  # its own step to taken may be in this transaction already
    )
    last = session.scalars(query.order_by(HandoverRow.taken_at.desc(), HandoverRow.id.desc()).limit(1)).first()
    if last is not None and last.taken_at is not None:
        return Since(at=last.taken_at, position=int(last.sheet["book"]["position"]))
    own = [watch for watch in open_watches(session, row.unit_id) if watch.officer_id == giver_id]
    return Since(at=own[0].began_at if own else row.opened_at, position=None)


def _name(session: Session, officer_id: int | None) -> str:
    officer = session.get(OfficerRow, officer_id) if officer_id else None
    return officer.name if officer else ""
