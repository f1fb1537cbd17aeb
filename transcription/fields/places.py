"""Where it happened: the district's gazetteer by writing and by sound, then whatever has a place name's ending."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transcription.fields.homophones import heard
from transcription.lexicon import Lexicon

_ENDINGS = (
    "自然村|村|社区|小区|家园|花园|街道|大街|街|大道|路口|路|巷|胡同|大桥|桥|水库|闸口|闸|大堤|湖|河|公园|广场|市场|商场|超市|景区|"
    "小学|中学|大学|学校|幼儿园|养老院|敬老院|工业园|产业园|加油站|工地|乡|镇"
)
_ENDED = re.compile(rf"[\u4e00-\u9fff]{{1,6}}?(?:{_ENDINGS})")
_NUMBERED = re.compile(r"(?:省道|国道|县道|乡道)[零〇一二三四五六七八九0-9]{2,4}线?|[SG]?[0-9]{2,4}(?:省道|国道)")
_LEAD = re.compile(
    r".*(?:位于|发生在|地点在|地址是|在|到|于|从|至|往|的|是|有|和|与|及|这个|我们|我乡|我镇|咱们|辖区|时许|左右|分许|前后|请|各)"
)
_NOT_PLACES = re.compile(
    r"(?:现场|市场价|网络|半路|路上|一路|道路|公路|线路|思路|出路|河水|各村|本村|该村|全村|农村|乡村|各乡|两乡)$"
)
_OFFICE = re.compile(r"(?:人民)?政府|党政|办事处|值班室|区委|公安|主要负责|三楼")
_HEALTH = re.compile(r"(?:送|送到|送往|送至|到|往|转到|转往)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidPlace:
    """A place said at ``start:end`` of a text. ``full`` adds what it is known to lie in; ``sure`` is 0..1."""

    start: int
    end: int
    name: str
    full: str
    sure: float


def said_places(text: str, lexicon: Lexicon) -> list[SaidPlace]:
    """Places in ``text``, left to right; adjoining ones (乡 + 村, 路 + 路口) are one, named by the narrowest known."""
    full = {place.name: place.full for place in lexicon.places}
    known = [
        SaidPlace(start=a, end=b, name=name, full=full[name], sure=0.95 if as_is else 0.7)
        for a, b, name, as_is in heard(text, full)
    ]
    free = [place for place in _ended(text) if all(place.end <= k.start or place.start >= k.end for k in known)]
    found = sorted(known + free, key=lambda place: place.start)
    return [place for place in _joined(found) if not (_is_destination(text, place) or _is_office(text, place))]


def _ended(text: str) -> list[SaidPlace]:
    found = [
        SaidPlace(start=m.start(), end=m.end(), name=m.group(), full=m.group(), sure=0.7)
        for m in _NUMBERED.finditer(text)
    ]
    for match in _ENDED.finditer(text):
        lead = _LEAD.match(match.group())
        start = match.start() + (lead.end() if lead else 0)
        name = text[start : match.end()]
        if len(name) >= 2 and not _NOT_PLACES.search(name):
            found.append(SaidPlace(start=start, end=match.end(), name=name, full=name, sure=0.55))
    return found


def _joined(found: list[SaidPlace]) -> list[SaidPlace]:
    joined: list[SaidPlace] = []
    for place in found:
        before = joined[-1] if joined else None
        if before is not None and before.end == place.start:
            full = place.full if before.name in place.full else before.full + place.name
            joined[-1] = SaidPlace(
                start=before.start,
                end=place.end,
                name=before.name + place.name,
                full=full,
                sure=min(0.95, max(before.sure, place.sure) + 0.1),
            )
        else:
            joined.append(place)
    return joined


def _is_office(text: str, place: SaidPlace) -> bool:
    """龙亭区 in 龙亭区政府值班室 and 乡镇街道 in 各乡镇街道办事处 name offices, not scenes."""
    return _OFFICE.match(text, place.end) is not None or "各" in text[max(0, place.start - 2) : place.start]


def _is_destination(text: str, place: SaidPlace) -> bool:
    """Where the injured were taken or people are called to is not where it happened."""
    after = text[place.end : place.end + 8]
    return bool(_HEALTH.search(text[: place.start])) and not after.startswith(("发生", "出现", "附近", "一处", "路段"))
