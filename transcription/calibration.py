"""What an engine's own confidence is worth: the share of characters that were right at that confidence, as measured.

The tables are data (weights/calibration.toml), one for each set of weights, made by ``tests.bench.calibrate_speech``.
An engine without a table keeps its own numbers, and its transcripts say so.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

UNMEASURED = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """``told`` are an engine's confidences, rising; ``right`` the shares that belong to them. ``name`` says which
    table it is, ``origin`` what it was measured on."""

    name: str
    told: tuple[float, ...]
    right: tuple[float, ...]
    origin: str

    def of(self, confidence: float) -> float:
        """The probability that what was told with ``confidence`` is right; between two points on the line."""
        return float(np.interp(confidence, self.told, self.right)) if self.told else confidence


def calibration(model_sha256: str) -> Calibration:
    """The table for these weights, or one that changes nothing."""
    return _tables().get(model_sha256, Calibration(name=UNMEASURED, told=(), right=(), origin=""))


@lru_cache(maxsize=1)
def _tables() -> dict[str, Calibration]:
    text = (resources.files("transcription") / "weights" / "calibration.toml").read_text(encoding="utf-8")
    return {
        str(table["model_sha256"]): Calibration(
            name=str(table["name"]),
            told=tuple(float(told) for told, _ in table["points"]),
            right=tuple(float(right) for _, right in table["points"]),
            origin=str(table["origin"]),
        )
        for table in tomllib.loads(text).get("table", ())
    }
