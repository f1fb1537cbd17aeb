"""Which few names an engine is told to expect: the engine's hint is short, so the most telling come first.

A long hint costs more errors than it saves (docs/decisions/0003): the budget is in characters, a Chinese one being one
to two of Whisper's tokens, of which hint and prompt together may use 223.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transcription.lexicon import Lexicon

HINT_CHARACTERS = 60
_USUAL = ("党政办",)


def hints(lexicon: Lexicon, *, corrected: Sequence[str] = (), caller: str = "") -> tuple[str, ...]:
    """The names to expect in a call, the likeliest first, within ``HINT_CHARACTERS``.

    First what officers had to correct most often of late, then what they added, newest first; then the ``caller``'s
    unit by the directory; then the townships. A name too long for what is left is passed over.
    """
    own = [word.word for word in lexicon.words if word.own]
    townships = sorted(lexicon.areas, key=lambda area: not area.endswith(("乡", "镇")))
    return _within(HINT_CHARACTERS, (*corrected, *own, *filter(None, (caller,)), *_USUAL, *townships))


def _within(characters: int, names: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for name in dict.fromkeys(names):
        if len(name) + 1 <= characters:
            kept.append(name)
            characters -= len(name) + 1
    return tuple(kept)
