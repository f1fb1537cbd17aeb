"""Where names of places and of units may begin and end in a text: runs of words that end like such a name.

Words and their parts of speech come from rjieba; the district's own names are words of their own whatever rjieba makes
of them, by writing and by sound. Nothing is decided here: every reading of a name is an option for ``ranking``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import rjieba

from transcription.fields.homophones import heard
from transcription.lexicon import Lexicon

_MOST_WORDS, _MOST_CHARS = 6, 14
_TAGS = frozenset(
    {
        "n",
        "nr",
        "ns",
        "nt",
        "nz",
        "ng",
        "nrt",
        "nrfg",
        "j",
        "s",
        "b",
        "a",
        "an",
        "ag",
        "ad",
        "vn",
        "v",
        "vd",
        "vg",
        "eng",
        "x",
        "f",
        "l",
        "i",
        "zg",
        "g",
        "q",
        "t",
        "tg",
        "z",
        "h",
        "k",
        "yg",
        "nrg",
        "mg",
        "rg",
    }
)
"""Parts of speech that occur within names; what ends a name to the left is any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word at ``start:end``; ``name`` and ``kind`` are the district's for a name of its own, else empty."""

    start: int
    end: int
    text: str
    tag: str
    name: str = ""
    kind: str = ""
    as_is: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read a name at ``start:end``: its words, the kind its end shows, whether it could not be longer."""

    start: int
    end: int
    words: tuple[Token, ...]
    kind: str
    longest: bool

    @property
    def name(self) -> str:
        """The name as it is written, known names mended."""
        return "".join(word.name or word.text for word in self.words)


def tokens(text: str, lexicon: Lexicon) -> list[Token]:
    """``text`` as words without gaps; names of the gazetteer are whole, and so are the longer endings of names, however
    rjieba divides what stands there (项目部门口)."""
    kinds = {place.name: place.kind for place in lexicon.places}
    own = [
        Token(start=a, end=b, text=text[a:b], tag="gaz", name=name, kind=kinds[name], as_is=as_is)
        for a, b, name, as_is in heard(text, kinds)
    ]
    own = [token for token in own if not any(a <= token.start and token.end <= b for a, b in _rooms(text))]
    own += [Token(start=a, end=b, text=text[a:b], tag="room") for a, b in _rooms(text)]
    own += [
        Token(start=match.start(), end=match.end(), text=match.group(), tag="n")
        for match in _long_ends(tuple(lexicon.name_ends)).finditer(text)
        if all(match.end() <= each.start or match.start() >= each.end for each in own)
    ]
    cut: list[Token] = []
    at = 0
    for token in sorted(own, key=lambda token: token.start):
        cut += _words(text, at, token.start)
        cut.append(token)
        at = token.end
    return [*cut, *_words(text, at, len(text))]


def _rooms(text: str) -> list[tuple[int, int]]:
    """Where the room that is called is addressed: no part of a name."""
    return [match.span() for match in OWN_ROOM.finditer(text) if not _ANOTHERS.search(text[: match.start()])]


_ANOTHERS = re.compile(r"[\u4e00-\u9fff](?<![喂好吗吧嗯啊问是哎])$")


@lru_cache(maxsize=8)
def _long_ends(ends: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(sorted((end for end in ends if len(end) > _SHORT_END), key=len, reverse=True)))


_SHORT_END = 2


def _words(text: str, start: int, end: int) -> Iterator[Token]:
    at = start
    for word, tag in _loosened(rjieba.tag(text[start:end])):
        yield Token(start=at, end=at + len(word), text=word, tag=tag)
        at += len(word)


def _loosened(words: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """我区住建局 read as a person's name and the like: the word that can be in no name stands apart again."""
    for word, tag in words:
        stuck = _STUCK.match(word)
        if stuck is None:
            yield word, tag
        else:
            yield stuck.group(), "r"
            yield word[stuck.end() :], tag


_STUCK = re.compile(r"[我俺咱恁您你](?=[^们好家俩])|往(?=[^往年后])|这是(?=.)|那个(?=.)")


