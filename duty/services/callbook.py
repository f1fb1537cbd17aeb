"""The book of calls: what telephony writes while a call lives. Each happening is on disk before the next step is taken
(requirement 6.1-a)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.calls import (
    CallEventKind,
    CallHappening,
    CallState,
    Direction,
    LegQuality,
    NewCall,
    Outcome,
    Purpose,
    next_state,
)
from duty.domain.entries import Category
from duty.domain.errors import BrokenState, NotFound
from duty.domain.happenings import AlarmKind, EventKind, Json, Severity
from duty.domain.numbers import NumberPlan, normalise
from duty.domain.texts import signalled
from duty.domain.times import Clock
from duty.services.alarms import raise_alarm
from duty.services.directory import match
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import (
    CallEventRow,
    CallLegRow,
    CallRow,
    CommandRow,
    EntryRow,
    EvidenceRow,
    LineRow,
    PendingRow,
    RecordingRow,
)


class CallBook:
    """Writing side of the book of calls. Every method is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, plan: NumberPlan) -> None:
        self._store = store
        self._clock = clock
        self._plan = plan

    def open_call(self, new: NewCall, *, command_id: int | None = None) -> None:
        """Write a call that has just arrived or is about to be dialled; returns when it is on disk.

        Raises NotFound when no line has ``new.line_number``.
        """
        with self._store.writing() as session:
            line = session.scalars(select(LineRow).where(LineRow.number == new.line_number)).first()
            if line is None:
                raise NotFound("line_not_found", number=new.line_number)
            remote = new.caller_number if new.direction == "inbound" else new.callee_number
            normalised = normalise(remote, self._plan)
            contact = match(session, normalised)
            session.add(
                CallRow(
                    id=new.call_id,
                    unit_id=line.unit_id,
                    line_id=line.id,
                    direction=new.direction.value,
                    state=CallState.ARRIVED.value,
                    caller_number=signalled(new.caller_number, 120),
                    caller_normalised=normalised[:60],
                    caller_display=signalled(new.caller_display),
                    callee_number=signalled(new.callee_number, 120),
                    trust=new.trust[:12],
                    purpose=new.purpose.value,
                    sip_call_id=signalled(new.sip_call_id, 255),
                    source=signalled(new.source, 80),
                    contact_id=contact.id if contact else None,
                    arrived_at=new.arrived_at,
                    command_id=command_id,
                    recording_session=new.recording_session,
                )
            )
            session.flush()
            session.add(CallEventRow(call_id=new.call_id, at=new.arrived_at, kind="arrived", data={}))
            if new.recording_session:
                _link_sessions(session, new, line)
            session.add(RecordingRow(call_id=new.call_id, state="open"))
            tell(
                session,
                EventKind.CALL_CHANGED,
                at=new.arrived_at,
                unit_id=line.unit_id,
                call_id=new.call_id,
                data={"state": CallState.ARRIVED.value, "direction": new.direction.value},
            )

    def record(self, happening: CallHappening) -> None:
        """Write one happening of a call and what follows from it. Raises NotFound, BrokenState."""
        with self._store.writing() as session:
            call = _call(session, happening.call_id)
            self._apply(session, call, happening)

    def block_forward(
        self,
        call_id: str | None,
        *,
        at: datetime,
        way: str,
        target: str,
        source: str,
        raw: bytes,
        line_number: str,
        data: Mapping[str, Json] | None = None,
    ) -> None:
        """A forward was refused: the event, the raw message as evidence, and the alarm, together (requirement 6.1-e).

        ``way`` names the guard's row, ``target`` where the call would have gone. A forward tried outside any call
        has ``call_id`` None.
        """
        source = signalled(source)
        facts: dict[str, Json] = {"way": way, "target": signalled(target), "source": source, **(data or {})}
        with self._store.writing() as session:
            line = session.scalars(select(LineRow).where(LineRow.number == line_number)).first()
            unit_id = line.unit_id if line else None
            session.add(
                EvidenceRow(call_id=call_id, at=at, source=source[:80], sha256=hashlib.sha256(raw).hexdigest(), raw=raw)
            )
            if call_id is not None:
                session.add(CallEventRow(call_id=call_id, at=at, kind=CallEventKind.FORWARD_BLOCKED.value, data=facts))
                tell(
                    session,
                    EventKind.CALL_CHANGED,
                    at=at,
                    unit_id=unit_id,
                    call_id=call_id,
                    data={"way": way},
                )
            raise_alarm(
                session,
                AlarmKind.FORWARD_BLOCKED,
                Severity.CRITICAL,
                at=at,
                unit_id=unit_id,
                call_id=call_id,
                subject=source,
                data=facts,
            )

    def keep_evidence(self, call_id: str, *, at: datetime, source: str, raw: bytes) -> None:
        """Keep what was said of a call as it came, with its SHA-256. Raises NotFound."""
        with self._store.writing() as session:
            _call(session, call_id)
            sha256 = hashlib.sha256(raw).hexdigest()
            session.add(EvidenceRow(call_id=call_id, at=at, source=signalled(source, 80), sha256=sha256, raw=raw))

    def rate_leg(self, quality: LegQuality) -> None:
        """Keep what one side's media were like. Raises NotFound."""
        with self._store.writing() as session:
            _call(session, quality.call_id)
            session.add(CallLegRow(**asdict(quality)))

    def unfinished(self, before: datetime) -> list[str]:
        """Calls that arrived before that instant and are still open, oldest first: what a killed process left."""
        query = (
            select(CallRow.id)
            .where(CallRow.state != CallState.ENDED.value, CallRow.arrived_at < before)
            .order_by(CallRow.arrived_at)
        )
        with self._store.reading() as session:
            return list(session.scalars(query))

    def _apply(self, session: Session, call: CallRow, happening: CallHappening) -> None:
        state = next_state(CallState(call.state), happening.kind)
        call.state = state.value
        session.add(
            CallEventRow(call_id=call.id, at=happening.at, kind=happening.kind.value, data=dict(happening.data))
        )
        if happening.kind is CallEventKind.RINGING and call.ringing_at is None:
            call.ringing_at = happening.at
        if happening.kind is CallEventKind.ANSWERED:
            _answered(call, happening)
            _start_entry(session, call)
        if happening.kind is CallEventKind.ENDED:
            _ended(session, call, happening)
        if happening.kind is CallEventKind.PARTIES:
            self._name_other_side(session, call, happening)
        if happening.kind is CallEventKind.FORWARD_MARKED:
            raise_alarm(
                session,
                AlarmKind.FORWARD_MARKED,
                Severity.WARNING,
                at=happening.at,
                unit_id=call.unit_id,
                call_id=call.id,
                data=happening.data,
            )
        tell(
            session,
            EventKind.CALL_CHANGED,
            at=happening.at,
            unit_id=call.unit_id,
            call_id=call.id,
            data={"state": call.state, "event": happening.kind.value, "direction": call.direction},
        )

    def _name_other_side(self, session: Session, call: CallRow, happening: CallHappening) -> None:
        """A recording client may say only later who is in the call; what the row says already stays."""
        number = signalled(str(happening.data.get("other_number", "")), 120)
        if call.direction != Direction.INBOUND.value or call.caller_number or not number:
            return
        normalised = normalise(number, self._plan)
        call.caller_number, call.caller_normalised = number, normalised[:60]
        call.caller_display = call.caller_display or signalled(str(happening.data.get("other_name", "")))
        call.contact = match(session, normalised)


