"""Who was hurt: every number of people and every denial that a call gives, each as an option for each fate spoken of.

Which of them is the last word on a fate, ``ranking`` says: figures are corrected in mid-sentence, grow over the call,
are repeated by the officer and confirmed, and many count something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.fields.figures import DEAD, EVACUATED, FATES, ILL, INJURED, MISSING, TRAPPED, Figure
from transcription.fields.reading import Turn
from transcription.fields.surroundings import reply_features
from transcription.normalise import number

_SAID = {
    DEAD: (
        "[烧烫砸摔撞刺砍压炸淹电毒闷]死|死[亡王]|死(?:了|者|的|人|一|两|三)|没死|遇难|身亡|丧生|不治|没命|去世|过世|牺牲|罹难|身故|"
        "没(?:有)?(?:抢)?救(?:过来|活)|抢救无效|不中了|不行了|没气|断气|没(?:有)?呼吸|(?:没有?|无)生命体征|人没了|没了|伤亡|伤王"
    ),
    INJURED: (
        "受了?(?:重|轻|皮外)?伤|[重轻]伤|[烧烫砸摔撞刺砍捅压炸灼擦划刮扭咬冻挤踩割打蜇扎崴磕碰崩夹轧]伤|皮外伤|伤(?:了|者|的|情|员|着|到|人)|"
        "[擦划磕蹭碰摔]破|骨折|[腿脚胳膊臂骨][^，。]{0,2}(?:断|折)|挂彩|伤亡|伤王|脱臼|[烫砸磕摔咬蜇碰烧燎扎崴扭夹]着?[了着住到]|见血|流血|昏迷|"
        "缝针|头破|挨了|卷(?:进|到)|没事|伤"
    ),
    MISSING: (
        "失踪|失联|联系不上|走失|下落不明|走丢|不见|没上来|没(?:有)?(?:找|捞|打捞)(?:着|到|上)|找不(?:着|到|见)|没影|没见着|失去联系|"
        "未(?:找到|打捞)|没(?:有)?回来|在搜|搜救|打捞"
    ),
    TRAPPED: "被?困(?:在|住|人)?|被埋|[压卡埋](?:在|着|住|了)|没(?:有)?(?:跑|逃)?出来|都?出来了|救出|拽出|扒出|剪出",
    ILL: (
        "中毒|呕吐|恶心|头[晕疼]|腹泻|腹痛|拉肚子|肚子疼|拉稀|跑茅子|发[烧热]|感染|确诊|发病|病例|得病|生病|患病|染病|患者|病人|病号|不舒服|"
        "晕倒|中暑|手足口|过敏|症状|不得劲|不适|阳性|吐|疫情|咳嗽|流感|水痘|诺如"
    ),
    EVACUATED: "疏散|转[移疑]|撤|避险|安置|搬(?:离|出|走)|清(?:了|出)|转到|下来",
}
_WORDS = {fate: re.compile(words) for fate, words in _SAID.items()}
_N = r"[零〇一二两三四五六七八九十百千万0-9]{1,7}"
_THINGS = (
    "月|小时|钟头|村(?!民)|小区|社区|单位|院|部门|要求|方面|问题|点|半|星期|礼拜|电话|罐|桶|班|年级|学校|坑|洞|井|摊|棚|窗|乡|镇|街|区|县|市|厂|"
    "车|轮|口(?!人)|门|大字|号|账|件|街道|项目|字|工地|标段|楼|层|单元|房|屋|店|摊位|大棚|视频|帖子|群(?!众)|平台|网友|小组|方案|路口|站|桥|"
    "泵|闸|阀|点位|消火栓|灭火器|医院|中队|队(?!员)|组|省|国家|公里|多小时|来月|半小时|分钟|多月"
)
_COUNT = re.compile(
    rf"(?:(?P<n>{_N})(?:多|来|余|几)?(?P<by>名|个|位|人|口人|口子|口|例)(?!{_THINGS})|"
    rf"(?P<pair>[俩仨])(?!{_THINGS}))人?"
)
_BARE = re.compile(rf"(?<![零〇一二两三四五六七八九十百千万0-9点])(?P<n>{_N})(?=了?(?:，|。|$))")
_ONE = re.compile(
    r"(?:有一?个|一[个名位]|[那这]个|还有个|(?<=[，。])个)(?!月|小时|多|钟头|半)|我[爹妈爸娘爷奶]|老人|孩子|司机"
)
_NO = r"(?:没有?|木有|无|未|暂无|并无|尚未|未见|不涉及|没啥|没有啥)"
_DENIAL = re.compile(
    rf"(?P<no>{_NO})(?P<others>其他|别的|再)?[^，。；？没]{{0,7}}?(?P<what>{'|'.join(_SAID.values())}|死|伤)|"
    r"(?P<fine>人(?:员)?(?:都|均|全)?(?:没事|平安|安全|没啥事)|没出(?:啥|什么)?事|(?:均|"
    r"都)?无(?:大)?碍)|(?P<plain>^(?:目前|暂时|现在|，)*没(?:有)?(?=，|。|没|$))|"
    r"(?P<out>(?:都|全部?|也|人)(?:救|剪|拽|扒|拉|抬|搜|跑|撤|下)?出?来了|(?:救|剪|拽|扒|拉|抬|"
    r"背)出来了?|全部?救出|获救|脱险|找[到着]了)"
)
_QUESTION = re.compile(r"几个?|多少|吗|有没有|有无|没有$|没$|不$|是否|怎么样|如何|怎样|[死伤][没不]")
_CUES = {
    "total": (
        r"(?:一共|总共|共计|共|累计|合计|加起来|加上|总数|统计|就是|那?算|准数|确定|一总|最后|后来|现在|"
        r"目前|已经|已|达到?|上升到|增加到|变成)[^，。]{0,6}$"
    ),
    "part": r"(?:其中|里头|里面|当中|包括|包含|有的|还剩|剩下)[^，。；]{0,4}$",
    "more": r"(?:又|再|还有|另外|另|新增|也|加)[^，。；]{0,5}$",
    "was": r"(?:先是?|先说|开始|当时|原来|昨天|原先|以为|之前|本来|起初|头先|首报|报的)[^，。；]{0,6}$",
    "anew": r"(?:不对|不是|说错|错了|更正|应该是|不止|哦不|噢|准确|，不|，是|呃)[^。；]{0,8}$",
    "among": (
        r"(?:车上|一车|船上|屋里|店里|家里|参与|聚了?集?|来了|聚|队伍|现场|出动|投入|派了?|组织|共有|住着|"
        r"全家|一家)[^，。；]{0,6}$"
    ),
    "heavy": r"(?:重|轻)(?:伤|症)?(?:的|了)?[^，。；]{0,2}$",
    "rescued": r"(?:救|捞|扒|抬|拽|剪|搜)(?:出|上|住)?(?:来)?(?:了)?[^，。；]{0,4}$",
    "left": r"(?:还有|剩下?|另外|还)[^，。；]{0,3}$",
}
_CUES_ALL = {name: re.compile(pattern) for name, pattern in _CUES.items()}
_LATER = {
    "taken back": r"^.{0,4}[，。]?(?:呃|啊|哦|，|不)*(?:不对|不是|说错了?|错了|更正)",
    "people": (
        r"^(?:人员|群众|村民|居民|住户|工人|农民工|学生|儿童|小孩|孩子|老人|老太太|老头|员工|司机|乘客|"
        r"旅客|游客|客人|消防员|师生|业主|大人|女的|男的|妇女|小伙|女工|操作工|病人|病号)"
    ),
    "hospital": r"^[^，。]{0,8}(?:医院|送医|急救|治疗|抢救|拉走)",
    "heavy": r"^[^，。]{0,4}(?:重|轻)",
    "fine": r"^[^，。]{0,10}(?:没事|无碍|没伤|救上来|上来了|找到|出来|回家|好了)",
    "gather": r"^[^，。]{0,8}(?:聚|围|堵|上访|拉|业主|要|讨|来)",
    "crew": r"^[^，。]{0,6}(?:队员|民警|警察|消防|医生|干部|出动|赶|到场|值班|参加|人手|巡|力量)",
}
_LATER_ALL = {name: re.compile(pattern) for name, pattern in _LATER.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """``count`` people, said or denied at ``start:end`` of turn ``index``, as an option for one fate."""

    index: int
    start: int
    end: int
    count: int
    features: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    """A number of people, a denial or a single person, before it is known of what fate."""

    index: int
    start: int
    end: int
    count: int
    form: str


def fates_spoken_of(turns: Sequence[Turn]) -> list[str]:
    """The fates that words of either speaker name."""
    return [fate for fate, words in _WORDS.items() if any(words.search(turn.text) for turn in turns)]


def count_options(turns: Sequence[Turn], fate: str, event: str, figures: Mapping[str, Figure]) -> list[Count]:
    """All that may be the number of people with ``fate`` in ``turns``; ``event`` is the kind of the call, ``figures``
    what the rules alone would say."""
    mentions = [each for i, turn in enumerate(turns) for each in _mentions(turns, i, turn, fate)]
    rule = figures.get(fate)
    options = []
    for place, each in enumerate(mentions):
        features = set(_features(turns, each, fate))
        features |= set(_order(mentions, place, turns, fate))
        features |= {f"{each.form}:{fate}", f"call:{event}"}
        if rule is not None and rule.count == each.count:
            features |= {"rule says so"}
            if rule.turn is turns[each.index]:
                features |= {"rule says so here"}
        elif rule is not None:
            features.add("rule says another")
        options.append(
            Count(index=each.index, start=each.start, end=each.end, count=each.count, features=frozenset(features))
        )
    return options


def nothing_of(turns: Sequence[Turn], fate: str, event: str) -> frozenset[str]:
    """What speaks for the call's not saying how many people had ``fate``."""
    callers = sum(1 for turn in turns if turn.speaker is Speaker.CALLER and _WORDS[fate].search(turn.text))
    officers = sum(1 for turn in turns if turn.speaker is Speaker.OFFICER and _WORDS[fate].search(turn.text))
    return frozenset(
        {"none", f"none:{fate}", f"none:{event}", f"none:said:{min(callers, 3)}", f"none:asked:{min(officers, 2)}"}
    )


