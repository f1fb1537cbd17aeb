"""Which names an engine is told to prefer in a call, and what telling means: never to write them where they were not
heard, but to take, of readings it holds equally likely, the one that has them.

A prompt with names costs more errors than it saves (docs/decisions/0019), so no engine is given one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from transcription.lexicon import Lexicon

SHORTEST = 3
NEAR = 0.06
"""How much less likely, in mean log probability a token, a reading with more names may be."""


def hints(lexicon: Lexicon, *, corrected: Sequence[str] = (), caller: str = "") -> tuple[str, ...]:
    """The names to prefer in a call, the likeliest first, for engines that take only some: what officers had to
    correct most often of late, what they added, newest first, the ``caller``'s unit by the directory, the district's
    townships, then every other name. Names of two characters are left out: speech is full of their likes."""
    own = (word.word for word in lexicon.words if word.own)
    others = (word.word for word in lexicon.words)
    told = dict.fromkeys((*corrected, *own, caller, *lexicon.areas, *others))
    return tuple(name for name in told if len(name) >= SHORTEST)


def preferred(readings: Sequence[tuple[str, float]], phrases: Sequence[str]) -> int:
    """Which of several ``readings`` (text, mean log probability), the likeliest first, to take: the one with most
    characters in ``phrases`` of those that are nearly as likely as the first; the first where none has more."""
    if not phrases or len(readings) < 2:
        return 0
    named = _counting(tuple(phrases))
    near = [at for at, (_, score) in enumerate(readings) if score >= readings[0][1] - NEAR]
    return max(near, key=lambda at: (named(readings[at][0]), -at))


@lru_cache(maxsize=16)
def _counting(phrases: tuple[str, ...]) -> Callable[[str], int]:
    pattern = re.compile("|".join(sorted(map(re.escape, phrases), key=len, reverse=True)))
    return lambda text: sum(len(match.group()) for match in pattern.finditer("".join(text.split())))
