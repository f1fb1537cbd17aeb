"""Pinyin of the district's words: proposed by dictionary, typed by hand for polyphones, checked syllable by syllable.

A syllable is written with its tone as a digit (``zhong1``, 5 for the neutral one, ``v`` for ü) or, where the tone is
not known, without. Tone marks are taken too and turned into digits.
"""

from __future__ import annotations

from functools import cache, lru_cache

from pypinyin import Style, pinyin
from pypinyin.constants import PINYIN_DICT
from pypinyin.contrib.tone_convert import to_normal, to_tone, to_tone3

from duty.domain.errors import Refused
from duty.domain.vocabulary import Syllables

_TONES = "12345"


def readings(char: str) -> Syllables:
    """Every reading the dictionary knows of one character, the usual one first; empty for what has none."""
    return _readings(char)


@lru_cache(maxsize=16384)
def _readings(char: str) -> Syllables:
    found = pinyin(char, style=Style.TONE3, heteronym=True, errors="ignore", neutral_tone_with_five=True, v_to_u=False)
    return tuple(found[0]) if found else ()


def proposed(word: str) -> Syllables:
    """The likely reading of ``word``, one syllable a character; the phrase decides between readings where it is known.

    Raises Refused for a character without a reading.
    """
    found = pinyin(word, style=Style.TONE3, errors="ignore", neutral_tone_with_five=True, v_to_u=False)
    syllables = tuple(each[0] for each in found)
    if len(syllables) != len(word):
        raise Refused("word_malformed", word=word)
    return syllables


def parsed(text: str) -> Syllables:
    """``zhong1 shan1 lu4`` or ``zhōng shān lù`` as syllables. Raises Refused naming the first that is none."""
    return tuple(_syllable(part) for part in text.replace("'", " ").replace("’", " ").split())


def shown(syllables: Syllables) -> str:
    """Syllables as people read them: ``zhōng shān lù``."""
    return " ".join(to_tone(each) for each in syllables)


def _syllable(text: str) -> str:
    lowered = text.strip().lower().replace("u:", "v")
    body, tone = (lowered[:-1], lowered[-1]) if lowered[-1:] in set(_TONES) else (lowered, "")
    written = body.replace("ü", "v") if tone else _unmarked(body)
    if written.rstrip(_TONES if not tone else "") not in _known():
        raise Refused("pinyin_malformed", syllable=text[:12])
    return written + tone


def _unmarked(body: str) -> str:
    """``zhōng`` as ``zhong1``; what is no syllable as it is."""
    return to_tone3(body, v_to_u=False).replace("ü", "v") if body.isalpha() else body


@cache
def _known() -> frozenset[str]:
    """All syllables of the dictionary, toneless."""
    listed = {reading for readings_of in PINYIN_DICT.values() for reading in readings_of.split(",")}
    return frozenset(to_normal(each, v_to_u=False).replace("ü", "v") for each in listed if each)
