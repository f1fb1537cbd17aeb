"""All rules over one transcript: the proposals for the draft, each with value, confidence and spans (6.1-d, 6.2-b)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from duty.domain.drafts import DraftField, FieldName, Source, Span
from duty.domain.entries import Category
from duty.domain.transcripts import Speaker, Transcript
from transcription.fields.casualties import said_casualties
from transcription.fields.events import SaidEvent, said_events
from transcription.fields.people import Said, introduction
from transcription.fields.places import SaidPlace, said_places
from transcription.fields.reading import Turn, turns
from transcription.fields.times import CHINA, said_times, written
from transcription.lexicon import Lexicon
from transcription.normalise import phone_numbers

_MEASURES = re.compile(
    r"(?:已经|已|正在|立即|及时|组织|启动|开展)[^，。；]{0,14}(?:到场|到达|赶到|赶赴|处置|扑灭|救治|救援|转移|疏散|封闭|封控|抢修|抢险|搜救|"
    r"送|上报|报告|排查|维修|撤离|安置|警戒|控制|救助|通知|预案|劝离|稳控)"
)
_REQUEST = re.compile(
    r"请求|请(?!问|讲|稍|您?稍|等|说|放心|记)|需要(?:你们|上级|区里|支援|协调|帮助|派)|希望(?:区|上级|你们|领导|能)|申请"
)
_SENTENCE = "。！？；\n"
_FUTURE = 0.35
_OFFICER = 0.35


def extract(transcript: Transcript, lexicon: Lexicon, *, called_at: datetime) -> tuple[DraftField, ...]:
    """Proposals from ``transcript`` for a call that began ``called_at`` (timezone-aware), best first per field.

    What the transcript does not say is absent. Confidence is the rule's times the recogniser's for those words.
    """
    spoken = turns(transcript)
    fields: list[DraftField] = []
    for turn in spoken:
        weight = 1.0 if turn.speaker is Speaker.CALLER else _OFFICER
        fields += _times(turn, weight, called_at, lexicon)
        fields += _places(turn, weight, lexicon)
        fields += _events(turn, weight, lexicon)
        if turn.speaker is Speaker.CALLER:
            fields += _people(turn, lexicon)
        fields += _phones(turn, weight)
    callers = [turn for turn in spoken if turn.speaker is Speaker.CALLER]
    fields += _casualties(callers)
    fields += _matching(callers, FieldName.MEASURES, _MEASURES, 0.7)
    fields += _matching(callers, FieldName.REQUEST, _REQUEST, 0.6)
    order = list(FieldName)
    ranked = sorted(fields, key=lambda field: (order.index(field.name), -field.confidence))
    best: dict[tuple[FieldName, str], DraftField] = {}
    for field in ranked:
        best.setdefault((field.name, field.normalised), field)
    return tuple(best.values())


_CATEGORIES = {
    "自然灾害": Category.INCIDENT,
    "事故灾难": Category.INCIDENT,
    "公共卫生事件": Category.INCIDENT,
    "社会安全事件": Category.INCIDENT,
    "舆情": Category.OPINION,
    "会议通知": Category.NOTICE,
}
"""The vocabulary's words for a kind of event, as categories of an entry; what is none of these is routine."""


def _field(
    name: FieldName, turn: Turn, start: int, end: int, sure: float, *, value: str, normalised: str | None = None
) -> DraftField:
    return DraftField(
        name=name,
        value=value,
        normalised=value if normalised is None else normalised,
        confidence=round(sure * turn.confidence(start, end), 4),
        source=Source.TRANSCRIPT,
        spans=turn.spans(start, end),
    )


def _times(turn: Turn, weight: float, called_at: datetime, lexicon: Lexicon) -> Iterable[DraftField]:
    """Event times; one said in a sentence with an event outweighs others, one to come is hardly the event's."""
    eventful = [event.start for event in said_events(turn.text, lexicon)]
    for said in said_times(turn.text, called_at):
        start, end = turn.clause(said.start, _SENTENCE)
        near = any(start <= at < end for at in eventful)
        sure = said.sure * weight * (1.0 if near else 0.8)
        sure *= _FUTURE if said.moment > called_at.astimezone(CHINA) else 1.0
        yield _field(
            FieldName.EVENT_TIME,
            turn,
            said.start,
            said.end,
            sure,
            value=written(said),
            normalised=said.moment.isoformat(),
        )


