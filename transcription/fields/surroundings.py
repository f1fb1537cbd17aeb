"""What stands around words that may be a value: who says them, what was asked, what comes before and behind.

The features are plain strings; ``ranking`` weighs them. They are few and general on purpose: what a human reader would
point at to say why this hour, and not another of the call's hours, is when it happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.fields.reading import Turn
from transcription.lexicon import Lexicon

_ASKED = {
    "time": r"几点|几时|啥时候|什么时候|何时|多会儿|时间",
    "place": r"哪个?(?!里的|个单位|位|部门)|什么地方|啥地方|位置|地点|地址|在哪|具体",
    "who": r"哪个单位|哪里的|哪儿的|您是|你是|哪位|贵姓|怎么称呼|什么单位",
    "hurt": r"伤亡|受伤|死|几个人|多少人|人员|伤",
    "phone": r"电话|号码|手机|联系",
}
_BEHIND = {
    "arrive": r"到(?:的|达|场|位|了现场|现场|了)|赶到|赶赴|出动|派|前往|出发|过去",
    "over": r"扑灭|控制|处置|恢复|结束|解除|救出|捞|散|撤|送|稳定|修好|关|堵上|疏散|转移|封",
    "told": r"接(?:到|警|报|群众)|报(?:的|告|警|给|过)|打(?:的|了)?(?:电话|120|119|110)|通知|给我",
    "due": r"(?:之|以)?前|截止|之内|反馈|报送",
    "plan": r"发布|召开|开会|采样|拆除|停[水电气]|预计|上班|到会|签到|再",
    "began": r"开始|发现|起的?|发生|出的?事|的事|突然|看[见到]|听[见到]",
    "hospital": r"医院|抢救|治疗|救治|一二零|120",
    "beside": (
        r"(?:往?[东西南北]{1,2}(?:边|侧|面|邻)?(?!头|段|口|门|岸)|附近|对面|旁边?|隔壁|后面|前面|边上|跟前|"
        r"下面|往[东西南北上下里前])"
    ),
    "inside": (
        r"(?:(?:[东西南北中]{1,2})?(?:头|段|口|门|岸)|门口|路段|里头?|里面|"
        r"院内|上|内|处|这块|[0-9零一二两三四五六七八九十]+号|中间|辖区|路口|交叉)"
    ),
    "there": r"(?:那边|这边|那儿|这儿|那里|这里|一带|那个|这个|的)",
    "scene": r"(?:，|的|有|一家|一个|一处|一栋|一辆|一名|发生|出现|突发|附近|里)+",
    "role": (
        r"的?(?:值班|我姓|姓|我叫|小[\u4e00-\u9fff]|老[\u4e00-\u9fff]|"
        r"书记|主任|支书|村主任|校长|经理|站长|所长|队长|网格员|调度|负责人|领导|工作人员)"
    ),
    "report": r"(?:报|跟|向|给|有个|汇报|反映|续报|通报|通知|出了|发生|这边|这儿|有人)",
    "people": r"的?(?:群众|村民|居民|业主|学生|职工|工人|人员|干部|家长|游客|消防|车|人)",
    "ask": r"(?:吗|吧|嘛|不是|是不是|是吧|值班室吗|对吧)",
}
_AHEAD = {
    "at": r"(?:在|位于|发生在|地点是?|地址是?|位置是?|就是|就在|到|从|沿)$",
    "toward": r"(?:去|往|赴|通往|前往|送|送到|送往|送去|送至|转到|转至|拉到|回|进|到达)(?:了|的)?$",
    "from_to": r"(?:从|自|打)$",
    "until": r"(?:到|至|截至|截止)$",
    "plan": r"(?:预计|计划|请|最迟|最快|争取|必须|要求|原定|力争|大概得|说是|等)[^，。]{0,4}$",
    "self": (
        r"(?:我们?是|俺们?是|咱们?是|这边是|这里是|这儿是|我这边是?|我这里是?|我这儿是?|这是|我是|俺是|"
        r"本人是?|来自)$"
    ),
    "mine": r"(?:我们?|俺们?|咱们?|我乡|我镇|俺乡)$",
    "hello": (
        r"^(?:喂|哎|诶|嗯|呃|那个|您好|你好|好|领导|同志|晚上好?|上午好?|下午好?|早上好?|中午好?|的|区里|政府|"
        r"区政府|龙[亭庭]区?|总?值班室|值班的?|值班员|报告|吗|吧|请讲|在吗|是|啊|呀|嘛|一下|续报|通报|老师|"
        r"[，。？！、])+$"
    ),
    "with": (
        r"(?:请|让|要求|通知|转告|转达|你们|恁们?|您们?|给|跟|和|与|同|及|、|找|问|由|对|经|向|联系|协调|已经|"
        r"家|报|请问是?|告诉|叫|派)$"
    ),
    "was": r"(?:接到|据|根据|收到|接)$",
    "stop": r"[，。？！；]$",
}
_PRIVATE = re.compile(
    r"[我俺](?:家|爹|妈|娘|爸|孩|老公|媳妇|邻居|住)|路过|住户|老百姓|市民|家长|业主|我是[^，。]{0,6}(?:跑步|散步|遛弯|开车|骑车|买菜|钓鱼|路)|"
    r"叔叔|阿姨|政府[嘞吗不]|110|119|120|快来人|救命"
)
_BEHIND_ALL = {name: re.compile(pattern) for name, pattern in _BEHIND.items()}
_AHEAD_ALL = {name: re.compile(pattern) for name, pattern in _AHEAD.items()}
_ASKED_ALL = {name: re.compile(pattern) for name, pattern in _ASKED.items()}
_BACK = re.compile(r"^.{0,2}[，。]?(?:呃|啊|哦|噢|，|不)*(?:不对|不是|说错了?|错了|更正)")
_ANEW = re.compile(r"(?:不对|不是|说错了?|错了|更正|应该|是)(?:一下|，|呃|是|应该是?|我)*$")
_WINDOW = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the rules look at it: its turns, and for each the caller's place in the order and what was asked."""

    turns: tuple[Turn, ...]
    order: tuple[int, ...]
    asked: tuple[frozenset[str], ...]
    eventful: re.Pattern[str]


