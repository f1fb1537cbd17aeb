"""Calls and rows against what lies on the disk, page by page: a book of many years is never held in memory, and what is
found is the same as if it were (requirement 6.1-d).

Each side is walked once and looked up in the other. The shelves find the rows of the calls they are named after; the
book adds the rows that have no shelf of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from duty.domain.custody import (
    Booked,
    Comparison,
    Difference,
    DifferenceKind,
    Shelved,
    compare_row,
    compare_shelf,
    joined,
)


class Book(Protocol):
    """Every call, with what the book says of its recording."""

    def pages(self) -> Iterator[Sequence[Booked]]:
        """All of them, so many at a time."""

    def of(self, call_ids: Sequence[str]) -> Sequence[Booked]:
        """Those of a page of calls which the book knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfPage:
    """Some of the recordings' directories, some of the paths that are none, and some of those into which nobody can
    look, with the reason."""

    shelves: Sequence[Shelved]
    strays: Sequence[str] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)


class Shelves(Protocol):
    """Every recording's directory, named after its call below its day."""

    def pages(self) -> Iterator[ShelfPage]:
        """All of them, so many at a time."""

    def has(self, place: str) -> bool:
        """Whether ``place`` is a recording's directory, or unreadable."""

    def at(self, place: str) -> Shelved | None:
        """The directory there."""

    def last(self, call_id: str) -> str | None:
        """The place of the call's directory, of several that of the last day; slow, for the few calls in question."""


def compare(book: Book, shelves: Shelves, *, now: datetime) -> Iterator[Comparison]:
    """Every ended call has its row and every row its files, and the other way round; a page's worth at a time."""
    apart: set[str] = set()  # places that a row of another name claims: none, unless somebody altered the book
    for rows in book.pages():
        yield joined([_without_shelf(row, shelves, apart, now) for row in rows])
    for page in shelves.pages():
        by_call = {row.call_id: row for row in book.of([here.call_id for here in page.shelves])}
        beside = [Difference(kind=DifferenceKind.STRAY, place=name) for name in page.strays]
        beside += [
            Difference(kind=DifferenceKind.UNREADABLE, place=place, detail=reason)
            for place, reason in page.unreadable.items()
        ]
        parts = [Comparison(differences=tuple(beside), adopt=(), finish=())]
        for here in page.shelves:
            row = by_call.get(here.call_id)
            own = row is not None and here.place == (row.place if row.sealed else shelves.last(row.call_id))
            if row is not None and own:
                parts.append(compare_row(row, here, now=now))
            parts.append(compare_shelf(here, claimed=own or here.place in apart, now=now))
        yield joined(parts)


def _without_shelf(row: Booked, shelves: Shelves, apart: set[str], now: datetime) -> Comparison:
    """A row of which the shelves will not speak: its directory is missing, or bears another call's name."""
    here: Shelved | None = None
    if row.sealed:
        if row.place.rpartition("/")[2] != row.call_id:
            here = shelves.at(row.place)
            apart.update([here.place] if here is not None else [])
        elif shelves.has(row.place):
            return _NOTHING
    elif row.state == "none" or not row.settled(now) or shelves.last(row.call_id) is not None:
        return _NOTHING
    return compare_row(row, here, now=now)


_NOTHING = Comparison(differences=(), adopt=(), finish=())
