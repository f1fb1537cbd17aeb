"""Telephone numbers: the same caller is dialled and displayed in many ways; matching needs one (requirement 6.1-c)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import phonenumbers

_EXTENSION = re.compile(r"(\+?[0-9]+)(?:转|分机|ext|;ext=|,|;|#)([0-9]{1,6})", re.IGNORECASE)
_HYPHENED = re.compile(r"(?<=[0-9])-([0-9]{1,6})$")
_WHOLE = re.compile(r"(?:\+?86-?)?(?:0?[0-9]{2,3}-?)?[2-8][0-9]{6,7}")
_DASHES = str.maketrans("‐‑–—―", "-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPlan:
    """Where the line stands: ``area_code`` with its 0 (``0371``) and the length of an internal extension."""

    area_code: str = "0371"
    extension_digits: tuple[int, ...] = (3, 4, 5)


def normalise(number: str, plan: NumberPlan) -> str:
    """One form for matching: E.164 with an optional ``;ext=``, a bare extension, a short code, or the cleaned digits.

    A local number gets the plan's area code; +86, 0086 and a leading 0 before a mobile number (as some carriers
    deliver it) are understood. An empty text means the number was withheld.
    """
    digits, extension = _split(number)
    if not re.fullmatch(r"\+?[0-9*#]+", digits):
        return ""
    if len(digits) in plan.extension_digits and not digits.startswith("+"):
        return digits
    parsed = _as_e164(digits, plan)
    return f"{parsed};ext={extension}" if extension else parsed


def _split(number: str) -> tuple[str, str]:
    """The bare number and its extension, full-width forms made plain, blanks, brackets and dashes taken out.

    In 0371-22595110-801 the last group is an extension because a whole local number stands before it.
    """
    text = re.sub(r"[\s().]", "", unicodedata.normalize("NFKC", number).translate(_DASHES))
    if (found := _HYPHENED.search(text)) and _WHOLE.fullmatch(text[: found.start()]):
        return text[: found.start()].replace("-", ""), found[1]
    text = text.replace("-", "")
    found = _EXTENSION.fullmatch(text)
    return (found[1], found[2]) if found else (text, "")


def _as_e164(digits: str, plan: NumberPlan) -> str:
    if re.match("00[1-9]", digits):
        digits = "+" + digits[2:]
    if re.fullmatch(r"01[3-9][0-9]{9}", digits):
        digits = digits[1:]
    elif re.fullmatch(r"86(1[3-9][0-9]{9}|0?[2-9][0-9]{8,11})", digits):
        digits = "+" + digits
    elif re.fullmatch(r"[2-8][0-9]{6,7}", digits):
        digits = plan.area_code + digits
    formatted = _formatted(digits)
    # Nonsense like 000000000 loses a digit each time it is formatted; it stays as it came.
    return formatted if _formatted(formatted) == formatted else digits


def _formatted(digits: str) -> str:
    try:
        parsed = phonenumbers.parse(digits, "CN")
    except phonenumbers.NumberParseException:
        return digits
    if not phonenumbers.is_possible_number(parsed):
        return digits
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def same_subscriber(one: str, other: str) -> bool:
    """True when two normalised numbers reach the same line, an extension given by only one side put aside."""
    if not one or not other:
        return False
    first, _, first_ext = one.partition(";ext=")
    second, _, second_ext = other.partition(";ext=")
    return first == second and (first_ext == second_ext or not first_ext or not second_ext)


def mask(number: str) -> str:
    """A restricted number as those see it who may not: the last two digits stay (requirement 6.1-b)."""
    if len(number) <= 2:
        return "*" * len(number)
    return "*" * (len(number) - 2) + number[-2:]
