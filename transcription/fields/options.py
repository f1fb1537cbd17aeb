"""Every reading of a call that may be its time, its place or its caller's unit, with what speaks for and against it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from duty.domain.transcripts import Speaker
from transcription.fields.naming import Reading, readings, tokens
from transcription.fields.phones import phone_readings
from transcription.fields.places import SaidPlace, said_places
from transcription.fields.surroundings import Call, surroundings
from transcription.fields.times import CHINA, SaidTime, said_times, written
from transcription.fields.units import said_units
from transcription.lexicon import Lexicon


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A value that words ``start:end`` of turn ``index`` may be; ``features`` are what ``ranking`` weighs."""

    index: int
    start: int
    end: int
    value: str
    normalised: str
    features: frozenset[str]


def time_options(call: Call, called_at: datetime) -> list[Option]:
    """Times that either says, with their moments in ISO 8601."""
    said = [(i, each) for i, turn in enumerate(call.turns) for each in said_times(turn.text, called_at)]
    moments = [each.moment for _, each in said if each.form != "now" and each.moment <= called_at]
    earliest = min(moments, default=None)
    options = []
    for number, (index, each) in enumerate(said):
        features = {*surroundings(call, index, each.start, each.end), *_of_time(each, called_at)}
        features.add(f"nth:{min(number, 3)}")
        features |= {"earliest"} if each.moment == earliest else set()
        features |= {"again"} if sum(each.moment == other.moment for _, other in said) > 1 else set()
        options.append(
            Option(
                index=index,
                start=each.start,
                end=each.end,
                value=written(each),
                normalised=each.moment.isoformat(),
                features=frozenset(features),
            )
        )
    return options


def _of_time(said: SaidTime, called_at: datetime) -> Iterator[str]:
    yield f"form:{said.form}"
    yield from (f"given:{part}" for part in said.given)
    minutes = (called_at.astimezone(CHINA) - said.moment).total_seconds() / 60
    if minutes < -2:
        yield "future"
    else:
        yield "age:" + next((name for name, most in _AGES if minutes <= most), "old")


_AGES = (("now", 5), ("quarter", 20), ("hour", 60), ("hours", 240), ("half", 720), ("day", 1440), ("days", 4000))


def place_options(call: Call, unit: Option | None, lexicon: Lexicon) -> list[Option]:
    """Places that either says; ``unit`` is the caller's, which the scene seldom is."""
    options: list[Option] = []
    for index, turn in enumerate(call.turns):
        known = said_places(turn.text, lexicon)
        found = {(place.start, place.end): place for place in known if place.kind or place.name[-1] in "线道口"}
        read = {(each.start, each.end): each for each in readings(tokens(turn.text, lexicon), lexicon)}
        for span in sorted({*found, *read}):
            place = found.get(span) or _read_place(read[span], lexicon)
            features = {*surroundings(call, index, *span), *_of_name(place.name, read.get(span), [*found, *read], span)}
            features |= {f"kind:{place.kind}", "rules"} if span in found else {f"kind:{place.kind}"}
            features |= {f"{feature}:{place.kind}" for feature in _beside(unit, index, span, place.name)}
            features |= set(_neighbours(turn.text, span, [*found, *read]))
            options.append(
                Option(
                    index=index,
                    start=span[0],
                    end=span[1],
                    value=place.name,
                    normalised=place.full,
                    features=frozenset(features),
                )
            )
    return _counted(options)


def _neighbours(text: str, span: tuple[int, int], spans: Iterable[tuple[int, int]]) -> Iterator[str]:
    """Whether another name stands near behind or before, and whether the two are a crossing."""
    start, end = span
    behind = [other for other in spans if end <= other[0] <= end + _CLOSE]
    ahead = [other for other in spans if start - _CLOSE <= other[1] <= start]
    if behind:
        yield "name behind"
    if ahead:
        yield "name ahead"
    if any(_CROSS.fullmatch(text[end : other[0]]) for other in behind):
        yield "crossing:first"
    if any(_CROSS.fullmatch(text[other[1] : start]) for other in ahead):
        yield "crossing:second"