def _link_sessions(session: Session, new: NewCall, line: LineRow) -> None:
    """A recording client that lost us forks the same call again: each part of it names the other."""
    earlier = session.scalars(
        select(CallRow.id)
        .where(
            CallRow.recording_session == new.recording_session, CallRow.line_id == line.id, CallRow.id != new.call_id
        )
        .order_by(CallRow.arrived_at.desc())
    ).first()
    if earlier is None:
        return
    kind = CallEventKind.CONTINUED.value
    for call_id, other, part in ((new.call_id, earlier, "earlier"), (earlier, new.call_id, "later")):
        session.add(CallEventRow(call_id=call_id, at=new.arrived_at, kind=kind, data={"call": other, "part": part}))


def _call(session: Session, call_id: str) -> CallRow:
    call = session.get(CallRow, call_id, with_for_update={"of": CallRow})
    if call is None:
        raise NotFound("call_not_found", call_id=call_id)
    return call


def _answered(call: CallRow, happening: CallHappening) -> None:
    call.answered_at = happening.at
    call.answered_by = signalled(str(happening.data.get("extension", "")), 80)


def _start_entry(session: Session, call: CallRow) -> None:
    """A draft for every call that is duty business, from the moment it is answered: officers write while they talk."""
    if call.purpose != Purpose.DUTY.value:
        return
    entry = EntryRow(
        unit_id=call.unit_id,
        call_id=call.id,
        state="draft",
        created_at=call.answered_at or call.arrived_at,
        caller_phone=call.caller_number if call.direction == "inbound" else call.callee_number,
        category=Category.ROUTINE.value,
    )
    if call.contact is not None:
        entry.caller_unit = call.contact.organisation
        entry.caller_name = call.contact.name
        entry.caller_title = call.contact.title
    session.add(entry)
    session.flush()
    tell(
        session,
        EventKind.ENTRY_CHANGED,
        at=entry.created_at,
        unit_id=call.unit_id,
        call_id=call.id,
        entry_id=entry.id,
    )


def _ended(session: Session, call: CallRow, happening: CallHappening) -> None:
    outcome = happening.outcome or Outcome.FAILED
    if outcome is Outcome.ANSWERED and call.answered_at is None:
        raise BrokenState("call_outcome", outcome=outcome)
    call.outcome = outcome.value
    call.ended_at = happening.at
    call.end_reason = signalled(str(happening.data.get("reason", "")))
    if call.command_id is not None:
        _finish_command(session, call.command_id, happening.at, outcome.value)
    duty = call.direction == "inbound" and call.purpose == Purpose.DUTY.value
    if duty and call.answered_at is None and outcome.needs_follow_up:
        session.add(PendingRow(unit_id=call.unit_id, kind="missed_call", call_id=call.id, created_at=happening.at))
        tell(session, EventKind.PENDING_CHANGED, at=happening.at, unit_id=call.unit_id, call_id=call.id)
        raise_alarm(
            session,
            AlarmKind.CALL_MISSED,
            Severity.WARNING,
            at=happening.at,
            unit_id=call.unit_id,
            call_id=call.id,
            subject=call.caller_number[:120],
            data={"outcome": outcome.value},
        )


def _finish_command(session: Session, command_id: int, at: datetime, result: str) -> None:
    command = session.get(CommandRow, command_id)
    if command is not None and command.finished_at is None:
        command.state = "done"
        command.result = result
        command.finished_at = at
