"""The words of a call under secrecy: out of the tables into sealed objects, back again, and read without either
(requirement 6.5-a).

What the console was shown live is not kept at all: the recording and the transcript have it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from duty.domain.drafts import Draft
from duty.domain.entries import EntryContent, EntryState
from duty.domain.happenings import EventKind
from duty.domain.secrecy import ACTIVE
from duty.domain.transcripts import Segment
from duty.store.tables import (
    AuditRow,
    CallRow,
    DraftRow,
    EntryRow,
    EventRow,
    RecordingRow,
    SealedTextRow,
    SecrecyRow,
    SegmentRow,
    SuggestionRow,
    TranscriptRow,
)
from duty.vault.errors import NoMasterKey
from duty.vault.format import SealedBytes, context_of, seal_bytes
from duty.vault.keyfile import MasterKeys
from duty.vault.keys import WrappedKey, new_data_key

_Row = TypeVar("_Row", TranscriptRow, DraftRow)
_ACTIVE = tuple(state.value for state in ACTIVE)
BLANK = {name: value for name, value in EntryContent().as_dict().items() if name != "caller_phone"}
"""The fields of an entry that may hold words of the call, and what is left of each; the number is signalling."""
_AFTER_THE_END = timedelta(hours=1)
"""No caption of a call comes later than this."""


def under_secrecy(session: Session, call_id: str) -> SecrecyRow | None:
    """The call's row while it is under secrecy, else None."""
    row = session.get(SecrecyRow, call_id)
    return row if row is not None and row.state in _ACTIVE else None


def is_secret(call_id: Any) -> ColumnElement[bool]:
    """A condition on a column that names calls: that one is under secrecy."""
    return exists().where(SecrecyRow.call_id == call_id, SecrecyRow.state.in_(_ACTIVE))


def key_of(row: SecrecyRow, keys: MasterKeys) -> bytes:
    """The data key of a call under secrecy. Raises NoMasterKey, NotAuthentic."""
    if row.wrapped_key is None:
        raise NoMasterKey("vault_no_key")
    return keys.ring().unwrap(row.call_id, WrappedKey(key_id=row.key_id, blob=row.wrapped_key))


def give_key(row: SecrecyRow, keys: MasterKeys) -> bytes:
    """The call's data key, made now where it has none. Raises NoMasterKey, NotAuthentic."""
    if row.wrapped_key is not None:
        return key_of(row, keys)
    data_key = new_data_key()
    wrapped = keys.ring().wrap(row.call_id, data_key)
    row.key_id, row.wrapped_key = wrapped.key_id, wrapped.blob
    return data_key


def seal_transcript(
    session: Session, data_key: bytes, transcript: TranscriptRow, segments: Sequence[Segment], draft: Draft
) -> DraftRow:
    """Keep what an engine heard without its words ever standing in the tables; ``transcript`` has its id, and no
    segments."""
    call_id = transcript.call_id
    _put(session, data_key, call_id, "transcript", transcript.id, [_segment(*each) for each in enumerate(segments)])
    kept = DraftRow(call_id=call_id, transcript_id=transcript.id, created_at=transcript.created_at, gist="", fields=[])
    session.add(kept)
    session.flush()
    fields = [asdict(field) for field in draft.fields]
    _put(session, data_key, call_id, "draft", kept.id, {"gist": draft.gist, "fields": fields})
    return kept


def seal_texts(session: Session, call: CallRow, data_key: bytes, *, warned_at: datetime) -> None:
    """Every word of the call that stands in the tables, sealed. What an officer has numbered already stays, for it is a
    link of the chain; and so do fields of a draft that were written after the officer had been warned. Doing it twice
    is harmless."""
    forget_captions(session, call)
    for transcript in session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == call.id)):
        if transcript.segments:
            content = [_columns(segment) for segment in transcript.segments]
            _put(session, data_key, call.id, "transcript", transcript.id, content)
            session.execute(delete(SegmentRow).where(SegmentRow.transcript_id == transcript.id))
            session.execute(delete(SuggestionRow).where(SuggestionRow.transcript_id == transcript.id))
            session.expire(transcript)
    for draft in session.scalars(select(DraftRow).where(DraftRow.call_id == call.id)):
        if draft.gist or draft.fields:
            _put(session, data_key, call.id, "draft", draft.id, {"gist": draft.gist, "fields": draft.fields})
            draft.gist, draft.fields = "", []
    for entry in _open_entries(session, call.id):
        kept = {name: getattr(entry, name) for name in unwarned_fields(session, entry.id, warned_at)}
        if any(kept[name] for name in kept if name != "category") and not _has(session, call.id, entry.id):
            _put(session, data_key, call.id, "entry", entry.id, kept)
            _write(entry, {name: BLANK[name] for name in kept})
    session.flush()


def restore_texts(session: Session, call: CallRow, data_key: bytes) -> None:
    """The words back in the tables: the flag was false. What was written into an entry meanwhile stays.
    Raises NotAuthentic."""
    for sealed in _sealed(session, call.id):
        content = _content(sealed, data_key)
        if sealed.kind == "transcript":
            session.add_all(SegmentRow(transcript_id=sealed.of_id, **segment) for segment in content)
        elif sealed.kind == "draft":
            draft = session.get_one(DraftRow, sealed.of_id)
            draft.gist, draft.fields = content["gist"], content["fields"]
        else:
            entry = session.get_one(EntryRow, sealed.of_id)
            if entry.state == EntryState.DRAFT.value:
                _write(entry, {name: value for name, value in content.items() if getattr(entry, name) == BLANK[name]})
        session.delete(sealed)
    session.flush()


