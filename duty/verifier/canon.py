"""The canonical form, rebuilt from its description alone, and the reading of stored values into it.

JSON; keys sorted by code point; no blanks; text in Unicode NFC with only ``"``, ``\\`` and the control characters
below U+0020 escaped; no floats, no repeated keys.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def written(value: object) -> str:
    """The canonical text of a parsed JSON value. Raises ValueError for what has no canonical form."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(nfc(value))
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    if isinstance(value, dict):
        items = sorted((nfc(key), item) for key, item in value.items())
        return "{" + ",".join(f"{_quoted(key)}:{written(item)}" for key, item in items) + "}"
    raise ValueError(f"no canonical form for {type(value).__name__}")


def parsed(text: str) -> dict[str, Any]:
    """The JSON object in ``text``. Raises ValueError for anything else, for floats and for repeated keys."""
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_float=_refuse, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def digest(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, 64 hex digits. Raises ValueError for text that UTF-8 cannot hold."""
    return hashlib.sha256(text.encode()).hexdigest()


def nfc(text: str) -> str:
    """The text in Unicode NFC."""
    return unicodedata.normalize("NFC", text)


def instant(value: object) -> str | None:
    """A stored instant as links write it, ``2026-11-23T08:00:00.000000Z``; what is none comes back as its text."""
    moment = as_moment(value)
    if moment is not None:
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return None if value is None else f"?{value!r}"


def as_moment(value: object) -> datetime | None:
    """The instant in a column (SQLite: UTC without a zone; PostgreSQL: with one) or a link; else None."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime) or not 1900 <= value.year <= 9000:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _quoted(text: str) -> str:
    return '"' + "".join(_SHORT.get(c, c if c >= " " else f"\\u{ord(c):04x}") for c in text) + '"'


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} has no canonical form")
