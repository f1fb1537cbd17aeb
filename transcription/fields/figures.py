"""Numbers of people with what befell them as plain rules read them, the denials that matter as much, and corrections.

The last word counts: later figures correct earlier ones, within a sentence (四个人，不对，是三个人) and over the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.fields.reading import Turn
from transcription.normalise import number

DEAD, INJURED, MISSING, TRAPPED, ILL, EVACUATED = "死亡", "受伤", "失踪", "被困", "患病", "转移"
FATES = {DEAD: "dead", INJURED: "injured", MISSING: "missing", TRAPPED: "trapped", ILL: "ill", EVACUATED: "evacuated"}
"""What can befall people, as the entry writes it and in English."""

_SAID = {
    DEAD: (
        "没(?:跑|逃)出来，?死了|[烧烫砸摔撞刺砍压炸淹电毒]死|死[亡王]|死了|遇难|身亡|丧生|不治|没命|去世|没(?:抢)?救过来|"
        "抢救无效"
    ),
    INJURED: (
        "受了?(?:重|轻|皮外)?伤|[重轻]伤|(?:烧|烫|砸|摔|撞|刺|砍|捅|压|炸|灼|擦|划|刮|扭|咬|冻|挤|踩|割|打)伤|皮外伤|"
        "擦破|划破|磕破|骨折|挂彩|伤亡"
    ),
    MISSING: "失踪|失联|联系不上|走失|下落不明|走丢|不见了|没上来|没找(?:着|到)|找不(?:着|到)",
    TRAPPED: "被困|被埋|困在|压在|没(?:有)?(?:跑|逃)出来",
    ILL: "中毒|呕吐|恶心|头晕|腹泻|拉肚子|发烧|发热|感染|确诊|得病|生病|患病|染病|不舒服",
    EVACUATED: "疏散|转[移疑]|撤离|避险|安置|撤出|撤到",
}
_FATE = "|".join(f"(?P<{FATES[fate]}>{words})" for fate, words in _SAID.items())
_N = r"[零〇一二两三四五六七八九十百千万0-9]{1,6}"
_PEOPLE = rf"(?:(?P<n>{_N})(?:多|来|余|几)?(?:名|个|位|人|口)|(?P<pair>[俩仨]))(?:人)?"
_WHO = (
    r"(?:人员|群众|村民|居民|住户|工人|农民工|学生|儿童|小孩|孩子|老人|老太太|老头|员工|司机|乘客|旅客|游客|客人|消防员|警察|民警|师生|业主|观众|"
    r"人|[^，。；零一二两三四五六七八九十百千0-9]{0,4}[的工员者民客生师孩娃])?"
)
_BETWEEN = (
    r"(?:，(?=都|全部|已经)|被|已经|已|都|全部|均|也|还|正在|正|不幸|当场|出现|吸入浓烟|吃饭以后|受|轻微|轻度|不同程度|分别|先后|均有|有|因[^，。；]{1,6}|"
    r"被[^，。；]{1,5}|安全)*"
)
_BEFORE = re.compile(rf"{_PEOPLE}{_WHO}{_BETWEEN}(?:{_FATE})")
_HEAD = r"(?:人数)?(?:了|的|有|约|大约|大概|差不多|周边|周围|附近|滩区|在场)*" + _WHO
_AFTER = re.compile(
    rf"(?:{_FATE}|(?P<d>死)|(?P<i>伤))(?:者|病例)?{_HEAD}(?:从[^，。]{{1,6}}(?:上升|增加|变成?)[到为]?|[，]|{_N}户)?(?:了|大概|大约|约)?{_PEOPLE}"
)
_NO = r"(?:没有?|木有|无|未|暂无|并无|尚未|未见)"
_DENIED = re.compile(
    rf"(?P<rest>其他|其余)?(?<!有){_NO}(?:造成|发生|发现|出现|接到|再|什么|任何|其他(?P<others>))*"
    rf"(?:人员|群众|人|员工)?(?:的)?(?P<what>{_FATE.replace('?P<', '?P<no_')}|伤着|伤到|死人|"
    r"死(?!鱼|猪|鸡|鸭|羊|牛)|伤)"
)
_FINE = re.compile(r"人(?:都)?(?:没事|平安|安全)")
_SOLVED = re.compile(
    rf"(?P<what>被困|失踪|走失)的?(?:{_N}(?:名|个|位|人)人?)(?:已经|已)?(?:全部|都|均|也)*(?:安全)?(?:救出|获救|脱险|找到|找着)"
)
_WRONG = r"(?:哦|噢|啊|呃|嗯|，|。)*(?:不对|不是|说错了?|错了|更正)"
_CORRECTED = re.compile(rf"{_WRONG}[^。；]{{0,16}}?{_PEOPLE}(?:[，]?(?P<again>{_N})(?:名|个|位|人)人?)?")
_ASKED = re.compile(
    r"(?:有没有|有无|是否有|有|没有).{0,6}?(?P<what>伤亡|受伤|死亡|伤着|被困|失踪|失联|发烧|发热|中毒|摔伤)(?:的)?(?:人)?(?:吗|没|不|？|$)"
)
_HOW_MANY = re.compile(
    rf"(?:(?P<first>{_FATE})了?(?:几|多少)|(?:几|多少)(?:个|名)?人?(?:{_FATE.replace('?P<', '?P<after_')}))"
)


def _plain(pattern: str) -> str:
    """``pattern`` without its group names, to stand more than once."""
    return re.sub(r"\?P<\w+>", "?:", pattern)


_PLAIN_NO = re.compile(rf"^(?:目前|暂时|现在)?{_NO}(?:有)?(?:[，。没]|$)")
_OF_THEM = re.compile(r"(?:其中|里面|当中|包括)[^，。；]{0,3}$")
_SHORT = {"死": DEAD, "死人": DEAD, "伤": INJURED, "伤着": INJURED, "伤到": INJURED}


_FATES_PLAIN = "|".join(_SAID.values())
_ITEM = rf"(?P<what>{_FATES_PLAIN}|死|伤)了?{_PEOPLE}"
_LISTED = re.compile(rf"(?<![人个名位]){_plain(_ITEM)}(?:[，、和]?{_plain(_ITEM)})+")
"""死亡一人受伤三人, where 一人受伤 is no item of its own."""
_LISTED_ITEM = re.compile(_ITEM)
_ONE = re.compile(
    rf"(?:有一?个|一[个名位]|[那这]个)(?!月|小时|多)[^，。；零一二两三四五六七八九十0-9]{{0,8}}，?[^，。；零一二两三四五六七八九十0-9]{{0,3}}(?:{_FATE})"
)
"""有个学生联系不上了: one, where no number is given otherwise."""
_MOVED = re.compile(
    rf"(?:疏散|转移|撤离|安置)了?[^，。；零一二两三四五六七八九十0-9]{{0,8}}，?(?:一共|总共|共|共计|累计|合计|大概|大约|约)?{_PEOPLE}"
)
_TOTAL = re.compile(rf"(?:一共|总共|共计|累计|合计|现在|加起来|共)(?:是|有|了|已经)?{_PEOPLE}")
_BARE = re.compile(rf"(?:(?<=[，。])|^)(?:对|嗯|是|大概|现在|一共|就|，)*{_PEOPLE}(?:吧|了|嘛|，|。|$)")
_YES = re.compile(r"^(?:嗯|对|是|没错|中|，|的)+(?=，|。|$)|^(?:对|嗯)")
_FATE_WORD = re.compile(rf"{_FATE}|(?P<d>死)(?!鱼|猪|鸡)|(?P<i>伤)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``count`` people with ``fate`` (a key of ``FATES``), said at ``start:end`` of ``turn``."""

    turn: Turn
    start: int
    end: int
    fate: str
    count: int


