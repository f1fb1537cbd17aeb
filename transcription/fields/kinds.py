"""What a call is, and which class of report it would be: by the vocabulary's words, with the words that showed it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.callwords import CallWords, ClassRule
from transcription.fields.events import said_events
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
    """The likeliest class (1 to 9) of a call that is an event: the highest score, the lower number where two are equal;
    None where nothing is said that shows one."""
    callers = [turn for turn in turns if turn.speaker is Speaker.CALLER]
    best: tuple[int, Shown] | None = None
    for rule in lexicon.calls.classes:
        score, where = _score(rule, callers)
        if rule.number == 1 and (event := _emergency(callers, lexicon)) is not None:
            score, where = score + _EVENT_SCORE, where or event
        if rule.outside:
            score += _SURE if _first(lexicon.calls.elsewhere, callers) is not None else -score
        if where is not None and score >= _LITTLE and (best is None or score > best[0]):
            turn, (start, end) = where
            sure = min(0.9, 0.4 + 0.06 * score)
            best = score, Shown(value=str(rule.number), sure=sure, turn=turn, start=start, end=end)
    return None if best is None else best[1]


def _emergency(turns: Sequence[Turn], lexicon: Lexicon) -> tuple[Turn, tuple[int, int]] | None:
    """An event of the vocabulary, spelt by its sound too (活载 for 火灾)."""
    for turn in turns:
        for said in said_events(turn.text, lexicon):
            if said.category in _EMERGENCIES:
                return turn, (said.start, said.end)
    return None


def _score(rule: ClassRule, turns: Sequence[Turn]) -> tuple[int, tuple[Turn, tuple[int, int]] | None]:
    """The sum of what occurs, denied words left out, and where the first of the weightiest stands."""
    total, weightiest = 0, 0
    where: tuple[Turn, tuple[int, int]] | None = None
    for pattern, score in rule.words:
        found = next(
            ((turn, match) for turn in turns for match in pattern.finditer(turn.text) if not _denied(turn, match)), None
        )
        if found is None:
            continue
        total += score
        if score > weightiest:
            weightiest, where = score, (found[0], found[1].span())
    return total, where


_DENIAL = re.compile(r"(?:没有?|未|无|不|避免|防止|预防|防范|严防)(?:任何|发生|出现|造成|过激|接到|人员|人)*$")


def _denied(turn: Turn, match: re.Match[str]) -> bool:
    return _DENIAL.search(turn.text[: match.start()]) is not None


def _first(pattern: re.Pattern[str] | None, turns: Sequence[Turn]) -> tuple[Turn, re.Match[str]] | None:
    if pattern is None:
        return None
    return next(((turn, match) for turn in turns if (match := pattern.search(turn.text)) is not None), None)
