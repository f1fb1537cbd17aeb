"""Taking a recording that no row names into the book, say after the database was restored from an older copy: its call,
its ending and the recording together, marked as adopted (requirement 6.1-d)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select

from duty.domain.calls import CallEventKind, CallHappening, CallState, NewCall, Outcome, RecordingFacts
from duty.domain.numbers import NumberPlan
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.callbook import CallBook
from duty.services.recordings import Recordings
from duty.store.database import Store
from duty.store.tables import CallEventRow, CallRow, LineRow, RecordingRow

END_REASON = "adopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCall:
    """A call as its recording tells it. ``answered_at`` is None where nobody was heard to answer."""

    new: NewCall
    answered_at: datetime | None
    ended_at: datetime


class Adoption:
    """Each step is a committed transaction that may be repeated; a process killed in between goes on at the next."""

    def __init__(self, store: Store, clock: Clock, plan: NumberPlan) -> None:
        self._store = store
        self._clock = clock
        self._calls = CallBook(store, clock, plan)
        self._recordings = Recordings(store, clock)

    def adopt(self, found: FoundCall, facts: RecordingFacts) -> bool:
        """Book what was found; False where the book has another recording of the call, which stays as it is. Raises
        NotFound where there is no line."""
        call_id = found.new.call_id
        state, recording = self._known(call_id)
        if state is None:
            self._calls.open_call(self._on_a_line(found.new))
            state = CallState.ARRIVED.value
        elif recording == "":
            with self._store.writing() as session:
                session.add(RecordingRow(call_id=call_id, state="open"))
        elif recording not in ("open", "none"):
            return False
        if found.answered_at is not None and state in (CallState.ARRIVED.value, CallState.QUEUED.value):
            self._happened(call_id, CallEventKind.ANSWERED, found.answered_at)
        if state != CallState.ENDED.value:
            self._happened(call_id, CallEventKind.ENDED, found.ended_at, Outcome.INTERRUPTED)
        with self._store.writing() as session:
            now = self._clock()
            session.add(CallEventRow(call_id=call_id, at=now, kind=CallEventKind.ADOPTED.value, data={}))
            note(session, at=now, actor=None, action="adopt_recording", subject=f"call:{call_id}")
        self._recordings.seal(facts)
        return True

    def _known(self, call_id: str) -> tuple[str | None, str]:
        """The state of the call, None for one that is not in the book, and that of its recording, empty for no row."""
        with self._store.reading() as session:
            call, recording = session.get(CallRow, call_id), session.get(RecordingRow, call_id)
            return call.state if call else None, recording.state if recording else ""

    def _on_a_line(self, new: NewCall) -> NewCall:
        """On its own line, or where that is no longer here on the first."""
        with self._store.reading() as session:
            numbers = list(session.scalars(select(LineRow.number).order_by(LineRow.id)))
        return new if new.line_number in numbers or not numbers else replace(new, line_number=numbers[0])

    def _happened(self, call_id: str, kind: CallEventKind, at: datetime, outcome: Outcome | None = None) -> None:
        data: dict[str, str | int | float | bool | None] = {"reason": END_REASON} if outcome else {}
        self._calls.record(CallHappening(call_id=call_id, kind=kind, at=at, outcome=outcome, data=data))
