"""What the console shows while a caller is being identified: who the directory says it may be, whom to call back, and
how far a call-back has come (requirement 6.1-c). Numbers of restricted contacts stay masked: calling needs no look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound
from duty.domain.numbers import mask
from duty.domain.rights import Actor, Right
from duty.store.database import Store
from duty.store.tables import CallRow, CommandRow, ContactRow

_RECENT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CallableNumber:
    """A number of a contact as shown, and the id by which it is called."""

    number_id: int
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerCard:
    """A contact as the officer needs it for a check."""

    contact_id: int
    organisation: str
    name: str
    title: str
    superior: bool
    restricted: bool
    numbers: tuple[CallableNumber, ...]
    challenge: str
    challenge_answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBackView:
    """One call-back. ``stage`` is ``new``, ``taken``, a call's state, or ``done``; ``result`` a call's outcome or the
    reason telephony gave; ``call_id`` names the call once there is one."""

    command_id: int
    contact_id: int | None
    shown: str
    given_at: datetime
    stage: str
    result: str
    call_id: str | None
    answered: bool


class Identification:
    """Reading side of the identity check."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def card(self, actor: Actor, contact_id: int) -> CallerCard:
        """A contact with what a check needs. Raises Forbidden, NotFound."""
        actor.require(Right.CHECK_IDENTITY)
        with self._store.reading() as session:
            row = session.get(ContactRow, contact_id)
            if row is None:
                raise NotFound("contact_not_found")
            return _card(row)

    def call_backs(self, actor: Actor, entry_id: int) -> list[CallBackView]:
        """The call-backs asked for from one entry's page, newest first. Raises Forbidden."""
        actor.require(Right.CHECK_IDENTITY)
        scope = actor.unit_scope(Right.CHECK_IDENTITY)
        query = select(CommandRow).where(CommandRow.kind == "dial").order_by(CommandRow.id.desc()).limit(_RECENT)
        if scope is not None:
            query = query.where(CommandRow.unit_id == scope)
        with self._store.reading() as session:
            rows = [row for row in session.scalars(query) if row.data.get("entry") == entry_id]
            return [_view(session, row) for row in rows]


def _card(row: ContactRow) -> CallerCard:
    return CallerCard(
        contact_id=row.id,
        organisation=row.organisation,
        name=row.name,
        title=row.title,
        superior=row.superior,
        restricted=row.restricted,
        numbers=tuple(
            CallableNumber(number_id=number.id, shown=mask(number.number) if row.restricted else number.number)
            for number in row.numbers
        ),
        challenge=row.challenge,
        challenge_answer=row.challenge_answer,
    )


def _view(session: Session, row: CommandRow) -> CallBackView:
    call = session.scalars(select(CallRow).where(CallRow.command_id == row.id).order_by(CallRow.arrived_at)).first()
    contact = session.get(ContactRow, row.data["contact"]) if row.data.get("contact") else None
    number = str(row.data.get("number", ""))
    return CallBackView(
        command_id=row.id,
        contact_id=contact.id if contact else None,
        shown=mask(number) if contact is not None and contact.restricted else number,
        given_at=row.given_at,
        stage="done" if row.finished_at else (call.state if call else row.state),
        result=row.result or ((call.outcome or "") if call else ""),
        call_id=call.id if call else None,
        answered=bool(call and call.answered_at),
    )