def call_of(turns: Sequence[Turn], lexicon: Lexicon) -> Call:
    """``turns`` with what the features look up more than once."""
    order, asked, heard, count = [], [], "", 0
    for turn in turns:
        mine = turn.speaker is Speaker.CALLER
        order.append(count)
        asked.append(frozenset(name for name, pattern in _ASKED_ALL.items() if mine and pattern.search(heard)))
        count += mine
        heard = "" if mine else turn.text
    return Call(turns=tuple(turns), order=tuple(order), asked=tuple(asked), eventful=lexicon.calls.eventful)


def surroundings(call: Call, index: int, start: int, end: int) -> Iterator[str]:
    """Features of the characters ``start:end`` of turn ``index``."""
    turn = call.turns[index]
    yield "officer" if turn.speaker is Speaker.OFFICER else f"turn{min(call.order[index], 3)}"
    for topic in call.asked[index]:
        yield f"asked:{topic}"
        if start <= _WINDOW // 2:
            yield f"answer:{topic}"
    yield from _cues(turn, start, end)
    yield from _events(call, turn, start, end)
    yield f"L:{turn.text[start - 1 : start]}"
    yield f"LL:{turn.text[max(0, start - 2) : start]}"
    yield f"R:{turn.text[end : end + 1]}"
    yield f"RR:{turn.text[end : end + 2]}"


def _cues(turn: Turn, start: int, end: int) -> Iterator[str]:
    """What is said right behind and ahead in the sentence, and whether the words are taken back."""
    sentence = turn.clause(start, _SENTENCE)
    behind, ahead = turn.text[end : sentence[1]], turn.text[sentence[0] : start]
    first = turn.text[end : max(end, turn.clause(max(start, end - 1))[1])]
    for name, pattern in _BEHIND_ALL.items():
        if pattern.match(behind):
            yield f"then:{name}"
        elif pattern.search(first[:_WINDOW]):
            yield f"after:{name}"
    for name, pattern in _AHEAD_ALL.items():
        if pattern.search(ahead if name != "hello" else turn.text[:start]):
            yield f"ahead:{name}"
    if start == 0:
        yield "ahead:nothing"
    for name, found in (
        ("taken back", _BACK.match(turn.text[end:])),
        ("said anew", _ANEW.search(turn.text[:start])),
        ("then uh", _UH.match(turn.text[end:])),
    ):
        if found:
            yield name


def _events(call: Call, turn: Turn, start: int, end: int) -> Iterator[str]:
    """Whether something happens behind or ahead, in the clause or near by."""
    sentence, clause = turn.clause(start, _SENTENCE), turn.clause(start)
    first = turn.text[end : max(end, turn.clause(max(start, end - 1))[1])]
    if call.eventful.search(first):
        yield "event:clause"
    elif call.eventful.search(turn.text[end : min(sentence[1], end + _FAR)]):
        yield "event:after"
    if call.eventful.search(turn.text[clause[0] : start]):
        yield "event:before"
    elif call.eventful.search(turn.text[max(sentence[0], start - _FAR) : start]):
        yield "event:earlier"


_SENTENCE = "。！？；\n"
_FAR = 40
_UH = re.compile(r"，?(?:呃|哦|哎)")


_YES = re.compile(r"^(?:嗯|对|是|没错|中|哎|，|的|嘞|呃|啊|好|行|就是)+(?=，|。|$|[^不])")
_NAY = re.compile(r"^(?:不|没(?!错)|错|反了|等|哪|哦不|噢不|不止|少|最后|[零〇一二两三四五六七八九十百]+(?!个对))")


def reply_features(turns: Sequence[Turn], index: int) -> Iterator[str]:
    """What the caller says to what the officer repeated in turn ``index``."""
    reply = turns[index + 1].text if index + 1 < len(turns) else ""
    yield "confirmed" if _YES.match(reply) else "refused" if _NAY.match(reply) else "let stand"


def of_none(call: Call, kind: str) -> frozenset[str]:
    """What speaks for a call's naming no value: its kind, and a caller who speaks for himself."""
    callers = [turn.text for turn in call.turns if turn.speaker is Speaker.CALLER]
    features = {"none", f"none:{kind}", f"none:turns:{min(len(callers), 4)}"}
    if any(_PRIVATE.search(text) for text in callers[:2]):
        features.add("none:private")
    return frozenset(features)