def read_texts(session: Session, call_id: str, data_key: bytes) -> tuple[list[TranscriptRow], DraftRow | None]:
    """Transcripts, and the draft of the chosen one, as they would stand in the tables, but in memory alone. Raises
    NotAuthentic."""
    sealed = {(row.kind, row.of_id): row for row in _sealed(session, call_id)}
    transcripts = list(
        session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == call_id).order_by(TranscriptRow.id))
    )
    recording = session.get(RecordingRow, call_id)
    chosen = recording.chosen_transcript if recording is not None else None
    drafts = select(DraftRow).where(DraftRow.call_id == call_id, DraftRow.transcript_id == chosen)
    draft = session.scalars(drafts.order_by(DraftRow.id.desc())).first()
    opened = []
    for row in transcripts:
        found = sealed.get(("transcript", row.id))
        segments = _content(found, data_key) if found is not None else [_columns(each) for each in row.segments]
        opened.append(_copy(row, segments=[SegmentRow(transcript_id=row.id, **each) for each in segments]))
    if draft is None:
        return opened, None
    found = sealed.get(("draft", draft.id))
    words = _content(found, data_key) if found is not None else {"gist": draft.gist, "fields": draft.fields}
    return opened, _copy(draft, **words)


def forget_captions(session: Session, call: CallRow) -> None:
    """Take the words out of what the console was shown of this call while it was spoken."""
    first = _first_event(session, call.arrived_at)
    span = [EventRow.id >= first] if first is not None else []
    if call.ended_at is not None:
        last = _first_event(session, call.ended_at + _AFTER_THE_END)
        span += [EventRow.id < last] if last is not None else []
    shown = (EventRow.call_id == call.id) & (EventRow.kind == EventKind.CAPTION.value)
    session.execute(update(EventRow).where(shown, *span).values(data={"withheld": True, "final": False}))


def _first_event(session: Session, at: datetime) -> int | None:
    """The id of the first event not before that instant: ids grow with time, and only they are indexed."""
    low, high = 0, (session.scalar(select(func.max(EventRow.id))) or 0) + 1
    top = high
    while low < high:
        middle = (low + high) // 2
        query = select(EventRow.at).where(EventRow.id >= middle).order_by(EventRow.id).limit(1)
        found = session.scalar(query)
        if found is None or found >= at:
            high = middle
        else:
            low = middle + 1
    return low if low < top else None


def _open_entries(session: Session, call_id: str) -> Sequence[EntryRow]:
    query = select(EntryRow).where(EntryRow.call_id == call_id, EntryRow.state == EntryState.DRAFT.value)
    return session.scalars(query.order_by(EntryRow.id).with_for_update(of=EntryRow)).all()


def _write(entry: EntryRow, content: dict[str, str]) -> None:
    for name, value in content.items():
        setattr(entry, name, value)
    entry.version += 1


def _segment(ordinal: int, segment: Segment) -> dict[str, Any]:
    return {
        "ordinal": ordinal,
        "speaker": segment.speaker.value,
        "start_s": segment.start_s,
        "end_s": segment.end_s,
        "text": segment.text,
        "confidence": segment.confidence,
        "words": [[word.text, word.start_s, word.end_s, word.confidence] for word in segment.words],
    }


def _columns(row: SegmentRow) -> dict[str, Any]:
    names = ("ordinal", "speaker", "start_s", "end_s", "text", "confidence", "words")
    return {name: getattr(row, name) for name in names}


def _sealed(session: Session, call_id: str) -> Sequence[SealedTextRow]:
    return session.scalars(
        select(SealedTextRow).where(SealedTextRow.call_id == call_id).order_by(SealedTextRow.id)
    ).all()


def unwarned_fields(session: Session, entry_id: int, warned_at: datetime) -> list[str]:
    """The fields of an entry that nobody has written since the warning: what they hold came before it."""
    query = select(AuditRow.data).where(
        AuditRow.action == "edit_draft", AuditRow.subject == f"entry:{entry_id}", AuditRow.at >= warned_at
    )
    written = {name for data in session.scalars(query) for name in str(data.get("fields", "")).split(",")}
    return [name for name in BLANK if name not in written]


def _has(session: Session, call_id: str, entry_id: int) -> bool:
    query = select(SealedTextRow.id).where(
        SealedTextRow.call_id == call_id, SealedTextRow.kind == "entry", SealedTextRow.of_id == entry_id
    )
    return session.scalars(query).first() is not None


def _name(kind: str, of_id: int) -> str:
    return f"text {kind} {of_id}"


def _put(session: Session, data_key: bytes, call_id: str, kind: str, of_id: int, content: Any) -> None:
    plain = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    sealed = seal_bytes(data_key, context_of(call_id, _name(kind, of_id)), plain)
    session.add(SealedTextRow(call_id=call_id, kind=kind, of_id=of_id, sealed=sealed))


def _content(row: SealedTextRow, data_key: bytes) -> Any:
    return json.loads(SealedBytes(row.sealed).open(data_key, context_of(row.call_id, _name(row.kind, row.of_id))))


def _copy(row: _Row, **changed: Any) -> _Row:
    """A row like it that belongs to no session, so that nothing of it can reach the tables."""
    kept = {column.key: getattr(row, column.key) for column in type(row).__table__.columns}
    return type(row)(**{**kept, **changed})