def _mentions(turns: Sequence[Turn], index: int, turn: Turn, fate: str) -> Iterator[_Mention]:
    taken: list[tuple[int, int]] = []
    for match in _COUNT.finditer(turn.text):
        count = {"俩": 2, "仨": 3}[match["pair"]] if match["pair"] else number(match["n"])
        if count is not None:
            taken.append(match.span())
            yield _Mention(index=index, start=match.start(), end=match.end(), count=count, form="number")
    for match in _BARE.finditer(turn.text):
        count = number(match["n"])
        spelt = len(match["n"]) > 2 and not re.search(r"[十百千万]", match["n"])
        if count is not None and 0 < count < _MANY and not spelt and not any(a <= match.start() < b for a, b in taken):
            yield _Mention(index=index, start=match.start(), end=match.end(), count=count, form="bare")
    for match in _DENIAL.finditer(turn.text):
        if (form := _denies(match, fate, turns, index)) is not None:
            yield _Mention(index=index, start=match.start(), end=match.end(), count=0, form=form)
    for match in _ONE.finditer(turn.text):
        clause = turn.text[match.end() : match.end() + 16].split("。")[0]
        if _WORDS[fate].search(clause):
            yield _Mention(index=index, start=match.start(), end=match.end(), count=1, form="one")


