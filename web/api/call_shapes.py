"""Calls, their recordings and transcripts as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from duty.domain.calls import CallState, Direction, Outcome
from duty.store.tables import (
    CallEventRow,
    CallRow,
    RecordingRow,
    TranscriptRow,
)
from web.api.entry_shapes import Entry
from web.api.shapes import Shape


class Call(Shape):
    """One call."""

    call_id: str
    unit_id: int
    line_number: str
    direction: Direction
    state: CallState
    outcome: Outcome | None
    caller_number: str
    caller_display: str
    callee_number: str
    trust: str
    contact_id: int | None
    maybe: str
    arrived_at: datetime
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    answered_by: str
    end_reason: str
    recording_state: str | None

    @classmethod
    def of(cls, row: CallRow) -> Call:
        """The call in a row; ``maybe`` is who the directory says it may be."""
        contact = row.contact
        return cls(
            call_id=row.id,
            unit_id=row.unit_id,
            line_number=row.line.number,
            direction=Direction(row.direction),
            state=CallState(row.state),
            outcome=Outcome(row.outcome) if row.outcome else None,
            caller_number=row.caller_number,
            caller_display=row.caller_display,
            callee_number=row.callee_number,
            trust=row.trust,
            contact_id=row.contact_id,
            maybe=" ".join(filter(None, (contact.organisation, contact.name, contact.title))) if contact else "",
            arrived_at=row.arrived_at,
            ringing_at=row.ringing_at,
            answered_at=row.answered_at,
            ended_at=row.ended_at,
            answered_by=row.answered_by,
            end_reason=row.end_reason,
            recording_state=row.recording.state if row.recording else None,
        )


class CallPage(Shape):
    """A page of calls, ``total`` under the filter."""

    total: int
    calls: list[Call]


class CallEvent(Shape):
    """One happening of a call."""

    at: datetime
    kind: str
    data: dict[str, Any]

    @classmethod
    def of(cls, row: CallEventRow) -> CallEvent:
        """The event in a row."""
        return cls(at=row.at, kind=row.kind, data=row.data)


class Recording(Shape):
    """The recording; its state is open, none, waiting, running, done, set_aside or kept. ``sha256`` is of the WAV, also
    when only its archive copy is left (``wav_released_at``) or nothing (``removed_at``)."""

    state: str
    seconds: float
    samples: int
    sha256: str
    gaps: list[Any]
    damage: str | None
    salvaged: bool
    progress: float
    last_error: str
    archive_sha256: str
    archived_at: datetime | None
    verified_at: datetime | None
    wav_released_at: datetime | None
    removed_at: datetime | None

    @classmethod
    def of(cls, row: RecordingRow) -> Recording:
        """The recording in a row; its place on the disk stays inside."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class Word(Shape):
    """One word with its times in seconds."""

    text: str
    start_s: float
    end_s: float
    confidence: float


class Segment(Shape):
    """One stretch of speech; ``speaker`` is caller or officer."""

    speaker: str
    start_s: float
    end_s: float
    text: str
    confidence: float
    words: list[Word]


class Transcript(Shape):
    """What one engine heard: a version. ``chosen``: the draft's proposals come from it."""

    id: int
    chosen: bool
    engine: str
    model: str
    model_sha256: str
    created_at: datetime
    audio_seconds: float
    decode_seconds: float
    segments: list[Segment]

    @classmethod
    def of(cls, row: TranscriptRow, *, chosen: bool) -> Transcript:
        """The transcript in a row."""
        return cls(
            id=row.id,
            chosen=chosen,
            engine=row.engine,
            model=row.model,
            model_sha256=row.model_sha256,
            created_at=row.created_at,
            audio_seconds=row.audio_seconds,
            decode_seconds=row.decode_seconds,
            segments=[
                Segment(
                    speaker=segment.speaker,
                    start_s=segment.start_s,
                    end_s=segment.end_s,
                    text=segment.text,
                    confidence=segment.confidence,
                    words=[
                        Word(text=text, start_s=start_s, end_s=end_s, confidence=confidence)
                        for text, start_s, end_s, confidence in segment.words
                    ],
                )
                for segment in row.segments
            ],
        )


class CallInFull(Shape):
    """A call with everything known of it; of one ``under_secrecy`` neither transcripts nor draft are told here."""

    call: Call
    events: list[CallEvent]
    recording: Recording | None
    transcripts: list[Transcript]
    draft: dict[str, Any] | None
    entries: list[Entry]
    under_secrecy: bool
