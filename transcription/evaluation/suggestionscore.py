"""How many misheard names are proposed right, how many proposals are wrong, and what that costs in time.

Two measures: names misheard in written calls, labelled by hand; and names spoilt on purpose, which are many but follow
the same list of confusions as the distance, so that only how often they are found means anything, not that they are.
"""

from __future__ import annotations

import random
import re
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from duty.domain.pinyin import readings
from duty.domain.transcripts import Transcript
from transcription.errors import TranscriptionError
from transcription.evaluation.corpus import GoldCall
from transcription.evaluation.fieldscore import Score
from transcription.lexicon import Lexicon
from transcription.sounding import syllable_distance
from transcription.suggestions import SHORTEST, Suggester

_SAME, _NEAR = 0.13, 0.3
"""How far apart two syllables lie that differ in the tone only, and at most by one usual confusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misheard:
    """In call ``call_id`` stands ``heard`` where ``word`` was said."""

    call_id: str
    heard: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestionReport:
    """Counts over ``characters`` of text; ``wrong`` names the proposals that are none; seconds by call."""

    score: Score
    characters: int
    wrong: tuple[Misheard, ...]
    missed: tuple[Misheard, ...]
    seconds: tuple[float, ...]

    @property
    def wrong_per_thousand(self) -> float:
        """Wrong proposals in a thousand characters."""
        return 1000 * self.score.wrong / self.characters if self.characters else 0.0


def read_misheard(path: Path) -> list[Misheard]:
    """The labels of a TOML file, one ``[[misheard]]`` each. Raises TranscriptionError."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["misheard"]
        return [Misheard(call_id=row["call"], heard=row["heard"], word=row["word"]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TranscriptionError(f"听错用例 {path.name} 无法读取：{error}") from error


def measure_suggestions(
    calls: Sequence[tuple[str, Transcript]],
    labels: Sequence[Misheard],
    suggester: Suggester,
    clock: Callable[[], float] = time.perf_counter,
) -> SuggestionReport:
    """Proposals for each (id, transcript) beside ``labels``; a proposal is right where both its words agree."""
    wanted, found, characters, seconds = set(labels), set(), 0, []
    for call_id, transcript in calls:
        began = clock()
        proposals = suggester.suggestions(transcript)
        seconds.append(clock() - began)
        characters += sum(len(segment.text) for segment in transcript.segments)
        for each in proposals:
            text = transcript.segments[each.segment].text[each.start_char : each.end_char]
            found.add(Misheard(call_id=call_id, heard="".join(text.split()), word=each.word))
    wanted = {label for label in wanted if label.call_id in {call_id for call_id, _ in calls}}
    wrong, missed = found - wanted, wanted - found
    return SuggestionReport(
        score=Score(right=len(found & wanted), wrong=len(wrong), missed=len(missed)),
        characters=characters,
        wrong=tuple(sorted(wrong, key=str)),
        missed=tuple(sorted(missed, key=str)),
        seconds=tuple(seconds),
    )


def spoilt(call: GoldCall, lexicon: Lexicon, seed: str) -> tuple[Transcript, list[Misheard]]:
    """``call`` with one or two characters of each name in it written as something that sounds like them, and what was
    spoilt. The same for the same seed."""
    chance = random.Random(f"{seed}:{call.call_id}")  # noqa: S311 - test data
    labels: list[Misheard] = []

    def spoil(match: re.Match[str]) -> str:
        heard = _misheard(match.group(), chance)
        if heard != match.group():
            labels.append(Misheard(call_id=call.call_id, heard=heard, word=match.group()))
        return heard

    names, transcript = _names(lexicon), call.transcript()
    segments = tuple(replace(segment, text=names.sub(spoil, segment.text), words=()) for segment in transcript.segments)
    return replace(transcript, segments=segments), labels


def _names(lexicon: Lexicon) -> re.Pattern[str]:
    names = {word.word for word in lexicon.words if len(word.word) >= SHORTEST}
    return re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))


def _misheard(name: str, chance: random.Random) -> str:
    chars = list(name)
    for at in chance.sample(range(len(name)), k=chance.choice((1, 1, 2))):
        alike = _alike(name[at], _SAME if chance.random() < 0.6 else _NEAR)
        chars[at] = chance.choice(alike) if alike else name[at]
    return "".join(chars)


@cache
def _alike(char: str, within: float) -> tuple[str, ...]:
    syllable = (readings(char) or ("",))[0]
    return tuple(
        other
        for other in _common()
        if other != char and syllable_distance((readings(other) or ("",))[0], syllable) <= within
    )


@cache
def _common() -> tuple[str, ...]:
    """The 3,755 usual characters (GB 2312, first level)."""
    codes = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return tuple(char for code in codes if (char := code.decode("gb2312", errors="ignore")))
