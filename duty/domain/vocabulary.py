"""A word of the district: a name or title with its class and pinyin, shipped as data or added by an officer.

The class says where a word may stand, so that it is only sought there; the pinyin says how it sounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from duty.domain.errors import Refused
from duty.domain.pinyin import Syllables, parsed, proposed

MAX_WORD_CHARS = 20
_WORD = re.compile(rf"[\u4e00-\u9fff]{{2,{MAX_WORD_CHARS}}}")


class WordClass(StrEnum):
    """乡镇街道, 村社区, 区县市, 道路, 河湖水利, 景点地标, 学校, 医院, 单位, 危险源, 职务, 人名, 其他用语."""

    AREA = "area"
    VILLAGE = "village"
    REGION = "region"
    ROAD = "road"
    WATER = "water"
    SIGHT = "sight"
    SCHOOL = "school"
    HOSPITAL = "hospital"
    UNIT = "unit"
    HAZARD = "hazard"
    TITLE = "title"
    PERSON = "person"
    TERM = "term"


class Decision(StrEnum):
    """What an officer made of a suggestion: not looked at yet, 采纳, 不采纳."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """``word`` is probably what was said where characters ``start_char:end_char`` of segment ``segment`` stand.
    ``distance`` is how far the sounds lie apart, a syllable on average."""

    segment: int
    start_char: int
    end_char: int
    word: str
    word_class: WordClass
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictWord:
    """``word`` of ``word_class``, read as ``pinyin`` (one syllable a character). ``within`` is what a place lies in, as
    the entry writes it before the name; ``own`` says that an officer added it."""

    word: str
    word_class: WordClass
    pinyin: Syllables
    within: str = ""
    own: bool = False


def district_word(word: str, word_class: str, pinyin: str = "", *, within: str = "", own: bool = False) -> DistrictWord:
    """A checked word; without ``pinyin`` the dictionary's is taken.

    Raises Refused: not 2 to 20 Chinese characters, an unknown class, pinyin that is none or has another length.
    """
    word = word.strip()
    if not _WORD.fullmatch(word):
        raise Refused("word_malformed", word=word[: MAX_WORD_CHARS + 1])
    if word_class not in set(WordClass):
        raise Refused("word_class_unknown", word_class=word_class[:40])
    syllables = parsed(pinyin) if pinyin.strip() else proposed(word)
    if len(syllables) != len(word):
        raise Refused("pinyin_length", word=word, wanted=len(word), found=len(syllables))
    return DistrictWord(word=word, word_class=WordClass(word_class), pinyin=syllables, within=within.strip(), own=own)
