"""Recordings and their transcription: the job is the recording row's own state, so a killed worker loses nothing.

States: ``open`` while the call lives, ``none`` when no media came, then ``waiting`` → ``running`` → ``done``,
or ``set_aside`` after too many attempts. The recording of a call nobody answered is only ``kept``: what is on it is our
announcement. A worker holds a lease; when it dies the lease runs out and another takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from functools import partial

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from duty.domain.calls import CallState, Purpose, RecordingFacts
from duty.domain.drafts import Draft, DraftField, FieldName
from duty.domain.entries import MAX_FIELD_CHARS, Category
from duty.domain.errors import NotFound
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.numbers import NumberPlan
from duty.domain.secrecy import ACTIVE, MOVING, SecrecySource, SecrecyState
from duty.domain.texts import is_readable, signalled
from duty.domain.times import Clock
from duty.domain.transcripts import Transcript
from duty.domain.vocabulary import Suggestion
from duty.services.alarms import raise_alarm
from duty.services.callpages import CallPages
from duty.services.logbook import content_of
from duty.services.outbox import tell
from duty.services.sealedtexts import give_key, key_of, seal_transcript, under_secrecy
from duty.services.secrecy import suspect, tell_no_key
from duty.services.suggestions import keep_suggestions
from duty.store.database import Store
from duty.store.tables import (
    CallRow,
    DraftRow,
    EntryRow,
    RecordingRow,
    SecrecyRow,
    SegmentRow,
    TranscriptRow,
)
from duty.vault.errors import VaultError
from duty.vault.keyfile import MasterKeys

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 5
BACK_OFF = timedelta(seconds=15)
LONGEST_BACK_OFF = timedelta(minutes=10)
PATIENCE = timedelta(seconds=1)
"""So long what is urgent may wait for a free worker before one is made free."""
NO_KEY_PAUSE = timedelta(minutes=1)
"""Until words that could not be kept are heard again."""
_NO_NUMBERS = NumberPlan()
"""Sealing reads no telephone number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recording to transcribe, with what signalling and the directory know of its call. ``path`` is that of the WAV
    or, where it was released, of the archive's copy; where its call is under secrecy the file lies there sealed, and
    ``sealed_with`` gives the key (raises NoMasterKey, NotAuthentic). ``wanted_model`` is the model somebody asked for,
    else empty."""

    call_id: str
    path: str
    sha256: str
    seconds: float
    attempt: int
    caller_number: str
    direction: str
    contact_unit: str
    contact_name: str
    contact_title: str
    arrived_at: datetime
    wanted_model: str = ""
    sealed_with: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingRecording:
    """The recording of a call that was answered and goes on."""

    call_id: str
    arrived_at: datetime


class Urgency(IntEnum):
    """What is transcribed first: what an officer asks for, then calls of the line, last what was imported."""

    ASKED = 0
    CALL = 1
    IMPORT = 2


class Turn(StrEnum):
    """Which of equally urgent recordings: the officer who just hung up waits for the newest, and so that no older one
    waits for ever, some turns are theirs."""

    NEWEST = "newest"
    LONGEST_WAITING = "longest_waiting"


def back_off(attempts: int) -> timedelta:
    """How long a recording rests after ``attempts`` failures: four times as long each time, up to a limit."""
    return min(LONGEST_BACK_OFF, BACK_OFF * int(4 ** min(attempts - 1, 8)))


class Recordings:
    """What telephony seals and transcription works on. Every method is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, keys: MasterKeys | None = None) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys or MasterKeys(None)

    def seal(self, facts: RecordingFacts) -> None:
        """A recording is complete: write its facts and make it a job. Sealing twice changes nothing.

        Raises NotFound for a call that is not in the book.
        """
        with self._store.writing() as session:
            pages = CallPages(session, _NO_NUMBERS)
            pages.seal(facts, self._clock())
            pages.write()

    def none_made(self, call_id: str) -> None:
        """The call ended without any media: there is nothing to transcribe."""
        with self._store.writing() as session:
            pages = CallPages(session, _NO_NUMBERS)
            pages.unrecorded(call_id, self._clock())
            pages.write()

    def unsealed(self, before: datetime) -> list[str]:
        """Ids of ended calls that arrived before that instant and whose recording is still open: a killed process left
        them."""
        query = (
            select(RecordingRow.call_id)
            .join(CallRow)
            .where(RecordingRow.state == "open", CallRow.state == "ended", CallRow.arrived_at < before)
        )
        with self._store.reading() as session:
            return list(session.scalars(query))

    def waiting(self) -> int:
        """How many recordings wait for transcription, those being worked on included."""
        query = select(RecordingRow.call_id).where(RecordingRow.state.in_(("waiting", "running")))
        with self._store.reading() as session:
            return len(session.scalars(query).all())

    def claim(self, turn: Turn = Turn.NEWEST) -> Job | None:
        """Take the most urgent recording that is due, or whose worker died; None when there is none.

        A recording whose workers died MAX_ATTEMPTS times, say for want of memory, is set aside instead.
        """
        now = self._clock()
        with self._store.writing() as session:
            due = _due(now, turn).with_for_update(skip_locked=True)
            while (row := session.scalars(due).first()) is not None and row.attempts >= MAX_ATTEMPTS:
                _set_aside(session, row, session.get_one(CallRow, row.call_id), "worker_died", now)
                session.flush()
            if row is None:
                return None
            row.state, row.attempts, row.leased_until, row.progress = (
                "running",
                row.attempts + 1,
                now + LEASE,
                0.0,
            )
            call = session.get_one(CallRow, row.call_id)
            tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call.id)
            return _job(session, row, call, self._keys)

    def growing(self) -> list[GrowingRecording]:
        """Recordings of calls that go on now and will have to be heard."""
        query = (
            select(CallRow.id, CallRow.arrived_at)
            .join(RecordingRow)
            .where(RecordingRow.state == "open", CallRow.state == CallState.ANSWERED.value)
            .where(CallRow.purpose == Purpose.DUTY.value)
        )
        with self._store.reading() as session:
            return [GrowingRecording(call_id=row.id, arrived_at=row.arrived_at) for row in session.execute(query)]

    def any_due(self) -> bool:
        """Whether ``claim`` may find something; reads only, so that looking often disturbs nobody who writes."""
        query = _due(self._clock(), Turn.NEWEST).with_only_columns(RecordingRow.call_id)
        with self._store.reading() as session:
            return session.scalars(query).first() is not None

    def progress(self, call_id: str, share: float) -> bool:
        """Still working: ``share`` 0..1 of the recording is decoded; the lease is renewed. True where something more
        urgent has found no worker: the recording should make way."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            if row.state != "running":
                return False
            row.progress, row.leased_until = share, now + LEASE
            tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call_id)
            more_urgent = select(RecordingRow.call_id).where(
                RecordingRow.state == "waiting",
                RecordingRow.due_at < now - PATIENCE,
                RecordingRow.urgency < row.urgency,
            )
            return row.urgency == Urgency.IMPORT and session.scalars(more_urgent.limit(1)).first() is not None

    def complete(
        self,
        call_id: str,
        transcript: Transcript,
        draft: Draft,
        *,
        suggestions: Iterable[Suggestion] = (),
        suspected: bool = False,
    ) -> None:
        """Keep transcript, suggestions and draft; the first ones fill the entry where no officer has written yet. Safe
        to run twice: a second result becomes a further version, which an officer may choose (``Versions``).

        Where the words are ``suspected`` of a secret, or the call is under secrecy, they are kept sealed and fill
        nothing, and names are not proposed; without a master key they are not kept, and the recording waits to be heard
        again when there is one.
        """
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            if suspected:
                suspect(session, call, SecrecySource.TRANSCRIPT, keys=self._keys, now=now)
            if (secrecy := under_secrecy(session, call_id)) is not None:
                self._complete_sealed(session, row, call, secrecy, transcript, draft)
                return
            row.state, row.progress, row.leased_until, row.last_error = "done", 1.0, None, ""
            row.urgency, row.wanted_model = Urgency.CALL, ""
            transcript_id = _keep_transcript(session, call_id, transcript, now)
            keep_suggestions(session, transcript_id, suggestions)
            first = row.chosen_transcript is None
            row.chosen_transcript = row.chosen_transcript or transcript_id
            session.add(
                DraftRow(
                    call_id=call_id,
                    transcript_id=transcript_id,
                    created_at=now,
                    gist=draft.gist,
                    fields=[asdict(field) for field in draft.fields],
                )
            )
            entry = open_entry(session, call_id)
            if entry is not None and first:
                fill(entry, draft)
            tell(
                session,
                EventKind.DRAFT_READY,
                at=now,
                unit_id=call.unit_id,
                call_id=call_id,
                entry_id=entry.id if entry else None,
            )

    def _complete_sealed(
        self,
        session: Session,
        row: RecordingRow,
        call: CallRow,
        secrecy: SecrecyRow,
        transcript: Transcript,
        draft: Draft,
    ) -> None:
        now = self._clock()
        try:
            data_key = give_key(secrecy, self._keys)
        except VaultError as error:
            tell_no_key(session, error.code, at=now)
            row.state, row.due_at, row.leased_until, row.attempts = "waiting", now + NO_KEY_PAUSE, None, 0
            tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call.id)
            return
        row.state, row.progress, row.leased_until, row.last_error = "done", 1.0, None, ""
        row.urgency, row.wanted_model = Urgency.CALL, ""
        kept = _transcript_row(call.id, transcript, now)
        session.add(kept)
        session.flush()
        row.chosen_transcript = row.chosen_transcript or kept.id
        seal_transcript(session, data_key, kept, transcript.segments, draft)
        tell(session, EventKind.DRAFT_READY, at=now, unit_id=call.unit_id, call_id=call.id)

    def fail(self, call_id: str, reason: str, *, final: bool = False) -> None:
        """An attempt failed: try again later with growing pauses, or set aside with the reason shown. The word of a
        worker whose recording another has finished meanwhile changes nothing."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            if row.state != "running":
                return
            if final or row.attempts >= MAX_ATTEMPTS:
                _set_aside(session, row, call, signalled(reason), now)
                return
            row.state, row.last_error, row.leased_until = "waiting", signalled(reason), None
            row.due_at = now + back_off(row.attempts)
            tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call_id)

    def give_back(self, call_id: str) -> None:
        """The worker stops before it is done, through no fault of the recording: the attempt does not count."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _recording(session, call_id)
            if row.state == "running":
                row.state, row.due_at, row.leased_until, row.attempts = "waiting", now, None, row.attempts - 1
                tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call_id)

    def again(self, call_ids: Sequence[str]) -> None:
        """Queue recordings once more, e.g. after a better model was installed; earlier transcripts stay."""
        now = self._clock()
        with self._store.writing() as session:
            for call_id in call_ids:
                row, call = _recording(session, call_id)
                queue(session, row, call, now)


def queue(session: Session, row: RecordingRow, call: CallRow, now: datetime) -> bool:
    """Make a recording that rests a job again; False where it is one already or its files are gone."""
    if row.state not in ("done", "set_aside", "kept") or row.removed_at is not None:
        return False
    row.state, row.due_at, row.attempts, row.last_error = "waiting", now, 0, ""
    tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=row.call_id)
    return True


def _due(now: datetime, turn: Turn) -> Select[RecordingRow]:
    age = RecordingRow.sealed_at.desc() if turn is Turn.NEWEST else RecordingRow.sealed_at
    return (
        select(RecordingRow)
        .where(
            or_(
                (RecordingRow.state == "waiting") & (RecordingRow.due_at <= now),
                (RecordingRow.state == "running") & (RecordingRow.leased_until < now),
            )
        )
        .where(~_closed_to_workers())
        .order_by(RecordingRow.urgency, age, RecordingRow.call_id)
        .limit(1)
    )


def _closed_to_workers() -> ColumnElement[bool]:
    """Under secrecy without a key, so that its words could not be kept; or with its files being changed."""
    moving = SecrecyRow.state.in_([state.value for state in MOVING])
    keyless = SecrecyRow.wrapped_key.is_(None) & SecrecyRow.state.in_([state.value for state in ACTIVE])
    return exists().where(SecrecyRow.call_id == RecordingRow.call_id, moving | keyless)


def _set_aside(session: Session, row: RecordingRow, call: CallRow, reason: str, now: datetime) -> None:
    row.state, row.last_error, row.leased_until = "set_aside", reason, None
    raise_alarm(
        session,
        AlarmKind.TRANSCRIPTION_FAILED,
        Severity.WARNING,
        at=now,
        unit_id=call.unit_id,
        call_id=call.id,
        data={"reason": reason},
    )
    tell(session, EventKind.TRANSCRIPTION_CHANGED, at=now, unit_id=call.unit_id, call_id=call.id)


def open_entry(session: Session, call_id: str) -> EntryRow | None:
    """The call's entry that is still a draft, locked: an officer may be writing into it, or finalizing it, at this very
    moment."""
    drafts = select(EntryRow).where(EntryRow.call_id == call_id, EntryRow.state == "draft")
    return session.scalars(drafts.order_by(EntryRow.id).with_for_update(of=EntryRow)).first()


def fill(entry: EntryRow, draft: Draft) -> None:
    """Put the draft's proposals into the fields that are still empty; what an officer wrote is never overwritten."""
    before = content_of(entry)
    known = before.as_dict()
    best = filter(None, map(draft.field, FieldName))
    for proposal in best:
        name, value = proposal.name.value, proposal.value.strip()[:MAX_FIELD_CHARS]
        if name == "category":
            _fill_category(entry, proposal)
        elif name in known and value and is_readable(value) and not getattr(entry, name):
            setattr(entry, name, value)
    if content_of(entry) != before:
        entry.version += 1