def said_figures(turns: Sequence[Turn]) -> dict[str, Figure]:
    """The last word on each fate that the caller gives in ``turns``, denials with count 0."""
    latest: dict[str, Figure] = {}
    asked, topic = "", ""
    for turn in turns:
        if turn.speaker is Speaker.OFFICER:
            asked, topic = turn.text, _topic(turn.text) or topic
            continue
        for said in _single(turn):
            latest.setdefault(said.fate, said)
        heard = (*_confirmed(asked, turn), *_counts(asked, topic, turn), *_answers(asked, turn), *_told(turn))
        for said in sorted(heard, key=lambda said: said.end):
            if not _weaker(said, latest.get(said.fate)):
                latest[said.fate] = said
        latest |= _corrections(turn, latest)
        asked, topic = "", _topic(turn.text) or topic
    return latest


def _topic(text: str) -> str:
    """The fate spoken of last in ``text``; empty where none is."""
    said = list(_FATE_WORD.finditer(text))
    return _fate(said[-1]) if said else ""


def _fate(match: re.Match[str]) -> str:
    groups = match.groupdict()
    fate = next((fate for fate, name in FATES.items() if groups.get(name)), "")
    return fate or (DEAD if groups.get("d") else INJURED)


def _single(turn: Turn) -> Iterable[Figure]:
    """有个学生联系不上了, unless taken back or denied."""
    for match in _ONE.finditer(turn.text):
        text = match.group()
        if _fate(match) in (EVACUATED, TRAPPED) or re.search(
            r"没(?:有)?(?:人|受|[^找上跑逃抢救联]{0,2}伤)|说|是不是", text
        ):
            continue
        yield Figure(turn=turn, start=match.start(), end=match.end(), fate=_fate(match), count=1)


