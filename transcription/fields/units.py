"""Names of units that the district's data can make, and what ends like one; whose they are ``ranking`` decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from transcription.fields.homophones import heard
from transcription.fields.said import Said
from transcription.lexicon import Lexicon

_ROOMS = (
    r"(?:网信办|综合科|督查室|会议科|信息中心|指挥中心|调度室|值班室|办公室|秘书科|[\u4e00-\u9fff]{2}科(?![技学长]))?"
)


@lru_cache(maxsize=8)
def _known(lexicon_key: tuple[tuple[str, ...], ...], district: str) -> frozenset[str]:
    areas, ends, whole, villages = lexicon_key
    stems = [*areas, *(area.removesuffix("街道") + "街道" for area in areas), district, district.removesuffix("区")]
    made = {stem + end.removeprefix("街道") if stem.endswith("街道") else stem + end for stem in stems for end in ends}
    short = {name[1:] for name in whole if name[0] in "区市" and len(name) >= 4}
    return frozenset(made | set(areas) | set(whole) | short | set(villages))


def known_units(lexicon: Lexicon) -> frozenset[str]:
    """Every unit name that the district's data can make."""
    villages = tuple(place.name for place in lexicon.places if place.kind in ("village", "sight", "area"))
    key = (lexicon.areas, lexicon.unit_ends, lexicon.whole_units, villages)
    return _known(key, lexicon.district)


def unit_at(text: str, at: int, end: int, lexicon: Lexicon) -> Said | None:
    """The unit that begins at character ``at`` or within two characters after it."""
    for said in _named(text[at:end], lexicon):
        if said.start <= 2:
            return Said(start=at + said.start, end=at + said.end, value=said.value, sure=said.sure)
    free = _free(lexicon).match(text, at, end)
    if free is None:
        return None
    return Said(start=free.start(), end=free.end(), value=free.group(), sure=0.75)


def said_units(text: str, lexicon: Lexicon) -> Iterable[Said]:
    """Units named in ``text``, the caller's or not."""
    named = _named(text, lexicon)
    yield from named
    for match in _free(lexicon).finditer(text):
        lead = _LEAD.match(match.group())
        start = match.start() + (lead.end() if lead else 0)
        if start < match.end() - 2 and all(start >= each.end or match.end() <= each.start for each in named):
            yield Said(start=start, end=match.end(), value=text[start : match.end()], sure=0.75)


_LEAD = re.compile(
    r".*(?:我们?是|俺们?是|这里是|这边是|我们?|俺们?|您好|你好|是|的|在|报告|一下|我|俺|这是|值班室|^政府吗?)"
)


def _named(text: str, lexicon: Lexicon) -> list[Said]:
    """Known names, each with the office behind it that belongs to it (区政府办 + 综合科), neighbours joined."""
    found: list[Said] = []
    for start, stop, name, as_is in heard(text, known_units(lexicon), readings=lexicon.readings):
        part = _part(lexicon).match(text, stop)
        end = part.end() if part else stop
        own = part["own"] if part and part["own"] else ""
        said = Said(
            start=start, end=end, value=name + own + (part["room"] if part else ""), sure=0.95 if as_is else 0.75
        )
        if found and found[-1].end == start:
            said = replace(said, start=found[-1].start, value=found.pop().value + said.value)
        found.append(said)
    return found


@lru_cache(maxsize=8)
def _ending(ends: tuple[str, ...]) -> re.Pattern[str]:
    longest = "|".join(sorted(ends, key=len, reverse=True))
    return re.compile(rf"[\u4e00-\u9fff]{{1,12}}?(?:{longest}){_ROOMS}")


@lru_cache(maxsize=8)
def _parting(ends: tuple[str, ...]) -> re.Pattern[str]:
    longest = "|".join(sorted(ends, key=len, reverse=True))
    return re.compile(
        rf"(?:(?:的|，)?(?:那个|呃|，)*(?P<own>(?:(?![我俺你您姓叫报的有在是跟向])[\u4e00-\u9fff]){{0,5}}?(?:{longest})))?(?P<room>{_ROOMS})"
    )


def _part(lexicon: Lexicon) -> re.Pattern[str]:
    """What may stand behind a known name and belongs to it: 北郊乡的那个 + 党政办, 清明上河园 + 景区."""
    return _parting(lexicon.unit_ends)


def _free(lexicon: Lexicon) -> re.Pattern[str]:
    return _ending((*lexicon.unit_ends, *lexicon.area_suffixes))
