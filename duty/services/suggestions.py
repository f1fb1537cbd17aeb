"""Names that were probably misheard, kept beside the transcript, and what officers decide on them. A decision may be
changed, each is in the audit log, and none alters the transcript (requirements 6.2-b, 7.4-a).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.domain.vocabulary import Decision, Suggestion, WordClass
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import CallRow, OfficerRow, SegmentRow, SuggestionRow, TranscriptRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionView:
    """One suggestion: ``heard`` is what the transcript has at ``start_char:end_char`` of segment ``segment``."""

    suggestion_id: int
    segment: int
    start_char: int
    end_char: int
    heard: str
    word: str
    word_class: WordClass
    state: Decision
    decided_by: str
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a decision concerned: the call, the transcript, and the words on both sides."""

    call_id: str
    transcript_id: int
    segment: int
    heard: str
    word: str


def keep_suggestions(session: Session, transcript_id: int, found: Iterable[Suggestion]) -> None:
    """Write suggestions beside their transcript in the running transaction."""
    session.add_all(
        SuggestionRow(
            transcript_id=transcript_id,
            segment=each.segment,
            start_char=each.start_char,
            end_char=each.end_char,
            word=each.word,
            word_class=each.word_class.value,
            distance=each.distance,
            state=Decision.OPEN.value,
        )
        for each in found
    )


class Suggestions:
    """Reading and deciding."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def of_transcript(self, actor: Actor, transcript_id: int) -> list[SuggestionView]:
        """The suggestions for one transcript in order of speech; none for a call that the person may not see."""
        query = (
            select(SuggestionRow, SegmentRow.text)
            .join(
                SegmentRow,
                (SegmentRow.transcript_id == SuggestionRow.transcript_id)
                & (SegmentRow.ordinal == SuggestionRow.segment),
            )
            .where(SuggestionRow.transcript_id == transcript_id)
            .order_by(SuggestionRow.segment, SuggestionRow.start_char)
        )
        with self._store.reading() as session:
            call = session.scalars(select(CallRow).join(TranscriptRow).where(TranscriptRow.id == transcript_id)).first()
            if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
                return []
            people = {row.id: row.name for row in session.scalars(select(OfficerRow))}
            return [_view(row, text, people) for row, text in session.execute(query)]

    def decide(self, actor: Actor, suggestion_id: int, decision: Decision) -> Decided:
        """Accept or decline one, or take either back. Raises NotFound, Forbidden."""
        now = self._clock()
        with self._store.writing() as session:
            row = session.get(SuggestionRow, suggestion_id, with_for_update=True)
            transcript = session.get_one(TranscriptRow, row.transcript_id) if row is not None else None
            call = session.get_one(CallRow, transcript.call_id) if transcript is not None else None
            if row is None or call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
                raise NotFound("suggestion_not_found")
            actor.require(Right.EDIT_DRAFT, call.unit_id)
            at = SegmentRow.transcript_id == row.transcript_id, SegmentRow.ordinal == row.segment
            text = session.scalars(select(SegmentRow.text).where(*at)).first() or ""
            if row.state != decision.value:
                was, row.state = row.state, decision.value
                row.decided_by, row.decided_at = actor.officer_id, now
                note(
                    session,
                    at=now,
                    actor=actor,
                    action="decide_suggestion",
                    subject=f"suggestion:{row.id}",
                    data={"call": call.id, "decision": decision.value, "was": was},
                )
                tell(session, EventKind.WORDS_CHANGED, at=now, unit_id=call.unit_id, call_id=call.id)
            return Decided(
                call_id=call.id,
                transcript_id=row.transcript_id,
                segment=row.segment,
                heard=text[row.start_char : row.end_char],
                word=row.word,
            )


def _view(row: SuggestionRow, text: str, people: dict[int, str]) -> SuggestionView:
    return SuggestionView(
        suggestion_id=row.id,
        segment=row.segment,
        start_char=row.start_char,
        end_char=row.end_char,
        heard=text[row.start_char : row.end_char],
        word=row.word,
        word_class=WordClass(row.word_class),
        state=Decision(row.state),
        decided_by=people.get(row.decided_by or 0, ""),
        decided_at=row.decided_at,
    )
