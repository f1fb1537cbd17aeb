"""The rules of custody by themselves: what is a difference, and what may never go."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.custody import (
    MINIMUM_RETENTION,
    SETTLING,
    Booked,
    Comparison,
    CustodyAct,
    Difference,
    DifferenceKind,
    Kept,
    Manifest,
    Reading,
    Shelved,
    compare_row,
    compare_shelf,
    joined,
    judge,
    refusal,
)
from duty.domain.custody_pages import ShelfPage, compare

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENDED = NOW - timedelta(hours=1)
CALL = "0123456789abcdef0123456789abcdef"
PLACE = f"2026/11/23/{CALL}"
ROW = Booked(
    call_id=CALL,
    ended_at=ENDED,
    state="done",
    path=f"{PLACE}/recording.wav",
    sha256="a" * 64,
    samples=800,
    chain="c" * 64,
)
SHELF = Shelved(
    place=PLACE,
    call_id=CALL,
    changed_at=ENDED,
    wav_bytes=44 + 3200,
    raw_files=("caller.alaw", "officer.alaw"),
    sidecar=True,
    manifest=Manifest(wav_sha256="a" * 64, samples=800, chain="c" * 64, raw_channels=2),
)
COPY = {"archive_path": f"{PLACE}/recording.opus", "archive_sha256": "b" * 64, "archive_bytes": 99}


class Book:
    """Rows as the store gives them."""

    def __init__(self, rows: Sequence[Booked], page: int = 2) -> None:
        self.rows, self.page = {row.call_id: row for row in rows}, page

    def pages(self) -> Iterator[list[Booked]]:
        rows = sorted(self.rows.values(), key=lambda row: row.call_id)
        for at in range(0, len(rows), self.page):
            yield rows[at : at + self.page]

    def of(self, call_ids: Sequence[str]) -> list[Booked]:
        return [self.rows[call_id] for call_id in call_ids if call_id in self.rows]


class Shelves:
    """Directories as the disk gives them: in no order."""

    def __init__(self, shelves: Sequence[Shelved], page: int = 2) -> None:
        self.shelves, self.page = {each.place: each for each in shelves}, page

    def pages(self) -> Iterator[ShelfPage]:
        shelves = list(self.shelves.values())
        for at in range(0, len(shelves), self.page):
            yield ShelfPage(shelves=shelves[at : at + self.page])

    def has(self, place: str) -> bool:
        return place in self.shelves

    def at(self, place: str) -> Shelved | None:
        return self.shelves.get(place)

    def last(self, call_id: str) -> str | None:
        return max((place for place, each in self.shelves.items() if each.call_id == call_id), default=None)


def paged(rows: Sequence[Booked], shelves: Sequence[Shelved], *, page: int = 2, now: datetime = NOW) -> Comparison:
    return joined(compare(Book(rows, page), Shelves(shelves, page), now=now))


def whole(rows: Sequence[Booked], shelves: Sequence[Shelved], *, now: datetime = NOW) -> Comparison:
    """What ``paged`` must come to, with everything in the hand at once."""
    places = {each.place: each for each in shelves}
    by_call = {each.call_id: each for _, each in sorted(places.items())}
    claimed: set[str] = set()
    parts: list[Comparison] = []
    for row in rows:
        here = places.get(row.place) if row.sealed else by_call.get(row.call_id)
        if here is not None:
            claimed.add(here.place)
        parts.append(compare_row(row, here, now=now))
    parts += [compare_shelf(here, claimed=place in claimed, now=now) for place, here in places.items()]
    return joined(parts)


CALLS = [f"{number:032x}" for number in range(6)]
PLACES = [f"2026/11/{day}/{call_id}" for call_id in CALLS for day in (22, 23, 24)]


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Booked], list[Shelved]]:
    """Any disorder: rows without directories, directories without rows or in two days, rows that name another's."""
    rows = [
        replace(
            ROW,
            call_id=call_id,
            path=f"{place}/recording.wav" if place else "",
            state=draw(st.sampled_from(["done", "done", "waiting", "open", "none", None])),
            ended_at=draw(st.sampled_from([ENDED, ENDED, NOW, None])),
            removed=draw(st.booleans()),
            raw_released=draw(st.booleans()),
        )
        for call_id in draw(st.sets(st.sampled_from(CALLS)))
        for place in [draw(st.sampled_from([f"2026/11/23/{call_id}"] * 3 + [*PLACES, ""]))]
    ]
    shelves = [
        replace(
            SHELF,
            place=place,
            call_id=place.rpartition("/")[2],
            changed_at=draw(st.sampled_from([ENDED, NOW])),
            wav_bytes=draw(st.sampled_from([SHELF.wav_bytes, None])),
            strays=draw(st.sampled_from([(), ("note.txt",)])),
        )
        for place in draw(st.lists(st.sampled_from(PLACES), unique=True))
    ]
    return rows, shelves


