"""The tables. Rows of calls, call events, transcripts, links and audit are only ever added, never edited."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

RowId = BigInteger().with_variant(Integer, "sqlite")


class Instant(TypeDecorator[datetime]):
    """An instant kept in UTC: SQLite forgets zones, so they are taken off going in and put back coming out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC. Raises ValueError for one without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """The stored instant with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Root of the mapped rows; names every constraint so that migrations can alter them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Instant, dict[str, Any]: JSON, list[Any]: JSON, str: Text}  # noqa: RUF012


class UnitRow(Base):
    """单位: a node of the duty network (requirement 3-a)."""

    __tablename__ = "units"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str]
    room_name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    is_hub: Mapped[bool] = mapped_column(Boolean, default=False)
    number_pattern: Mapped[str]


class LineRow(Base):
    """值班专线: a number callers dial."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    number: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str]
    unit: Mapped[UnitRow] = relationship(lazy="joined")


class ComponentRow(Base):
    """The present state of one part of a line: a desk phone or the trunk (requirement 4-a)."""

    __tablename__ = "components"
    __table_args__ = (UniqueConstraint("line_id", "kind", "name"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text, default="")
    since: Mapped[datetime]
    bindings: Mapped[list[Any]] = mapped_column(JSON, default=list)


class HeartbeatRow(Base):
    """The last sign of life of a process; ``stopped_at`` where it ended on purpose."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    beat_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]


class OutageRow(Base):
    """A time in which a line was not served, written at the return; only ever added."""

    __tablename__ = "outages"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"), index=True)
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    stopped: Mapped[bool] = mapped_column(Boolean)
    on_outage: Mapped[str] = mapped_column(String(8))


class OfficerRow(Base):
    """A person who may sign in."""

    __tablename__ = "officers"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    login: Mapped[str] = mapped_column(String(60), unique=True)
    name: Mapped[str]
    title: Mapped[str] = mapped_column(Text, default="")
    password_hash: Mapped[str]
    pin_hash: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    roles: Mapped[list[Any]] = mapped_column(JSON)
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    must_change_password: Mapped[bool] = mapped_column(Boolean, default=False)
    failed_attempts: Mapped[int] = mapped_column(Integer, default=0)
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    unit: Mapped[UnitRow] = relationship(lazy="joined")


class SessionRow(Base):
    """One signed-in browser. Only the token's hash is kept."""

    __tablename__ = "sessions"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(80), default="")
    browser: Mapped[str] = mapped_column(Text, default="")
    officer: Mapped[OfficerRow] = relationship(lazy="joined")


class ContactRow(Base):
    """A person or desk of the directory (requirement 6.1-b)."""

    __tablename__ = "contacts"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"), index=True)
    organisation: Mapped[str]
    name: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    superior: Mapped[bool] = mapped_column(Boolean, default=False)
    restricted: Mapped[bool] = mapped_column(Boolean, default=False)
    challenge: Mapped[str] = mapped_column(Text, default="")
    challenge_answer: Mapped[str] = mapped_column(Text, default="")
    numbers: Mapped[list[ContactNumberRow]] = relationship(
        lazy="selectin", cascade="all, delete-orphan", order_by="ContactNumberRow.id"
    )


class ContactNumberRow(Base):
    """One number of a contact, as written and as matched."""

    __tablename__ = "contact_numbers"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), index=True)
    number: Mapped[str] = mapped_column(String(60))
    normalised: Mapped[str] = mapped_column(String(60), index=True)


