"""在岗: who is on duty now, signing on and off, and a leader's written leave for somebody off the roster (6.6-b).

Signing on without a handover is possible only while nobody is on duty, or beside somebody who is: whoever has the duty
cannot leave it but by handing over, or to a colleague who is on duty beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.roster import Duty, Shift, rostered
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock, to_text
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.rosters import shifts_between
from duty.store.database import Store
from duty.store.tables import DutyPermitRow, OfficerRow, UnitRow, WatchRow

MAX_REASON_CHARS = 500
PERMIT_HOURS = 24
_AROUND = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDuty:
    """One person on duty; ``permit_reason`` where they are not on the roster."""

    watch_id: int
    officer_id: int
    name: str
    title: str
    since: datetime
    until: datetime | None
    permit_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyNow:
    """Who has the duty of a unit: the officers who signed, the leader whom the roster names, and who comes next."""

    unit_id: int
    unit_name: str
    officers: tuple[OnDuty, ...]
    leaders: tuple[str, ...]
    due: tuple[Shift, ...]


class Watches:
    """Every method that changes something is one committed transaction. Whoever calls has had the person's credential
    confirmed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def now(self, actor: Actor) -> list[DutyNow]:
        """Who is on duty in each unit the person sees, their own first. Raises Forbidden."""
        scope, at = actor.unit_scope(Right.SEE_DUTY), self._clock()
        query = select(UnitRow).order_by(UnitRow.id)
        if scope is not None:
            query = query.where(UnitRow.id == scope)
        with self._store.reading() as session:
            found = [_duty_now(session, unit, at) for unit in session.scalars(query)]
        return sorted(found, key=lambda each: (each.unit_id != actor.unit_id, each.unit_id))

    def at(self, actor: Actor, unit_id: int, instant: datetime) -> list[str]:
        """The names of those who were on duty at an instant. Raises Forbidden."""
        actor.require(Right.SEE_DUTY, unit_id)
        with self._store.reading() as session:
            query = select(WatchRow).where(
                WatchRow.unit_id == unit_id,
                WatchRow.began_at <= instant,
                WatchRow.ended_at.is_(None) | (WatchRow.ended_at > instant),
            )
            return [row.officer.name for row in session.scalars(query.order_by(WatchRow.began_at))]

    def sign_on(self, actor: Actor) -> None:
        """Go on duty in one's own unit. Raises Forbidden, Refused: not rostered and no leave; already on duty; the duty
        is another's and has to be handed over, unless both are rostered now."""
        actor.require(Right.TAKE_DUTY, actor.unit_id)
        now = self._clock()
        with self._store.writing() as session:
            lock_unit(session, actor.unit_id)
            shift, _permit = admission(session, actor, now)
            others = open_watches(session, actor.unit_id)
            if others and (shift is None or shift.starts_at > now or shift.ends_at <= now):
                raise Refused("duty_to_be_handed_over", name=others[0].officer.name)
            begin(session, actor, now)
            note(session, at=now, actor=actor, action="sign_on", subject=f"unit:{actor.unit_id}")

    def sign_off(self, actor: Actor) -> None:
        """Leave the duty to a colleague who stays. Raises Forbidden, Refused where one is the last."""
        actor.require(Right.TAKE_DUTY, actor.unit_id)
        now = self._clock()
        with self._store.writing() as session:
            lock_unit(session, actor.unit_id)
            open_now = open_watches(session, actor.unit_id)
            if all(row.officer_id != actor.officer_id for row in open_now):
                raise Refused("not_on_duty", name=actor.name)
            if len(open_now) == 1:
                raise Refused("duty_last")
            end(session, actor.unit_id, actor.officer_id, now)
            note(session, at=now, actor=actor, action="sign_off", subject=f"unit:{actor.unit_id}")

    def permit(self, leader: Actor, officer_id: int, reason: str, *, hours: int) -> None:
        """A leader lets somebody off the roster go on duty within the next ``hours``, and writes why. Raises NotFound,
        Forbidden, Refused."""
        leader.require(Right.ALLOW_DUTY)
        refuse_unreadable(reason)
        if not reason.strip() or len(reason) > MAX_REASON_CHARS:
            raise Refused("duty_reason_missing", limit=MAX_REASON_CHARS)
        if not 0 < hours <= PERMIT_HOURS:
            raise Refused("permit_hours", limit=PERMIT_HOURS)
        now = self._clock()
        with self._store.writing() as session:
            officer = session.get(OfficerRow, officer_id)
            if officer is None or not officer.active or not leader.may(Right.ALLOW_DUTY, officer.unit_id):
                raise NotFound("person_not_found")
            session.add(
                DutyPermitRow(
                    unit_id=officer.unit_id,
                    officer_id=officer_id,
                    reason=reason.strip(),
                    given_by=leader.officer_id,
                    given_at=now,
                    ends_at=now + timedelta(hours=hours),
                )
            )
            data = {"reason": reason.strip(), "until": to_text(now + timedelta(hours=hours))}
            note(session, at=now, actor=leader, action="permit_duty", subject=f"officer:{officer_id}", data=data)
            tell(session, EventKind.DUTY_CHANGED, at=now, unit_id=officer.unit_id)

    def permits(self, actor: Actor) -> list[DutyPermitRow]:
        """The leaves that still hold in the person's unit. Raises Forbidden."""
        actor.require(Right.SEE_DUTY)
        query = select(DutyPermitRow).where(
            DutyPermitRow.unit_id == actor.unit_id, DutyPermitRow.ends_at > self._clock()
        )
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(DutyPermitRow.id)))


