"""Where a word of a class may stand, so that what sounds like it is only taken for it there (``cues.toml``)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from duty.domain.vocabulary import WordClass
from transcription.errors import TranscriptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """``tails`` are the common ends of a class's names; ``before`` and ``after`` what stands beside them. How far a
    reading may lie off, a syllable on average, 0..1: ``loose`` with such a witness, else ``strict``."""

    tails: tuple[str, ...]
    before: re.Pattern[str]
    after: re.Pattern[str]
    loose: float
    strict: float

    def tail(self, word: str) -> int:
        """How many characters of ``word`` are its common end, leaving at least two."""
        return max((len(tail) for tail in self.tails if word.endswith(tail) and len(word) - len(tail) >= 2), default=0)

    def limit(self, *, witnessed: bool) -> float:
        """How far a reading may lie off."""
        return self.loose if witnessed else self.strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """The cues of all classes; ``never`` are characters that are not taken for misheard ones."""

    of: Mapping[WordClass, Cue]
    never: frozenset[str]


def load_cues() -> Cues:
    """The cues of ``config/vocabulary/cues.toml``. Raises TranscriptionError when it is missing or malformed."""
    try:
        text = (resources.files("config") / "vocabulary" / "cues.toml").read_text(encoding="utf-8")
        tree = tomllib.loads(text)
        return Cues(of={kind: _cue(tree["class"][kind]) for kind in WordClass}, never=frozenset(tree["never"]))
    except (OSError, KeyError, TypeError, ValueError, re.error) as error:
        raise TranscriptionError(f"词语位置表 cues.toml 无法读取：{error}") from error


def _cue(row: dict[str, Any]) -> Cue:
    if not 0 <= row["strict"] <= row["loose"] < 1:
        raise ValueError(f"strict {row['strict']}，loose {row['loose']}")
    return Cue(
        tails=tuple(row["tails"]),
        before=re.compile(row["before"]),
        after=re.compile(row["after"]),
        loose=row["loose"],
        strict=row["strict"],
    )
