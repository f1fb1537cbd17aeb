"""值班登记簿: drafts become numbered, chained entries; corrections are amendments (6.1-c, 6.2-b, 6.2-c)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, selectinload

from duty.domain.chain import Canonical, LinkKind, forge
from duty.domain.entries import EntryContent, EntryRules, EntryState, NumberStyle
from duty.domain.errors import Conflict, NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.identity import CheckResult, Method, Verdict, suffices
from duty.domain.numbers import NumberPlan, normalise, same_subscriber
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable, signalled
from duty.domain.times import SHANGHAI, Clock, to_text, year_of
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.withheld import is_withheld, waits_for_key, withheld_among, withhold
from duty.store.database import Store
from duty.store.tables import (
    AmendmentRow,
    BookRow,
    CallRow,
    ChainLinkRow,
    ContactRow,
    EntryRow,
    IdentityCheckRow,
    RecordingRow,
    UnitRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """What the register shows. Dates are days in Shanghai, both included."""

    state: EntryState | None = None
    words: str = ""
    since: date | None = None
    until: date | None = None
    limit: int = 100
    offset: int = 0


class Logbook:
    """Use cases of the logbook. Every method that writes is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, *, rules: EntryRules, plan: NumberPlan) -> None:
        self._store = store
        self._clock = clock
        self._rules = rules
        self._plan = plan

    @property
    def rules(self) -> EntryRules:
        """What this unit asks of an entry."""
        return self._rules

    def entry(self, actor: Actor, entry_id: int) -> EntryRow:
        """One entry with its checks, amendments and links. Raises NotFound, Forbidden."""
        with self._store.reading() as session:
            row = session.get(
                EntryRow,
                entry_id,
                options=[
                    selectinload(EntryRow.links),
                    selectinload(EntryRow.finalizer),
                    selectinload(EntryRow.call),
                ],
            )
            seen = _seen(actor, row)
            withhold(session, actor, [seen], self._clock())
            return seen

    def entries_of_call(self, actor: Actor, call_id: str) -> list[EntryRow]:
        """The entries written about one call, oldest first."""
        scope = actor.unit_scope(Right.SEE_LOGBOOK)
        query = select(EntryRow).where(EntryRow.call_id == call_id).order_by(EntryRow.id)
        if scope is not None:
            query = query.where(EntryRow.unit_id == scope)
        with self._store.reading() as session:
            rows = list(session.scalars(query))
            withhold(session, actor, rows, self._clock())
            return rows

    def register(self, actor: Actor, wanted: EntryFilter) -> list[EntryRow]:
        """Entries newest first: finalized ones by number, drafts by creation."""
        query = self._filtered(actor, wanted).order_by(EntryRow.created_at.desc(), EntryRow.id.desc())
        query = query.options(selectinload(EntryRow.finalizer), selectinload(EntryRow.call))
        with self._store.reading() as session:
            rows = list(session.scalars(query.limit(wanted.limit).offset(wanted.offset)))
            withhold(session, actor, rows, self._clock())
            return rows

    def withheld(self, row: EntryRow) -> bool:
        """Whether the entry's text came before its call was put under secrecy, and so may not leave the house."""
        with self._store.reading() as session:
            return bool(withheld_among(session, [row]))

    def count(self, actor: Actor, wanted: EntryFilter) -> int:
        """How many entries the filter finds in all."""
        with self._store.reading() as session:
            return session.scalar(select(func.count()).select_from(self._filtered(actor, wanted).subquery())) or 0

    def open_for_call(self, actor: Actor, call_id: str) -> int:
        """Start an entry for a call that has none, e.g. a missed one called back. Raises NotFound, Forbidden."""
        now = self._clock()
        with self._store.writing() as session:
            call = session.get(CallRow, call_id)
            if call is None:
                raise NotFound("call_not_found", call_id=call_id)
            actor.require(Right.EDIT_DRAFT, call.unit_id)
            row = EntryRow(
                unit_id=call.unit_id,
                call_id=call.id,
                state=EntryState.DRAFT.value,
                created_at=now,
                created_by=actor.officer_id,
                caller_phone=call.caller_number if call.direction == "inbound" else call.callee_number,
            )
            return self._started(session, actor, row)

    def open_blank(self, actor: Actor) -> int:
        """Start an entry without a call, e.g. for a visitor. Raises Forbidden."""
        actor.require(Right.EDIT_DRAFT, actor.unit_id)
        with self._store.writing() as session:
            row = EntryRow(
                unit_id=actor.unit_id,
                state=EntryState.DRAFT.value,
                created_at=self._clock(),
                created_by=actor.officer_id,
            )
            return self._started(session, actor, row)

    def _started(self, session: Session, actor: Actor, row: EntryRow) -> int:
        session.add(row)
        session.flush()
        note(session, at=row.created_at, actor=actor, action="open_entry", subject=f"entry:{row.id}")
        self._changed(session, row)
        return row.id

    def edit(self, actor: Actor, entry_id: int, changes: Mapping[str, str], *, version: int) -> int:
        """Correct a draft; returns its new version. ``version`` is the one the officer saw.

        Raises Conflict when somebody else wrote in between, Refused once the entry is finalized.
        """
        with self._store.writing() as session:
            row = self._draft(session, actor, entry_id, Right.EDIT_DRAFT)
            if row.version != version:
                raise Conflict("entry_changed_meanwhile", version=row.version)
            for name, value in content_of(row).changed(changes).as_dict().items():
                setattr(row, name, value)
            row.touched, row.version = True, row.version + 1
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="edit_draft",
                subject=f"entry:{row.id}",
                data={"fields": ",".join(sorted(changes))},
            )
            self._changed(session, row)
            return row.version

    def repeat_back(self, actor: Actor, entry_id: int) -> None:
        """复述确认: the officer has read the facts back to the caller."""
        with self._store.writing() as session:
            row = self._draft(session, actor, entry_id, Right.EDIT_DRAFT)
            row.repeated_back_at = self._clock()
            note(session, at=self._clock(), actor=actor, action="repeat_back", subject=f"entry:{row.id}")
            self._changed(session, row)

    def check_identity(self, actor: Actor, entry_id: int, result: CheckResult) -> None:
        """身份核实: record one check of the caller. A call-back counts as verified only when the book shows an answered
        outgoing call to a number of the directory's contact after the caller's call began (requirement 6.1-c).

        Raises Refused when what the method needs is missing, NotFound for an unknown contact.
        """
        result = result.validated()
        now = self._clock()
        with self._store.writing() as session:
            row = self._draft(session, actor, entry_id, Right.CHECK_IDENTITY)
            call_id, number = None, result.number_called
            if result.contact_id is not None and session.get(ContactRow, result.contact_id) is None:
                raise NotFound("contact_not_found")
            if result.method is Method.DIRECTORY and result.verdict is Verdict.VERIFIED:
                self._number_matches(session, row, result.contact_id)
            if result.method is Method.CALL_BACK and result.verdict is Verdict.VERIFIED:
                call_id, number = self._called_back(session, row, result.contact_id)
            session.add(
                IdentityCheckRow(
                    entry_id=row.id,
                    method=result.method.value,
                    verdict=result.verdict.value,
                    note=result.note.strip(),
                    contact_id=result.contact_id,
                    number_called=number,
                    call_id=call_id,
                    officer_id=actor.officer_id,
                    at=now,
                )
            )
            note(
                session,
                at=now,
                actor=actor,
                action="check_identity",
                subject=f"entry:{row.id}",
                data={"method": result.method.value, "verdict": result.verdict.value},
            )
            self._changed(session, row)

    def obstacles(self, row: EntryRow) -> list[DutyObstacle]:
        """What still stands between this draft and its number; empty when it may be finalized."""
        with self._store.reading() as session:
            return self._obstacles(session, row)

    def _obstacles(self, session: Session, row: EntryRow) -> list[DutyObstacle]:
        content = content_of(row)
        found = [DutyObstacle(code="entry_field_missing", field=name) for name in self._rules.missing(content)]
        if self._rules.is_important(content) and not suffices(Verdict(check.verdict) for check in row.checks):
            found.append(DutyObstacle(code="identity_unchecked"))
        if _being_recorded(session, row):
            found.append(DutyObstacle(code="recording_unsealed"))
        if row.call_id is not None and waits_for_key(session, row.call_id):
            found.append(DutyObstacle(code="secrecy_unsealed"))
        return found

    def finalize(self, actor: Actor, entry_id: int, *, version: int) -> EntryRow:
        """定稿: give the next number of the unit's year and link the entry into the chain.

        The caller has confirmed the officer's credential. Raises Refused with what is missing, Conflict when somebody
        else wrote in between.
        """
        now = self._clock()
        with self._store.writing() as session:
            row = self._draft(session, actor, entry_id, Right.FINALIZE)
            if row.version != version:
                raise Conflict("entry_changed_meanwhile", version=row.version)
            if obstacles := self._obstacles(session, row):
                raise Refused(obstacles[0].code, field=obstacles[0].field)
            book = _locked_book(session, row.unit_id)
            year = year_of(now)
            number = _last_number(session, row.unit_id, year) + 1
            unit = session.get_one(UnitRow, row.unit_id)
            row.state, row.year, row.number = EntryState.FINALIZED.value, year, number
            row.number_text = NumberStyle(pattern=unit.number_pattern).text(year=year, number=number)
            row.finalized_at, row.finalized_by = now, actor.officer_id
            record = _finalized_record(session, row, unit, actor)
            _link(session, book, row, LinkKind.FINALIZE, now, record)
            note(
                session,
                at=now,
                actor=actor,
                action="finalize",
                subject=f"entry:{row.id}",
                data={"number": row.number_text},
            )
            self._changed(session, row)
        return self.entry(actor, entry_id)

    def amend(self, actor: Actor, entry_id: int, changes: Mapping[str, str], *, reason: str) -> None:
        """更正: say what replaces a finalized text and why; the first text stays. Raises Refused without a reason or
        without a change."""
        now = self._clock()
        with self._store.writing() as session:
            row = self._finalized(session, actor, entry_id)
            refuse_unreadable(reason)
            before = current_content(row)
            after = before.changed(changes).as_dict()
            changed = {name: [old, after[name]] for name, old in before.as_dict().items() if after[name] != old}
            if not reason.strip():
                raise Refused("amendment_reason_missing")
            if not changed:
                raise Refused("amendment_empty")
            session.add(
                AmendmentRow(
                    entry_id=row.id,
                    changes=changed,
                    reason=reason.strip(),
                    officer_id=actor.officer_id,
                    at=now,
                )
            )
            book = _locked_book(session, row.unit_id)
            record: dict[str, Canonical] = {
                **_subject(row, LinkKind.AMEND, actor, now),
                "changes": changed,
                "reason": reason.strip(),
            }
            _link(session, book, row, LinkKind.AMEND, now, record)
            note(session, at=now, actor=actor, action="amend", subject=f"entry:{row.id}")
            self._changed(session, row)

    def void(self, actor: Actor, entry_id: int, *, reason: str) -> None:
        """作废: the entry and its number stay, marked void with the reason. Raises Refused without one."""
        now = self._clock()
        with self._store.writing() as session:
            row = self._finalized(session, actor, entry_id)
            refuse_unreadable(reason)
            if not reason.strip():
                raise Refused("void_reason_missing")
            row.state = EntryState.VOIDED.value
            book = _locked_book(session, row.unit_id)
            record: dict[str, Canonical] = {
                **_subject(row, LinkKind.VOID, actor, now),
                "reason": reason.strip(),
            }
            _link(session, book, row, LinkKind.VOID, now, record)
            note(session, at=now, actor=actor, action="void", subject=f"entry:{row.id}")
            self._changed(session, row)

    def _filtered(self, actor: Actor, wanted: EntryFilter) -> Select[EntryRow]:
        scope = actor.unit_scope(Right.SEE_LOGBOOK)
        query = select(EntryRow)
        if scope is not None:
            query = query.where(EntryRow.unit_id == scope)
        if wanted.state is not None:
            query = query.where(EntryRow.state == wanted.state.value)
        if wanted.since is not None:
            query = query.where(EntryRow.created_at >= datetime.combine(wanted.since, time(), SHANGHAI))
        if wanted.until is not None:
            end = datetime.combine(wanted.until + timedelta(days=1), time(), SHANGHAI)
            query = query.where(EntryRow.created_at < end)
        if wanted.words.strip():
            query = query.where(~is_withheld())
        for word in signalled(wanted.words).split():
            columns = (
                EntryRow.event,
                EntryRow.place,
                EntryRow.caller_unit,
                EntryRow.caller_name,
                EntryRow.number_text,
            )
            query = query.where(or_(*(column.contains(word, autoescape=True) for column in columns)))
        return query

    def _draft(self, session: Session, actor: Actor, entry_id: int, right: Right) -> EntryRow:
        row = _seen(actor, session.get(EntryRow, entry_id, with_for_update={"of": EntryRow}))
        actor.require(right, row.unit_id)
        if row.state != EntryState.DRAFT.value:
            raise Refused("entry_finalized")
        return row

    def _finalized(self, session: Session, actor: Actor, entry_id: int) -> EntryRow:
        row = _seen(actor, session.get(EntryRow, entry_id, with_for_update={"of": EntryRow}))
        actor.require(Right.AMEND, row.unit_id)
        if row.state != EntryState.FINALIZED.value:
            raise Refused("entry_not_finalized")
        return row

    def _number_matches(self, session: Session, row: EntryRow, contact_id: int | None) -> None:
        contact = session.get_one(ContactRow, contact_id)
        heard = normalise(row.caller_phone, self._plan)
        signalled = session.get_one(CallRow, row.call_id).caller_normalised if row.call_id else heard
        if not any(same_subscriber(number.normalised, signalled) for number in contact.numbers):
            raise Refused("identity_number_differs")

    def _called_back(self, session: Session, row: EntryRow, contact_id: int | None) -> tuple[str, str]:
        contact = session.get_one(ContactRow, contact_id)
        since = session.get_one(CallRow, row.call_id).arrived_at if row.call_id else row.created_at
        query = (
            select(CallRow)
            .where(
                CallRow.unit_id == row.unit_id,
                CallRow.direction == "outbound",
                CallRow.answered_at.is_not(None),
                CallRow.arrived_at >= since,
            )
            .order_by(CallRow.arrived_at.desc())
        )
        for call in session.scalars(query):
            for number in contact.numbers:
                if same_subscriber(number.normalised, call.caller_normalised):
                    return call.id, number.number
        raise Refused("identity_no_call_back")

    def _changed(self, session: Session, row: EntryRow) -> None:
        tell(
            session,
            EventKind.ENTRY_CHANGED,
            at=self._clock(),
            unit_id=row.unit_id,
            call_id=row.call_id,
            entry_id=row.id,
            data={"state": row.state},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyObstacle:
    """One thing that keeps a draft from its number; ``field`` names the form field where there is one."""

    code: str
    field: str = ""


def content_of(row: EntryRow) -> EntryContent:
    """The text columns of an entry as first written."""
    return EntryContent(**{name: getattr(row, name) for name in EntryContent().as_dict()})


def current_content(row: EntryRow) -> EntryContent:
    """The text as it stands after every amendment."""
    content = content_of(row)
    for amendment in row.amendments:
        content = content.changed({name: new for name, (_, new) in amendment.changes.items()})
    return content


def _seen(actor: Actor, row: EntryRow | None) -> EntryRow:
    """The row, or NotFound also where it belongs to a unit the person may not see."""
    if row is None or not actor.may(Right.SEE_LOGBOOK, row.unit_id):
        raise NotFound("entry_not_found")
    return row


def _being_recorded(session: Session, row: EntryRow) -> bool:
    """While its call goes on there is no recording yet whose hash the entry could carry."""
    recording = session.get(RecordingRow, row.call_id) if row.call_id else None
    return recording is not None and recording.state == "open"


def _locked_book(session: Session, unit_id: int) -> BookRow:
    return session.get_one(BookRow, unit_id, with_for_update=True)


def _last_number(session: Session, unit_id: int, year: int) -> int:
    query = select(func.max(EntryRow.number)).where(EntryRow.unit_id == unit_id, EntryRow.year == year)
    return session.scalar(query) or 0


def _subject(row: EntryRow, kind: LinkKind, actor: Actor, at: datetime) -> dict[str, Canonical]:
    return {
        "kind": kind.value,
        "entry": row.id,
        "year": row.year,
        "number": row.number,
        "number_text": row.number_text,
        "by": actor.name,
        "by_id": actor.officer_id,
        "at": to_text(at),
    }


def _finalized_record(session: Session, row: EntryRow, unit: UnitRow, actor: Actor) -> dict[str, Canonical]:
    at = row.finalized_at or row.created_at
    return {
        **_subject(row, LinkKind.FINALIZE, actor, at),
        "unit": unit.code,
        "content": content_of(row).as_dict(),
        "repeated_back_at": to_text(row.repeated_back_at) if row.repeated_back_at else None,
        "identity": [
            {
                "method": check.method,
                "verdict": check.verdict,
                "note": check.note,
                "number_called": check.number_called,
                "call": check.call_id,
                "by_id": check.officer_id,
                "at": to_text(check.at),
            }
            for check in row.checks
        ],
        "call": _call_record(session, row),
    }


def _call_record(session: Session, row: EntryRow) -> dict[str, Canonical] | None:
    if row.call_id is None:
        return None
    call = session.get_one(CallRow, row.call_id)
    recording = session.get(RecordingRow, row.call_id)
    return {
        "id": call.id,
        "direction": call.direction,
        "number": call.caller_number if call.direction == "inbound" else call.callee_number,
        "arrived_at": to_text(call.arrived_at),
        "answered_at": to_text(call.answered_at) if call.answered_at else None,
        "recording_sha256": recording.sha256 if recording else "",
    }


def _link(
    session: Session,
    book: BookRow,
    row: EntryRow,
    kind: LinkKind,
    at: datetime,
    record: Mapping[str, Canonical],
) -> None:
    link = forge(position=book.position + 1, previous=book.hash, record=record)
    session.add(
        ChainLinkRow(
            unit_id=row.unit_id,
            position=link.position,
            kind=kind.value,
            entry_id=row.id,
            at=at,
            payload=link.payload,
            previous=link.previous,
            hash=link.hash,
        )
    )
    book.position, book.hash = link.position, link.hash
