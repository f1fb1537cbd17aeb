"""All rules over one transcript: the proposals for the draft, each with value, confidence and spans (6.1-d, 6.2-b)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from duty.domain.drafts import DraftField, FieldName, Source
from duty.domain.entries import Category
from duty.domain.transcripts import Speaker, Transcript
from transcription.fields.casualties import Count, count_options, fates_spoken_of, nothing_of
from transcription.fields.events import SaidEvent, said_events
from transcription.fields.figures import DEAD, EVACUATED, ILL, INJURED, MISSING, TRAPPED, said_figures
from transcription.fields.kinds import call_kind, report_class
from transcription.fields.options import Option, phone_options, place_options, time_options, unit_options
from transcription.fields.orders import ordered
from transcription.fields.people import introduction
from transcription.fields.places import SaidPlace, said_places
from transcription.fields.ranking import Weights, chances
from transcription.fields.reading import Turn, turns
from transcription.fields.surroundings import call_of, of_none
from transcription.lexicon import Lexicon

_MEASURES = re.compile(
    r"(?:已经|已|正在|立即|及时|组织|启动|开展)[^，。；]{0,14}(?:到场|到达|赶到|赶赴|处置|扑灭|救治|救援|转移|疏散|封闭|封控|抢修|抢险|搜救|"
    r"送|上报|报告|排查|维修|撤离|安置|警戒|控制|救助|通知|预案|劝离|稳控)"
)
_REQUEST = re.compile(
    r"请求|请(?!问|讲|稍|您?稍|等|说|放心|记)|需要(?:你们|上级|区里|支援|协调|帮助|派)|希望(?:区|上级|你们|领导|能)|申请"
)
_OFFICER = 0.35


def extract(transcript: Transcript, lexicon: Lexicon, *, called_at: datetime) -> tuple[DraftField, ...]:
    """Proposals from ``transcript`` for a call that began ``called_at`` (timezone-aware), best first per field.

    What the transcript does not say is absent. Confidence is the rule's times the recogniser's for those words.
    """
    spoken = turns(transcript)
    fields: list[DraftField] = []
    callers = [turn for turn in spoken if turn.speaker is Speaker.CALLER]
    for ranked_name, options in ranked_options(spoken, lexicon, called_at=called_at, weights=lexicon.weights).items():
        fields += _ranked(_RANKED[ranked_name], options, spoken)
    for turn in spoken:
        weight = 1.0 if turn.speaker is Speaker.CALLER else _OFFICER
        fields += _events(turn, weight, lexicon)
    fields += _people(callers, lexicon)
    fields += _matching(callers, FieldName.MEASURES, _MEASURES, 0.7)
    fields += _matching(callers, FieldName.REQUEST, _REQUEST, 0.6)
    what = list(_what_it_is(spoken, lexicon))
    kind_shown = next((field.normalised for field in what if field.name is FieldName.KIND), "event")
    fields += _casualties(spoken, kind_shown, lexicon.weights.get("casualties", {}))
    if kind := next((field.normalised for field in what if field.name is FieldName.KIND), ""):
        nothing = _OF_EVENTS | (set() if kind in _ABOUT_PLACES else {FieldName.PLACE})
        nothing |= {FieldName.CALLER_PHONE} if kind == "wrong_number" else set()
        fields = [field for field in fields if field.name not in nothing]
    fields += what
    fields += _levels(fields, lexicon)
    if kind == "directive":
        fields += _directive(spoken, called_at)
    order = list(FieldName)
    ranked = sorted(fields, key=lambda field: (order.index(field.name), -field.confidence))
    best: dict[tuple[FieldName, str], DraftField] = {}
    for field in ranked:
        best.setdefault((field.name, field.normalised), field)
    return tuple(best.values())


def _levels(fields: Sequence[DraftField], lexicon: Lexicon) -> Iterable[DraftField]:
    """The level that the figures of an event suggest, with their words."""
    figures = next((field for field in fields if field.name is FieldName.CASUALTIES), None)
    if figures is None:
        return
    counts = {fate: int(count) for fate, _, count in (part.partition("=") for part in figures.normalised.split(";"))}
    hurt = max(counts.get(INJURED, 0), counts.get(ILL, 0))
    found = next((lv for lv in lexicon.calls.levels if counts.get(DEAD, 0) >= lv.dead or hurt >= lv.hurt), None)
    if found is not None:
        yield replace(figures, name=FieldName.LEVEL, value=found.name, normalised=found.name)


def _directive(spoken: Sequence[Turn], called_at: datetime) -> Iterable[DraftField]:
    """What a superior orders, in his words; the normalised form is the deadline in ISO 8601, empty for none."""
    found = ordered(spoken, called_at)
    if found is not None:
        yield DraftField(
            name=FieldName.DIRECTIVE,
            value="，".join(turn.text[a:b] for turn, a, b in found.clauses),
            normalised="" if found.due is None else found.due.isoformat(timespec="minutes"),
            confidence=round(0.7 * min(turn.confidence(a, b) for turn, a, b in found.clauses), 4),
            source=Source.TRANSCRIPT,
            spans=tuple(span for turn, a, b in found.clauses for span in turn.spans(a, b)),
            speaker=_speaker(turn for turn, _, _ in found.clauses),
        )


def _speaker(turns: Iterable[Turn]) -> str:
    """Who speaks in ``turns``; empty for both."""
    who = {turn.speaker.value for turn in turns}
    return who.pop() if len(who) == 1 else ""


def _what_it_is(spoken: list[Turn], lexicon: Lexicon) -> Iterable[DraftField]:
    """What kind of call it is and, for an event, its class of report; each only where words show it."""
    kind = call_kind(spoken, lexicon.calls)
    shown = [(FieldName.KIND, kind)] if kind is not None else []
    if kind is None and (found := report_class(spoken, lexicon)) is not None:
        shown.append((FieldName.REPORT_CLASS, found))
    for name, each in shown:
        yield _field(name, each.turn, each.start, each.end, each.sure, value=each.value)
    if kind is not None:
        start, end = kind.turn.clause(kind.start)
        value = kind.turn.text[start:end]
        yield _field(FieldName.EVENT, kind.turn, start, end, _NO_EVENT, value=value, normalised=kind.value)


_NO_EVENT = 0.3
"""The clause that shows what a call is stands for its subject where no event is said."""
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
        speaker=turn.speaker.value,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The options for one field and what speaks for there being none; ``chances`` as ``ranking`` gives them."""

    options: tuple[Option, ...]
    nothing: frozenset[str]
    chances: tuple[float, ...]

    def together(self) -> dict[str, float]:
        """The chance of each value, over all the words that say it."""
        sums: dict[str, float] = {}
        for option, chance in zip(self.options, self.chances, strict=True):
            sums[option.normalised] = sums.get(option.normalised, 0.0) + chance
        return sums

    @property
    def best(self) -> Option | None:
        """The likeliest words of the likeliest value; None where it is likelier that there is none."""
        sums = self.together()
        value = max(sums, key=lambda each: sums[each], default=None)
        if value is None or sums[value] < 1 - sum(self.chances):
            return None
        found = [i for i, option in enumerate(self.options) if option.normalised == value]
        return self.options[max(found, key=lambda i: self.chances[i])]


