"""The book of calls: what telephony writes while a call lives. Each happening is on disk before the next step is taken
(requirement 6.1-a)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import select

from duty.domain.calls import CallEventKind, CallHappening, CallState, LegQuality, NewCall
from duty.domain.errors import NotFound
from duty.domain.happenings import AlarmKind, EventKind, Json, Severity
from duty.domain.numbers import NumberPlan
from duty.domain.texts import signalled
from duty.domain.times import Clock
from duty.services.alarms import raise_alarm
from duty.services.callpages import CallPages
from duty.services.evidence import NewEvidence, keep
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallEventRow, CallRow, LineRow


class CallBook:
    """Writing side of the book of calls. Every method is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, plan: NumberPlan) -> None:
        self._store = store
        self._clock = clock
        self._plan = plan

    @contextmanager
    def pages(self) -> Iterator[CallPages]:
        """Several works as one transaction, or as a part of the one that runs."""
        with self._store.writing() as session:
            pages = CallPages(session, self._plan)
            yield pages
            pages.write()

    def open_call(self, new: NewCall, *, command_id: int | None = None) -> None:
        """Write a call that has just arrived or is about to be dialled; returns when it is on disk.

        Raises NotFound when no line has ``new.line_number``.
        """
        with self.pages() as pages:
            pages.open(new, command_id=command_id)

    def record(self, happening: CallHappening) -> None:
        """Write one happening of a call and what follows from it. Raises NotFound, BrokenState."""
        with self.pages() as pages:
            pages.happened(happening)

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
        target = signalled(target)
        facts: dict[str, Json] = {"way": way, "target": target, "source": source, **(data or {})}
        with self._store.writing() as session:
            line = session.scalars(select(LineRow).where(LineRow.number == line_number)).first()
            unit_id = line.unit_id if line else None
            keep(
                session,
                NewEvidence(
                    call_id=call_id,
                    unit_id=unit_id,
                    line_number=line_number,
                    way=way,
                    target=target,
                    at=at,
                    source=source,
                    raw=raw,
                ),
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
        """Keep what was said of a call as it came, in the chain of evidence. Raises NotFound."""
        with self._store.writing() as session:
            call = session.get(CallRow, call_id)
            if call is None:
                raise NotFound("call_not_found", call_id=call_id)
            line_number = call.line.number
            keep(
                session,
                NewEvidence(
                    call_id=call_id, unit_id=call.unit_id, line_number=line_number, at=at, source=source, raw=raw
                ),
            )

    def rate_leg(self, quality: LegQuality) -> None:
        """Keep what one side's media were like. Raises NotFound."""
        with self.pages() as pages:
            pages.rate(quality)

    def unfinished(self, before: datetime) -> list[str]:
        """Calls that arrived before that instant and are still open, oldest first: what a killed process left."""
        query = (
            select(CallRow.id)
            .where(CallRow.state != CallState.ENDED.value, CallRow.arrived_at < before)
            .order_by(CallRow.arrived_at)
        )
        with self._store.reading() as session:
            return list(session.scalars(query))