_CLOSE = 7
_CROSS = re.compile(r"(?:，|与|和|跟|同|、|交|到|至)+")


def _beside(unit: Option | None, index: int, span: tuple[int, int], name: str) -> set[str]:
    if unit is None:
        return {"no unit"}
    features = {"unit's name"} if name in unit.value or unit.value in name else set()
    if unit.index == index and unit.start < span[1] and span[0] < unit.end:
        features.add("unit:inside" if unit.end > span[1] else "unit:whole")
    return features


def phone_options(call: Call) -> list[Option]:
    """Numbers one could dial, the caller's or another's."""
    return [
        Option(
            index=each.index,
            start=each.start,
            end=each.end,
            value=each.digits,
            normalised=each.digits,
            features=each.features,
        )
        for each in phone_readings(call)
    ]


def unit_options(call: Call, lexicon: Lexicon) -> list[Option]:
    """Units that the caller names, its own or another's."""
    options: list[Option] = []
    for index, turn in enumerate(call.turns):
        if turn.speaker is not Speaker.CALLER:
            continue
        known = {(said.start, said.end): said for said in said_units(turn.text, lexicon)}
        read = {(each.start, each.end): each for each in readings(tokens(turn.text, lexicon), lexicon)}
        for span in sorted({*known, *read}):
            name = known[span].value if span in known else read[span].name
            features = {*surroundings(call, index, *span), *_of_name(name, read.get(span), [*known, *read], span)}
            features |= {f"known:{known[span].sure > 0.75}"} if span in known else set()
            features |= {f"start:{min(span[0] // 10, 3)}"}
            options.append(
                Option(
                    index=index, start=span[0], end=span[1], value=name, normalised=name, features=frozenset(features)
                )
            )
    return _counted(options)


def _of_name(name: str, read: Reading | None, spans: Iterable[tuple[int, int]], span: tuple[int, int]) -> Iterator[str]:
    """How the name is made: its length, its end, its words."""
    yield f"length:{min(len(name), 9)}"
    wider = [other for other in spans if other != span and other[0] <= span[0] and span[1] <= other[1]]
    if wider:
        yield "within another:" + ("end" if any(other[1] == span[1] for other in wider) else "begin")
    if re.search(r"[的了在有是我你]", name):
        yield "odd"
    if read is None:
        yield "unread"
        return
    yield f"end:{read.kind}"
    yield f"words:{min(len(read.words), 5)}"
    yield "longest" if read.longest else "shorter"
    yield f"first:{'gaz:' + read.words[0].kind if read.words[0].kind else read.words[0].tag}"
    yield f"last:{'gaz' if read.words[-1].kind else read.words[-1].tag}"
    if any(word.tag in ("v", "vg", "zg", "ad", "vd") for word in read.words):
        yield "verb within"


def _read_place(read: Reading, lexicon: Lexicon) -> SaidPlace:
    """A reading as a place: with the district and the township that the gazetteer gives its first known name."""
    full = read.name
    known = next((word for word in read.words if word.kind), None)
    if known is read.words[0] and known is not None:
        full = _full(known.name, lexicon) + "".join(word.name or word.text for word in read.words[1:])
    return SaidPlace(start=read.start, end=read.end, name=read.name, full=full, sure=0.5, kind=read.kind)


def _full(name: str, lexicon: Lexicon) -> str:
    return next((place.full for place in lexicon.places if place.name == name), name)


def _counted(options: list[Option]) -> list[Option]:
    """With how often each value is said, and in which order."""
    times = Counter(option.value for option in options)
    order: dict[str, int] = {}
    counted = []
    for option in options:
        nth = order.setdefault(option.value, len(order))
        more = {f"times:{min(times[option.value], 3)}", f"nth:{min(nth, 4)}"}
        counted.append(replace(option, features=option.features | more))
    return counted