def ranked_options(
    spoken: Sequence[Turn], lexicon: Lexicon, *, called_at: datetime, weights: Mapping[str, Weights]
) -> dict[str, Ranked]:
    """The caller's unit, the event's time and its place, each with all that they may be, by name of the field."""
    call = call_of(spoken, lexicon)
    kind = call_kind(spoken, lexicon.calls)
    nothing = of_none(call, kind.value if kind is not None else "event")
    unit = _rank(unit_options(call, lexicon), nothing, weights.get("unit", {}))
    return {
        "unit": unit,
        "time": _rank(time_options(call, called_at), nothing, weights.get("time", {})),
        "phone": _rank(phone_options(call), nothing, weights.get("phone", {})),
        "place": _rank(place_options(call, unit.best, lexicon), nothing, weights.get("place", {})),
    }


def _rank(options: list[Option], nothing: frozenset[str], weights: Weights) -> Ranked:
    found = chances([option.features for option in options], nothing, weights)
    return Ranked(options=tuple(options), nothing=nothing, chances=tuple(found))


_RANKED = {
    "unit": FieldName.CALLER_UNIT,
    "phone": FieldName.CALLER_PHONE,
    "time": FieldName.EVENT_TIME,
    "place": FieldName.PLACE,
}
_UNLIKELY = 0.03