def _places(turn: Turn, weight: float, lexicon: Lexicon) -> Iterable[DraftField]:
    """Places; those of the introduction are the caller's own, and those before an event outweigh others."""
    known = introduction(turn.text, lexicon) if turn.speaker is Speaker.CALLER else None
    unit = known.unit if known else None
    eventful = [event.start for event in said_events(turn.text, lexicon)]
    for said in said_places(turn.text, lexicon):
        if unit is not None and said.start < unit.end and said.end > unit.start:
            continue
        near = any(0 <= at - said.start <= 40 for at in eventful)
        sure = said.sure * weight * (1.0 if near else 0.6)
        yield _field(FieldName.PLACE, turn, said.start, said.end, sure, value=said.name, normalised=said.full)


def _events(turn: Turn, weight: float, lexicon: Lexicon) -> Iterable[DraftField]:
    """Events: the value is the clause that says it, the normalised form its standard name."""
    places = said_places(turn.text, lexicon)
    for said in said_events(turn.text, lexicon):
        start, end = turn.clause(said.start)
        sure = said.sure * weight
        value = _clause(turn.text, start, end, said, places)
        yield _field(FieldName.EVENT, turn, start, end, sure, value=value, normalised=said.event)
        category = _CATEGORIES.get(said.category, Category.ROUTINE).value
        yield _field(
            FieldName.CATEGORY, turn, said.start, said.end, sure * 0.9, value=said.category, normalised=category
        )


def _clause(text: str, start: int, end: int, event: SaidEvent, places: list[SaidPlace]) -> str:
    """Characters ``start:end`` with the names that were recognised by their sound written right (活载 → 火灾)."""
    known = [(event.start, event.end, event.word), *((place.start, place.end, place.name) for place in places)]
    chars = list(text)
    for at, to, name in known:
        if start <= at and to <= end and len(name) == to - at:
            chars[at:to] = name
    return "".join(chars[start:end])


def _people(turn: Turn, lexicon: Lexicon) -> Iterable[DraftField]:
    found = introduction(turn.text, lexicon)
    if found is None:
        return
    parts: tuple[tuple[FieldName, Said | None], ...] = (
        (FieldName.CALLER_UNIT, found.unit),
        (FieldName.CALLER_TITLE, found.title),
        (FieldName.CALLER_NAME, found.name),
    )
    for name, said in parts:
        if said is not None:
            yield _field(name, turn, said.start, said.end, said.sure, value=said.value)


def _phones(turn: Turn, weight: float) -> Iterable[DraftField]:
    for said in phone_numbers(turn.text):
        whole = len(said.digits) == 11 or (len(said.digits) in (7, 8) and said.digits[0] not in "01")
        sure = weight * (0.9 if whole else 0.5)
        yield _field(FieldName.CALLER_PHONE, turn, said.start, said.end, sure, value=said.digits)


def _casualties(callers: list[Turn]) -> Iterable[DraftField]:
    """One field for the call: the last word on each fate counts, since later figures correct earlier ones."""
    latest: dict[str, tuple[int, str, float, tuple[Span, ...]]] = {}
    for turn in callers:
        for said in said_casualties(turn.text):
            sure = turn.confidence(said.start, said.end)
            text = turn.text[said.start : said.end]
            latest[said.fate] = (said.count, text, sure, turn.spans(said.start, said.end))
    if latest:
        yield DraftField(
            name=FieldName.CASUALTIES,
            value="，".join(text for _, text, _, _ in latest.values()),
            normalised=";".join(f"{fate}={count}" for fate, (count, _, _, _) in latest.items()),
            confidence=round(0.9 * min(sure for _, _, sure, _ in latest.values()), 4),
            source=Source.TRANSCRIPT,
            spans=tuple(span for _, _, _, spans in latest.values() for span in spans),
        )


def _matching(callers: list[Turn], name: FieldName, pattern: re.Pattern[str], sure: float) -> Iterable[DraftField]:
    """One field of all the caller's clauses in which ``pattern`` occurs, in order."""
    hits = [(turn, a, b) for turn in callers for a, b in turn.clauses() if pattern.search(turn.text[a:b])]
    if hits:
        yield DraftField(
            name=name,
            value="，".join(turn.text[a:b] for turn, a, b in hits),
            normalised="，".join(turn.text[a:b] for turn, a, b in hits),
            confidence=round(sure * min(turn.confidence(a, b) for turn, a, b in hits), 4),
            source=Source.TRANSCRIPT,
            spans=tuple(span for turn, a, b in hits for span in turn.spans(a, b)),
        )
