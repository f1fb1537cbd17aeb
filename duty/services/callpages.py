"""The pages of calls that one transaction writes: read once, turned as plain values, and laid down together.

A call is half a dozen happenings within seconds, and calls come in crowds. Row by row each happening would cost a dozen
statements; here a transaction reads the calls it is about in one, lets them live in memory, and writes each table in
one, in the order in which things happened (requirement 6.1-a).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, Update, bindparam, exists, insert, select, update
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
    RecordingFacts,
    next_state,
)
from duty.domain.entries import Category
from duty.domain.errors import BrokenState, NotFound
from duty.domain.happenings import AlarmKind, EventKind, Json, Severity
from duty.domain.numbers import NumberPlan, normalise
from duty.domain.texts import signalled
from duty.services.alarms import raise_alarm
from duty.services.directory import match_id
from duty.services.outbox import tell
from duty.store.tables import (
    Base,
    CallEventRow,
    CallLegRow,
    CallRow,
    CommandRow,
    ContactRow,
    EntryRow,
    LineRow,
    PendingRow,
    RecordingRow,
)

SAME_SESSION = timedelta(hours=24)
"""No call lasts longer; a recording client that uses an id again after that has another call."""


@dataclass(slots=True)
class Page:
    """One call as this transaction sees it. ``recording`` is its recording's state, None where it has no row."""

    id: str
    unit_id: int
    direction: str
    purpose: str
    state: str
    caller_number: str
    callee_number: str
    contact_id: int | None
    command_id: int | None
    arrived_at: datetime
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    answered_by: str = ""
    outcome: str | None = None
    ended_at: datetime | None = None
    end_reason: str = ""
    recording: str | None = "open"
    fax: bool = False


def _table(mapped: type[Base]) -> Table:
    table = mapped.__table__
    assert isinstance(table, Table)  # noqa: S101 - every row of ours is mapped to one table
    return table


