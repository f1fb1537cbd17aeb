"""Pure values: instants, entry content, the canonical form, live frames."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.chain import GENESIS, canonical, digest, forge
from duty.domain.entries import MAX_FIELD_CHARS, Category, EntryContent, EntryRules
from duty.domain.errors import Refused
from duty.domain.liveframes import LiveFrame
from duty.domain.texts import is_readable, refuse_unreadable, signalled
from duty.domain.times import from_text, local, to_text, year_of
from duty.domain.transcripts import Speaker

_FIRST, _LAST = datetime(1990, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(_FIRST, _LAST, timezones=_ZONES))
def test_an_instant_survives_its_text(instant: datetime) -> None:
    assert from_text(to_text(instant)) == instant
    assert local(instant) == instant


def test_the_year_is_shanghais() -> None:
    assert year_of(datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)) == 2026
    assert year_of(datetime(2026, 12, 31, 16, 0, tzinfo=UTC)) == 2027


@pytest.mark.parametrize("text", ["2026-11-23", "2026-11-23T08:00:00Z", "2026-11-23T08:00:00.000000+00:00", ""])
def test_another_form_of_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time data"):
        from_text(text)
    with pytest.raises(ValueError, match="zone"):
        to_text(datetime(2026, 11, 23))  # noqa: DTZ001


@given(st.text())
def test_readable_text_is_kept_and_unreadable_text_is_refused_or_replaced(text: str) -> None:
    shown = signalled(text)
    assert is_readable(shown)
    shown.encode()
    if is_readable(text):
        refuse_unreadable(text)
        assert shown == text
    else:
        with pytest.raises(Refused):
            refuse_unreadable(text)
    assert len(signalled(text, 3)) <= 3


_NAMES = st.sampled_from([*EntryContent().as_dict(), "number", ""])


@pytest.mark.rule("6.2-b")
@given(st.dictionaries(_NAMES, st.text(max_size=20) | st.sampled_from([c.value for c in Category]), max_size=6))
def test_content_changes_as_asked_or_not_at_all(changes: dict[str, str]) -> None:
    before = EntryContent(event="着火")
    try:
        after = before.changed(changes)
    except Refused:
        return
    expected = {**before.as_dict(), **{name: value.strip() for name, value in changes.items()}}
    assert after.as_dict() == expected
    EntryRules().missing(after)
    canonical(after.as_dict()).encode()


def test_a_field_has_a_limit() -> None:
    EntryContent().changed({"event": "水" * MAX_FIELD_CHARS})
    with pytest.raises(Refused):
        EntryContent().changed({"event": "水" * (MAX_FIELD_CHARS + 1)})


@pytest.mark.rule("6.2-c")
def test_the_canonical_form_is_the_documented_one() -> None:
    value = {"b": [1, True, None], "a": 'e\u0301\n\u2028"\\\x1f'}
    assert canonical(value) == '{"a":"é\\n\u2028\\"\\\\\\u001f","b":[1,true,null]}'
    for wrong in ({"a": 1.5}, {1: "a"}, {"a": {2}}, b"a"):
        with pytest.raises(ValueError, match="canonical"):
            canonical(wrong)  # type: ignore[arg-type]


@pytest.mark.rule("6.2-c")
def test_a_links_hash_is_known_for_ever() -> None:
    """Fixed by value: a change of the form would orphan every book that exists."""
    link = forge(position=1, previous=GENESIS, record={"kind": "finalize", "place": "开封"})
    assert link.payload == f'{{"position":1,"previous":"{GENESIS}","record":{{"kind":"finalize","place":"开封"}}}}'
    assert link.hash == digest(link.payload) == KNOWN


KNOWN = "6dcf00830b39cd1e3eba18b3e924ebdc0c891ede46c2bde63eb7ec70b0d3c6aa"

_FRAMES = st.builds(
    LiveFrame,
    call_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    speaker=st.sampled_from(Speaker),
    codec=st.sampled_from([0, 8, None]),
    position=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=320),
)


@given(_FRAMES)
def test_a_live_frame_survives_the_wire(frame: LiveFrame) -> None:
    assert LiveFrame.unpack(frame.pack()) == frame


@given(st.binary(max_size=400) | _FRAMES.map(lambda frame: frame.pack()[:27]))
def test_any_datagram_is_a_frame_or_a_value_error(datagram: bytes) -> None:
    try:
        frame = LiveFrame.unpack(datagram)
    except ValueError:
        return
    assert frame.pack() == datagram
