"""The rosters of the units: planning, taking off, and what is wrong with them (requirements 3-b, 6.2-a, 6.3-b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind, Json
from duty.domain.rights import Actor, Right, Role
from duty.domain.roster import Duty, Fault, Pattern, Shift, check_free, faults, span_of
from duty.domain.times import SHANGHAI, Clock, to_text
from duty.domain.workdays import DayKind
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.workdays import known_days
from duty.store.database import Store
from duty.store.tables import OfficerRow, ShiftRow

_MARGIN = timedelta(days=2)
"""How far around a span a roster is read, so that a shift that reaches into it is seen."""
_ROLES = {Duty.OFFICER: frozenset({Role.OFFICER, Role.LEADER, Role.HUB}), Duty.LEADER: frozenset({Role.LEADER})}
"""Who may stand in which place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterView:
    """A unit's roster from ``first`` to ``last``, both days included; ``kinds`` has None for a day of unknown kind.
    ``faults`` are those that are not over yet: they can be mended."""

    unit_id: int
    first: date
    last: date
    shifts: Sequence[Shift]
    kinds: dict[date, DayKind | None]
    faults: Sequence[Fault]


class Rosters:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def see(self, actor: Actor, unit_id: int, first: date, last: date) -> RosterView:
        """The roster of a unit with its faults. Raises Forbidden."""
        actor.require(Right.SEE_DUTY, unit_id)
        with self._store.reading() as session:
            kind_of = known_days(session)
            shifts = shifts_between(session, unit_id, _midnight(first) - _MARGIN, _midnight(last) + 2 * _MARGIN)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return RosterView(
            unit_id=unit_id,
            first=first,
            last=last,
            shifts=shifts,
            kinds={day: kind_of(day) for day in days},
            faults=[each for each in faults(shifts, first, last, kind_of) if each.ends_at > self._clock()],
        )

    def candidates(self, actor: Actor, unit_id: int) -> dict[Duty, list[OfficerRow]]:
        """Who of a unit may be planned for which duty, by name. Raises Forbidden."""
        actor.require(Right.SEE_DUTY, unit_id)
        query = select(OfficerRow).where(OfficerRow.unit_id == unit_id, OfficerRow.active.is_(True))
        with self._store.reading() as session:
            people = list(session.scalars(query.order_by(OfficerRow.name, OfficerRow.id)))
        return {duty: [each for each in people if _fit(each, duty)] for duty in Duty}

    def plan(self, actor: Actor, *, officer_id: int, duty: Duty, pattern: Pattern, day: date) -> int:
        """Put somebody on the roster of their own unit; the shift's id. Raises NotFound, Forbidden, Refused."""
        actor.require(Right.PLAN_DUTY)
        now = self._clock()
        starts_at, ends_at = span_of(pattern, day)
        with self._store.writing() as session:
            officer = session.get(OfficerRow, officer_id)
            if officer is None or not officer.active:
                raise NotFound("person_not_found")
            actor.require(Right.PLAN_DUTY, officer.unit_id)
            if not _fit(officer, duty):
                raise Refused("shift_unfit", name=officer.name)
            if ends_at <= now:
                raise Refused("shift_past")
            around = shifts_between(session, officer.unit_id, starts_at - _MARGIN, ends_at + _MARGIN)
            check_free((starts_at, ends_at), [each for each in around if each.person_id == officer_id])
            row = ShiftRow(
                unit_id=officer.unit_id,
                officer_id=officer_id,
                duty=duty.value,
                starts_at=starts_at,
                ends_at=ends_at,
                planned_by=actor.officer_id,
                planned_at=now,
            )
            session.add(row)
            session.flush()
            self._told(session, actor, "plan_shift", row)
            return row.id

    def withdraw(self, actor: Actor, shift_id: int) -> None:
        """Take a place off the roster; it stays readable in the audit log. Raises NotFound, Forbidden, Refused for one
        that is over."""
        actor.require(Right.PLAN_DUTY)
        now = self._clock()
        with self._store.writing() as session:
            row = session.get(ShiftRow, shift_id, with_for_update={"of": ShiftRow})
            if row is None or row.withdrawn_at is not None:
                raise NotFound("shift_not_found")
            actor.require(Right.PLAN_DUTY, row.unit_id)
            if row.ends_at <= now:
                raise Refused("shift_past")
            row.withdrawn_at, row.withdrawn_by = now, actor.officer_id
            self._told(session, actor, "withdraw_shift", row)

    def _told(self, session: Session, actor: Actor, action: str, row: ShiftRow) -> None:
        now = self._clock()
        data: dict[str, Json] = {
            "officer": row.officer_id,
            "duty": row.duty,
            "start": to_text(row.starts_at),
            "end": to_text(row.ends_at),
        }
        note(session, at=now, actor=actor, action=action, subject=f"shift:{row.id}", data=data)
        tell(session, EventKind.DUTY_CHANGED, at=now, unit_id=row.unit_id, data={"shift": row.id})


def shifts_between(session: Session, unit_id: int, start: datetime, end: datetime) -> list[Shift]:
    """The standing places of a unit that touch [start, end), by their beginning."""
    query = (
        select(ShiftRow)
        .where(
            ShiftRow.unit_id == unit_id,
            ShiftRow.withdrawn_at.is_(None),
            ShiftRow.starts_at < end,
            ShiftRow.ends_at > start,
        )
        .order_by(ShiftRow.starts_at, ShiftRow.id)
    )
    return [
        Shift(
            shift_id=row.id,
            person_id=row.officer_id,
            person=row.officer.name,
            duty=Duty(row.duty),
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in session.scalars(query)
    ]


def _fit(officer: OfficerRow, duty: Duty) -> bool:
    return bool(_ROLES[duty] & {Role(name) for name in officer.roles})


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)
