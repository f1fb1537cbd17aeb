"""Transcript text made even for the rules, every character still knowing where it came from.

Nothing here changes the transcript itself (requirement 6.2-b): rules read the even text, spans point at the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from transcription.script import simplified

_WIDE = str.maketrans({",": "，", "?": "？", "!": "！", ":": "：", ";": "；", "(": "（", ")": "）"})
_NARROW = {ord("０") + i: str(i) for i in range(10)} | {ord("％"): "%", ord("．"): "."}
SPOKEN_DIGITS = {
    **dict(zip("零一二三四五六七八九", "0123456789", strict=True)),
    **dict(zip("〇○洞幺妖腰两拐勾", "000111279", strict=True)),
}
"""Digits as they are said one by one, in Arabic."""
_DIGIT = "".join(SPOKEN_DIGITS) + "0-9"
_PHONE = re.compile(rf"(?<![{_DIGIT}.])[{_DIGIT}](?:[，,、。\-—\s转]{{0,2}}[{_DIGIT}]){{6,}}(?![{_DIGIT}])")
_VALUES = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_PAUSE_SHARE = 6
"""Characters from one space to the next, at least and on average, where spaces are pauses and not all words' limits."""
_MANY, _PAUSE_SHARE_OF_MANY = 4, 3.5
"""With this many spaces the average is sure enough to tell short phrases from words."""
_UNITS = {"十": 10, "百": 100, "千": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedText:
    """Text and, for each of its characters, the index of the original character it stands for."""

    text: str
    origin: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneNumber:
    """A number said digit by digit: ``start:end`` in the text, ``digits`` in Arabic."""

    start: int
    end: int
    digits: str


def normalise(text: str) -> MappedText:
    """``text`` in simplified script with full-width punctuation and no space beside a Chinese character.

    Engines that write no punctuation put a space where the speaker pauses: there it becomes a comma. Where a space
    stands between all words it means nothing and is dropped.
    """
    even = punctuated(simplified(text).translate(_NARROW))
    spaces = sum(map(str.isspace, text))
    if spaces * (_PAUSE_SHARE_OF_MANY if spaces >= _MANY else _PAUSE_SHARE) <= len(text):
        even = "".join("，" if _is_pause(even, i) else char for i, char in enumerate(even))
    kept = [i for i, char in enumerate(even) if not (char.isspace() and _beside_chinese(even, i))]
    return MappedText(text=punctuated("".join(even[i] for i in kept)), origin=tuple(kept))


def punctuated(text: str) -> str:
    """``text`` with full-width punctuation except inside numbers (3.5, 1,000, 15:20); the length never changes."""
    wide = text.translate(_WIDE)
    chars = list(wide)
    for i, char in enumerate(text):
        inside = 0 < i < len(text) - 1 and text[i - 1].isdigit() and text[i + 1].isdigit()
        if inside and char in ",.:":
            chars[i] = char
        elif char == "." and i > 0 and not chars[i - 1].isascii():
            chars[i] = "。"
    return "".join(chars)


def phone_numbers(text: str) -> list[PhoneNumber]:
    """Numbers of 7 to 13 digits in ``text``, said as digits (幺 洞 拐 勾 两 too) or written; a leading 0 stays.

    Years, amounts and sums with 十 百 千 are none of these. A switchboard's extension (转 …) belongs to the number.
    """
    found = []
    for match in _PHONE.finditer(text):
        digits = "".join(
            SPOKEN_DIGITS.get(char, char)
            for char in match.group()
            if char in SPOKEN_DIGITS or (char.isascii() and char.isdigit())
        )
        if 7 <= len(digits) <= 13 and not re.search(r"[十百千万亿]", text[match.end() : match.end() + 1]):
            found.append(PhoneNumber(start=match.start(), end=match.end(), digits=digits))
    return found


def number(text: str) -> int | None:
    """The whole number below 100 million written in ``text``, Arabic or Chinese (二十三, 两百, 两千〇五).

    None where it is none.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    if "万" in text:
        high, _, low = text.partition("万")
        left, right = number(high), number(low) if low else 0
        return None if left is None or right is None else left * 10_000 + right
    if text and all(char in _VALUES for char in text) and len(text) > 1:
        return int("".join(str(_VALUES[char]) for char in text))
    return _sum(text)


def _sum(text: str) -> int | None:
    total, digit, last_unit = 0, None, 1
    for char in text:
        if char in _VALUES:
            digit = _VALUES[char]
            last_unit = 1 if char in "零〇" else last_unit
        elif char in _UNITS:
            total += (1 if digit is None else digit) * _UNITS[char]
            digit, last_unit = None, _UNITS[char]
        else:
            return None
    if not text:
        return None
    trailing = (digit or 0) * (last_unit // 10 if last_unit >= 100 else 1)  # 两百五 is 250
    return total + trailing


def _is_pause(text: str, at: int) -> bool:
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    return text[at].isspace() and _is_word(before) and _is_word(after) and _beside_chinese(text, at)


def _is_word(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or (char.isascii() and char.isalnum())


def _beside_chinese(text: str, at: int) -> bool:
    before = text[:at].rstrip()[-1:]
    after = text[at:].lstrip()[:1]
    return not before or not after or not (before.isascii() and after.isascii())