_MANY = 2000


def _denies(match: re.Match[str], fate: str, turns: Sequence[Turn], index: int) -> str | None:
    """How a denial speaks of ``fate``; None where it does not."""
    if match["no"]:
        what = match["what"]
        mortal = what in ("伤亡", "伤王") and fate in (DEAD, INJURED)
        named = mortal or (what == "死" and fate == DEAD) or (what == "伤" and fate == INJURED)
        if not named and not _WORDS[fate].fullmatch(what):
            return None
        return "denied others" if match["others"] else "denied"
    if match["fine"]:
        return "fine" if fate in (INJURED, DEAD) else None
    if match["out"]:
        return "out" if fate in (TRAPPED, MISSING) else None
    asked = turns[index - 1].text if index and turns[index].speaker is Speaker.CALLER else ""
    if not _WORDS[fate].search(asked):
        return None
    return "answered no" if _QUESTION.search(asked) else "said no"


def _features(turns: Sequence[Turn], each: _Mention, fate: str) -> Iterator[str]:
    turn = turns[each.index]
    form = each.form
    yield form
    officer = turn.speaker is Speaker.OFFICER
    yield "officer" if officer else "caller"
    if officer:
        yield from _answered(turns, each)
    ahead = turn.text[max(0, each.start - 16) : each.start]
    behind = turn.text[each.end : each.end + 16]
    for name, pattern in _CUES_ALL.items():
        if pattern.search(ahead):
            yield f"ahead:{name}"
    for name, pattern in _LATER_ALL.items():
        if pattern.search(behind):
            yield f"then:{name}"
    if form in ("number", "bare", "one"):
        link = _link(turns, each, fate)
        yield f"link:{link}"
        yield f"link:{link}:{fate}"
        yield f"{form}:{link}"
        if officer:
            yield f"officer:{link}"
            yield from (f"officer:{link.split(':')[0]}:{answer}" for answer in _answered(turns, each))
        topic = _topic(turns, each)
        yield "topic:" + ("same" if topic == fate else "none" if not topic else "other")
        yield f"{form}:topic:" + ("same" if topic == fate else "none" if not topic else "other")
        asked = turns[each.index - 1].text if each.index and not officer else ""
        if _HOW_MANY.search(asked) and _WORDS[fate].search(asked):
            yield "answer:how many" + (":first" if not _COUNT.search(turn.text[: each.start]) else "")
        elif _HOW_MANY.search(asked):
            yield "answer:how many of something"
        size = "1" if each.count == 1 else "few" if each.count < 10 else "some" if each.count < 50 else "many"
        yield f"size:{size}:{fate}"