def _ranked(name: FieldName, ranked: Ranked, spoken: Sequence[Turn]) -> Iterable[DraftField]:
    """The options that are likely enough to be shown; none where the call most likely says nothing of it."""
    if ranked.best is None:
        return
    together = ranked.together()
    best: dict[str, tuple[float, Option]] = {}
    for option, chance in zip(ranked.options, ranked.chances, strict=True):
        if option.normalised not in best or best[option.normalised][0] < chance:
            best[option.normalised] = chance, option
    for value, (_, option) in best.items():
        if together[value] >= _UNLIKELY:
            turn = spoken[option.index]
            yield _field(
                name, turn, option.start, option.end, min(together[value], 0.98), value=option.value, normalised=value
            )


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


def _people(callers: list[Turn], lexicon: Lexicon) -> Iterable[DraftField]:
    """The caller's title and name from each self-introduction."""
    for turn in callers:
        found = introduction(turn.text, lexicon)
        parts = (
            ((FieldName.CALLER_TITLE, found.title), (FieldName.CALLER_NAME, found.name)) if found is not None else ()
        )
        for name, part in parts:
            if part is not None:
                yield _field(name, turn, part.start, part.end, part.sure, value=part.value)


def ranked_counts(
    spoken: Sequence[Turn], kind: str, weights: Weights
) -> dict[str, tuple[list[Count], frozenset[str], list[float]]]:
    """For each fate spoken of the numbers of people it may be, what speaks for none, and the chances of each."""
    found, figures = {}, said_figures(spoken)
    for fate in fates_spoken_of(spoken):
        options, nothing = count_options(spoken, fate, kind, figures), nothing_of(spoken, fate, kind)
        found[fate] = options, nothing, chances([option.features for option in options], nothing, weights)
    return found


def _casualties(spoken: Sequence[Turn], kind: str, weights: Weights) -> Iterable[DraftField]:
    """One field for the call: the likeliest number for each fate that has one."""
    said: list[tuple[str, Count, float]] = []
    for fate, (options, _, chance) in ranked_counts(spoken, kind, weights).items():
        together = {option.count: 0.0 for option in options}
        for option, one in zip(options, chance, strict=True):
            together[option.count] += one
        if not options or max(together.values()) < 1 - sum(chance):
            continue
        count = max(together, key=lambda each: together[each])
        _, where = max(((one, i) for i, one in enumerate(chance) if options[i].count == count))
        said.append((fate, options[where], together[count]))
    if said:
        yield DraftField(
            name=FieldName.CASUALTIES,
            value="，".join(f"{each.count}人{fate}" if each.count else _NOBODY[fate] for fate, each, _ in said),
            normalised=";".join(f"{fate}={each.count}" for fate, each, _ in said),
            confidence=round(
                min(sure * spoken[each.index].confidence(each.start, each.end) for _, each, sure in said), 4
            ),
            source=Source.TRANSCRIPT,
            spans=tuple(span for _, each, _ in said for span in spoken[each.index].spans(each.start, each.end)),
            speaker=_speaker(spoken[each.index] for _, each, _ in said),
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
            speaker=Speaker.CALLER.value,
        )
