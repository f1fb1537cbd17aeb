"""The versions of what was said in a call: a recording heard once more, by another model perhaps, gives a further one
beside the earlier ones; an officer chooses, and no word of an officer is ever written over (requirement 6.2-b)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from duty.domain.drafts import Draft, DraftField, FieldName, Source
from duty.domain.entries import MAX_FIELD_CHARS
from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.recordings import Urgency, fill, open_entry, queue
from duty.store.database import Store
from duty.store.tables import CallRow, DraftRow, EntryRow, RecordingRow, SpeechModelRow, TranscriptRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModel:
    """A model that the transcription process has. ``current`` is the one it hears recordings with."""

    name: str
    engine: str
    language: str
    sha256: str
    current: bool = False


class Versions:
    """Every method is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def models(self) -> list[SpeechModel]:
        """The models one may ask for, the current one first."""
        with self._store.reading() as session:
            rows = session.scalars(select(SpeechModelRow).order_by(SpeechModelRow.current.desc(), SpeechModelRow.name))
            return [
                SpeechModel(
                    name=row.name, engine=row.engine, language=row.language, sha256=row.sha256, current=row.current
                )
                for row in rows
            ]

    def tell_models(self, models: Sequence[SpeechModel]) -> None:
        """The transcription process says what it has."""
        with self._store.writing() as session:
            session.execute(delete(SpeechModelRow))
            session.add_all(
                SpeechModelRow(
                    name=model.name,
                    engine=model.engine,
                    language=model.language,
                    sha256=model.sha256,
                    current=model.current,
                )
                for model in models
            )

    def ask(self, actor: Actor, call_id: str, *, model: str = "") -> None:
        """Hear the recording once more, before anything else that waits; ``model`` empty for the current one. What is
        being heard already stays as it is. Raises NotFound, Forbidden, and Refused for a model that is not there."""
        now = self._clock()
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            actor.require(Right.EDIT_DRAFT, call.unit_id)
            row = session.get(RecordingRow, call_id, with_for_update=True)
            if row is None:
                raise NotFound("recording_not_found", call_id=call_id)
            if model and session.get(SpeechModelRow, model) is None:
                raise Refused("model_not_installed", model=model)
            if queue(session, row, call, now):
                row.wanted_model, row.urgency = model, Urgency.ASKED
                data = {"model": model}
                note(session, at=now, actor=actor, action="transcribe_again", subject=f"call:{call_id}", data=data)

    def choose(self, actor: Actor, call_id: str, transcript_id: int) -> None:
        """Let the page and the entry's proposals follow this version. An entry that no officer has touched takes its
        values where it still has those of the version before; one that was touched stays as it is.

        Raises NotFound, Forbidden.
        """
        now = self._clock()
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            actor.require(Right.EDIT_DRAFT, call.unit_id)
            row = session.get(RecordingRow, call_id, with_for_update=True)
            transcript = session.get(TranscriptRow, transcript_id)
            if row is None or transcript is None or transcript.call_id != call_id:
                raise NotFound("transcript_not_found", transcript_id=transcript_id)
            before, row.chosen_transcript = row.chosen_transcript, transcript_id
            if before == transcript_id:
                return
            entry = open_entry(session, call_id)
            if entry is not None and not entry.touched:
                _refill(entry, _draft_of(session, before), _draft_of(session, transcript_id))
            note(
                session,
                at=now,
                actor=actor,
                action="choose_transcript",
                subject=f"call:{call_id}",
                data={"transcript": transcript_id, "before": before, "model": transcript.model},
            )
            entry_id = entry.id if entry else None
            tell(session, EventKind.DRAFT_READY, at=now, unit_id=call.unit_id, call_id=call_id, entry_id=entry_id)


def _seen(session: Session, actor: Actor, call_id: str) -> CallRow:
    call = session.get(CallRow, call_id)
    if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
        raise NotFound("call_not_found", call_id=call_id)
    return call


def _draft_of(session: Session, transcript_id: int | None) -> Draft:
    query = select(DraftRow).where(DraftRow.transcript_id == transcript_id).order_by(DraftRow.id.desc())
    row = session.scalars(query).first()
    return Draft(fields=tuple(_fields(row.fields)) if row is not None else (), gist=row.gist if row is not None else "")


def _fields(kept: Iterable[dict[str, object]]) -> Iterable[DraftField]:
    for field in kept:
        yield DraftField(
            name=FieldName(str(field["name"])),
            value=str(field["value"]),
            normalised=str(field["normalised"]),
            confidence=float(str(field["confidence"])),
            source=Source(str(field["source"])),
        )


def _refill(entry: EntryRow, old: Draft, new: Draft) -> None:
    """What the older version filled in goes; then the newer one fills what is empty."""
    for name in map(FieldName, FieldName):
        filled = old.field(name)
        if filled is None or name is FieldName.CATEGORY or not hasattr(entry, name.value):
            continue
        if filled.source is Source.TRANSCRIPT and getattr(entry, name.value) == filled.value.strip()[:MAX_FIELD_CHARS]:
            setattr(entry, name.value, "")
    entry.category = "routine" if _category(old) == entry.category else entry.category
    fill(entry, new)
    entry.version += 1


def _category(draft: Draft) -> str:
    field = draft.field(FieldName.CATEGORY)
    return (field.normalised or field.value) if field is not None else ""
