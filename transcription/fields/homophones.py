"""Names heard but misspelt: engines write 孙立堂村 for 孙李唐村, so local names are also sought by sound."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pypinyin import lazy_pinyin

_CONFUSED = (("zh", "z"), ("ch", "c"), ("sh", "s"))
_FINALS = (("ang", "an"), ("eng", "en"), ("ing", "in"))


@lru_cache(maxsize=65536)
def sound(char: str) -> str:
    """The toneless syllable of ``char`` with what the telephone band confuses made equal (zh/z, ng/n); else itself."""
    return folded(str(lazy_pinyin(char)[0]).lower())


def folded(syllable: str) -> str:
    """A syllable, with or without the digit of its tone, as ``sound`` gives it."""
    syllable = syllable.rstrip("12345")
    for long, short in _CONFUSED:
        if syllable.startswith(long):
            syllable = short + syllable[len(long) :]
    for long, short in _FINALS:
        if syllable.endswith(long):
            syllable = syllable[: -len(long)] + short
    return syllable


def sounds(text: str) -> tuple[str, ...]:
    """The sounds of ``text``, one per character."""
    return tuple(sound(char) for char in text)


Readings = frozenset[tuple[str, tuple[str, ...]]]
"""Names that are read otherwise than their characters mostly are, each with its sounds."""


def heard(
    text: str, names: Iterable[str], *, shortest: int = 3, readings: Readings = frozenset()
) -> list[tuple[int, int, str, bool]]:
    """Where ``names`` occur in ``text``: (start, end, name, written as is). Longer names win over what they overlap,
    written ones over those found by sound; by sound only names of ``shortest`` characters or more are sought, read as
    ``readings`` says where it does."""
    spoken = sounds(text)
    written, by_sound, sizes = _index(frozenset(names), shortest, readings)
    found: list[tuple[int, int, str, bool]] = []
    for size in sizes:
        for at in range(len(text) - size + 1):
            end = at + size
            if (name := text[at:end]) in written:
                found.append((at, end, name, True))
            found += [(at, end, name, False) for name in by_sound.get(spoken[at:end], ())]
    found.sort(key=lambda hit: (hit[0] - hit[1], not hit[3], hit[0]))
    kept: list[tuple[int, int, str, bool]] = []
    for hit in found:
        if all(hit[1] <= other[0] or hit[0] >= other[1] for other in kept):
            kept.append(hit)
    return sorted(kept)


@lru_cache(maxsize=32)
def _index(
    names: frozenset[str], shortest: int, readings: Readings
) -> tuple[frozenset[str], dict[tuple[str, ...], tuple[str, ...]], tuple[int, ...]]:
    """``names`` to be looked up by writing and, from ``shortest`` characters on, by sound; and their lengths."""
    by_sound: dict[tuple[str, ...], tuple[str, ...]] = {}
    read = dict(readings)
    for name in sorted(names):
        if len(name) >= shortest:
            spoken = read.get(name) or sounds(name)
            by_sound[spoken] = (*by_sound.get(spoken, ()), name)
    return names, by_sound, tuple(sorted({len(name) for name in names if name}))
