"""Which of several readings is the value: weights learnt from the development calls, their sum turned into a chance.

The weights are data (``config/vocabulary/ranking.json``), made by ``python -m transcription.evaluation.training``;
nothing here knows a word of the calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

Weights = Mapping[str, float]


def chances(options: Sequence[Iterable[str]], nothing: Iterable[str], weights: Weights) -> list[float]:
    """The chance of each option, a set of features, against the others and against there being no value
    (``nothing`` holds that one's features); each 0..1, together at most 1."""
    scores = [sum(weights.get(feature, 0.0) for feature in option) for option in (*options, nothing)]
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    total = sum(powers)
    return [power / total for power in powers[:-1]]
