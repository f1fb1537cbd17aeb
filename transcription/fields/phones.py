"""Numbers at which the caller can be reached: digits said in groups, with pauses, slips and ends put right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from transcription.fields.surroundings import Call, reply_features, surroundings
from transcription.normalise import SPOKEN_DIGITS, phone_numbers

_DIGITS = "".join(SPOKEN_DIGITS)
_RUN = re.compile(rf"[{_DIGITS}0-9]+(?![十百千万点元块个月户名公米])")
_PLAUSIBLE = re.compile(r"1[3-9]\d{9}|0\d{9,11}|[2-9]\d{6,7}|[2-9]\d{7}\d{3,4}")
_END = re.compile(
    rf"(?:最后|末尾|末|尾号|后头|后面|后)[^，。{_DIGITS}]{{0,2}}(?:[二两三四]位)?(?:数)?(?:是|应该是|，)*"
    rf"(?P<end>[{_DIGITS}0-9]{{2,4}})"
)
_GAP = 14
_MOST_GROUPS = 6
_ABOUT = {
    "fax": r"传真[^，。]{0,6}$",
    "old": r"(?:原来|以前|旧|老|那个)[^，。新]{0,6}$",
    "another's": (
        r"(?:书记|主任|乡长|局长|儿子|闺女|[他她]的?|对方|村里|老板|家属|负责人|存的|打给|你不是)"
        r"(?:的|手机|电话|号码|号|是|，)*$"
    ),
    "mine": r"(?:我的?|俺的?|我们|办公室|值班|联系|记)(?:手机|电话|号码|号|座机|直线|值班电话|联系电话|是|这个|，)*$",
    "number": r"(?:电话|手机|号码|座机|直线|打|新号)[^，。]{0,4}[，]?$",
    "change": r"(?:换成|改成|改为|新号|换)[^，。]{0,6}$",
}
_ABOUT_ALL = {name: re.compile(pattern) for name, pattern in _ABOUT.items()}
_GONE = re.compile(r"^[，。]?(?:那个|这个|已经)?(?:不用|停用|作废|停机|打不通|取消|坏|不对|不是|错|没人|不能用)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """``digits`` said at ``start:end`` of turn ``index``, and what speaks for and against their being the caller's."""

    index: int
    start: int
    end: int
    digits: str
    features: frozenset[str]


def phone_readings(call: Call) -> list[Dialled]:
    """Every way to put groups of digits together that gives a number one could dial."""
    found = [each for i in range(len(call.turns)) for each in (*_joined(call, i), *_mended(call, i))]
    told = [(each.digits, call.turns[each.index].speaker) for each in found]
    last = max((each.index for each in found if "officer" not in each.features), default=-1)
    marked = []
    for each in found:
        more = {"by both"} if len({who for digits, who in told if digits == each.digits}) > 1 else set()
        more |= {"last turn"} if each.index == last else set()
        more |= {"again"} if told.count((each.digits, Speaker.CALLER)) > 1 else set()
        more |= {
            f"within another:{_side(each, other)}"
            for other in found
            if other is not each and other.index == each.index and other.start <= each.start and each.end <= other.end
        }
        marked.append(
            Dialled(
                index=each.index,
                start=each.start,
                end=each.end,
                digits=each.digits,
                features=each.features | more,
            )
        )
    return marked


def _side(each: Dialled, other: Dialled) -> str:
    return "end" if other.end == each.end else "begin" if other.start == each.start else "middle"


def _joined(call: Call, index: int) -> Iterator[Dialled]:
    text = call.turns[index].text
    runs = list(_RUN.finditer(text))
    whole = {(number.start, number.end) for number in phone_numbers(text)}
    for first in range(len(runs)):
        digits, gaps = "", set[str]()
        for last in range(first, min(len(runs), first + _MOST_GROUPS)):
            if last > first:
                between = text[runs[last - 1].end() : runs[last].start()]
                if len(between) > _GAP:
                    break
                gaps.add("pause" if re.fullmatch(r"[，,、。\-—\s转]*", between) else "words")
            digits += spelt(runs[last].group())
            if _PLAUSIBLE.fullmatch(digits):
                features = {f"gap:{gap}" for gap in gaps} | {f"groups:{last - first}", f"length:{len(digits)}"}
                if (runs[first].start(), runs[last].end()) in whole:
                    features |= {"whole", f"whole:{len(digits)}"}
                features.add("then more" if _goes_on(text, runs, last) else "then no more")
                yield _dialled(call, index, runs[first].start(), runs[last].end(), digits, features)


def _goes_on(text: str, runs: list[re.Match[str]], last: int) -> bool:
    return (
        last + 1 < len(runs)
        and re.fullmatch(r"[，,、\s]*", text[runs[last].end() : runs[last + 1].start()]) is not None
    )


def spelt(said: str) -> str:
    """Digits as said (幺 洞 拐 两) in Arabic."""
    return "".join(SPOKEN_DIGITS.get(char, char) for char in said)


def _mended(call: Call, index: int) -> Iterator[Dialled]:
    """最后四位拐两三九: the number said before with its end put right."""
    for match in _END.finditer(call.turns[index].text):
        end = spelt(match["end"])
        before = next((each for i in range(index - 1, -1, -1) for each in _joined(call, i)), None)
        if before is not None and len(before.digits) > len(end):
            digits = before.digits[: -len(end)] + end
            yield _dialled(call, index, match.start(), match.end(), digits, {"mended", f"length:{len(digits)}"})


def _dialled(call: Call, index: int, start: int, end: int, digits: str, features: set[str]) -> Dialled:
    turn = call.turns[index]
    about = {f"about:{name}" for name, pattern in _ABOUT_ALL.items() if pattern.search(turn.text[:start])}
    gone = {"gone"} if _GONE.match(turn.text[end:]) else set()
    if turn.speaker is Speaker.OFFICER:
        gone |= set(reply_features(call.turns, index))
    around = {
        each for each in surroundings(call, index, start, end) if not each.startswith(("L", "R", "event", "then"))
    }
    return Dialled(
        index=index, start=start, end=end, digits=digits, features=frozenset(features | about | gone | around)
    )
