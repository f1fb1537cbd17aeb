"""The draft entry: the fields from the words, the facts from the line and the directory, and one paragraph of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from duty.domain.drafts import Draft, DraftField, FieldName, Source
from duty.domain.transcripts import Transcript
from transcription.fields.extract import extract
from transcription.fields.times import CHINA
from transcription.lexicon import Lexicon

_NOTHING = "未识别到要素，请听录音。"
_DIRECTORY_CONFIDENCE = 0.6
_NUMBER_CONFIDENCE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What the line and the directory know. ``started_at`` is timezone-aware; empty strings are unknown.

    The contact is a match by displayed number: it may be (可能是) the caller, never certainly.
    """

    started_at: datetime
    caller_number: str = ""
    contact_unit: str = ""
    contact_name: str = ""
    contact_title: str = ""


def draft(transcript: Transcript, facts: CallFacts, lexicon: Lexicon) -> Draft:
    """The draft for one call: all proposals and the gist (requirements 6.1-d, 6.2-b). Pure; raises nothing.

    A proposal from the directory stands beside one from the words; ``Draft.field`` takes the more confident.
    """
    fields = (*extract(transcript, lexicon, called_at=facts.started_at), *_known(facts))
    proposed = Draft(fields=fields, gist="")
    return Draft(fields=fields, gist=_gist(proposed, facts))


def _known(facts: CallFacts) -> list[DraftField]:
    rows = (
        (FieldName.CALLER_PHONE, facts.caller_number, Source.SIGNALLING, _NUMBER_CONFIDENCE),
        (FieldName.CALLER_UNIT, facts.contact_unit, Source.DIRECTORY, _DIRECTORY_CONFIDENCE),
        (FieldName.CALLER_NAME, facts.contact_name, Source.DIRECTORY, _DIRECTORY_CONFIDENCE),
        (FieldName.CALLER_TITLE, facts.contact_title, Source.DIRECTORY, _DIRECTORY_CONFIDENCE),
    )
    return [
        DraftField(name=name, value=value, normalised=value, confidence=confidence, source=source)
        for name, value, source, confidence in rows
        if value
    ]


def _gist(proposed: Draft, facts: CallFacts) -> str:
    """One paragraph in the form of the call register: who reported when; what; casualties; measures; what is asked or
    ordered; phone. It says nothing that is not the value of a field."""
    said = {name: field.value for name in FieldName if (field := proposed.field(name)) is not None}
    places = [field.value for field in proposed.fields if field.name is FieldName.PLACE]
    parts = [_what(said, places), said.get(FieldName.CASUALTIES, ""), said.get(FieldName.MEASURES, "")]
    request = said.get(FieldName.DIRECTIVE, "") or said.get(FieldName.REQUEST, "")
    body = _distinct([part for part in (*parts, request) if part])
    if not body:
        body = _NOTHING
    phone = said.get(FieldName.CALLER_PHONE, "")
    tail = f"联系电话：{phone}。" if phone else ""
    return f"{_who(said, facts)}：{body}{tail}"


def _who(said: dict[FieldName, str], facts: CallFacts) -> str:
    at = facts.started_at.astimezone(CHINA)
    people = "".join(
        said.get(name, "") for name in (FieldName.CALLER_UNIT, FieldName.CALLER_TITLE, FieldName.CALLER_NAME)
    )
    return f"{at.month}月{at.day}日{at.hour}时{at.minute:02d}分，{people or '来电人（身份待核）'}来电"


def _what(said: dict[FieldName, str], places: list[str]) -> str:
    event = said.get(FieldName.EVENT, "")
    time = said.get(FieldName.EVENT_TIME, "")
    where = "" if not places or any(place in event for place in places) else places[0]
    if not event:
        return ""
    return "，".join(part for part in (time, where + event) if part)


def _distinct(parts: list[str]) -> str:
    """``parts`` as sentences, a clause that an earlier part already says left out."""
    text = ""
    for part in parts:
        fresh = [clause for clause in part.split("，") if clause and clause not in text]
        text += "，".join(fresh) + "。" if fresh else ""
    return text
