"""Reading the same words once: the addresses of a call come in each of its messages, and the dialog's URIs in many.

Values are immutable, so one reading serves all. What is remembered is bounded in number and in length: nobody fills the
memory from outside. What cannot be read is refused anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

REMEMBERED = 512
LONGEST_CHARS = 256

T = TypeVar("T")


def remembered(read: Callable[[str], T]) -> Callable[[str], T]:
    """``read``, which makes an immutable value of a text, with its last readings of short texts kept."""
    kept = lru_cache(REMEMBERED)(read)

    @wraps(read)
    def reading(text: str) -> T:
        return kept(text) if len(text) <= LONGEST_CHARS else read(text)

    return reading
