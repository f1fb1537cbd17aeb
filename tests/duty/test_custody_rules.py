"""The rules of custody by themselves: what is a difference, and what may never go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.custody import (
    MINIMUM_RETENTION,
    SETTLING,
    Booked,
    CustodyAct,
    Difference,
    DifferenceKind,
    Kept,
    Manifest,
    Reading,
    Shelved,
    compare,
    judge,
    refusal,
)

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


def kinds(row: Booked | None, shelf: Shelved | None, *, now: datetime = NOW) -> list[DifferenceKind]:
    seen = compare([row] if row else [], [shelf] if shelf else [], now=now)
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
    unbooked = compare([], [SHELF], now=NOW)
    assert unbooked.adopt == (SHELF,)
    assert compare([replace(ROW, state=None)], [SHELF], now=NOW).adopt == (SHELF,)
    assert compare([replace(ROW, state="open")], [SHELF], now=NOW).adopt == (), "its process has it"
    assert compare([replace(ROW, removed=True)], [SHELF], now=NOW).finish == (CALL,)
    assert compare([replace(ROW, raw_released=True)], [SHELF], now=NOW).finish == (CALL,)
    assert compare([ROW], [SHELF], now=NOW).finish == ()


def test_a_second_directory_of_the_same_call_is_not_taken_for_the_first() -> None:
    twin = replace(SHELF, place=f"2026/11/24/{CALL}")
    seen = compare([ROW], [SHELF, twin], now=NOW)
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
