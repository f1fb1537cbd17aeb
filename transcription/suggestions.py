"""Names that were probably misheard: 北郊香 for 北郊乡. Proposed to the officer, never put in place (6.2-b).

A name is sought by how it sounds, and only where its class may stand. Names of two characters are left alone: too much
ordinary speech sounds like one. Where an engine wrote a name of the vocabulary, nothing is proposed over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pypinyin import Style, pinyin

from duty.domain.pinyin import readings
from duty.domain.transcripts import Transcript
from duty.domain.vocabulary import DistrictWord, Suggestion, WordClass
from transcription.cues import Cue, Cues
from transcription.fields.reading import Turn, turns
from transcription.lexicon import Lexicon
from transcription.sounding import OF_TONE, Table, from_one, pack

SHORTEST = 3
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
_FAR = 9.0
_LEVELS = frozenset("省市区县")
_LENGTH_WEIGHT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    start: int
    end: int
    word: DistrictWord
    apart: float

    @property
    def weight(self) -> float:
        """Long names that sound right first."""
        return self.apart - _LENGTH_WEIGHT * (self.end - self.start)


class Suggester:
    """Seeks the words of one lexicon; made once for a vocabulary, used for many transcripts."""

    def __init__(self, lexicon: Lexicon, cues: Cues) -> None:
        self._cues = cues
        words = [word for word in lexicon.words if len(word.word) >= SHORTEST]
        syllables = sorted({syllable for word in words for syllable in word.pinyin})
        index = {syllable: at for at, syllable in enumerate(syllables)}
        self._syllables = pack(syllables)
        self._rows: dict[str, Table] = {}
        self._words: dict[int, list[DistrictWord]] = {}
        for word in words:
            self._words.setdefault(len(word.word), []).append(word)
        self._sounds: dict[int, NDArray[np.intp]] = {
            size: np.array([[index[syllable] for syllable in word.pinyin] for word in same])
            for size, same in self._words.items()
        }
        self._written = _one_of({word.word for word in lexicon.words} | {place.name for place in lexicon.places})

    def suggestions(self, transcript: Transcript) -> tuple[Suggestion, ...]:
        """What was probably misheard, in order of speech. Pure; raises nothing."""
        return tuple(found for turn in turns(transcript) for found in self._of(turn))

    def _of(self, turn: Turn) -> Iterable[Suggestion]:
        kept: list[_Hit] = []
        for hit in sorted(self._hits(turn.text), key=lambda hit: hit.weight):
            if all(hit.end <= other.start or hit.start >= other.end for other in kept):
                kept.append(hit)
        for hit in sorted(kept, key=lambda hit: hit.start):
            spans = turn.spans(hit.start, hit.end)
            if len(spans) == 1:
                yield Suggestion(
                    segment=spans[0].segment,
                    start_char=spans[0].start_char,
                    end_char=spans[0].end_char,
                    word=hit.word.word,
                    word_class=hit.word.word_class,
                    distance=round(hit.apart, 4),
                )

    def _hits(self, text: str) -> Iterable[_Hit]:
        apart = self._apart(text)
        written = [match.span() for match in self._written.finditer(text)]
        for size, sounds in self._sounds.items():
            places = len(text) - size + 1
            if places < 1:
                continue
            steps = np.stack([apart[at : places + at][:, sounds[:, at]] for at in range(size)])
            for start, index in zip(*np.nonzero(steps.mean(axis=0) <= self._widest), strict=True):
                word = self._words[size][index]
                hit = self._judged(text, int(start), word, steps[:, start, index], written)
                if hit is not None:
                    yield hit

    @property
    def _widest(self) -> float:
        return max(cue.loose for cue in self._cues.of.values())

    def _judged(
        self, text: str, start: int, word: DistrictWord, steps: Table, written: list[tuple[int, int]]
    ) -> _Hit | None:
        """The hit, where the class may stand there and nothing speaks against it."""
        end = start + len(word.word)
        wrong = [at for at in range(len(word.word)) if text[start + at] != word.word[at]]
        if not wrong or any(text[start + at] in self._cues.never for at in wrong):
            return None
        if word.word_class is WordClass.UNIT and wrong[0] == 0 and word.word[0] in _LEVELS and steps[0] > OF_TONE:
            return None  # 区, 市 and 省 tell units apart that are named alike
        if any(a <= start + at < b for a, b in written for at in wrong):
            return None
        cue = self._cues.of[word.word_class]
        tail = cue.tail(word.word)
        as_written = tail > 0 and wrong[-1] < len(word.word) - tail
        mean = float(steps[: len(steps) - tail].mean() if as_written else steps.mean())
        witnessed = as_written or _beside(cue, text, start, end)
        return _Hit(start=start, end=end, word=word, apart=mean) if mean <= cue.limit(witnessed=witnessed) else None

    def _apart(self, text: str) -> Table:
        """How far each character lies from each syllable of the vocabulary: by its reading in context or its usual
        one, whichever is nearer."""
        table = np.full((len(text), len(self._syllables.known)), _FAR)
        for match in _CHINESE.finditer(text):
            for at, (char, syllable) in enumerate(zip(match.group(), _read(match.group()), strict=True), match.start()):
                usual = readings(char)[:1]
                table[at] = np.minimum.reduce([self._row(each) for each in {syllable, *usual}])
        return table

    def _row(self, syllable: str) -> Table:
        row = self._rows.get(syllable)
        if row is None:
            row = self._rows[syllable] = from_one(syllable, self._syllables)
        return row


def _beside(cue: Cue, text: str, start: int, end: int) -> bool:
    return cue.before.search(text[:start]) is not None and cue.after.search(text[end:]) is not None


@lru_cache(maxsize=4096)
def _read(run: str) -> tuple[str, ...]:
    """The readings of a run of Chinese characters in its context; a character without one stands for itself."""
    found = pinyin(run, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False)
    if len(found) == len(run):
        return tuple(each[0] for each in found)
    return tuple((readings(char) or (char,))[0] for char in run)


def _one_of(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))
