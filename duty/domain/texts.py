"""Text from outside: half characters and control characters that no form sends and not every store can keep."""

from __future__ import annotations

import re

from duty.domain.errors import Refused

_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def refuse_unreadable(*texts: str) -> None:
    """Raises Refused when a person's input holds a lone surrogate or a control character other than blanks."""
    if any(_UNREADABLE.search(text) for text in texts):
        raise Refused("text_unreadable")


def is_readable(text: str) -> bool:
    """True where ``refuse_unreadable`` would say nothing."""
    return _UNREADABLE.search(text) is None


def signalled(text: str, limit: int | None = None) -> str:
    """A peer's text made fit to keep, at most ``limit`` characters: a call must be in the book whatever it claims."""
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)[:limit]
