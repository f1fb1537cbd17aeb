"""Who calls: unit, title and name from the way duty officers introduce themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transcription.fields.homophones import heard
from transcription.fields.said import Said
from transcription.fields.units import unit_at
from transcription.lexicon import Lexicon

_INTRO = re.compile(
    r"我们这边是|我们这里是|我这边是|我这里是|我们是|这边是|这里是|我是|我叫|我姓|本人是?|(?<![\u4e00-\u9fff])是"
)
_STOPS = "，。？！；、：,.?!"
_NOT_GIVEN = re.compile(r"[有在向要说报我你您他她给就的是想把来去这那和与跟请关反]|现在|今天|明天|昨天|刚才|刚刚")


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What one self-introduction gave; each part may be missing."""

    unit: Said | None
    title: Said | None
    name: Said | None


def introduction(text: str, lexicon: Lexicon) -> Introduction | None:
    """The first self-introduction in ``text`` that names anything, or None.

    我是北郊乡党政办值班员张建国 gives unit 北郊乡党政办, title 值班员, name 张建国; spelling by sound is forgiven.
    """
    for match in _INTRO.finditer(text):
        end = min((i for i in (text.find(stop, match.end()) for stop in _STOPS) if i >= 0), default=len(text))
        found = _read(text, match.end(), end, lexicon, named=match.group() in ("我叫", "我姓"))
        if found.unit or found.title or found.name:
            return found
    return None


def _read(text: str, at: int, end: int, lexicon: Lexicon, *, named: bool) -> Introduction:
    end = _past_comma(text, end, lexicon)
    unit = None if named else unit_at(text, at, end, lexicon)
    after = unit.end if unit else at
    after += 1 if text[after : after + 1] in ("的", "，") else 0
    title = _title(text, after, end, lexicon)
    if title is not None and title.start == after:
        after = title.end
    name = _name(text, after, lexicon) if unit or title or named else None
    if name is None and title is not None:
        name = _name(text, title.end, lexicon)
    if name is not None and title is None:
        title = _title(text, name.end, min(len(text), name.end + 5), lexicon)
    return Introduction(unit=unit, title=title, name=name)


def _past_comma(text: str, end: int, lexicon: Lexicon) -> int:
    """Engines put a comma between unit and title; the introduction then goes on behind it."""
    following = text[end + 1 : end + 6]
    if end < len(text) and heard(following, lexicon.titles, shortest=3)[:1]:
        stops = [i for stop in _STOPS if (i := text.find(stop, end + 1)) >= 0]
        return min(stops, default=len(text))
    return end


def _title(text: str, at: int, end: int, lexicon: Lexicon) -> Said | None:
    for start, stop, name, as_is in heard(text[at:end], lexicon.titles, shortest=3):
        return Said(start=at + start, end=at + stop, value=name, sure=0.95 if as_is else 0.75)
    return None


def _name(text: str, at: int, lexicon: Lexicon) -> Said | None:
    """A name that officers put into the vocabulary, also misspelt; else a surname of the list and one or two given
    characters; 姓李 alone gives the surname."""
    for start, stop, known, as_is in heard(text[at : at + 4], lexicon.persons, shortest=2, readings=lexicon.readings):
        if start == 0:
            return Said(start=at, end=at + stop, value=known, sure=0.95 if as_is else 0.75)
    surname = next((text[at : at + size] for size in (2, 1) if text[at : at + size] in lexicon.surnames), "")
    if not surname:
        return None
    given = ""
    for place in range(at + len(surname), min(len(text), at + len(surname) + 2)):
        if _NOT_GIVEN.match(text, place) or not "\u4e00" <= text[place] <= "\u9fff":
            break
        given += text[place]
    title = next((t for t in lexicon.titles if text.startswith(t, at + len(surname))), None)
    given = "" if title else given
    end = at + len(surname) + len(given)
    sure = 0.85 if given else 0.5
    return Said(start=at, end=end, value=surname + given, sure=sure)