def _confirmed(asked: str, turn: Turn) -> Iterable[Figure]:
    """对 after the officer's 死亡一人，受伤三人: the officer's figures, at the word that confirms them."""
    yes = _YES.match(turn.text)
    if yes is None:
        return
    for fate, count in _figures(asked).items():
        yield Figure(turn=turn, start=yes.start(), end=yes.end(), fate=fate, count=count)


def _figures(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    listed = _LISTED.search(text)
    matches = list(_LISTED_ITEM.finditer(listed.group())) if listed else []
    if matches:
        return {_fate_of(match["what"]): count for match in matches if (count := _people(match)) is not None}
    for pattern in (_BEFORE, _AFTER):
        for match in pattern.finditer(text):
            found |= {fate: count for fate, count in _counted(match) if count is not None and fate not in found}
    return found


def _counts(asked: str, topic: str, turn: Turn) -> Iterable[Figure]:
    """一共三十一个 after 发烧, and 三个吧 after the officer's 两个人受伤: people of the fate spoken of."""
    for match in _TOTAL.finditer(turn.text):
        fate = _topic(turn.text[: match.start()]) or topic
        count = _people(match)
        if fate in (ILL, INJURED) and count is not None and _belongs(turn.text, match.end()):
            yield Figure(turn=turn, start=match.start(), end=match.end(), fate=fate, count=count)
    about = _topic(asked)
    if about in (ILL, INJURED, DEAD) and (_HOW_MANY_HURT.search(asked) or _figures(asked)):
        for match in _BARE.finditer(turn.text):
            if (count := _people(match)) is not None:
                yield Figure(turn=turn, start=match.start(), end=match.end(), fate=about, count=count)


_HOW_MANY_HURT = re.compile(r"[伤死病毒烧吐]亡?了?(?:几|多少)|(?:几|多少)(?:个|名)?人?[^，。]{0,3}[伤死病毒烧吐]")


def _belongs(text: str, at: int) -> bool:
    """Whether nothing counted by 户 or 村 follows, and no other fate."""
    return re.match(r"(?:人)?(?:，|。|$|吧|了|学生|病人|患者)", text[at:]) is not None


def _weaker(said: Figure, before: Figure | None) -> bool:
    """没有其他人员受伤 does not undo 两人受伤."""
    text = said.turn.text[max(0, said.start - 4) : said.end]
    return before is not None and before.count > 0 and said.count == 0 and ("其他" in text or "其余" in text)


def _told(turn: Turn) -> Iterable[Figure]:
    taken: list[tuple[int, int]] = []
    for listed in _LISTED.finditer(turn.text):
        taken.append(listed.span())
        for match in _LISTED_ITEM.finditer(turn.text, *listed.span()):
            if (count := _people(match)) is not None:
                fate = _fate_of(match["what"])
                yield Figure(turn=turn, start=match.start(), end=match.end(), fate=fate, count=count)
    for pattern, read in _READERS:
        for match in pattern.finditer(turn.text):
            if any(match.start() < end and match.end() > start for start, end in taken):
                continue
            found = [(fate, count) for fate, count in read(match) if count is not None]
            if not found:
                continue
            taken.append(match.span())
            if _OF_THEM.search(turn.text[: match.start()]):
                continue
            for fate, count in found:
                yield Figure(turn=turn, start=match.start(), end=match.end(), fate=fate, count=count)


def _counted(match: re.Match[str]) -> Iterable[tuple[str, int | None]]:
    fate = _fate(match)
    if fate == INJURED and match["injured"] == "伤亡":
        return
    yield fate, _people(match)


def _people(match: re.Match[str]) -> int | None:
    pair = match["pair"]
    return {"俩": 2, "仨": 3}[pair] if pair else number(match["n"])


def _denied(match: re.Match[str]) -> Iterable[tuple[str, int | None]]:
    what, rest = match["what"], match["rest"] or match["others"] is not None
    if what == "伤亡":
        return [(INJURED, 0)] if rest else [(DEAD, 0), (INJURED, 0)]
    return [(_fate_of(what), 0)]


def _fate_of(what: str) -> str:
    return _SHORT.get(what) or next((fate for fate, words in _SAID.items() if re.fullmatch(words, what)), INJURED)


def _fine(_match: re.Match[str]) -> Iterable[tuple[str, int | None]]:
    return [(INJURED, 0)]


def _solved(match: re.Match[str]) -> Iterable[tuple[str, int | None]]:
    return [(TRAPPED if match["what"] == "被困" else MISSING, 0)]


def _moved(match: re.Match[str]) -> Iterable[tuple[str, int | None]]:
    return [(EVACUATED, _people(match))]


_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Iterable[tuple[str, int | None]]]], ...] = (
    (_SOLVED, _solved),
    (_DENIED, _denied),
    (_BEFORE, _counted),
    (_AFTER, _counted),
    (_MOVED, _moved),
    (_FINE, _fine),
)
"""Tried in this order; what one has read no other reads again."""


