"""Approved exceptions to the ban on forwarding: asked, approved by another person, revoked, and read by telephony
(requirement 6.1-e). Every act is audited and told to the consoles, and none of it is ever removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.exceptions import (
    ExceptionState,
    ExceptionWay,
    ForwardException,
    asked_for,
    check_approval,
    state_of,
)
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock, to_text
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import ForwardExceptionRow, LineRow, OfficerRow

RECENT = 30
"""How many exceptions a person is shown, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionView:
    """One exception as the console shows it; names in place of ids."""

    exception_id: int
    line_number: str
    line_name: str
    way: ExceptionWay
    target: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    asked_by: str
    approved_by: str
    revoked_by: str
    state: ExceptionState

    @property
    def open(self) -> bool:
        """Whether there is still something to revoke."""
        return self.state in (ExceptionState.ASKED, ExceptionState.APPROVED, ExceptionState.IN_FORCE)


class ForwardExceptions:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def ask(
        self,
        actor: Actor,
        line_number: str,
        *,
        way: ExceptionWay,
        target: str,
        reason: str,
        start: datetime,
        end: datetime,
    ) -> int:
        """Ask for an exception; its id. Raises NotFound, Forbidden, Refused."""
        now = self._clock()
        with self._store.writing() as session:
            line = _line(session, line_number)
            actor.require(Right.ASK_EXCEPTION, line.unit_id)
            row = ForwardExceptionRow(
                line=line,
                way=way.value,
                target=asked_for(way=way, target=target, reason=reason, start=start, end=end, now=now),
                reason=reason.strip(),
                starts_at=start,
                ends_at=end,
                asked_by=actor.officer_id,
                asked_at=now,
            )
            session.add(row)
            session.flush()
            self._note(session, actor, "ask_exception", row)
            return row.id

    def approve(self, actor: Actor, exception_id: int) -> None:
        """Another person approves it. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = _row(session, exception_id)
            actor.require(Right.APPROVE_EXCEPTION, row.line.unit_id)
            check_approval(asked_by=row.asked_by, approver=actor.officer_id, state=_state(row, self._clock()))
            row.approved_by, row.approved_at = actor.officer_id, self._clock()
            self._note(session, actor, "approve_exception", row)

    def revoke(self, actor: Actor, exception_id: int) -> None:
        """Anyone at the line's desk may end it, approved or not. Raises NotFound, Forbidden, Refused."""
        with self._store.writing() as session:
            row = _row(session, exception_id)
            actor.require(Right.ASK_EXCEPTION, row.line.unit_id)
            if _state(row, self._clock()) in (ExceptionState.ENDED, ExceptionState.REVOKED):
                raise Refused("exception_over")
            row.revoked_by, row.revoked_at = actor.officer_id, self._clock()
            self._note(session, actor, "revoke_exception", row)

    def approved(self) -> list[ForwardException]:
        """Every approved exception whose end has not come, for telephony, which decides by its own clock."""
        with self._store.reading() as session:
            return [_value(row) for row in session.scalars(_standing(self._clock()))]

    def in_force(self, line_number: str, at: datetime) -> list[ForwardException]:
        """The exceptions of a line in force at that instant."""
        return [each for each in self.approved() if each.line_number == line_number and each.in_force(at)]

    def shown(self) -> list[ExceptionView]:
        """What stands on every screen: the approved exceptions in force now, or yet to begin."""
        with self._store.reading() as session:
            return self._views(session, session.scalars(_standing(self._clock())))

    def recent(self, actor: Actor) -> list[ExceptionView]:
        """The newest exceptions of the units the person sees. Raises Forbidden."""
        query = select(ForwardExceptionRow).order_by(ForwardExceptionRow.id.desc()).limit(RECENT)
        scope = actor.unit_scope(Right.SEE_DESK)
        if scope is not None:
            query = query.where(ForwardExceptionRow.line.has(LineRow.unit_id == scope))
        with self._store.reading() as session:
            return self._views(session, session.scalars(query))

    def _views(self, session: Session, rows: Iterable[ForwardExceptionRow]) -> list[ExceptionView]:
        found = list(rows)
        if not found:
            return []
        ids = {each for row in found for each in (row.asked_by, row.approved_by, row.revoked_by) if each is not None}
        query = select(OfficerRow.id, OfficerRow.name).where(OfficerRow.id.in_(ids))
        names = {row.id: row.name for row in session.execute(query)}
        now = self._clock()
        return [_view(row, names, now) for row in found]

    def _note(self, session: Session, actor: Actor, action: str, row: ForwardExceptionRow) -> None:
        now = self._clock()
        note(
            session,
            at=now,
            actor=actor,
            action=action,
            subject=f"forward_exception:{row.id}",
            data={
                "line": row.line.number,
                "way": row.way,
                "target": row.target,
                "reason": row.reason,
                "start": to_text(row.starts_at),
                "end": to_text(row.ends_at),
            },
        )
        tell(session, EventKind.LINE_CHANGED, at=now, unit_id=row.line.unit_id, data={"exception": row.id})


def _standing(now: datetime) -> Select[ForwardExceptionRow]:
    return (
        select(ForwardExceptionRow)
        .where(
            ForwardExceptionRow.approved_at.is_not(None),
            ForwardExceptionRow.revoked_at.is_(None),
            ForwardExceptionRow.ends_at > now,
        )
        .order_by(ForwardExceptionRow.id)
    )


def _line(session: Session, number: str) -> LineRow:
    line = session.scalars(select(LineRow).where(LineRow.number == number)).first()
    if line is None:
        raise NotFound("line_not_found", number=number)
    return line


def _row(session: Session, exception_id: int) -> ForwardExceptionRow:
    row = session.get(ForwardExceptionRow, exception_id, with_for_update={"of": ForwardExceptionRow})
    if row is None:
        raise NotFound("exception_not_found")
    return row


def _state(row: ForwardExceptionRow, now: datetime) -> ExceptionState:
    return state_of(
        approved_at=row.approved_at, revoked_at=row.revoked_at, start=row.starts_at, end=row.ends_at, now=now
    )


def _value(row: ForwardExceptionRow) -> ForwardException:
    return ForwardException(
        line_number=row.line.number,
        way=ExceptionWay(row.way),
        target=row.target,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
    )


def _view(row: ForwardExceptionRow, names: dict[int, str], now: datetime) -> ExceptionView:
    return ExceptionView(
        exception_id=row.id,
        line_number=row.line.number,
        line_name=row.line.name,
        way=ExceptionWay(row.way),
        target=row.target,
        reason=row.reason,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        asked_by=names.get(row.asked_by, ""),
        approved_by=names.get(row.approved_by or 0, ""),
        revoked_by=names.get(row.revoked_by or 0, ""),
        state=_state(row, now),
    )
