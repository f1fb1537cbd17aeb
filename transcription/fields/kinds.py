"""What a call is, and which class of report it would be: by the vocabulary's words, with the words that showed it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.callwords import CallWords
from transcription.fields.events import said_events
from transcription.fields.ranking import chances
from transcription.fields.reading import Turn
from transcription.lexicon import Lexicon

_LITTLE = 2
"""Scores below this show nothing."""
_EVENT_SCORE = 3
_EMERGENCIES = frozenset({"自然灾害", "事故灾难", "公共卫生事件"})
_SURE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A finding and the characters ``start:end`` of ``turn`` that show it; ``sure`` is 0..1."""

    value: str
    sure: float
    turn: Turn
    start: int
    end: int


def call_kind(turns: Sequence[Turn], words: CallWords) -> Shown | None:
    """What kind of call this is where it is no event; None for an event."""
    callers = [turn for turn in turns if turn.speaker is Speaker.CALLER]
    length = sum(len(turn.text) for turn in callers)
    for rule in words.kinds:
        if rule.short and length > rule.short:
            continue
        if rule.unless is not None and any(rule.unless.search(turn.text) for turn in callers):
            continue
        shown = _first(rule.caller, callers) or _first(rule.said, turns)
        if shown is not None:
            turn, match = shown
            return Shown(value=rule.name, sure=0.85, turn=turn, start=match.start(), end=match.end())
    return None


def report_class(turns: Sequence[Turn], lexicon: Lexicon) -> Shown | None:
    """The likeliest class (1 to 9) of a call that is an event; None where nothing is said that shows one."""
    hits = class_hits(turns, lexicon)
    if not hits:
        return None
    options = class_options(hits, turns, lexicon)
    found = chances(options, (), lexicon.weights.get("class", {}))
    best = max(range(len(found)), key=lambda i: found[i])
    number = lexicon.calls.classes[best].number
    turn, (start, end) = hits.get(f"{number}.0") or next(
        (where for name, where in hits.items() if name.startswith(f"{number}.")), next(iter(hits.values()))
    )
    return Shown(value=str(number), sure=min(0.95, found[best]), turn=turn, start=start, end=end)


def class_hits(turns: Sequence[Turn], lexicon: Lexicon) -> dict[str, tuple[Turn, tuple[int, int]]]:
    """What the caller says that shows a class: the number of the class and of its pattern, and where that was said."""
    callers = [turn for turn in turns if turn.speaker is Speaker.CALLER]
    hits = {}
    for rule in lexicon.calls.classes:
        for i, (pattern, _) in enumerate(rule.words):
            if (where := _undenied(pattern, callers)) is not None:
                hits[f"{rule.number}.{i}"] = where
    if (event := _emergency(callers, lexicon)) is not None:
        hits["1.event"] = event
    if (outside := _first(lexicon.calls.elsewhere, callers)) is not None:
        hits["6.outside"] = outside[0], outside[1].span()
    return hits


def class_options(hits: Iterable[str], turns: Sequence[Turn], lexicon: Lexicon) -> list[frozenset[str]]:
    """For each class what speaks for and against it: all that was said, and what the sum of the scores would say."""
    scored = _scored_class(turns, lexicon)
    shown = {*hits, f"rule {scored}"}
    return [
        frozenset({f"{rule.number}", *(f"{rule.number}|{name}" for name in shown)}) for rule in lexicon.calls.classes
    ]


def _scored_class(turns: Sequence[Turn], lexicon: Lexicon) -> int:
    """The class with the highest sum of its words' scores, the lower number where two are equal; 0 for none."""
    callers = [turn for turn in turns if turn.speaker is Speaker.CALLER]
    best = 0, 0
    for rule in lexicon.calls.classes:
        score = sum(score for pattern, score in rule.words if _undenied(pattern, callers) is not None)
        if rule.number == 1 and _emergency(callers, lexicon) is not None:
            score += _EVENT_SCORE
        if rule.outside:
            score += _SURE if _first(lexicon.calls.elsewhere, callers) is not None else -score
        if score >= _LITTLE and score > best[0]:
            best = score, rule.number
    return best[1]


def _emergency(turns: Sequence[Turn], lexicon: Lexicon) -> tuple[Turn, tuple[int, int]] | None:
    """An event of the vocabulary, spelt by its sound too (活载 for 火灾)."""
    for turn in turns:
        for said in said_events(turn.text, lexicon):
            if said.category in _EMERGENCIES:
                return turn, (said.start, said.end)
    return None


def _undenied(pattern: re.Pattern[str], turns: Sequence[Turn]) -> tuple[Turn, tuple[int, int]] | None:
    """Where ``pattern`` is first said and not denied."""
    return next(
        ((turn, match.span()) for turn in turns for match in pattern.finditer(turn.text) if not _denied(turn, match)),
        None,
    )


_DENIAL = re.compile(r"(?:没有?|未|无|不|避免|防止|预防|防范|严防)(?:任何|发生|出现|造成|过激|接到|人员|人)*$")


def _denied(turn: Turn, match: re.Match[str]) -> bool:
    return _DENIAL.search(turn.text[: match.start()]) is not None


def _first(pattern: re.Pattern[str] | None, turns: Sequence[Turn]) -> tuple[Turn, re.Match[str]] | None:
    if pattern is None:
        return None
    return next(((turn, match) for turn in turns if (match := pattern.search(turn.text)) is not None), None)
