"""The shapes of the API. Instants are ISO 8601 with a zone, lengths seconds, telephone numbers as signalled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from duty.domain.calls import CallState, Direction, Outcome
from duty.domain.entries import Category, EntryContent, EntryState
from duty.domain.identity import Method, Verdict
from duty.domain.rights import Right, Role
from duty.services.directory import ContactView
from duty.services.lines import ComponentView
from duty.services.logbook import DutyObstacle, content_of, current_content
from duty.store.tables import (
    AlarmRow,
    CallEventRow,
    CallRow,
    EntryRow,
    OfficerRow,
    PendingRow,
    RecordingRow,
    TranscriptRow,
)


class Shape(BaseModel):
    """Unknown fields in a request are an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


class Problem(Shape):
    """Every refusal. ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    details: dict[str, Any]


class SignIn(Shape):
    """A credential."""

    login: str = Field(max_length=60)
    password: str = Field(max_length=500)


class Session(Shape):
    """The session. Send ``csrf_token`` as X-CSRF-Token with every request that changes something."""

    csrf_token: str
    officer_id: int
    name: str
    unit_id: int
    roles: list[Role]
    rights: list[Right]
    must_change_password: bool


class NewPassword(Shape):
    """Choosing a password."""

    old: str = Field(max_length=500)
    new: str = Field(max_length=500)


class Password(Shape):
    """The credential once more."""

    password: str = Field(max_length=500)


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
    """The recording; its state is open, none, waiting, running, done or set_aside."""

    state: str
    seconds: float
    samples: int
    sha256: str
    gaps: list[Any]
    damage: str | None
    salvaged: bool
    progress: float
    last_error: str

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
    """What one engine heard."""

    engine: str
    model: str
    model_sha256: str
    created_at: datetime
    audio_seconds: float
    decode_seconds: float
    segments: list[Segment]

    @classmethod
    def of(cls, row: TranscriptRow) -> Transcript:
        """The transcript in a row."""
        return cls(
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


class Content(Shape):
    """The text of an entry."""

    event_time: str
    place: str
    event: str
    caller_unit: str
    caller_name: str
    caller_title: str
    caller_phone: str
    casualties: str
    measures: str
    request: str
    category: Category
    remarks: str

    @classmethod
    def of(cls, content: EntryContent) -> Content:
        """The content as a shape."""
        return cls.model_validate(content.as_dict())


class Obstacle(Shape):
    """What keeps a draft from its number."""

    code: str
    field: str

    @classmethod
    def of(cls, obstacle: DutyObstacle) -> Obstacle:
        """The obstacle as a shape."""
        return cls(code=obstacle.code, field=obstacle.field)


class Check(Shape):
    """One identity check."""

    at: datetime
    method: Method
    verdict: Verdict
    note: str
    contact_id: int | None
    number_called: str
    officer_id: int


class Amendment(Shape):
    """One correction; ``changes`` map a field to its old and new text."""

    at: datetime
    officer_id: int
    reason: str
    changes: dict[str, list[str]]


class Entry(Shape):
    """One entry. ``content`` is as first written, ``current`` with every amendment; ``hash`` is its first link's."""

    entry_id: int
    unit_id: int
    call_id: str | None
    state: EntryState
    version: int
    number: str | None
    created_at: datetime
    finalized_at: datetime | None
    finalized_by: int | None
    repeated_back_at: datetime | None
    content: Content
    current: Content
    checks: list[Check]
    amendments: list[Amendment]

    @classmethod
    def of(cls, row: EntryRow) -> Entry:
        """The entry in a row."""
        return cls(
            entry_id=row.id,
            unit_id=row.unit_id,
            call_id=row.call_id,
            state=EntryState(row.state),
            version=row.version,
            number=row.number_text,
            created_at=row.created_at,
            finalized_at=row.finalized_at,
            finalized_by=row.finalized_by,
            repeated_back_at=row.repeated_back_at,
            content=Content.of(content_of(row)),
            current=Content.of(current_content(row)),
            checks=[
                Check(
                    at=check.at,
                    method=Method(check.method),
                    verdict=Verdict(check.verdict),
                    note=check.note,
                    contact_id=check.contact_id,
                    number_called=check.number_called,
                    officer_id=check.officer_id,
                )
                for check in row.checks
            ],
            amendments=[
                Amendment(
                    at=amendment.at,
                    officer_id=amendment.officer_id,
                    reason=amendment.reason,
                    changes=amendment.changes,
                )
                for amendment in row.amendments
            ],
        )


