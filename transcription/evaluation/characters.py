"""Character errors of a recogniser, counted alike for everybody: script, punctuation and the writing of numbers are no
matter of hearing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from transcription.script import simplified

_COUNTED = re.compile(r"[\u4e00-\u9fff0-9A-Za-z]")
_NUMBER = re.compile(r"(\d[\d,]*)(?:\.(\d+))?(%?)")
_DIGITS = "零一二三四五六七八九"
_SMALL = ("", "十", "百", "千")
_GREAT = ("", "万", "亿", "万亿")
_MOST_READINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Wrong characters of one utterance, and those that were said."""

    wrong: int
    said: int


def errors(said: str, heard: str) -> Errors:
    """Edits from ``heard`` to ``said``. Figures in either count as the reading (value or digit by digit) that fits the
    other side best."""
    pairs = product(_readings(said), _readings(heard))
    left, right = min(pairs, key=lambda pair: (distance(*pair), len(pair[0])))
    return Errors(wrong=distance(left, right), said=len(left))


def rate(found: Sequence[Errors]) -> float:
    """The character error rate (CER) over all utterances."""
    return sum(one.wrong for one in found) / sum(one.said for one in found)


def interval(found: Sequence[Errors], rounds: int = 2000) -> tuple[float, float]:
    """95 % of the rate by bootstrap over utterances."""
    rates = [rate([found[i] for i in row]) for row in _draws(len(found), rounds)]
    return float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975))


def ratio_interval(ours: Sequence[Errors], other: Sequence[Errors], rounds: int = 2000) -> tuple[float, float]:
    """95 % of the quotient of both rates by bootstrap over the same utterances."""
    ratios = [rate([ours[i] for i in row]) / rate([other[i] for i in row]) for row in _draws(len(ours), rounds)]
    return float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))


def value(digits: str) -> str:
    """How the whole number ``digits`` is read: 10203 is 一万零二百零三."""
    digits = digits.lstrip("0")
    if not digits:
        return _DIGITS[0]
    groups = [digits[max(0, end - 4) : end] for end in range(len(digits), 0, -4)]
    read = ""
    for place, group in reversed(list(enumerate(groups))):
        if int(group) == 0:
            continue
        gap = read and (len(group.lstrip("0")) < 4 or int(groups[min(place + 1, len(groups) - 1)]) == 0)
        read += ("零" if gap else "") + _group(int(group)) + _GREAT[min(place, 3)]
    return read[1:] if read.startswith("一十") else read


def _group(number: int) -> str:
    read, empty = "", False
    for place in range(3, -1, -1):
        digit = number // 10**place % 10
        if digit == 0:
            empty = bool(read)
            continue
        read += ("零" if empty else "") + _DIGITS[digit] + _SMALL[place]
        empty = False
    return read


def _readings(text: str) -> list[str]:
    """Every reading of ``text`` in characters alone; beyond a bound, figures are read as values only."""
    even = simplified(text).lower()
    parts: list[tuple[str, ...]] = []
    at = 0
    for match in _NUMBER.finditer(even):
        parts += [(even[at : match.start()],), _spoken(match)]
        at = match.end()
    parts.append((even[at:],))
    if np.prod([len(part) for part in parts]) > _MOST_READINGS:
        parts = [part[:1] for part in parts]
    return ["".join(_COUNTED.findall("".join(one))) for one in product(*parts)]


def _spoken(match: re.Match[str]) -> tuple[str, ...]:
    whole, fraction, percent = match.group(1).replace(",", ""), match.group(2), match.group(3)
    tail = "点" + _singly(fraction) if fraction else ""
    head = "百分之" if percent else ""
    readings = [value(whole), _singly(whole)] if len(whole) <= 16 else [_singly(whole)]
    return tuple(dict.fromkeys(head + reading + tail for reading in readings))


def _singly(digits: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in digits)


def _draws(count: int, rounds: int) -> np.ndarray:
    return np.random.default_rng(2026).integers(0, count, (rounds, count))


def distance(left: str, right: str) -> int:
    """Edits (insert, delete, replace a character) between both."""
    costs = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, costs[0] = costs[0], i
        for j, b in enumerate(right, 1):
            diagonal, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, diagonal + (a != b))
    return costs[-1]
