"""What the console asks of telephony: to call a contact back from the desk phone (requirement 6.1-c)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind, Json
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallRow, CommandRow, ContactNumberRow, ContactRow, LineRow


@dataclass(frozen=True, slots=True, kw_only=True)
class DialCommand:
    """Ring the desk phones of ``line_number``; when one answers, dial ``number`` and bridge the two."""

    command_id: int
    line_number: str
    number: str


class Commands:
    """The queue between console and telephony; a command is taken once, and its end is written back."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def call_back(self, actor: Actor, contact_number_id: int, *, entry_id: int | None = None) -> int:
        """Ask for a call to a directory number; returns the command's id. ``entry_id`` is the entry whose caller is
        being checked. Raises NotFound, Forbidden, Refused."""
        actor.require(Right.CHECK_IDENTITY, actor.unit_id)
        with self._store.writing() as session:
            number = session.get(ContactNumberRow, contact_number_id)
            if number is None:
                raise NotFound("contact_not_found")
            contact = session.get_one(ContactRow, number.contact_id)
            if contact.restricted:
                actor.require(Right.SEE_RESTRICTED, contact.unit_id)
            about: dict[str, Json] = {"contact": contact.id, "entry": entry_id}
            return self._dial(session, actor, number.number, about, subject=f"contact:{contact.id}")

    def return_call(self, actor: Actor, call_id: str) -> int:
        """Ask for a call to the number a missed caller showed; returns the command's id. This returns a call, it proves
        nobody's identity. Raises NotFound, Forbidden, Refused where the number was withheld."""
        with self._store.writing() as session:
            call = session.get(CallRow, call_id)
            if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
                raise NotFound("call_not_found", call_id=call_id)
            actor.require(Right.EDIT_DRAFT, call.unit_id)
            if not call.caller_normalised:
                raise Refused("number_withheld")
            remote = call.caller_number if call.direction == "inbound" else call.callee_number
            return self._dial(session, actor, remote, {"call": call_id}, subject=f"call:{call_id}")

    def _dial(self, session: Session, actor: Actor, number: str, about: dict[str, Json], *, subject: str) -> int:
        now = self._clock()
        line = session.scalars(select(LineRow).where(LineRow.unit_id == actor.unit_id).order_by(LineRow.id)).first()
        if line is None:
            raise Refused("unit_has_no_line")
        row = CommandRow(
            unit_id=actor.unit_id,
            kind="dial",
            data={"line": line.number, "number": number, **about},
            state="new",
            given_by=actor.officer_id,
            given_at=now,
        )
        session.add(row)
        session.flush()
        note(session, at=now, actor=actor, action="call_back", subject=subject)
        tell(session, EventKind.COMMAND_GIVEN, at=now, unit_id=actor.unit_id, data={"command": row.id})
        return row.id

    def take(self) -> DialCommand | None:
        """The oldest command nobody has taken, or None."""
        query = select(CommandRow).where(CommandRow.state == "new").order_by(CommandRow.id).limit(1)
        with self._store.reading() as session:
            if session.scalars(query).first() is None:
                return None
        with self._store.writing() as session:
            row = session.scalars(query.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            row.state = "taken"
            return DialCommand(command_id=row.id, line_number=row.data["line"], number=row.data["number"])

    def abandon(self) -> None:
        """After a crash of telephony: commands it had taken will not be carried out any more, and say so."""
        query = select(CommandRow.id).where(CommandRow.state == "taken", CommandRow.finished_at.is_(None))
        with self._store.reading() as session:
            lost = list(session.scalars(query))
        for command_id in lost:
            self.finish(command_id, result="interrupted")

    def finish(self, command_id: int, *, result: str) -> None:
        """Telephony says what became of a command that never became a call."""
        with self._store.writing() as session:
            row = session.get(CommandRow, command_id)
            if row is not None and row.finished_at is None:
                row.state, row.result, row.finished_at = "done", result, self._clock()
                tell(
                    session,
                    EventKind.COMMAND_GIVEN,
                    at=self._clock(),
                    unit_id=row.unit_id,
                    data={"command": row.id, "result": result},
                )