def _answers(asked: str, turn: Turn) -> Iterable[Figure]:
    """没有 after 有没有人员伤亡, and 九十个人 after 转移多少人."""
    question = _ASKED.search(asked)
    denial = _PLAIN_NO.match(turn.text)
    if question is not None and denial is not None:
        fates = (DEAD, INJURED) if question["what"] == "伤亡" else (_fate_of(question["what"]),)
        for fate in fates:
            yield Figure(turn=turn, start=denial.start(), end=denial.end(), fate=fate, count=0)
    amount = _HOW_MANY.search(asked)
    told = re.search(_PEOPLE, turn.text)
    if amount is not None and told is not None and (count := _people(told)) is not None:
        groups = amount.groupdict()
        fate = next((f for f, name in FATES.items() if groups.get(name) or groups.get(f"after_{name}")), INJURED)
        yield Figure(turn=turn, start=told.start(), end=told.end(), fate=fate, count=count)


def _corrections(turn: Turn, latest: dict[str, Figure]) -> dict[str, Figure]:
    """A number taken back within the turn: the fate that was said nearest before it, or that had this number."""
    changed: dict[str, Figure] = {}
    for match in _CORRECTED.finditer(turn.text):
        count = number(match["again"]) if match["again"] else _people(match)
        before = [said for said in latest.values() if said.turn is turn and said.end <= match.start() + 1]
        nearest = max(before, key=lambda said: said.end, default=None)
        if nearest is None or match.start() - nearest.end > _NEAR:
            nearest = _numbered(turn.text[: match.start()], latest)
        if nearest is None or count is None:
            continue
        if any(
            said.turn is turn and match.start() <= said.start and said.fate == nearest.fate for said in latest.values()
        ):
            continue
        changed[nearest.fate] = Figure(turn=turn, start=match.start(), end=match.end(), fate=nearest.fate, count=count)
    return changed


_NEAR = 3
_LAST_NUMBER = re.compile(rf"({_N})(?:名|个|位|人)人?[，。]?$")


def _numbered(text: str, latest: dict[str, Figure]) -> Figure | None:
    said = _LAST_NUMBER.search(text)
    count = number(said[1]) if said else None
    return next((each for each in latest.values() if count is not None and each.count == count), None)