_CALLS, _CALL_EVENTS, _LEGS, _RECORDINGS = map(_table, (CallRow, CallEventRow, CallLegRow, RecordingRow))
_ENTRIES, _PENDING, _CONTACTS = map(_table, (EntryRow, PendingRow, ContactRow))
_FIXED = ("id", "unit_id", "direction", "purpose", "caller_number", "callee_number", "contact_id", "command_id")
_CHANGING = ("state", "ringing_at", "answered_at", "answered_by", "outcome", "ended_at", "end_reason")
_IS_FAX = exists().where(_CALL_EVENTS.c.call_id == _CALLS.c.id, _CALL_EVENTS.c.kind == CallEventKind.FAX_DETECTED.value)
_READ = (
    select(
        *(_CALLS.c[name] for name in (*_FIXED, "arrived_at", *_CHANGING)),
        _RECORDINGS.c.state.label("recording"),
        _IS_FAX.label("fax"),
    )
    .join_from(_CALLS, _RECORDINGS, _RECORDINGS.c.call_id == _CALLS.c.id, isouter=True)
    .where(_CALLS.c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update(of=_CALLS)
)
_TURN = update(_CALLS).where(_CALLS.c.id == bindparam("page")).values({name: bindparam(name) for name in _CHANGING})
_SEALED = (
    "path",
    "sha256",
    "seconds",
    "samples",
    "gaps",
    "damage",
    "salvaged",
    "sealed_at",
    "chain",
    "state",
    "due_at",
)
_SEAL = (
    update(_RECORDINGS)
    .where(_RECORDINGS.c.call_id == bindparam("page"))
    .values({name: bindparam(name) for name in _SEALED})
)
_NO_RECORDING = update(_RECORDINGS).where(_RECORDINGS.c.call_id == bindparam("page")).values(state="none")

_Values = dict[str, Any]


class CallPages:
    """What ``session``'s transaction does to calls. It stands in the tables after ``write``, which may be called
    between, and has to be at the end. Every method raises NotFound for a call that is not in the book."""

    def __init__(self, session: Session, plan: NumberPlan) -> None:
        self._session = session
        self._plan = plan
        self._pages: dict[str, Page] = {}
        self._lines: dict[str, tuple[int, int]] = {}
        self._arrived: dict[str, _Values] = {}
        self._turned: dict[str, Page] = {}
        self._added: dict[Table, list[_Values]] = {_CALL_EVENTS: [], _LEGS: [], _PENDING: []}
        self._entries: list[tuple[_Values, _Values]] = []
        self._sealed: list[_Values] = []
        self._unrecorded: list[_Values] = []
        self._afterwards: list[Callable[[], None]] = []

    def expect(self, call_ids: Iterable[str]) -> None:
        """These calls will be asked for: read them together."""
        if missing := {*call_ids} - self._pages.keys():
            for row in self._session.execute(_READ, {"ids": sorted(missing)}):
                self._pages[row.id] = Page(**row._mapping)

    def open(self, new: NewCall, *, command_id: int | None = None) -> None:
        """A call has just arrived or is about to be dialled. Raises NotFound for a line that is not served."""
        line_id, unit_id = self._line(new.line_number)
        normalised = normalise(new.caller_number if new.direction == "inbound" else new.callee_number, self._plan)
        page = self._pages[new.call_id] = Page(
            id=new.call_id,
            unit_id=unit_id,
            direction=new.direction.value,
            purpose=new.purpose.value,
            state=CallState.ARRIVED.value,
            caller_number=signalled(new.caller_number, 120),
            callee_number=signalled(new.callee_number, 120),
            contact_id=match_id(self._session, normalised),
            command_id=command_id,
            arrived_at=new.arrived_at,
        )
        if new.call_id in self._arrived:
            self.write()  # a call that has arrived already: the table says so
        self._arrived[new.call_id] = {
            **{name: getattr(page, name) for name in _FIXED},
            "line_id": line_id,
            "caller_normalised": normalised[:60],
            "caller_display": signalled(new.caller_display),
            "trust": new.trust[:12],
            "sip_call_id": signalled(new.sip_call_id, 255),
            "source": signalled(new.source, 80),
            "arrived_at": new.arrived_at,
            "recording_session": new.recording_session,
        }
        self._add(_CALL_EVENTS, call_id=page.id, at=new.arrived_at, kind="arrived", data={})
        if new.recording_session:
            self._link_sessions(new, line_id)
        self._tell(page, at=new.arrived_at, data={"state": page.state, "direction": page.direction})

    def happened(self, happening: CallHappening) -> None:
        """One happening and what follows from it. Raises BrokenState where it cannot follow."""
        page = self._page(happening.call_id)
        page.state = next_state(CallState(page.state), happening.kind).value
        self._turned[page.id] = page
        self._add(_CALL_EVENTS, call_id=page.id, at=happening.at, kind=happening.kind.value, data=dict(happening.data))
        if happening.kind is CallEventKind.RINGING and page.ringing_at is None:
            page.ringing_at = happening.at
        if happening.kind is CallEventKind.ANSWERED:
            page.answered_at = happening.at
            page.answered_by = signalled(str(happening.data.get("extension", "")), 80)
            self._start_entry(page)
        if happening.kind is CallEventKind.ENDED:
            self._ended(page, happening)
        if happening.kind is CallEventKind.FAX_DETECTED:
            self._call_it_fax(page, happening.at)
        if happening.kind is CallEventKind.PARTIES:
            self._name_other_side(page, happening)
        if happening.kind is CallEventKind.FORWARD_MARKED:
            self._alarm(page, AlarmKind.FORWARD_MARKED, Severity.WARNING, at=happening.at, data=happening.data)
        self._tell(
            page,
            at=happening.at,
            data={"state": page.state, "event": happening.kind.value, "direction": page.direction},
        )

    def rate(self, quality: LegQuality) -> None:
        """What one side's media were like."""
        self._page(quality.call_id)
        self._add(_LEGS, **asdict(quality))

    def seal(self, facts: RecordingFacts, now: datetime) -> None:
        """The recording is complete: its facts, and it becomes a job. Sealing twice changes nothing."""
        page = self._recorded(facts.call_id)
        if page.recording not in ("open", "none"):
            return
        answered = page.answered_at is not None
        page.recording = "waiting" if answered else "kept"
        self._sealed.append(
            {
                "page": page.id,
                "path": facts.path,
                "sha256": facts.sha256,
                "seconds": facts.seconds,
                "samples": facts.samples,
                "gaps": [list(gap) for gap in facts.gaps],
                "damage": facts.damage,
                "salvaged": facts.salvaged,
                "sealed_at": now,
                "chain": facts.chain,
                "state": page.recording,
                "due_at": now if answered else None,
            }
        )
        if facts.salvaged:
            self._add(_CALL_EVENTS, call_id=page.id, at=now, kind=CallEventKind.SALVAGED.value, data={})
        if facts.damage:
            data: dict[str, Json] = {"reason": facts.damage}
            self._alarm(page, AlarmKind.RECORDING_DAMAGED, Severity.CRITICAL, at=now, data=data)
        self._tell(page, EventKind.RECORDING_SEALED, at=now)

    def unrecorded(self, call_id: str, now: datetime) -> None:
        """The call ended without any media: there is nothing to transcribe."""
        page = self._recorded(call_id)
        if page.recording == "open":
            page.recording = "none"
            self._unrecorded.append({"page": page.id})
            self._tell(page, EventKind.RECORDING_SEALED, at=now)

    def write(self) -> None:
        """Lay everything down, a statement for each table."""
        for call_id, values in self._arrived.items():
            values.update(_changing(self._pages[call_id]))
        execute = self._session.execute
        if self._arrived:
            execute(insert(_CALLS), list(self._arrived.values()))
            execute(insert(_RECORDINGS), [{"call_id": call_id, "state": "open"} for call_id in self._arrived])
        turned = [
            {"page": page.id, **_changing(page)} for page in self._turned.values() if page.id not in self._arrived
        ]
        for statement, rows in ((_TURN, turned), (_NO_RECORDING, self._unrecorded), (_SEAL, self._sealed)):
            if rows:
                self._session.connection().execute(statement, rows)
        for table, added in self._added.items():
            if added:
                execute(insert(table), added)
                added.clear()
        self._write_entries()
        for step in self._afterwards:
            step()
        for done in (self._arrived, self._turned, self._sealed, self._unrecorded, self._afterwards):
            done.clear()

    def _write_entries(self) -> None:
        if not self._entries:
            return
        adding = insert(_ENTRIES).returning(_ENTRIES.c.id, sort_by_parameter_order=True)
        ids = self._session.scalars(adding, [values for values, _ in self._entries])
        for entry_id, (_, event) in zip(ids, self._entries, strict=True):
            event["entry_id"] = entry_id
        self._entries.clear()

    def _page(self, call_id: str) -> Page:
        if call_id not in self._pages:
            self.expect([call_id])
        page = self._pages.get(call_id)
        if page is None:
            raise NotFound("call_not_found", call_id=call_id)
        return page

    def _recorded(self, call_id: str) -> Page:
        if call_id not in self._pages:
            self.expect([call_id])
        page = self._pages.get(call_id)
        if page is None or page.recording is None:
            raise NotFound("recording_not_found", call_id=call_id)
        return page

    def _line(self, number: str) -> tuple[int, int]:
        if number not in self._lines:
            query = select(LineRow.id, LineRow.unit_id).where(LineRow.number == number)
            found = self._session.execute(query).first()
            if found is None:
                raise NotFound("line_not_found", number=number)
            self._lines[number] = (found.id, found.unit_id)
        return self._lines[number]

    def _add(self, table: Table, **values: Any) -> None:
        self._added[table].append(values)

    def _tell(
        self,
        page: Page,
        kind: EventKind = EventKind.CALL_CHANGED,
        *,
        at: datetime,
        data: Mapping[str, Json] | None = None,
    ) -> _Values:
        return tell(self._session, kind, at=at, unit_id=page.unit_id, call_id=page.id, data=data)

    def _alarm(
        self,
        page: Page,
        kind: AlarmKind,
        severity: Severity,
        *,
        at: datetime,
        data: Mapping[str, Json],
        subject: str = "",
    ) -> None:
        """Alarms point at the call's row, which has to be there first."""

        def raised() -> None:
            raise_alarm(
                self._session,
                kind,
                severity,
                at=at,
                unit_id=page.unit_id,
                call_id=page.id,
                subject=subject,
                data=data,
            )

        self._afterwards.append(raised)

    def _name_other_side(self, page: Page, happening: CallHappening) -> None:
        """A recording client may say only later who is in the call; what the row says already stays."""
        number = signalled(str(happening.data.get("other_number", "")), 120)
        if page.direction != Direction.INBOUND.value or page.caller_number or not number:
            return
        self.write()
        normalised = normalise(number, self._plan)
        page.caller_number, page.contact_id = number, match_id(self._session, normalised)
        row = self._session.get_one(CallRow, page.id)
        row.caller_number, row.caller_normalised, row.contact_id = number, normalised[:60], page.contact_id
        row.caller_display = row.caller_display or signalled(str(happening.data.get("other_name", "")))
        self._session.flush()

    def _link_sessions(self, new: NewCall, line_id: int) -> None:
        """A recording client that lost us forks the same call again, by the same id: each part of it names the
        other."""
        self.write()
        query = select(CallRow.id).where(
            CallRow.recording_session == new.recording_session,
            CallRow.line_id == line_id,
            CallRow.id != new.call_id,
            CallRow.arrived_at > new.arrived_at - SAME_SESSION,
        )
        earlier = self._session.scalars(query.order_by(CallRow.arrived_at.desc())).first()
        if earlier is None:
            return
        kind = CallEventKind.CONTINUED.value
        for call_id, other, part in ((new.call_id, earlier, "earlier"), (earlier, new.call_id, "later")):
            self._add(_CALL_EVENTS, call_id=call_id, at=new.arrived_at, kind=kind, data={"call": other, "part": part})

    def _start_entry(self, page: Page) -> None:
        """A draft for every call that is duty business, from the moment it is answered: officers write while they
        talk."""
        if page.purpose != Purpose.DUTY.value:
            return
        created_at = page.answered_at or page.arrived_at
        values: _Values = {
            "unit_id": page.unit_id,
            "call_id": page.id,
            "state": "draft",
            "created_at": created_at,
            "caller_phone": page.caller_number if page.direction == "inbound" else page.callee_number,
            "category": (Category.FAX if page.fax else Category.ROUTINE).value,
            **self._caller(page.contact_id),
        }
        event = self._tell(page, EventKind.ENTRY_CHANGED, at=created_at)
        self._entries.append((values, event))

    def _call_it_fax(self, page: Page, at: datetime) -> None:
        """The entry of a call in which a fax was recognised says so, unless an officer has written in it."""
        known, page.fax = page.fax, True
        if known or page.answered_at is None:
            return
        fits = (_ENTRIES.c.call_id == page.id) & (_ENTRIES.c.category == Category.ROUTINE.value) & ~_ENTRIES.c.touched
        change = update(_ENTRIES).where(fits).values(category=Category.FAX.value, version=_ENTRIES.c.version + 1)
        event = self._tell(page, EventKind.ENTRY_CHANGED, at=at)
        self._afterwards.append(lambda: event.update(entry_id=self._changed_entry(change)))

    def _changed_entry(self, change: Update) -> int | None:
        return self._session.scalars(change.returning(_ENTRIES.c.id)).first()

    def _caller(self, contact_id: int | None) -> dict[str, str]:
        """What the directory knows of the caller."""
        found = None
        if contact_id is not None:
            query = select(_CONTACTS.c.organisation, _CONTACTS.c.name, _CONTACTS.c.title)
            found = self._session.execute(query.where(_CONTACTS.c.id == contact_id)).first()
        unit, name, title = found or ("", "", "")
        return {"caller_unit": unit, "caller_name": name, "caller_title": title}

    def _ended(self, page: Page, happening: CallHappening) -> None:
        outcome, at = happening.outcome or Outcome.FAILED, happening.at
        if outcome is Outcome.ANSWERED and page.answered_at is None:
            raise BrokenState("call_outcome", outcome=outcome)
        page.outcome, page.ended_at = outcome.value, at
        page.end_reason = signalled(str(happening.data.get("reason", "")))
        if page.command_id is not None:
            command_id = page.command_id
            self._afterwards.append(lambda: _finish_command(self._session, command_id, at, outcome.value))
        duty = page.direction == "inbound" and page.purpose == Purpose.DUTY.value
        if duty and page.answered_at is None and outcome.needs_follow_up:
            self._add(_PENDING, unit_id=page.unit_id, kind="missed_call", call_id=page.id, created_at=at)
            self._tell(page, EventKind.PENDING_CHANGED, at=at)
            self._alarm(
                page,
                AlarmKind.CALL_MISSED,
                Severity.WARNING,
                at=at,
                subject=page.caller_number[:120],
                data={"outcome": outcome.value},
            )


def _changing(page: Page) -> _Values:
    return {name: getattr(page, name) for name in _CHANGING}


def _finish_command(session: Session, command_id: int, at: datetime, result: str) -> None:
    command = session.get(CommandRow, command_id)
    if command is not None and command.finished_at is None:
        command.state = "done"
        command.result = result
        command.finished_at = at
