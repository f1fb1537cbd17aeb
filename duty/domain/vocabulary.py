"""A word of the district: a name or title with its class and pinyin, shipped as data or added by an officer.

The class says where a word may stand, so that it is only sought there; the pinyin says how it sounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Syllables = tuple[str, ...]
"""A reading, one syllable a character, as ``duty.domain.pinyin`` writes them."""


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
