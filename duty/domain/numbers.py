"""Telephone numbers: the same caller is dialled and displayed in many ways; matching needs one (requirement 6.1-c)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import phonenumbers

_EXTENSION = re.compile(r"(?:转|ext\.?|,|;|#)\s*(\d{1,6})$", re.IGNORECASE)
_NOISE = re.compile(r"[\s\-‐－—()（）.]+")


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
    text = number.strip()
    extension = ""
    if found := _EXTENSION.search(text):
        extension, text = found.group(1), text[: found.start()]
    digits = _NOISE.sub("", text)
    if not digits or not re.fullmatch(r"\+?[\d*#]+", digits):
        return ""
    if len(digits) in plan.extension_digits and not digits.startswith("+"):
        return digits
    parsed = _as_e164(digits, plan)
    return f"{parsed};ext={extension}" if extension else parsed


def _as_e164(digits: str, plan: NumberPlan) -> str:
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if re.fullmatch(r"01[3-9]\d{9}", digits):
        digits = digits[1:]
    elif re.fullmatch(r"86(1[3-9]\d{9}|0?[2-9]\d{8,11})", digits):
        digits = "+" + digits
    elif re.fullmatch(r"[2-8]\d{6,7}", digits):
        digits = plan.area_code + digits
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