def lock_unit(session: Session, unit_id: int) -> None:
    """One change of a unit's duty at a time."""
    session.get_one(UnitRow, unit_id, with_for_update={"of": UnitRow})


def open_watches(session: Session, unit_id: int) -> list[WatchRow]:
    """Who is on duty, longest first."""
    query = select(WatchRow).where(WatchRow.unit_id == unit_id, WatchRow.ended_at.is_(None))
    return list(session.scalars(query.order_by(WatchRow.began_at, WatchRow.id)))


def admission(session: Session, actor: Actor, at: datetime) -> tuple[Shift | None, DutyPermitRow | None]:
    """By which place on the roster, or else by which leave, a person may go on duty. Raises Refused where by none."""
    shift = rostered(shifts_between(session, actor.unit_id, at - _AROUND, at + _AROUND), actor.officer_id, at)
    if shift is not None:
        return shift, None
    query = select(DutyPermitRow).where(
        DutyPermitRow.officer_id == actor.officer_id, DutyPermitRow.given_at <= at, DutyPermitRow.ends_at > at
    )
    permit = session.scalars(query.order_by(DutyPermitRow.id.desc()).limit(1)).first()
    if permit is None:
        raise Refused("not_rostered", name=actor.name)
    return None, permit


def begin(session: Session, actor: Actor, at: datetime) -> None:
    """The person's watch begins. Raises Refused where they may not, or are on duty already."""
    shift, permit = admission(session, actor, at)
    if any(row.officer_id == actor.officer_id for row in open_watches(session, actor.unit_id)):
        raise Refused("already_on_duty", name=actor.name)
    session.add(
        WatchRow(
            unit_id=actor.unit_id,
            officer_id=actor.officer_id,
            began_at=at,
            shift_id=shift.shift_id if shift else None,
            permit_id=permit.id if permit else None,
        )
    )
    tell(session, EventKind.DUTY_CHANGED, at=at, unit_id=actor.unit_id)


def end(session: Session, unit_id: int, officer_id: int, at: datetime) -> None:
    """The person's watch ends."""
    for row in open_watches(session, unit_id):
        if row.officer_id == officer_id:
            row.ended_at = at
    tell(session, EventKind.DUTY_CHANGED, at=at, unit_id=unit_id)


def _duty_now(session: Session, unit: UnitRow, at: datetime) -> DutyNow:
    shifts = shifts_between(session, unit.id, at - _AROUND, at + _AROUND)
    on = open_watches(session, unit.id)
    present = {row.officer_id for row in on}
    return DutyNow(
        unit_id=unit.id,
        unit_name=unit.name,
        officers=tuple(_on_duty(session, row, shifts) for row in on),
        leaders=tuple(
            each.person for each in shifts if each.duty is Duty.LEADER and each.starts_at <= at < each.ends_at
        ),
        due=tuple(
            each
            for each in shifts
            if each.duty is Duty.OFFICER and each.admits(at) and each.person_id not in present and each.ends_at > at
        ),
    )


def _on_duty(session: Session, row: WatchRow, shifts: list[Shift]) -> OnDuty:
    permit = session.get(DutyPermitRow, row.permit_id) if row.permit_id else None
    shift = next((each for each in shifts if each.shift_id == row.shift_id), None)
    return OnDuty(
        watch_id=row.id,
        officer_id=row.officer_id,
        name=row.officer.name,
        title=row.officer.title,
        since=row.began_at,
        until=shift.ends_at if shift else (permit.ends_at if permit else None),
        permit_reason=permit.reason if permit else "",
    )
