"""Looking at calls: the desk's present ones, the list, one in full, and the supervisor's review (requirement 6.1-a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select

from duty.domain.calls import CallEventKind, CallState, Direction, Outcome
from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable, signalled
from duty.domain.times import SHANGHAI, Clock
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.sealedtexts import under_secrecy
from duty.services.withheld import withhold
from duty.store.database import Store
from duty.store.tables import (
    CallEventRow,
    CallLegRow,
    CallRow,
    ContactRow,
    DraftRow,
    EntryRow,
    OfficerRow,
    PendingRow,
    RecordingRow,
    TranscriptRow,
    UnitRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """What a list of calls shows. Dates are days in Shanghai, both included."""

    direction: Direction | None = None
    outcome: Outcome | None = None
    words: str = ""
    since: date | None = None
    until: date | None = None
    flagged: bool = False
    unit_id: int | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDossier:
    """Everything the call page shows of one call."""

    call: CallRow
    unit: UnitRow
    events: list[CallEventRow]
    recording: RecordingRow | None
    transcripts: list[TranscriptRow]
    draft: DraftRow | None
    entries: list[EntryRow]
    legs: list[CallLegRow] = field(default_factory=list)
    under_secrecy: bool = False
    """Then transcripts and draft are left out here, whoever asks (6.5-a)."""

    @property
    def transcript(self) -> TranscriptRow | None:
        """The version that was chosen: the first one, until an officer chooses another."""
        chosen = self.recording.chosen_transcript if self.recording is not None else None
        return next((row for row in self.transcripts if row.id == chosen), None)


_HOLDING = (CallEventKind.HELD.value, CallEventKind.RESUMED.value)


class CallReview:
    """Reading side of the book of calls."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def present(self, actor: Actor) -> list[CallRow]:
        """Calls that live now, oldest first."""
        scope = actor.unit_scope(Right.SEE_DESK)
        query = select(CallRow).where(CallRow.state != CallState.ENDED.value).order_by(CallRow.arrived_at)
        if scope is not None:
            query = query.where(CallRow.unit_id == scope)
        with self._store.reading() as session:
            return list(session.scalars(query).unique())

    def holders(self, call_ids: Sequence[str]) -> dict[str, list[str]]:
        """Who has put a call on hold now: the speakers by call, for calls that the person was shown already."""
        query = (
            select(CallEventRow)
            .where(CallEventRow.call_id.in_(call_ids), CallEventRow.kind.in_(_HOLDING))
            .order_by(CallEventRow.id)
        )
        holding: dict[str, dict[str, bool]] = {}
        with self._store.reading() as session:
            for event in session.scalars(query):
                sides = holding.setdefault(event.call_id, {})
                sides[str(event.data.get("by", ""))] = event.kind == CallEventKind.HELD.value
        return {call_id: sorted(by for by, held in sides.items() if held) for call_id, sides in holding.items()}

    def page(self, actor: Actor, wanted: CallFilter) -> list[CallRow]:
        """Calls newest first."""
        query = self._filtered(actor, wanted).order_by(CallRow.arrived_at.desc(), CallRow.id)
        with self._store.reading() as session:
            return list(session.scalars(query.limit(wanted.limit).offset(wanted.offset)).unique())

    def count(self, actor: Actor, wanted: CallFilter) -> int:
        """How many calls the filter finds in all."""
        found = self._filtered(actor, wanted).with_only_columns(CallRow.id)
        with self._store.reading() as session:
            return session.scalar(select(func.count()).select_from(found.subquery())) or 0

    def outcomes(self, actor: Actor, wanted: CallFilter) -> dict[str, int]:
        """Outcome to number of calls under the filter."""
        found = self._filtered(actor, wanted).with_only_columns(CallRow.outcome).subquery()
        query = select(found.c.outcome, func.count()).group_by(found.c.outcome)
        with self._store.reading() as session:
            return {outcome or "live": number for outcome, number in session.execute(query)}

    def dossier(self, actor: Actor, call_id: str) -> CallDossier:
        """One call in full. Raises NotFound, also for a call of a unit the person may not see."""
        with self._store.reading() as session:
            call = session.get(CallRow, call_id)
            if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
                raise NotFound("call_not_found", call_id=call_id)
            recording = session.get(RecordingRow, call_id)
            chosen = recording.chosen_transcript if recording is not None else None
            drafts = select(DraftRow).where(DraftRow.call_id == call_id, DraftRow.transcript_id == chosen)
            secret = under_secrecy(session, call_id) is not None
            entries = list(session.scalars(_of(EntryRow, call_id)))
            withhold(session, actor, entries, self._clock())
            return CallDossier(
                call=call,
                legs=list(session.scalars(_of(CallLegRow, call_id))),
                unit=session.get_one(UnitRow, call.unit_id),
                events=list(session.scalars(_of(CallEventRow, call_id))),
                recording=recording,
                transcripts=[] if secret else list(session.scalars(_of(TranscriptRow, call_id))),
                draft=None if secret else session.scalars(drafts.order_by(DraftRow.id.desc())).first(),
                entries=entries,
                under_secrecy=secret,
            )

    def listened(self, actor: Actor, call_id: str) -> RecordingRow:
        """The recording to play; that it was listened to is in the audit log. Raises NotFound, Forbidden."""
        with self._store.writing() as session:
            call = session.get(CallRow, call_id)
            recording = session.get(RecordingRow, call_id)
            if call is None or recording is None or not actor.may(Right.SEE_CALLS, call.unit_id):
                raise NotFound("recording_not_found", call_id=call_id)
            actor.require(Right.LISTEN, call.unit_id)
            if not recording.path:
                raise NotFound("recording_not_sealed", call_id=call_id)
            if under_secrecy(session, call_id) is not None:
                raise Refused("secrecy_not_opened")
            note(session, at=self._clock(), actor=actor, action="listen", subject=f"call:{call_id}")
            return recording

    def pending(self, actor: Actor) -> list[PendingRow]:
        """待办事项 still open, oldest first."""
        scope = actor.unit_scope(Right.SEE_DESK)
        query = select(PendingRow).where(PendingRow.done_at.is_(None)).order_by(PendingRow.id).limit(100)
        if scope is not None:
            query = query.where(PendingRow.unit_id == scope)
        with self._store.reading() as session:
            return list(session.scalars(query).unique())

    def settle(self, actor: Actor, pending_id: int, *, words: str) -> None:
        """A pending item is dealt with; ``words`` say how. Raises NotFound, Forbidden."""
        now = self._clock()
        refuse_unreadable(words)
        with self._store.writing() as session:
            row = session.get(PendingRow, pending_id)
            if row is None or not actor.may(Right.SEE_DESK, row.unit_id):
                raise NotFound("pending_not_found")
            actor.require(Right.EDIT_DRAFT, row.unit_id)
            if row.done_at is None:
                row.done_at, row.done_by, row.done_note = now, actor.officer_id, words.strip()
                note(session, at=now, actor=actor, action="settle_pending", subject=f"pending:{pending_id}")
                tell(session, EventKind.PENDING_CHANGED, at=now, unit_id=row.unit_id, call_id=row.call_id)

    def officer_names(self) -> dict[int, str]:
        """Officer id to name, for lists."""
        with self._store.reading() as session:
            return {row.id: row.name for row in session.scalars(select(OfficerRow))}

    def _filtered(self, actor: Actor, wanted: CallFilter) -> Select[CallRow]:
        scope = actor.unit_scope(Right.SEE_CALLS)
        query = select(CallRow)
        unit_id = scope if scope is not None else wanted.unit_id
        if unit_id is not None:
            query = query.where(CallRow.unit_id == unit_id)
        if wanted.direction is not None:
            query = query.where(CallRow.direction == wanted.direction.value)
        if wanted.outcome is not None:
            query = query.where(CallRow.outcome == wanted.outcome.value)
        if wanted.since is not None:
            query = query.where(CallRow.arrived_at >= _midnight(wanted.since))
        if wanted.until is not None:
            query = query.where(CallRow.arrived_at < _midnight(wanted.until + timedelta(days=1)))
        if wanted.flagged:
            flagged = select(CallEventRow.call_id).where(CallEventRow.kind.in_(("forward_blocked", "forward_marked")))
            query = query.where(CallRow.id.in_(flagged))
        for word in signalled(wanted.words).split():
            contacts = select(ContactRow.id).where(
                or_(
                    ContactRow.organisation.contains(word, autoescape=True),
                    ContactRow.name.contains(word, autoescape=True),
                )
            )
            query = query.where(
                or_(
                    CallRow.caller_number.contains(word, autoescape=True),
                    CallRow.callee_number.contains(word, autoescape=True),
                    CallRow.contact_id.in_(contacts),
                )
            )
        return query


def _of(table: Any, call_id: str) -> Any:
    return select(table).where(table.call_id == call_id).order_by(table.id)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)