def _fill_category(entry: EntryRow, proposal: DraftField) -> None:
    known = {category.value for category in Category}
    named = next((name for name in (proposal.normalised, proposal.value) if name in known), None)
    if named and entry.category == Category.ROUTINE.value and not entry.touched:
        entry.category = named


def _recording(session: Session, call_id: str) -> tuple[RecordingRow, CallRow]:
    row = session.get(RecordingRow, call_id, with_for_update=True)
    if row is None:
        raise NotFound("recording_not_found", call_id=call_id)
    return row, session.get_one(CallRow, call_id)


def _job(session: Session, row: RecordingRow, call: CallRow, keys: MasterKeys) -> Job:
    contact = call.contact
    secrecy = under_secrecy(session, call.id)
    is_sealed = secrecy is not None and secrecy.state == SecrecyState.SEALED.value
    released = row.wav_released_at is not None
    return Job(
        call_id=row.call_id,
        path=row.archive_path if released else row.path,
        sha256=row.archive_sha256 if released else row.sha256,
        seconds=row.seconds,
        sealed_with=partial(key_of, secrecy, keys) if secrecy is not None and is_sealed else None,
        attempt=row.attempts,
        caller_number=call.caller_number if call.direction == "inbound" else call.callee_number,
        direction=call.direction,
        contact_unit=contact.organisation if contact else "",
        contact_name=contact.name if contact else "",
        contact_title=contact.title if contact else "",
        arrived_at=call.arrived_at,
        wanted_model=row.wanted_model,
    )


def _keep_transcript(session: Session, call_id: str, transcript: Transcript, now: datetime) -> int:
    row = _transcript_row(call_id, transcript, now)
    row.segments = [
        SegmentRow(
            ordinal=ordinal,
            speaker=segment.speaker.value,
            start_s=segment.start_s,
            end_s=segment.end_s,
            text=segment.text,
            confidence=segment.confidence,
            words=[[word.text, word.start_s, word.end_s, word.confidence] for word in segment.words],
        )
        for ordinal, segment in enumerate(transcript.segments)
    ]
    session.add(row)
    session.flush()
    return row.id


def _transcript_row(call_id: str, transcript: Transcript, now: datetime) -> TranscriptRow:
    """Everything about a transcript but its words."""
    return TranscriptRow(
        call_id=call_id,
        created_at=now,
        engine=transcript.engine,
        model=transcript.model,
        model_sha256=transcript.model_sha256,
        settings=dict(transcript.settings),
        audio_seconds=transcript.audio_seconds,
        decode_seconds=transcript.decode_seconds,
    )
