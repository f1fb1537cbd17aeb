"""How far apart two readings sound to an engine that hears a telephone line and speakers from around Kaifeng.

A syllable is an initial, a final and a tone; what is often taken for one another (zh/z, n/ng, l/n, h/f, 尖团音) lies
close. The distance of syllables is a metric: the listed confusions are the direct ways, the rest follows by the
shortest detour, and no pair is farther apart than 1. So is that of readings: an edit distance with ``GAP`` for a
syllable lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pypinyin.contrib.tone_convert import to_finals, to_initials

Table = NDArray[np.float64]

OF_INITIAL, OF_FINAL, OF_TONE = 0.46, 0.48, 0.06
"""The parts of a syllable's distance: engines write characters of another tone freely, hardly ever another vowel."""
GAP = 0.7

_INITIALS = (
    "",
    "b",
    "p",
    "m",
    "f",
    "d",
    "t",
    "n",
    "l",
    "g",
    "k",
    "h",
    "j",
    "q",
    "x",
    "zh",
    "ch",
    "sh",
    "r",
    "z",
    "c",
    "s",
)
_FINALS = (
    *("a", "o", "e", "ai", "ei", "ao", "ou", "an", "en", "ang", "eng", "er"),
    *("i", "ia", "ie", "iao", "iou", "ian", "in", "iang", "ing", "io", "iong"),
    *("u", "ua", "uo", "uai", "uei", "uan", "uen", "uang", "ueng", "ong", "v", "ve", "van", "vn", "m", "n", "ng", "ê"),
)
_NEAR_INITIALS = {
    0.15: "zh-z ch-c sh-s",
    0.25: "n-l",
    0.3: "h-f sh-f",
    0.35: "r-l j-z q-c x-s",
    0.45: "zh-j ch-q sh-x b-p d-t g-k j-q zh-ch z-c",
    0.5: "r- m-n h- m- g-h k-h",
}
_NEAR_FINALS = {
    0.15: "an-ang en-eng in-ing o-uo",
    0.2: "ian-iang uan-uang o-e",
    0.25: "uei-ei",
    0.3: "uen-ong ueng-uen e-uo uen-en en-ong eng-ong ai-ei",
    0.4: "i-v in-vn ian-van ie-ve ve-uo e-ai e-ei u-ou ao-ou a-ia ua-a uan-an uang-ang uai-ai iong-ong i-ei",
    0.5: "en-in eng-ing ou-uo iou-ou iao-ao ie-e i-e an-ai ian-ie u-v",
}


class Sound(NamedTuple):
    """A syllable in parts; ``tone`` 0 where it is not known."""

    initial: int
    final: int
    tone: int


@lru_cache(maxsize=4096)
def sound_of(syllable: str) -> Sound | None:
    """The parts of a syllable as ``duty.domain.pinyin`` writes it; None for what Mandarin does not have."""
    tone = int(syllable[-1]) if syllable[-1:].isdigit() else 0
    bare = syllable[:-1] if tone else syllable
    initial, final = to_initials(bare, strict=True), to_finals(bare, strict=True, v_to_u=False).replace("ü", "v")
    if initial not in _INITIALS or final not in _FINALS:
        return None
    return Sound(_INITIALS.index(initial), _FINALS.index(final), tone)


def syllable_distance(left: str, right: str) -> float:
    """0 for the same syllable, at most 1; a tone that is not known lies halfway to each."""
    return float(from_one(left, pack([right]))[0])


def distance(left: Sequence[str], right: Sequence[str]) -> float:
    """The edit distance of two readings: what a syllable costs by ``syllable_distance``, one too many ``GAP``."""
    costs = [row * GAP for row in range(len(right) + 1)]
    for at, one in enumerate(left, start=1):
        above, costs = costs, [at * GAP]
        apart = from_one(one, pack(right))
        for to in range(1, len(right) + 1):
            costs.append(min(above[to] + GAP, costs[to - 1] + GAP, above[to - 1] + float(apart[to - 1])))
    return costs[-1]


class Packed(NamedTuple):
    """Many syllables as arrays, so that one is compared with all of them at once."""

    initials: NDArray[np.intp]
    finals: NDArray[np.intp]
    tones: NDArray[np.intp]
    known: NDArray[np.bool_]


def pack(syllables: Sequence[str]) -> Packed:
    """``syllables`` in order; what Mandarin does not have is 1 apart from everything but itself."""
    sounds = [sound_of(each) for each in syllables]
    parts = np.array([sound or (0, 0, 0) for sound in sounds], dtype=np.intp).reshape(-1, 3)
    return Packed(parts[:, 0], parts[:, 1], parts[:, 2], np.array([sound is not None for sound in sounds], dtype=bool))


def from_one(syllable: str, others: Packed) -> Table:
    """The distances from one syllable to each of ``others``."""
    sound = sound_of(syllable)
    if sound is None:
        return np.ones(len(others.known))
    initials, finals, tones = _tables()
    apart = (
        OF_INITIAL * initials[sound.initial, others.initials]
        + OF_FINAL * finals[sound.final, others.finals]
        + OF_TONE * tones[sound.tone, others.tones]
    )
    return np.where(others.known, apart, 1.0)


@cache
def _tables() -> tuple[Table, Table, Table]:
    tones = np.ones((6, 6)) - np.eye(6)
    tones[0, 1:] = tones[1:, 0] = 0.5
    return _closed(_INITIALS, _NEAR_INITIALS), _closed(_FINALS, _NEAR_FINALS), tones


def _closed(names: tuple[str, ...], near: dict[float, str]) -> Table:
    """All distances from the direct ones: the shortest way between each pair, at most 1."""
    table = np.ones((len(names), len(names))) - np.eye(len(names))
    for cost, pairs in near.items():
        for pair in pairs.split():
            left, _, right = pair.partition("-")
            at, to = names.index(left), names.index(right)
            table[at, to] = table[to, at] = cost
    for through in range(len(names)):
        table = np.minimum(table, table[:, through, None] + table[None, through, :])
    return table