class CallRow(Base):
    """来电/去电: one call on the line, whatever became of it (requirement 6.1-a)."""

    __tablename__ = "calls"
    __table_args__ = (
        Index("ix_calls_unit_arrived", "unit_id", "arrived_at"),
        Index("ix_calls_state", "state"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    direction: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(12))
    outcome: Mapped[str | None] = mapped_column(String(12))
    caller_number: Mapped[str] = mapped_column(String(120))
    caller_normalised: Mapped[str] = mapped_column(String(60), index=True)
    caller_display: Mapped[str] = mapped_column(Text, default="")
    callee_number: Mapped[str] = mapped_column(String(120))
    trust: Mapped[str] = mapped_column(String(12))
    purpose: Mapped[str] = mapped_column(String(12), default="duty", server_default=text("'duty'"))
    sip_call_id: Mapped[str] = mapped_column(String(255), index=True)
    source: Mapped[str] = mapped_column(String(80))
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contacts.id", ondelete="SET NULL"))
    arrived_at: Mapped[datetime]
    ringing_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    answered_by: Mapped[str] = mapped_column(String(80), default="")
    end_reason: Mapped[str] = mapped_column(Text, default="")
    command_id: Mapped[int | None] = mapped_column(ForeignKey("commands.id"))
    recording_session: Mapped[str | None] = mapped_column(String(255), index=True)
    line: Mapped[LineRow] = relationship(lazy="joined")
    contact: Mapped[ContactRow | None] = relationship(lazy="joined")
    recording: Mapped[RecordingRow | None] = relationship(lazy="joined", back_populates="call", uselist=False)


class CallEventRow(Base):
    """One happening of one call; only ever added."""

    __tablename__ = "call_events"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(24))
    data: Mapped[dict[str, Any]]


class CallLegRow(Base):
    """What the media of one side of one call were like, written when the call ends; only ever added."""

    __tablename__ = "call_legs"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    speaker: Mapped[str] = mapped_column(String(10))
    codec: Mapped[str] = mapped_column(String(16))
    packets: Mapped[int]
    lost: Mapped[int]
    jitter_ms: Mapped[float]
    round_trip_ms: Mapped[float | None]
    strays: Mapped[int]
    one_way: Mapped[bool]
    encryption: Mapped[str] = mapped_column(String(32), default="", server_default="")
    undeciphered: Mapped[int] = mapped_column(default=0, server_default="0")
    signalling: Mapped[str] = mapped_column(String(8), default="", server_default="")


