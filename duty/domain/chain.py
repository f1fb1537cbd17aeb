"""The chain that makes the logbook tamper-evident: each link's hash covers its content and the link before it.

The canonical form is JSON with sorted keys, no blanks, UTF-8, text in Unicode NFC, and only text, whole numbers,
booleans, null, lists and maps: a form that another program can rebuild without this one (requirement 6.2-c).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

GENESIS = "0" * 64

Canonical = str | int | bool | None | Sequence["Canonical"] | Mapping[str, "Canonical"]


class LinkKind(StrEnum):
    """What a link records. Nothing is ever edited: a correction is a further link."""

    FINALIZE = "finalize"
    AMEND = "amend"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link. ``position`` counts from 1 within a unit's book; ``previous`` and ``hash`` are 64 hex digits."""

    position: int
    previous: str
    payload: str
    hash: str


def canonical(value: Canonical) -> str:
    """The canonical text of ``value``. Raises ValueError for a float or a key that is no text."""
    return json.dumps(_checked(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _checked(value: Canonical) -> Canonical:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a canonical key is a text")
        return {_checked(key): _checked(item) for key, item in value.items()}  # type: ignore[misc]
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    raise ValueError(f"no canonical form for {type(value).__name__}")


def forge(*, position: int, previous: str, record: Mapping[str, Canonical]) -> Link:
    """The next link over ``record``; its position and the previous hash become part of what is hashed."""
    payload = canonical({"position": position, "previous": previous, "record": record})
    return Link(position=position, previous=previous, payload=payload, hash=digest(payload))


def digest(payload: str) -> str:
    """SHA-256 of the canonical text's UTF-8 bytes, 64 hex digits."""
    return hashlib.sha256(payload.encode()).hexdigest()