@pytest.mark.rule("6.1-d")
@given(found=books(), page=st.integers(1, 7))
def test_page_by_page_the_same_is_found_as_with_everything_in_the_hand(
    found: tuple[list[Booked], list[Shelved]], page: int
) -> None:
    rows, shelves = found
    one, other = paged(rows, shelves, page=page), whole(rows, shelves)
    for name in ("differences", "adopt", "finish"):
        assert sorted(map(repr, getattr(one, name))) == sorted(map(repr, getattr(other, name)))


class Endless(Book):
    """``count`` true rows with their directories, none of which is kept; a disk and a book at once."""

    def __init__(self, count: int) -> None:
        super().__init__([])
        self.count = count

    def pages(self) -> Iterator[list[Booked]]:
        for at in range(0, self.count, 50):
            yield self.of([f"{number:032x}" for number in range(at, at + 50)])

    def of(self, call_ids: Sequence[str]) -> list[Booked]:
        return [replace(ROW, call_id=each, path=f"2026/11/23/{each}/recording.wav") for each in call_ids]


class EndlessShelves(Shelves):
    def __init__(self, count: int) -> None:
        super().__init__([])
        self.count = count

    def pages(self) -> Iterator[ShelfPage]:
        for at in range(0, self.count, 50):
            names = [f"{number:032x}" for number in range(at, at + 50)]
            yield ShelfPage(shelves=[replace(SHELF, call_id=each, place=f"2026/11/23/{each}") for each in names])

    def has(self, place: str) -> bool:
        return True


def peak_bytes(count: int) -> int:
    tracemalloc.start()
    try:
        for seen in compare(Endless(count), EndlessShelves(count), now=NOW):
            assert seen.differences == ()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_book_twenty_times_as_large_takes_no_more_memory() -> None:
    small = peak_bytes(200)
    assert peak_bytes(4000) < 1.5 * small


def kinds(row: Booked | None, shelf: Shelved | None, *, now: datetime = NOW) -> list[DifferenceKind]:
    seen = paged([row] if row else [], [shelf] if shelf else [], now=now)
    return [each.kind for each in seen.differences]


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize(
    ("row", "shelf", "expected"),
    [
        (ROW, SHELF, []),
        (ROW, None, ["file_missing"]),
        (ROW, replace(SHELF, wav_bytes=None), ["file_missing"]),
        (ROW, replace(SHELF, wav_bytes=44 + 3196), ["file_length"]),
        (ROW, replace(SHELF, raw_files=("caller.alaw",)), ["raw_missing"]),
        (ROW, replace(SHELF, sidecar=False), ["raw_missing"]),
        (replace(ROW, raw_released=True), replace(SHELF, raw_files=()), []),
        (ROW, replace(SHELF, manifest=None), ["manifest_missing"]),
        (replace(ROW, sha256="d" * 64), SHELF, ["manifest_differs"]),
        (replace(ROW, chain="d" * 64), SHELF, ["manifest_differs"]),
        (replace(ROW, chain=""), SHELF, []),
        (replace(ROW, **COPY), replace(SHELF, archives={"recording.opus": 99}), []),
        (replace(ROW, **COPY), SHELF, ["archive_missing"]),
        (replace(ROW, **COPY), replace(SHELF, archives={"recording.opus": 98}), ["archive_length"]),
        (
            replace(ROW, **COPY, wav_released=True),
            replace(SHELF, wav_bytes=None, archives={"recording.opus": 99}),
            [],
        ),
        (replace(ROW, removed=True), None, []),
        (replace(ROW, state="open"), SHELF, ["not_sealed"]),
        (replace(ROW, state="open"), None, ["not_sealed"]),
        (replace(ROW, state="none"), None, []),
        (replace(ROW, state="none"), SHELF, ["orphan"]),
        (replace(ROW, state=None), None, ["row_missing"]),
        (replace(ROW, ended_at=None, state="open"), SHELF, []),
        (replace(ROW, ended_at=NOW - SETTLING / 2, state="open"), SHELF, []),
        (None, SHELF, ["orphan"]),
        (None, replace(SHELF, changed_at=NOW - SETTLING / 2), []),
        (ROW, replace(SHELF, strays=("note.txt",)), ["stray"]),
    ],
)
def test_each_way_to_differ_has_its_name(row: Booked | None, shelf: Shelved | None, expected: list[str]) -> None:
    assert kinds(row, shelf) == expected