class LineCheckRow(Base):
    """拨测 or 查岗: one probe call, from its order to its verdict and, where a person was blamed, the appeal."""

    __tablename__ = "line_checks"
    __table_args__ = (Index("ix_line_checks_due", "state", "due_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    kind: Mapped[str] = mapped_column(String(12))
    cause: Mapped[str] = mapped_column(String(12))
    state: Mapped[str] = mapped_column(String(12))
    token: Mapped[str] = mapped_column(String(16), default="")
    due_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    verdict: Mapped[str] = mapped_column(String(16), default="")
    reason: Mapped[str] = mapped_column(Text, default="")
    answer_s: Mapped[float | None]
    call_id: Mapped[str | None] = mapped_column(String(32))
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    ordered_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    evidence: Mapped[dict[str, Any]]
    appeal: Mapped[str] = mapped_column(Text, default="")
    appealed_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    appeal_upheld: Mapped[bool | None]
    line: Mapped[LineRow] = relationship(lazy="joined")


class ForwardExceptionRow(Base):
    """An approved exception to the ban on forwarding: for a stated time, asked by one person, approved by another."""

    __tablename__ = "forward_exceptions"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    way: Mapped[str] = mapped_column(String(24))
    target: Mapped[str] = mapped_column(String(120))
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    asked_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    asked_at: Mapped[datetime]
    approved_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    approved_at: Mapped[datetime | None]
    revoked_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    revoked_at: Mapped[datetime | None]
    line: Mapped[LineRow] = relationship(lazy="joined")


class EvidenceRow(Base):
    """The raw message behind a blocked forward (``way`` is the guard's), or what a recording client said of a call
    (``way`` empty); only ever added, and each row in the chain of evidence."""

    __tablename__ = "evidence"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id"), index=True)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), index=True)
    line_number: Mapped[str] = mapped_column(String(60), default="", server_default="")
    way: Mapped[str] = mapped_column(String(24), default="", server_default="")
    target: Mapped[str] = mapped_column(Text, default="", server_default="")
    at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(80))
    sha256: Mapped[str] = mapped_column(String(64))
    raw: Mapped[bytes] = mapped_column(LargeBinary)


class EvidenceLinkRow(Base):
    """One link of the chain over all evidence: what a row of it says, with the SHA-256 of its message; only ever
    added."""

    __tablename__ = "evidence_links"
    position: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    evidence_id: Mapped[int] = mapped_column(ForeignKey("evidence.id"), unique=True)
    payload: Mapped[str]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class RecordingRow(Base):
    """The recording of one call; its transcription job is the row's own state."""

    __tablename__ = "recordings"
    __table_args__ = (Index("ix_recordings_state", "state", "due_at"),)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(Text, default="")
    sha256: Mapped[str] = mapped_column(String(64), default="")
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    samples: Mapped[int] = mapped_column(Integer, default=0)
    gaps: Mapped[list[Any]] = mapped_column(JSON, default=list)
    damage: Mapped[str | None] = mapped_column(Text)
    salvaged: Mapped[bool] = mapped_column(Boolean, default=False)
    sealed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    urgency: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"))
    wanted_model: Mapped[str] = mapped_column(String(120), default="", server_default=text("''"))
    chosen_transcript: Mapped[int | None] = mapped_column(Integer)
    archive_path: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    archive_sha256: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    archived_at: Mapped[datetime | None]
    archive_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    archive_similarity: Mapped[float | None]
    archive_tried_at: Mapped[datetime | None]
    chain: Mapped[str] = mapped_column(String(64), default="", server_default=text("''"))
    verified_at: Mapped[datetime | None]
    raw_released_at: Mapped[datetime | None]
    wav_released_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    call: Mapped[CallRow] = relationship(back_populates="recording", lazy="select")


class DifferenceRow(Base):
    """One difference between calls, recording rows and files, from the look that found it to the look that no longer
    did."""

    __tablename__ = "recording_differences"
    __table_args__ = (Index("ix_recording_differences_open", "settled_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(24))
    call_id: Mapped[str | None] = mapped_column(String(32), index=True)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    place: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    found_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class CustodyRow(Base):
    """One act on a sealed recording's files, hash-chained over all recordings; only ever added."""

    __tablename__ = "custody"
    position: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    at: Mapped[datetime]
    act: Mapped[str] = mapped_column(String(16))
    payload: Mapped[str]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class HoldRow(Base):
    """封存: while it stands, no file of the call's recording is removed, whatever its age."""

    __tablename__ = "recording_holds"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    reason: Mapped[str]
    placed_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    placed_at: Mapped[datetime]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    lifted_at: Mapped[datetime | None]
    lift_reason: Mapped[str] = mapped_column(Text, default="")


class SecrecyRow(Base):
    """涉密: a call under secrecy, from the flag to its lifting; ``wrapped_key`` is the call's data key under the master
    key that ``key_id`` names, None until there is one (requirement 6.5-a)."""

    __tablename__ = "call_secrecy"
    __table_args__ = (Index("ix_call_secrecy_state", "state"),)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(12))
    source: Mapped[str] = mapped_column(String(12))
    flagged_at: Mapped[datetime]
    flagged_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    key_id: Mapped[str] = mapped_column(String(16), default="")
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime | None]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    lift_reason: Mapped[str] = mapped_column(Text, default="")


class SealedFileRow(Base):
    """One file of a sealed call: what it held and what lies on the disk."""

    __tablename__ = "sealed_files"
    __table_args__ = (UniqueConstraint("call_id", "name"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"))
    name: Mapped[str] = mapped_column(String(80))
    plain_bytes: Mapped[int] = mapped_column(BigInteger)
    plain_sha256: Mapped[str] = mapped_column(String(64))
    sealed_bytes: Mapped[int] = mapped_column(BigInteger)
    sealed_sha256: Mapped[str] = mapped_column(String(64))


class SealedTextRow(Base):
    """The words of one transcript, draft or entry of a call under secrecy; ``of_id`` is the row they belong to."""

    __tablename__ = "sealed_texts"
    __table_args__ = (UniqueConstraint("call_id", "kind", "of_id"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"))
    kind: Mapped[str] = mapped_column(String(12))
    of_id: Mapped[int] = mapped_column(RowId)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class OpeningRow(Base):
    """启封查阅: one person's time-bound look at a sealed call, and why."""

    __tablename__ = "secrecy_openings"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    reason: Mapped[str]
    opened_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    officer: Mapped[OfficerRow] = relationship(lazy="joined")


class TranscriptRow(Base):
    """What one engine heard; a further engine adds a row, none is altered (requirement 6.2-b)."""

    __tablename__ = "transcripts"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    created_at: Mapped[datetime]
    engine: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(120))
    model_sha256: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    audio_seconds: Mapped[float]
    decode_seconds: Mapped[float]
    segments: Mapped[list[SegmentRow]] = relationship(lazy="selectin", order_by="SegmentRow.ordinal")


class SegmentRow(Base):
    """One stretch of speech of a transcript, its words with times inside."""

    __tablename__ = "segments"
    __table_args__ = (UniqueConstraint("transcript_id", "ordinal"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    transcript_id: Mapped[int] = mapped_column(ForeignKey("transcripts.id"))
    ordinal: Mapped[int]
    speaker: Mapped[str] = mapped_column(String(10))
    start_s: Mapped[float]
    end_s: Mapped[float]
    text: Mapped[str]
    confidence: Mapped[float]
    words: Mapped[list[Any]]


class SpeechModelRow(Base):
    """A speech model that the transcription process has at the moment, for the console to offer."""

    __tablename__ = "speech_models"
    name: Mapped[str] = mapped_column(String(120), primary_key=True)
    engine: Mapped[str] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(20))
    sha256: Mapped[str] = mapped_column(String(64))
    current: Mapped[bool] = mapped_column(Boolean, default=False)


class DraftRow(Base):
    """What the software proposed for a call's entry, with the words behind each field; only ever added."""

    __tablename__ = "drafts"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id"), index=True)
    transcript_id: Mapped[int] = mapped_column(ForeignKey("transcripts.id"))
    created_at: Mapped[datetime]
    gist: Mapped[str]
    fields: Mapped[list[Any]]


class EntryRow(Base):
    """值班记录: one line of the logbook. After finalizing its text columns stay as they are for ever."""

    __tablename__ = "entries"
    __table_args__ = (
        UniqueConstraint("unit_id", "year", "number"),
        Index("ix_entries_unit_state", "unit_id", "state", "created_at"),
    )
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id"), index=True)
    state: Mapped[str] = mapped_column(String(12))
    version: Mapped[int] = mapped_column(Integer, default=1)
    touched: Mapped[bool] = mapped_column(Boolean, default=False)
    event_time: Mapped[str] = mapped_column(Text, default="")
    place: Mapped[str] = mapped_column(Text, default="")
    event: Mapped[str] = mapped_column(Text, default="")
    caller_unit: Mapped[str] = mapped_column(Text, default="")
    caller_name: Mapped[str] = mapped_column(Text, default="")
    caller_title: Mapped[str] = mapped_column(Text, default="")
    caller_phone: Mapped[str] = mapped_column(Text, default="")
    casualties: Mapped[str] = mapped_column(Text, default="")
    measures: Mapped[str] = mapped_column(Text, default="")
    request: Mapped[str] = mapped_column(Text, default="")
    category: Mapped[str] = mapped_column(String(20), default="routine")
    remarks: Mapped[str] = mapped_column(Text, default="")
    repeated_back_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    created_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    year: Mapped[int | None]
    number: Mapped[int | None]
    number_text: Mapped[str | None] = mapped_column(String(80))
    finalized_at: Mapped[datetime | None]
    finalized_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    unit: Mapped[UnitRow] = relationship(lazy="joined")
    call: Mapped[CallRow | None] = relationship(lazy="select")
    finalizer: Mapped[OfficerRow | None] = relationship(foreign_keys=[finalized_by], lazy="select")
    checks: Mapped[list[IdentityCheckRow]] = relationship(lazy="selectin", order_by="IdentityCheckRow.id")
    amendments: Mapped[list[AmendmentRow]] = relationship(lazy="selectin", order_by="AmendmentRow.id")
    links: Mapped[list[ChainLinkRow]] = relationship(lazy="select", order_by="ChainLinkRow.position")


class IdentityCheckRow(Base):
    """身份核实: one check of the caller of an entry; only ever added."""

    __tablename__ = "identity_checks"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    method: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[str] = mapped_column(String(16))
    note: Mapped[str]
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contacts.id", ondelete="SET NULL"))
    number_called: Mapped[str] = mapped_column(String(60), default="")
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    at: Mapped[datetime]
    officer: Mapped[OfficerRow] = relationship(lazy="joined")
    contact: Mapped[ContactRow | None] = relationship(lazy="joined")


class AmendmentRow(Base):
    """A correction after finalizing: the first text stays, this says what replaces it and why."""

    __tablename__ = "amendments"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    changes: Mapped[dict[str, Any]]
    reason: Mapped[str]
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    at: Mapped[datetime]
    officer: Mapped[OfficerRow] = relationship(lazy="joined")


class BookRow(Base):
    """The head of one unit's chain; its row lock makes finalizing one at a time."""

    __tablename__ = "books"
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, default=0)
    hash: Mapped[str] = mapped_column(String(64))


class ChainLinkRow(Base):
    """One link of a unit's chain; only ever added."""

    __tablename__ = "chain_links"
    __table_args__ = (UniqueConstraint("unit_id", "position"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(12))
    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id"), index=True)
    at: Mapped[datetime]
    payload: Mapped[str]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class DistrictWordRow(Base):
    """A word of the district that an officer added; edited or withdrawn, never deleted. Without a unit it is
    everybody's."""

    __tablename__ = "district_words"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), index=True)
    word: Mapped[str] = mapped_column(String(20), index=True)
    word_class: Mapped[str] = mapped_column(String(12))
    pinyin: Mapped[str] = mapped_column(String(200))
    within: Mapped[str] = mapped_column(String(40), default="")
    added_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    added_at: Mapped[datetime]
    changed_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    changed_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(Integer, default=1)


class SuggestionRow(Base):
    """A name that was probably said where a transcript has other words, and what the officer decided. The transcript
    itself stays as it is; what it says there is only in its segment."""

    __tablename__ = "word_suggestions"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    transcript_id: Mapped[int] = mapped_column(ForeignKey("transcripts.id"), index=True)
    segment: Mapped[int]
    start_char: Mapped[int]
    end_char: Mapped[int]
    word: Mapped[str] = mapped_column(String(20))
    word_class: Mapped[str] = mapped_column(String(12))
    distance: Mapped[float]
    state: Mapped[str] = mapped_column(String(10))
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    decided_at: Mapped[datetime | None]


class PendingRow(Base):
    """待办事项: what the shift still owes, e.g. calling back a missed caller."""

    __tablename__ = "pending_items"
    __table_args__ = (Index("ix_pending_items_open", "unit_id", "done_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str] = mapped_column(String(24))
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id"))
    text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    done_note: Mapped[str] = mapped_column(Text, default="")
    call: Mapped[CallRow | None] = relationship(lazy="joined")


class AlarmRow(Base):
    """One alarm on the console, from raising to acknowledgement."""

    __tablename__ = "alarms"
    __table_args__ = (Index("ix_alarms_open", "acknowledged_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str] = mapped_column(String(32))
    severity: Mapped[str] = mapped_column(String(12))
    call_id: Mapped[str | None] = mapped_column(ForeignKey("calls.id"))
    subject: Mapped[str] = mapped_column(String(120), default="")
    data: Mapped[dict[str, Any]]
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))


class CommandRow(Base):
    """What the console asks of telephony, e.g. to call a contact back from the desk phone."""

    __tablename__ = "commands"
    __table_args__ = (Index("ix_commands_state", "state"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(12))
    result: Mapped[str] = mapped_column(Text, default="")
    given_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    given_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class CalendarDayRow(Base):
    """A working day or holiday entered by hand, over what was published (requirement 6.3-a)."""

    __tablename__ = "calendar_days"
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    words: Mapped[str]
    entered_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    entered_at: Mapped[datetime]


class ShiftRow(Base):
    """One person's place on a unit's roster; taken off it is marked, never deleted (requirement 6.2-a)."""

    __tablename__ = "shifts"
    __table_args__ = (Index("ix_shifts_unit_starts", "unit_id", "starts_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"), index=True)
    duty: Mapped[str] = mapped_column(String(10))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    planned_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    planned_at: Mapped[datetime]
    withdrawn_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    withdrawn_at: Mapped[datetime | None]
    officer: Mapped[OfficerRow] = relationship(foreign_keys=[officer_id], lazy="joined")


class DutyPermitRow(Base):
    """A leader's written leave for somebody off the roster to go on duty (requirement 6.6-b); only ever added."""

    __tablename__ = "duty_permits"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"), index=True)
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    reason: Mapped[str]
    given_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    given_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    officer: Mapped[OfficerRow] = relationship(foreign_keys=[officer_id], lazy="joined")
    giver: Mapped[OfficerRow] = relationship(foreign_keys=[given_by], lazy="joined")


class WatchRow(Base):
    """在岗: one person's time on duty, from signing on or taking over to handing over or signing off."""

    __tablename__ = "watches"
    __table_args__ = (Index("ix_watches_unit_began", "unit_id", "began_at"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    officer_id: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    shift_id: Mapped[int | None] = mapped_column(ForeignKey("shifts.id"))
    permit_id: Mapped[int | None] = mapped_column(ForeignKey("duty_permits.id"))
    officer: Mapped[OfficerRow] = relationship(lazy="joined")


class HandoverRow(Base):
    """交接班: from its beginning to the second signature, which is the takeover (requirement 6.2-d). Once taken it
    stays as it is; ``sheet`` is as signed, empty before the first signature."""

    __tablename__ = "handovers"
    __table_args__ = (Index("ix_handovers_unit_state", "unit_id", "state"),)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    unit_id: Mapped[int] = mapped_column(ForeignKey("units.id"))
    state: Mapped[str] = mapped_column(String(12))
    opened_by: Mapped[int] = mapped_column(ForeignKey("officers.id"))
    opened_at: Mapped[datetime]
    sheet: Mapped[dict[str, Any]]
    notes: Mapped[str] = mapped_column(Text, default="")
    documents: Mapped[str] = mapped_column(Text, default="")
    given_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    given_at: Mapped[datetime | None]
    taken_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    taken_at: Mapped[datetime | None]
    excuse: Mapped[str] = mapped_column(Text, default="")
    excused_by: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    excused_at: Mapped[datetime | None]
    excused_entries: Mapped[list[Any]]


class HandoverLinkRow(Base):
    """One link of the chain over all handovers; only ever added."""

    __tablename__ = "handover_links"
    position: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=False)
    handover_id: Mapped[int] = mapped_column(ForeignKey("handovers.id"), unique=True)
    payload: Mapped[str]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class SpoolMarkRow(Base):
    """How far into telephony's spool the book has come."""

    __tablename__ = "spool_marks"
    spool: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """The outbox; only ever added, read by id."""

    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    unit_id: Mapped[int | None]
    call_id: Mapped[str | None] = mapped_column(String(32))
    entry_id: Mapped[int | None]
    data: Mapped[dict[str, Any]]


class AuditRow(Base):
    """Who did or looked at what, when (requirement 7.4-a, 6.1-b); only ever added."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[datetime]
    officer_id: Mapped[int | None] = mapped_column(ForeignKey("officers.id"))
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"))
    action: Mapped[str] = mapped_column(String(40), index=True)
    subject: Mapped[str] = mapped_column(String(120))
    data: Mapped[dict[str, Any]]
