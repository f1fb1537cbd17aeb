"""Reading the filter of a list from an address: a value that is none is dropped and said so, never a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

Choice = TypeVar("Choice", bound=StrEnum)
MAX_WORDS_CHARS = 100


def day(text: str | None) -> date | None:
    """A day as a date field sends it, None for anything else."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def choice(kind: type[Choice], text: str | None) -> Choice | None:
    """One of an enumeration's values, None for anything else."""
    return next((member for member in kind if member.value == text), None)


def number(text: str | None) -> int:
    """A page number from 1 on."""
    return min(int(text), 100_000) if text and text.isascii() and text.isdigit() and int(text[:9]) > 0 else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Where a list stands. ``query`` is the filter without the page."""

    page: int
    size: int
    total: int
    path: str
    query: str

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.size))

    def address(self, page: int) -> str:
        """The address of another page under the same filter."""
        return f"{self.path}?{self.query}{'&' if self.query else ''}page={page}"


def paging(path: str, query: Mapping[str, str], *, page: int, size: int, total: int) -> Paging:
    """The paging under the filter that the address holds."""
    kept = {name: value for name, value in query.items() if name != "page" and value}
    return Paging(page=page, size=size, total=total, path=path, query=urlencode(kept))
