"""The words by which a call shows what it is: read from the vocabulary, compiled once, handed to the pure rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """A call is ``name`` where one of ``said`` occurs in what either says or one of ``caller`` in what the caller says,
    none of ``unless`` occurs, and the caller says no more than ``short`` characters (0: any number)."""

    name: str
    said: re.Pattern[str] | None
    caller: re.Pattern[str] | None
    unless: re.Pattern[str] | None
    short: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRule:
    """One of the nine classes of regulation 七（二）: each pattern that occurs adds its score. ``outside`` also needs a
    place outside the city."""

    number: int
    words: tuple[tuple[re.Pattern[str], int], ...]
    outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of event that ``dead`` or ``hurt`` people, or more, suggest."""

    name: str
    dead: int
    hurt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWords:
    """Kinds in the order in which they are tried, the classes, and the levels from the highest down."""

    kinds: tuple[KindRule, ...]
    classes: tuple[ClassRule, ...]
    levels: tuple[Level, ...]
    elsewhere: re.Pattern[str]

    @property
    def eventful(self) -> re.Pattern[str]:
        """What shows that something happened: the words of all classes but that of changes of persons."""
        return _eventful(self.classes)


def call_words(table: dict[str, Any], elsewhere: list[str]) -> CallWords:
    """The rules of a vocabulary file. Raises KeyError, TypeError and ValueError for what is none."""
    return CallWords(
        kinds=tuple(
            KindRule(
                name=row["name"],
                said=_any(row.get("said")),
                caller=_any(row.get("caller")),
                unless=_any(row.get("unless")),
                short=row.get("short", 0),
            )
            for row in table["kind"]
        ),
        classes=tuple(
            ClassRule(
                number=row["number"],
                words=tuple((re.compile(word["say"]), word["score"]) for word in row["words"]),
                outside=row.get("outside", False),
            )
            for row in table["class"]
        ),
        levels=tuple(Level(name=row["name"], dead=row["dead"], hurt=row["hurt"]) for row in table["level"]),
        elsewhere=re.compile("|".join(sorted(map(re.escape, elsewhere), key=len, reverse=True))),
    )


def _any(patterns: list[str] | None) -> re.Pattern[str] | None:
    try:
        return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
    except re.error as error:
        raise ValueError(f"{error.pattern!r}: {error.msg}") from error


@lru_cache(maxsize=8)
def _eventful(classes: tuple[ClassRule, ...]) -> re.Pattern[str]:
    return re.compile("|".join(word.pattern for rule in classes if rule.number != _PERSONS for word, _ in rule.words))


_PERSONS = 8
