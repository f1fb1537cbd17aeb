"""Calls that a recording client forks to us: what is told of them is kept, and parts of one call name each other."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import select

from duty.domain.calls import CallEventKind, Direction
from duty.domain.errors import NotFound
from duty.domain.rights import Role
from duty.services.directory import NewContact
from duty.store.tables import CallEventRow, CallRow, EvidenceRow
from tests.duty.room import HUB_LINE, TOWN_LINE, Room


def continued(room: Room, call_id: str) -> list[dict[str, str]]:
    with room.store.reading() as session:
        query = select(CallEventRow.data).where(CallEventRow.call_id == call_id, CallEventRow.kind == "continued")
        return list(session.scalars(query))


@pytest.mark.rule("6.1-d")
def test_the_parts_of_one_call_name_each_other(room: Room) -> None:
    first = room.arrive(recording_session="uuid-1")
    other = room.arrive(recording_session="uuid-2")
    elsewhere = room.arrive(line=TOWN_LINE, recording_session="uuid-1")
    unnamed = [room.arrive(recording_session=""), room.arrive(recording_session=""), room.arrive(), room.arrive()]
    room.clock.turn(seconds=9)
    second = room.arrive(recording_session="uuid-1")
    room.clock.turn(seconds=9)
    third = room.arrive(recording_session="uuid-1")
    assert continued(room, first) == [{"call": second, "part": "later"}]
    assert continued(room, second) == [{"call": first, "part": "earlier"}, {"call": third, "part": "later"}]
    assert continued(room, third) == [{"call": second, "part": "earlier"}]
    for alone in (other, elsewhere, *unnamed):
        assert continued(room, alone) == []


def test_an_id_that_is_used_again_after_days_is_another_call(room: Room) -> None:
    room.arrive(recording_session="always-the-same")
    room.clock.turn(hours=25)
    assert continued(room, room.arrive(recording_session="always-the-same")) == []


def test_what_was_told_is_kept_as_it_came(room: Room) -> None:
    call_id, raw = room.arrive(recording_session="uuid-1"), b"<recording>\xff</recording>"
    room.book.keep_evidence(call_id, at=room.clock(), source="192.0.2.5", raw=raw)
    with room.store.reading() as session:
        kept = session.scalars(select(EvidenceRow)).one()
    assert (kept.call_id, kept.source, kept.raw) == (call_id, "192.0.2.5", raw)
    assert kept.sha256 == hashlib.sha256(raw).hexdigest()
    with pytest.raises(NotFound):
        room.book.keep_evidence("f" * 32, at=room.clock(), source="192.0.2.5", raw=raw)


@pytest.mark.rule("6.1-c")
@pytest.mark.parametrize(
    ("known", "direction", "shown"),
    [
        ("", Direction.INBOUND, "13800138000"),
        ("037155555555", Direction.INBOUND, "037155555555"),
        ("", Direction.OUTBOUND, HUB_LINE),
    ],
)
def test_a_caller_told_of_later_is_named_once(room: Room, known: str, direction: Direction, shown: str) -> None:
    leader = room.person(Role.LEADER)
    room.directory.add(leader, NewContact(organisation="北门街道", name="张三", title="", numbers=("13800138000",)))
    call_id = room.arrive(known, direction=direction, recording_session="uuid-1")
    told = {"parties": "张三 <sip:13800138000@pbx>", "other_number": "13800138000", "other_name": "张三"}
    room.happen(call_id, CallEventKind.PARTIES, **told)
    room.happen(call_id, CallEventKind.PARTIES, **{**told, "other_number": "13900139000"})
    with room.store.reading() as session:
        call = session.get_one(CallRow, call_id)
        assert call.caller_number == shown
        assert (call.contact is not None) == (shown == "13800138000")
