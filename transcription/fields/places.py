"""Where it happened: the district's gazetteer by writing and by sound, then whatever has a place name's ending.

What lies at a known place belongs to its name (汉兴路 + 小学); what is taken back does not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from transcription.fields.homophones import heard
from transcription.lexicon import Lexicon

_ENDINGS = (
    "自然村|村|社区|小区|家园|花园|街道|大街|街|大道|路口|路|巷|胡同|大桥|桥|水库|闸口|闸|大堤|险工|湖|河|公园|广场|市场|商场|超市|"
    "景区|小学|中学|大学|学校|幼儿园|养老院|敬老院|工业园|产业园|加油站|收费站|高铁站|火车站|汽车站|高铁北站|北站|变电站|工地|煤矿|"
    "项目部|菜市场|火锅店|饭店|酒店|宾馆|大厦|商城|农贸市场|家具厂|化工厂|食品厂|工厂|仓库|体育中心|乡|镇"
)
_ENDED = re.compile(rf"[\u4e00-\u9fff]{{1,6}}?(?:{_ENDINGS})")
_NUMBERED = re.compile(
    r"(?:省道|国道|县道|乡道)[零〇一幺二三四五六七八九0-9]{2,4}线?|[SG]?[零〇一幺二三四五六七八九0-9]{2,4}(?:省道|国道)"
)
_GATE = re.compile(r"(?:区政府|市政府|区委|市委|法院|检察院|信访局|医院|学校)(?:大)?门口")
_FACILITY = (
    "项目部|菜市场|农贸市场|火锅店|饭店|酒店|宾馆|大厦|商城|中心|隧道|立交桥?|高架桥?|小区|家园|花园|公寓|批发市场|市场|小学|中学|学校|幼儿园|敬老院|养老院|医院|地铁工地|工地|家具厂|化工厂|食品厂|厂|仓库|商场|超市|"
    "广场|公园|加油站|煤矿|村|社区|路口|大院"
)
_AT_IT = re.compile(
    rf"(?:的|那个|上的|，(?=那个|批发))*(?P<name>[\u4e00-\u9fff]{{0,5}}?(?:{_FACILITY})|[零〇一二三四五六七八九十百0-9]+号院?)(?!口)"
)
_LEAD = re.compile(
    r".*(?:位于|发生在|地点在|地址是|在|到|于|从|至|往|的|是|有|和|与|及|这个|那个|我们|我乡|我镇|咱们|咱|辖区|时许|左右|分许|前后|请|各|说|"
    r"叫|把|搜|导致|报道|称|一家|一个|一所|一处|[0-9零一二三四五六七八九十点分]+)"
)
_NOT_PLACES = re.compile(
    r"(?:现场|市场价|网络|半路|路上|一路|道路|公路|铁路|线路|思路|出路|河水|各村|[本该全农乡俺我咱这那]村|各乡|两乡|跳闸|电路|"
    r"短路|[分我]乡|小镇|药店|网上|马路|修路|堵路|半边路|进村|出村|村里头?|中心学校|对面路|[那这]条[街路]|半条街|中小学|期间乡|这一片)$"
)
_GENERIC = re.compile(_ENDINGS)
"""村 or 小学 alone is no name."""
_NO_NAME = re.compile(
    r"[俺我你您他她它谁吗呢吧了着嘞，。？！]|正在|准备|通知|报告|发现|反映|要求|医|把|被|挖|送|一家|一个|一座|一处|附近|这边|那边"
)
_OFFICE = re.compile(
    r"(?:人民)?政府(?!门|大门)|党政|办事处|值班室|区委|公安|主要负责|三楼|应急|派出所|卫生院|医院(?!发生|起火|着火|门)|乡长|书记|分局|的(?:值班|老|小)|值班"
)
_HEALTH = re.compile(r"(?:送|送到|送往|送至|(?<![掉落冲开跑])到|转到|转往|拉到)$")
_AWAY = re.compile(r"(?:去|往|赴|通往|流向|前往)$")
_TAKEN_BACK = re.compile(
    r"^是(?:鼓楼|顺河|禹王台|祥符|别)[^，。]{0,3}的|^(?:村|那儿|那边)?[，。]?(?:呃|啊|哦|，)*(?:不对|不是|说错了?|错了)"
)
_RESUMED = re.compile(r"(?:不对|不是|说错了?|错了)(?:，|呃|是|应该是)*$")
_NOT_THERE = re.compile(r"(?:^|[，。啊呃哦])不是(?:在)?$")
"""不是大梁路，是晋安路."""
_VILLAGE_OF = re.compile(r"^(?:村|社区)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidPlace:
    """A place said at ``start:end`` of a text. ``full`` adds what it is known to lie in; ``sure`` is 0..1; ``kind`` is
    the gazetteer's, "" for one it does not know."""

    start: int
    end: int
    name: str
    full: str
    sure: float
    kind: str = ""


