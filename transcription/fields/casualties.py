"""Who was hurt: numbers of people with what befell them, and the plain denials that matter as much."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transcription.normalise import number

_N = r"[零〇一二两三四五六七八九十百千万0-9]{1,6}"
_FATES = {
    **dict.fromkeys(("死亡", "遇难", "身亡"), "死亡"),
    **dict.fromkeys(("受伤", "烧伤", "昏迷"), "受伤"),
    **dict.fromkeys(("被困", "被埋"), "被困"),
    **dict.fromkeys(("失踪", "失联"), "失踪"),
    **dict.fromkeys(("溺水", "落水"), "溺水"),
    "重伤": "重伤",
    "轻伤": "轻伤",
    "中毒": "中毒",
    "伤亡": "伤亡",
}
_FATE = "|".join(_FATES)
_WHO = r"(?:名|个|位)?(?:人员|群众|村民|居民|工人|学生|儿童|老人|员工|司机|乘客|消防员|人)?"
_BEFORE = re.compile(rf"(?P<n>{_N})(?:名|个|位|人){_WHO}(?:已经|已|不幸|当场|正)?(?P<fate>{_FATE})")
_AFTER = re.compile(rf"(?:致|造成)?(?P<fate>{_FATE}|死|伤)(?:了|人数|人员)?(?P<n>{_N})(?:名|个|位|人){_WHO}")
_NONE = re.compile(
    rf"(?:暂时没有|目前没有|没有|暂无|并无|未造成|尚未造成|无|未发现)(?:任何|造成|发现|出现|接到)?(?:人员|群众|人)?(?P<fate>{_FATE})"
)
_SHORT = {"死": "死亡", "伤": "受伤"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidCasualties:
    """``count`` people with ``fate`` (a value of ``_FATES``), said at ``start:end`` of a text."""

    start: int
    end: int
    fate: str
    count: int


def said_casualties(text: str) -> list[SaidCasualties]:
    """Casualties in ``text``, left to right, denials with count 0; a stretch is counted once."""
    found: list[SaidCasualties] = []
    for pattern in (_NONE, _BEFORE, _AFTER):
        for match in pattern.finditer(text):
            count = 0 if pattern is _NONE else number(match["n"])
            free = all(match.end() <= other.start or match.start() >= other.end for other in found)
            if count is not None and free:
                fate = _SHORT.get(match["fate"]) or _FATES[match["fate"]]
                found.append(SaidCasualties(start=match.start(), end=match.end(), fate=fate, count=count))
    return sorted(found, key=lambda said: said.start)