def test_what_needs_no_guess_is_mended_and_nothing_else() -> None:
    unbooked = paged([], [SHELF])
    assert unbooked.adopt == (SHELF,)
    assert paged([replace(ROW, state=None)], [SHELF]).adopt == (SHELF,)
    assert paged([replace(ROW, state="open")], [SHELF]).adopt == (), "its process has it"
    assert paged([replace(ROW, removed=True)], [SHELF]).finish == (CALL,)
    assert paged([replace(ROW, raw_released=True)], [SHELF]).finish == (CALL,)
    assert paged([ROW], [SHELF]).finish == ()


def test_a_second_directory_of_the_same_call_is_not_taken_for_the_first() -> None:
    twin = replace(SHELF, place=f"2026/11/24/{CALL}")
    seen = paged([ROW], [SHELF, twin])
    assert [(each.kind, each.place) for each in seen.differences] == [("orphan", twin.place)]


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading(), []),
        (Reading(wav_sha256="a" * 64, rendered_sha256="a" * 64, chain="c" * 64), []),
        (Reading(wav_sha256="e" * 64), ["file_altered"]),
        (Reading(archive_sha256="e" * 64), ["archive_altered"]),
        (Reading(altered=("caller sample 0 to 7",)), ["chain_altered"]),
        (Reading(rendered_sha256="e" * 64), ["chain_differs"]),
        (Reading(rendered_sha256="a" * 64, chain="e" * 64), ["chain_differs"]),
    ],
)
def test_what_reading_tells(reading: Reading, expected: list[str]) -> None:
    assert [each.kind for each in judge(replace(ROW, **COPY), reading)] == expected


KEPT = st.builds(
    Kept,
    ended_at=st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    retention=st.timedeltas(timedelta(0), timedelta(days=4000)),
    busy=st.booleans(),
    held=st.booleans(),
    unfinished=st.booleans(),
    proven=st.booleans(),
    differs=st.booleans(),
    raw_released=st.booleans(),
    wav_released=st.booleans(),
    removed=st.booleans(),
)


@pytest.mark.rule("6.2-c")
@given(KEPT, st.sampled_from([CustodyAct.RELEASE_RAW, CustodyAct.RELEASE_WAV, CustodyAct.REMOVE]))
def test_nothing_younger_held_open_or_differing_ever_goes(kept: Kept, act: CustodyAct) -> None:
    if refusal(act, kept, NOW) is not None:
        return
    assert not any((kept.held, kept.unfinished, kept.differs, kept.removed))
    if act is CustodyAct.REMOVE:
        assert NOW - kept.ended_at > max(kept.retention, MINIMUM_RETENTION)
    if act is CustodyAct.RELEASE_WAV:
        assert kept.proven
        assert not kept.busy


def test_a_difference_is_about_one_thing() -> None:
    one = Difference(kind=DifferenceKind.ORPHAN, call_id=CALL, place=PLACE)
    assert one.subject == f"orphan {CALL}"
    assert Difference(kind=DifferenceKind.STRAY, place="x").subject == "stray x"