class EntryPage(Shape):
    """A page of the register."""

    total: int
    entries: list[Entry]


class EntryInFull(Shape):
    """An entry with its links' hashes and, for a draft, its obstacles."""

    entry: Entry
    hashes: list[str]
    obstacles: list[Obstacle]


class CallInFull(Shape):
    """A call with everything known of it."""

    call: Call
    events: list[CallEvent]
    recording: Recording | None
    transcripts: list[Transcript]
    draft: dict[str, Any] | None
    entries: list[Entry]


class EntryChange(Shape):
    """A correction of a draft; ``version`` is the one that was read."""

    version: int
    changes: dict[str, str]


class Finalize(Password):
    """Finalizing: the credential once more, and the version that was read."""

    version: int


class Amend(Shape):
    """A correction of a finalized entry."""

    changes: dict[str, str]
    reason: str = Field(max_length=4000)


class Void(Password):
    """Voiding a finalized entry."""

    reason: str = Field(max_length=4000)


class NewCheck(Shape):
    """An identity check to record."""

    method: Method
    verdict: Verdict
    note: str = Field("", max_length=4000)
    contact_id: int | None = None


class CallBack(Shape):
    """A number of the directory to call."""

    number_id: int


class CallBackState(Shape):
    """How far a call-back has come."""

    command_id: int
    stage: str
    result: str
    call_id: str | None
    answered: bool


class Contact(Shape):
    """A contact; restricted numbers are masked unless revealed."""

    contact_id: int
    organisation: str
    name: str
    title: str
    superior: bool
    restricted: bool
    numbers: list[str]
    challenge: str

    @classmethod
    def of(cls, view: ContactView) -> Contact:
        """The contact as a person may see it."""
        return cls(
            **{name: getattr(view, name) for name in cls.model_fields if name != "numbers"}, numbers=list(view.numbers)
        )


class ContactInput(Shape):
    """A contact to add."""

    organisation: str = Field("", max_length=200)
    name: str = Field("", max_length=100)
    title: str = Field("", max_length=100)
    numbers: list[str] = Field(default_factory=list, max_length=20)
    superior: bool = False
    restricted: bool = False
    challenge: str = Field("", max_length=400)
    challenge_answer: str = Field("", max_length=400)


class Alarm(Shape):
    """An alarm nobody has acknowledged yet."""

    alarm_id: int
    kind: str
    severity: str
    subject: str
    call_id: str | None
    raised_at: datetime
    cleared_at: datetime | None
    data: dict[str, Any]

    @classmethod
    def of(cls, row: AlarmRow) -> Alarm:
        """The alarm in a row."""
        return cls(alarm_id=row.id, **{name: getattr(row, name) for name in cls.model_fields if name != "alarm_id"})


class Pending(Shape):
    """A pending item."""

    pending_id: int
    kind: str
    call_id: str | None
    text: str
    created_at: datetime

    @classmethod
    def of(cls, row: PendingRow) -> Pending:
        """The item in a row."""
        return cls(pending_id=row.id, kind=row.kind, call_id=row.call_id, text=row.text, created_at=row.created_at)


class Settle(Shape):
    """How a pending item was dealt with."""

    words: str = Field("", max_length=1000)


class Component(Shape):
    """The state of a phone or trunk."""

    line_number: str
    line_name: str
    unit_id: int
    kind: str
    name: str
    state: str
    reason: str
    since: datetime

    @classmethod
    def of(cls, view: ComponentView) -> Component:
        """The component as a shape."""
        return cls(**{name: getattr(view, name) for name in cls.model_fields})


class Officer(Shape):
    """An account."""

    officer_id: int
    login: str
    name: str
    title: str
    unit_id: int
    roles: list[Role]
    active: bool

    @classmethod
    def of(cls, row: OfficerRow) -> Officer:
        """The account in a row; the hash of its password stays inside."""
        return cls(
            officer_id=row.id,
            login=row.login,
            name=row.name,
            title=row.title,
            unit_id=row.unit_id,
            roles=[Role(role) for role in row.roles],
            active=row.active,
        )


class Created(Shape):
    """The id of what was made."""

    id: int
