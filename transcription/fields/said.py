"""One value that was said: what the rules about people and units hand on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A value said at ``start:end`` of a text; ``sure`` is 0..1."""

    start: int
    end: int
    value: str
    sure: float