def said_places(text: str, lexicon: Lexicon) -> list[SaidPlace]:
    """Places in ``text``, left to right; adjoining ones (乡 + 村, 路 + 路口) are one, named by the narrowest known."""
    gazetteer = {place.name: place for place in lexicon.places}
    known = [
        SaidPlace(
            start=a, end=b, name=name, full=gazetteer[name].full, sure=0.95 if as_is else 0.7, kind=gazetteer[name].kind
        )
        for a, b, name, as_is in heard(text, gazetteer, readings=lexicon.readings)
    ]
    grown = [_grown(text, place, known) for place in known]
    free = [place for place in _ended(text) if all(place.end <= k.start or place.start >= k.end for k in grown)]
    found = sorted(grown + free, key=lambda place: place.start)
    joined = _joined(found)
    taken_back = {
        place.name for place in joined if _is_taken_back(text, place) or _NOT_THERE.search(text[: place.start])
    }
    return [
        place
        for place in joined
        if place.name not in taken_back
        and not (_is_destination(text, place) or _is_office(text, place) or _is_taken_back(text, place))
    ]


def _grown(text: str, place: SaidPlace, known: list[SaidPlace]) -> SaidPlace:
    """The known place with what lies at it, unless the next known one begins there."""
    if place.kind in ("district", "area", "village", "elsewhere") and not _VILLAGE_OF.match(text[place.end :]):
        return place
    found = _AT_IT.match(text, place.end)
    if found is None or _NO_NAME.search(found["name"]):
        return place
    if _LEAD.match(found["name"]) and not found["name"].endswith(("号", "号院")):
        return place
    if any(other.start < found.end() and other.end > place.end for other in known if other is not place):
        return place
    name = found["name"]
    return replace(place, end=found.end(), name=place.name + name, full=place.full + name)


def _ended(text: str) -> list[SaidPlace]:
    found = [
        SaidPlace(start=m.start(), end=m.end(), name=m.group(), full=m.group(), sure=0.7)
        for pattern in (_NUMBERED, _GATE)
        for m in pattern.finditer(text)
    ]
    for match in _ENDED.finditer(text):
        lead = _LEAD.match(match.group())
        start = match.start() + (lead.end() if lead else 0)
        name = text[start : match.end()]
        if (
            len(name) >= 2
            and not _GENERIC.fullmatch(name)
            and not _NOT_PLACES.search(name)
            and not _NO_NAME.search(name)
        ):
            found.append(SaidPlace(start=start, end=match.end(), name=name, full=name, sure=0.55))
    return found


def _joined(found: list[SaidPlace]) -> list[SaidPlace]:
    joined: list[SaidPlace] = []
    for place in found:
        before = joined[-1] if joined else None
        if before is not None and before.end > place.start:
            continue
        if before is not None and before.end == place.start:
            full = place.full if before.name in place.full else before.full + place.name
            joined[-1] = replace(
                place,
                start=before.start,
                name=before.name + place.name,
                full=full,
                sure=min(0.95, max(before.sure, place.sure) + 0.1),
                kind=place.kind or before.kind,
            )
        else:
            joined.append(place)
    return joined


def _is_office(text: str, place: SaidPlace) -> bool:
    """龙亭区 in 龙亭区政府值班室 and 乡镇街道 in 各乡镇街道办事处 name offices, not scenes."""
    before, after = text[: place.start], text[place.end :]
    listed = place.kind == "area" and (before.endswith("、") or after.startswith(("、", "把", "负责", "落实")))
    return listed or _OFFICE.match(after) is not None or "各" in before[-2:]


def _is_destination(text: str, place: SaidPlace) -> bool:
    """Where the injured were taken or people are called to is not where it happened."""
    before, after = text[: place.start], text[place.end : place.end + 8]
    if _AWAY.search(before) and not after.startswith(("发生", "出现", "出了")):
        return True
    return bool(_HEALTH.search(before)) and not after.startswith(("发生", "出现", "附近", "一处", "路段"))


def _is_taken_back(text: str, place: SaidPlace) -> bool:
    """孙李唐 in 孙李唐村，呃，不是孙李唐，是王口舌村."""
    after = text[place.end :]
    return _TAKEN_BACK.match(after) is not None or (
        _RESUMED.search(text[: place.start]) is not None and (re.match(r"^村?，(?:应该)?是", after) is not None)
    )
