"""How often an engine is right at each confidence it tells: the table for transcription/weights/calibration.toml.

``python -m tests.bench.calibrate_speech whisper-base`` hears the telephone set and its noisy copy, fits a rising curve
(isotonic, at least 60 characters a step) to all of it, prints the table, and how far told and true lie apart (expected
calibration error, ten bins) on one half of the utterances by a curve from the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.speech_sets import CONDITIONS, HZ, halves, utterances
from transcription import models
from transcription.choose import load
from transcription.engine import Engine, Piece

_ROOT = Path(__file__).parents[2]
_STEP = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One character that was heard: the engine's confidence in it, and whether it was said."""

    confidence: float
    right: bool


def told(said: str, pieces: Sequence[Piece]) -> list[Told]:
    """Every Chinese character of ``pieces``, right where the best alignment puts it on the same one of ``said``.
    Figures and letters are left out, as their writing is no matter of hearing."""
    heard = [(char, word.confidence) for piece in pieces for word in piece.words for char in word.text if is_han(char)]
    matched = aligned([char for char in said if is_han(char)], [char for char, _ in heard])
    return [Told(confidence=confidence, right=i in matched) for i, (_, confidence) in enumerate(heard)]


def is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"


def aligned(said: Sequence[str], heard: Sequence[str]) -> set[int]:
    """The places in ``heard`` that are right in an alignment of fewest edits."""
    costs = np.zeros((len(said) + 1, len(heard) + 1), int)
    costs[:, 0], costs[0, :] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i in range(1, len(said) + 1):
        for j in range(1, len(heard) + 1):
            swap = costs[i - 1, j - 1] + (said[i - 1] != heard[j - 1])
            costs[i, j] = min(swap, costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    i, j, right = len(said), len(heard), set()
    while i and j:
        if costs[i, j] == costs[i - 1, j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            if said[i] == heard[j]:
                right.add(j)
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return right


def rising(found: Sequence[Told], step: int = _STEP) -> list[tuple[float, float]]:
    """Points of a curve that never falls: steps of ``step`` characters, neighbours joined where they would fall."""
    ordered = sorted(found, key=lambda one: one.confidence)
    blocks = [ordered[at : at + step] for at in range(0, len(ordered), step)]
    if len(blocks) > 1 and len(blocks[-1]) < step:
        blocks[-2:] = [blocks[-2] + blocks[-1]]
    joined: list[list[Told]] = []
    for block in blocks:
        joined.append(list(block))
        while len(joined) > 1 and share(joined[-2]) >= share(joined[-1]):
            joined[-2:] = [joined[-2] + joined[-1]]
    return [(float(np.mean([one.confidence for one in block])), share(block)) for block in joined]


def share(block: Sequence[Told]) -> float:
    return sum(one.right for one in block) / len(block)


def apart(found: Sequence[Told], points: Sequence[tuple[float, float]] = ()) -> float:
    """Expected calibration error of ``found``, after the curve through ``points`` if there is one."""
    raw = np.array([one.confidence for one in found])
    sure = np.interp(raw, *zip(*points, strict=True)) if points else raw
    right = np.array([one.right for one in found])
    bins = np.minimum((sure * 10).astype(int), 9)
    return float(sum(abs(np.mean(sure[bins == b]) - np.mean(right[bins == b])) * np.mean(bins == b) for b in set(bins)))


def hear(engine: Engine) -> tuple[list[Told], list[Told]]:
    """What ``engine`` told on either half of the utterances, both conditions together."""
    parts: tuple[list[Told], list[Told]] = ([], [])
    for condition in CONDITIONS:
        for part, said in zip(parts, halves(utterances(condition, _ROOT / "build" / "bench" / "speech")), strict=True):
            for one in said:
                part.extend(told(one.text, engine.transcribe(one.samples, HZ)))
    return parts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--models", type=Path, default=_ROOT / "build" / "models")
    options = parser.parse_args()
    model = models.find(options.model, options.models)
    first, second = hear(load(model, threads=1))
    print(f"# apart by itself {apart([*first, *second]):.3f}; second half by the first's curve")
    print(f"# {apart(second):.3f} to {apart(second, rising(first)):.3f}; first half by the second's", end=" ")
    print(f"{apart(first):.3f} to {apart(first, rising(second)):.3f}")
    print(f'[[table]]\nname = "{model.name}"\nmodel_sha256 = "{model.sha256}"')
    print(
        f'origin = "{len(first) + len(second)} characters heard in 30 utterances of AISHELL-1/3, telephone and noisy"'
    )
    print("points = [")
    for confidence, right in rising([*first, *second]):
        print(f"    [{confidence:.3f}, {right:.3f}],")
    print("]")


if __name__ == "__main__":
    main()