_HOW_MANY = re.compile(r"几(?:个|名|口|例|位|人)|多少(?!钱|户|度)|多少人|几个人")


def _topic(turns: Sequence[Turn], each: _Mention) -> str:
    """The fate whose word was the last before the mention, in its turn or the one before; empty for none."""
    for text in (turns[each.index].text[: each.start], turns[each.index - 1].text if each.index else ""):
        said = [(match.end(), fate) for fate, words in _WORDS.items() for match in words.finditer(text)]
        if said:
            return max(said)[1]
    return ""


def _answered(turns: Sequence[Turn], each: _Mention) -> Iterator[str]:
    """What the caller says to the officer's figure."""
    turn = turns[each.index]
    if _QUESTION.search(turn.text[each.end : each.end + 8]):
        yield "officer asks"
    yield from reply_features(turns, each.index)


def _link(turns: Sequence[Turn], each: _Mention, fate: str) -> str:
    """How a word of ``fate`` stands to the mention, and whether another fate stands nearer."""
    turn = turns[each.index]
    here = _nearest(turn, each, fate)
    others = [near for other in FATES if other != fate and (near := _nearest(turn, each, other)) is not None]
    if here is None:
        asked = turns[each.index - 1].text if each.index else ""
        if turn.speaker is Speaker.CALLER and _WORDS[fate].search(asked):
            return "asked" + (" other here" if others else "")
        return "other here" if others else "nowhere"
    rival = min((near[0] for near in others), default=99)
    nearer = "" if here[0] < rival else " tied" if here[0] == rival else " rival"
    return here[1] + nearer


def _nearest(turn: Turn, each: _Mention, fate: str) -> tuple[int, str] | None:
    """Characters to the nearest word of ``fate`` in the turn, commas counted more, and where it stands."""
    best: tuple[int, str] | None = None
    for match in _WORDS[fate].finditer(turn.text):
        if match.end() <= each.start:
            between, side = turn.text[match.end() : each.start], "before"
        elif match.start() >= each.end:
            between, side = turn.text[each.end : match.start()], "after"
        else:
            between, side = "", "on"
        stops = sum(between.count(stop) for stop in "，。；？")
        numbers = len(_COUNT.findall(between))
        cost = len(between) + 6 * stops + 8 * numbers
        name = f"{side}:{'clause' if not stops else 'next' if stops == 1 else 'far'}" + (
            ":past number" if numbers else ""
        )
        if not stops and not numbers and len(between) <= 2:
            name = f"{side}:touching"
        if best is None or cost < best[0]:
            best = cost, name
    return best


def _order(mentions: Sequence[_Mention], place: int, turns: Sequence[Turn], fate: str) -> Iterator[str]:
    each = mentions[place]
    later = mentions[place + 1 :]
    near = ("before:touching", "after:touching", "before:clause", "after:clause", "on:touching")
    linked = [m for m in later if m.form == "number" and _link(turns, m, fate) in near]
    yield f"linked later:{min(len(linked), 2)}"
    if not linked and each.form in ("number", "one", "bare"):
        link = _link(turns, each, fate)
        yield f"last:{link}"
        if link in near:
            yield "last near"
    if any(m.count != each.count and m.index == each.index for m in linked):
        yield "another in turn"
    if any(m.form.startswith(("denied", "answered", "out")) for m in later):
        yield "denied later"
    if sum(m.count == each.count and m.form == "number" for m in mentions) > 1 and each.count:
        yield "again"
    if any(m.count == each.count and turns[m.index].speaker is not turns[each.index].speaker for m in mentions):
        yield "by both"
    if each.count == 0 and any(
        m.count
        and m.form == "number"
        and "rival" not in (link := _link(turns, m, fate))
        and link.startswith(("before", "after"))
        for m in mentions
    ):
        yield "numbers too"
    if each.count and each.index == mentions[-1].index:
        yield "last turn of them"
