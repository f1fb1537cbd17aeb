"""All rules over one transcript: the proposals for the draft, each with value, confidence and spans (6.1-d, 6.2-b)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from duty.domain.drafts import DraftField, FieldName, Source
from duty.domain.entries import Category
from duty.domain.transcripts import Speaker, Transcript
from transcription.fields.casualties import (
    DEAD,
    EVACUATED,
    ILL,
    INJURED,
    MISSING,
    TRAPPED,
    said_casualties,
)
from transcription.fields.events import SaidEvent, said_events
from transcription.fields.kinds import call_kind, report_class
from transcription.fields.people import introduction
from transcription.fields.places import SaidPlace, said_places
from transcription.fields.reading import Turn, turns
from transcription.fields.said import Said
from transcription.fields.times import CHINA, said_times, written
from transcription.fields.units import calling_unit
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
    callers = [turn for turn in spoken if turn.speaker is Speaker.CALLER]
    own = calling_unit([turn.text for turn in callers], lexicon)
    for turn in spoken:
        unit = own[1] if own is not None and turn is callers[own[0]] else None
        weight = 1.0 if turn.speaker is Speaker.CALLER else _OFFICER
        fields += _times(turn, weight, called_at, lexicon)
        fields += _places(turn, weight, unit, lexicon)
        fields += _events(turn, weight, lexicon)
        if turn.speaker is Speaker.CALLER:
            fields += _phones(turn)
    fields += _people(callers, own, lexicon)
    fields += _casualties(spoken)
    fields += _matching(callers, FieldName.MEASURES, _MEASURES, 0.7)
    fields += _matching(callers, FieldName.REQUEST, _REQUEST, 0.6)
    what = list(_what_it_is(spoken, lexicon))
    if kind := next((field.normalised for field in what if field.name is FieldName.KIND), ""):
        nothing = _OF_EVENTS | (set() if kind in _ABOUT_PLACES else {FieldName.PLACE})
        fields = [field for field in fields if field.name not in nothing]
    fields += what
    order = list(FieldName)
    ranked = sorted(fields, key=lambda field: (order.index(field.name), -field.confidence))
    best: dict[tuple[FieldName, str], DraftField] = {}
    for field in ranked:
        best.setdefault((field.name, field.normalised), field)
    return tuple(best.values())


def _what_it_is(spoken: list[Turn], lexicon: Lexicon) -> Iterable[DraftField]:
    """What kind of call it is and, for an event, its class of report; each only where words show it."""
    kind = call_kind(spoken, lexicon.calls)
    shown = [(FieldName.KIND, kind)] if kind is not None else []
    if kind is None and (found := report_class(spoken, lexicon)) is not None:
        shown.append((FieldName.REPORT_CLASS, found))
    for name, each in shown:
        yield _field(name, each.turn, each.start, each.end, each.sure, value=each.value)


_OF_EVENTS = frozenset({FieldName.EVENT_TIME, FieldName.CASUALTIES})
"""What a notice, a drill or a wrong number does not have, whatever hours and numbers are named in it."""

_ABOUT_PLACES = frozenset({"directive", "notice", "drill", "inquiry"})

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


def _places(turn: Turn, weight: float, unit: Said | None, lexicon: Lexicon) -> Iterable[DraftField]:
    """Places; those before an event outweigh others, and the caller's own village counts only where nothing else is
    named."""
    eventful = [event.start for event in said_events(turn.text, lexicon)]
    for said in said_places(turn.text, lexicon):
        sure = said.sure * weight * _WIDTH.get(said.kind, 1.0)
        if unit is not None and said.start < unit.end and said.end > unit.start:
            if said.kind not in ("village", "sight") and _OWN_SITE.search(said.name) is None:
                continue
            sure *= _OWN_VILLAGE
        if _INHABITANTS.match(turn.text, said.end) or _ASKED_FOR.search(turn.text[: said.start]):
            sure *= _BESIDE
        near = any(0 <= at - said.start <= 40 for at in eventful)
        sure *= 1.0 if near else 0.6
        yield _field(FieldName.PLACE, turn, said.start, said.end, sure, value=said.name, normalised=said.full)


_OWN_SITE = re.compile(r"(?:小学|中学|大学|学校|幼儿园|项目部|化工|[^工]厂|景区|站|敬老院|养老院|广场|商场|公园|公司)$")
"""What a caller may speak of as the scene though it is his own unit."""
_INHABITANTS = re.compile(r"的(?:村民|群众|业主|居民|学生|职工|工人)")
_ASKED_FOR = re.compile(r"(?:请|需要|希望)[^，。]{0,6}$")
_WIDTH = {"district": 0.4, "area": 0.55, "elsewhere": 0.9}
"""A wider place is the scene only where no narrower one is named."""
_OWN_VILLAGE = 0.3
_BESIDE = 0.25
"""Whose people came, or where help is wanted, is seldom where it happened."""


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


def _people(callers: list[Turn], unit: tuple[int, Said] | None, lexicon: Lexicon) -> Iterable[DraftField]:
    """The caller's unit, title and name from each self-introduction."""
    if unit is not None:
        index, said = unit
        yield _field(FieldName.CALLER_UNIT, callers[index], said.start, said.end, said.sure, value=said.value)
    for turn in callers:
        found = introduction(turn.text, lexicon)
        parts = (
            ((FieldName.CALLER_TITLE, found.title), (FieldName.CALLER_NAME, found.name)) if found is not None else ()
        )
        for name, part in parts:
            if part is not None:
                yield _field(name, turn, part.start, part.end, part.sure, value=part.value)


def _phones(turn: Turn) -> Iterable[DraftField]:
    """Numbers that the caller gives; one that is no longer in use is none."""
    for said in phone_numbers(turn.text):
        whole = len(said.digits) == 11 or (len(said.digits) in (7, 8) and said.digits[0] not in "01")
        before, after = turn.text[max(0, said.start - 8) : said.start], turn.text[said.end : said.end + 6]
        old = _OLD_NUMBER.search(before) is not None or _OUT_OF_USE.match(after) is not None
        sure = (0.9 if whole else 0.5) * (0.2 if old else 1.0)
        yield _field(FieldName.CALLER_PHONE, turn, said.start, said.end, sure, value=said.digits)


_OLD_NUMBER = re.compile(r"(?:原来|以前|旧|老)[^，。新]{0,5}$")
_OUT_OF_USE = re.compile(r"，?(?:不用|停用|作废|停机|打不通|取消)")


def _casualties(spoken: list[Turn]) -> Iterable[DraftField]:
    """One field for the call: the last word on each fate counts, since later figures correct earlier ones."""
    latest = said_casualties(spoken)
    if latest:
        said = list(latest.values())
        yield DraftField(
            name=FieldName.CASUALTIES,
            value="，".join(f"{each.count}人{each.fate}" if each.count else _NOBODY[each.fate] for each in said),
            normalised=";".join(f"{each.fate}={each.count}" for each in said),
            confidence=round(0.9 * min(each.turn.confidence(each.start, each.end) for each in said), 4),
            source=Source.TRANSCRIPT,
            spans=tuple(span for each in said for span in each.turn.spans(each.start, each.end)),
        )


_NOBODY = {
    DEAD: "无人员死亡",
    INJURED: "无人员受伤",
    MISSING: "无人员失踪",
    TRAPPED: "无人员被困",
    ILL: "无人员患病",
    EVACUATED: "无人员转移",
}


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
