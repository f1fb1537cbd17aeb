"""Words that suggest classified or inner matters: found in captions while people speak, and in the draft (6.5-a).

A hint, not a verdict: the officer is warned at once, and what was said is sealed until somebody with the right looks.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import resources
from typing import Any

from transcription.errors import TranscriptionError
from transcription.fields.homophones import heard
from transcription.normalise import normalise

_SENTENCE = re.compile(r"[^。！？；\n]*")


class SecretLevel(StrEnum):
    """疑似国家秘密, 内部敏感."""

    CLASSIFIED = "classified"
    INNER = "inner"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRule:
    """One class of words. ``beside``: one of these must stand in the same sentence where any are given; ``unless``:
    none of these may."""

    name: str
    level: SecretLevel
    say: tuple[str, ...]
    beside: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidSecret:
    """Words at ``start:end`` of the original text that suggest ``name``; ``as_is`` False where only the sound says
    so."""

    start: int
    end: int
    name: str
    level: SecretLevel
    as_is: bool


@dataclass(frozen=True)
class SecretWords:
    """All rules, from the strictest."""

    rules: tuple[SecretRule, ...]

    @cached_property
    def _rule_of(self) -> dict[str, SecretRule]:
        return {word: rule for rule in reversed(self.rules) for word in rule.say}

    def said(self, text: str) -> list[SaidSecret]:
        """What in ``text``, as an engine wrote it, suggests a secret, left to right."""
        even = normalise(text)
        found = []
        for start, end, word, as_is in heard(even.text, self._rule_of):
            rule = self._rule_of[word]
            sentence = _sentence_around(even.text, start)
            if rule.beside and not any(each in sentence for each in rule.beside):
                continue
            if any(each in sentence for each in rule.unless):
                continue
            first, last = even.origin[start], even.origin[end - 1]
            found.append(SaidSecret(start=first, end=last + 1, name=rule.name, level=rule.level, as_is=as_is))
        return found


def _sentence_around(text: str, at: int) -> str:
    return next((match.group() for match in _SENTENCE.finditer(text) if match.start() <= at < match.end()), "")


def load_secret_words() -> SecretWords:
    """The rules of ``config/vocabulary/secrecy.toml``. Raises TranscriptionError when it is missing or malformed."""
    try:
        text = (resources.files("config") / "vocabulary" / "secrecy.toml").read_text(encoding="utf-8")
        return secret_words(tomllib.loads(text)["secret"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TranscriptionError(f"涉密用语表无法读取：{error}") from error


def secret_words(rows: Iterable[dict[str, Any]]) -> SecretWords:
    """Rules from rows of the vocabulary. Raises KeyError and ValueError for what is none."""
    rules = [
        SecretRule(
            name=row["name"],
            level=SecretLevel(row["level"]),
            say=tuple(row["say"]),
            beside=tuple(row.get("with", ())),
            unless=tuple(row.get("unless", ())),
        )
        for row in rows
    ]
    if short := [word for rule in rules for word in rule.say if len(word) < 2]:
        raise ValueError(f"一个字的用语不能用：{'、'.join(short)}")
    return SecretWords(tuple(sorted(rules, key=lambda rule: rule.level is not SecretLevel.CLASSIFIED)))
