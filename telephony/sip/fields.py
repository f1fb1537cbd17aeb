"""Header fields in order: one canonical name for every spelling, and an immutable multi-map over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Self

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.headers import TOKEN, split_list

_COMPACT = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_IRREGULAR = (
    "Call-ID", "CSeq", "MIME-Version", "Min-SE", "RAck", "RSeq", "SIP-ETag", "SIP-If-Match",
    "WWW-Authenticate",
)  # fmt: skip
_REGULAR = (
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Authentication-Info",
    "Authorization", "Call-Info", "Content-Disposition", "Content-Language", "Date", "Diversion",
    "Error-Info", "Expires", "History-Info", "In-Reply-To", "Max-Forwards", "Min-Expires",
    "Organization", "P-Asserted-Identity", "P-Preferred-Identity", "Path", "Priority", "Privacy",
    "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "Reason", "Record-Route",
    "Remote-Party-ID", "Replaces", "Reply-To", "Require", "Retry-After", "Route", "Server",
    "Service-Route", "Subscription-State", "Timestamp", "Unsupported", "User-Agent", "Warning",
)  # fmt: skip
CANONICAL = {
    spelling: name
    for name in (*_COMPACT.values(), *_IRREGULAR, *_REGULAR)
    for spelling in (name, name.lower(), name.upper())
} | {spelling: name for short, name in _COMPACT.items() for spelling in (short, short.upper())}

SPLIT = frozenset({"Via", "Route", "Record-Route", "Contact"})
SINGLE = (
    "Call-ID", "Content-Encoding", "Content-Length", "Content-Type", "CSeq", "Expires", "From",
    "Max-Forwards", "Min-Expires", "Min-SE", "Refer-To", "Referred-By", "Replaces", "Session-Expires",
    "To",
)  # fmt: skip
"""Fields whose repetition would leave open which one counts."""
NUL = re.compile(r"(?<!\\)\x00")
"""A NUL that is no quoted pair (RFC 3261 section 25.1 allows it there alone)."""

Item = tuple[str, str]


def canonical(name: str) -> str:
    """The long form of a header name; unknown ones with each word capitalised.

    Raises RemoteProtocolError for no token.
    """
    known = CANONICAL.get(name) or CANONICAL.get(name.lower())
    if known is not None:
        return known
    if not TOKEN.fullmatch(name):
        raise RemoteProtocolError(400, "Malformed header name")
    return "-".join(word.capitalize() for word in name.split("-"))


class Headers:
    """Header fields in order: an immutable multi-map.

    Names ignore case and are kept in their long canonical form. Via, Route, Record-Route and Contact hold one
    value an item, however they were joined on the wire. Values are stripped, unfolded text.
    """

    __slots__ = ("_index", "_items")

    def __init__(self, items: Iterable[Item] = ()) -> None:
        """Raises LocalProtocolError for a name that is no token or a value that would break the line."""
        try:
            self._items = tuple(_normalised(items))
        except RemoteProtocolError as error:
            raise LocalProtocolError(error.reason) from error
        for _, value in self._items:
            if "\n" in value or "\r" in value or NUL.search(value):
                raise LocalProtocolError("header value with a line break or NUL")
        self._index: dict[str, tuple[str, ...]] | None = None

    @classmethod
    def of_normalised(cls, items: tuple[Item, ...]) -> Self:
        """Headers of items that are known to be normalised."""
        headers = cls.__new__(cls)
        headers._items = items
        headers._index = None
        return headers

    def get(self, name: str) -> str | None:
        """The first value of ``name``, None where there is none."""
        values = self.get_all(name)
        return values[0] if values else None

    def get_all(self, name: str) -> tuple[str, ...]:
        """All values of ``name`` in order."""
        if self._index is None:
            self._index = _indexed(self._items)
        values = self._index.get(name)
        if values is None and CANONICAL.get(name) != name:
            values = self._index.get(_name(name))
        return values or ()

    def items(self) -> tuple[Item, ...]:
        """All (canonical name, value) pairs in order."""
        return self._items

    def with_value(self, name: str, value: str) -> Headers:
        """``value`` in place of the first value of ``name``, its others removed; appended where there was
        none.
        """
        name = _name(name)
        new = Headers([(name, value)])._items
        place = next((place for place, item in enumerate(self._items) if item[0] == name), len(self._items))
        after = tuple(item for item in self._items[place:] if item[0] != name)
        return Headers.of_normalised(self._items[:place] + new + after)

    def with_first(self, name: str, value: str) -> Headers:
        """``value`` in place of the first value of ``name``, its others kept; appended if none was."""
        name = _name(name)
        new = Headers([(name, value)])._items
        place = next((place for place, item in enumerate(self._items) if item[0] == name), len(self._items))
        return Headers.of_normalised(self._items[:place] + new + self._items[place + 1 :])

    def appended(self, name: str, value: str) -> Headers:
        """With one more value at the end."""
        return Headers.of_normalised(self._items + Headers([(name, value)])._items)

    def prepended(self, name: str, value: str) -> Headers:
        """With one more value before all others."""
        return Headers.of_normalised(Headers([(name, value)])._items + self._items)

    def without(self, name: str) -> Headers:
        """Without any value of ``name``."""
        name = _name(name)
        return Headers.of_normalised(tuple(item for item in self._items if item[0] != name))

    def __contains__(self, name: str) -> bool:
        return bool(self.get_all(name))

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Headers({list(self._items)!r})"


def _name(name: str) -> str:
    return CANONICAL.get(name) or canonical(name)


def _normalised(items: Iterable[Item]) -> Iterator[Item]:
    for spelling, value in items:
        name = _name(spelling)
        if name in SPLIT and "," in value:
            for element in split_list(value):
                yield name, element
        else:
            yield name, value.strip(" \t")


def _indexed(items: tuple[Item, ...]) -> dict[str, tuple[str, ...]]:
    index: dict[str, tuple[str, ...]] = {}
    for name, value in items:
        index[name] = (*index[name], value) if name in index else (value,)
    return index