def end_kind(text: str, ends: Mapping[str, str]) -> str:
    """What kind of name ``text`` ends like; empty where it ends like none."""
    if _NUMBERED_SCHOOL.search(text):
        return "school"
    for size in range(len(text), 0, -1):
        if (kind := ends.get(text[-size:])) is not None:
            return kind
    return ""


_NUMBERED_SCHOOL = re.compile(r"[一二三四五六七八九十0-9](?:中|高|小)$")


_NUMERAL = re.compile(r"第?[零一二三四五六七八九十百0-9]+")
OWN_ROOM = re.compile(
    r"(?:开封市?)?(?:龙[亭庭](?:区)?)?(?:政府|区委|区里|区)*的?(?:总)?值班室|龙[亭庭](?:区)?(?:区?委)?(?:区?政府)?(?=吗|吧|不是|，|是不是)"
)
"""The room that is called."""


def readings(words: list[Token], lexicon: Lexicon) -> list[Reading]:
    """Every run of ``words`` that may be a name, by its end from left to right, shorter ones first."""
    return [reading for last in range(len(words)) for reading in _ending_at(words, last, lexicon)]


def _ending_at(words: list[Token], last: int, lexicon: Lexicon) -> Iterable[Reading]:
    kind = _kind_at(words, last, lexicon.name_ends) if words[last].tag != "room" else ""
    if not kind or words[last].text in lexicon.name_breaks:
        return []
    after = words[last + 1].text[:1] if last + 1 < len(words) else ""
    found: list[Reading] = []
    for first in range(last, max(-1, last - _MOST_WORDS), -1):
        if first < last and not _within(words, first, lexicon):
            break
        run = tuple(words[first : last + 1])
        if run[-1].end - run[0].start > _MOST_CHARS:
            break
        if _is_named(run, lexicon.name_ends) and not (kind == "area" and after in ("长", "委", "党", "里")):
            found.append(Reading(start=run[0].start, end=run[-1].end, words=run, kind=kind, longest=False))
    if found:
        longest = found[-1]
        found[-1] = Reading(start=longest.start, end=longest.end, words=longest.words, kind=kind, longest=True)
    return found


def _kind_at(words: list[Token], last: int, ends: Mapping[str, str]) -> str:
    """What a name would be that ends with the word at ``last``; empty for none."""
    word, before = words[last], words[last - 1] if last > 0 else None
    kind = word.kind or end_kind(word.text, ends)
    if before is None or kind:
        return kind
    if before.kind == "elsewhere" and word.tag in ("ns", "nr", "nrt", "nz"):
        return "elsewhere"
    if _NUMERAL.fullmatch(before.text) and word.text in ("中", "高", "小", "院"):
        return "school" if word.text != "院" else "home"
    return end_kind(before.text + word.text, ends) if len(word.text) == 1 else ""


def _within(words: list[Token], index: int, lexicon: Lexicon) -> bool:
    """Whether the word at ``index`` may stand in a name, before its last word."""
    word = words[index]
    if word.kind:
        return True
    if len(word.text) > 1 and word.text in lexicon.name_ends:
        return True
    if word.text in lexicon.name_breaks or not re.fullmatch(r"[\u4e00-\u9fffA-Za-z0-9]+", word.text):
        return False
    if word.tag == "m":
        return _numbers(word.text, words[index + 1].text)
    return word.tag in _TAGS


def _numbers(number: str, after: str) -> bool:
    """第五 + 大街, 二十二 + 号院, 三一零 + 国道: numbers that belong to names."""
    if "第" in number and not re.search(r"[个名位家起次]$", number):
        return True
    return after.startswith(
        (
            "号",
            "大街",
            "路",
            "街",
            "道街",
            "国道",
            "省道",
            "县道",
            "中",
            "高",
            "小",
            "大队",
            "中队",
            "院",
            "厂",
            "矿",
            "医院",
        )
    )


def _is_named(run: tuple[Token, ...], ends: Mapping[str, str]) -> bool:
    """Whether more is said than what it is: 小学 and 一个小学 name nothing."""
    if run[-1].kind or any(word.kind for word in run):
        return True
    text = "".join(word.text for word in run)
    if ends.get(text) == "office" and len(text) >= 4:
        return True
    return len(text) > 1 and text not in ends and text.lstrip("大小老新") not in ends
