"""The gaps between telephony's signs of life: what the book says of each line when it is served again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from duty.domain.happenings import EventKind
from duty.services.outages import OUTAGE_AFTER, Outages
from duty.store.tables import AlarmRow
from tests.duty.room import HUB_LINE, TOWN_LINE, Room

pytestmark = pytest.mark.rule("4-a")

MANNERS = {HUB_LINE: "open", TOWN_LINE: "refuse"}


@pytest.fixture
def outages(room: Room) -> Outages:
    return Outages(room.store, room.clock)


def come_back(outages: Outages, room: Room) -> timedelta | None:
    return outages.note_return(MANNERS, at=room.clock())


def test_the_first_start_and_a_quick_return_are_no_outage(room: Room, outages: Outages) -> None:
    assert come_back(outages, room) is None
    outages.beat()
    room.clock.turn(seconds=OUTAGE_AFTER.total_seconds() - 1)
    assert come_back(outages, room) is None
    assert outages.recent() == []


def test_a_loss_is_written_of_every_line_from_the_last_sign_of_life(room: Room, outages: Outages) -> None:
    outages.beat()
    room.clock.turn(hours=1)
    outages.beat()
    lost = room.clock()
    room.clock.turn(minutes=5)
    back = room.clock()
    assert come_back(outages, room) == timedelta(minutes=5)
    town, hub = outages.recent()
    assert (hub.line_number, hub.began_at, hub.ended_at, hub.stopped, hub.open) == (HUB_LINE, lost, back, False, True)
    assert (town.line_number, town.stopped, town.open) == (TOWN_LINE, False, False)
    assert outages.recent(room.units["BS"]) == [town]
    with room.store.reading() as session:
        alarms = session.scalars(select(AlarmRow).order_by(AlarmRow.id)).all()
    assert [(row.kind, row.subject, row.data["on_outage"]) for row in alarms] == [
        ("line_outage", HUB_LINE, "open"), ("line_outage", TOWN_LINE, "refuse"),
    ]  # fmt: skip
    assert alarms[0].data["from"] == "2026-11-23T01:00:00.000000Z"
    told = [event for event in room.outbox.after(0) if event.kind is EventKind.LINE_CHANGED]
    assert [event.data["kind"] for event in told] == ["outage", "outage"]


def test_it_is_written_once(room: Room, outages: Outages) -> None:
    outages.beat()
    room.clock.turn(minutes=5)
    assert come_back(outages, room) is not None
    assert come_back(outages, room) is None
    room.clock.turn(minutes=5)
    assert come_back(outages, room) == timedelta(minutes=5), "it came back, and died before it could beat"
    assert len(outages.recent()) == 4


def test_a_stop_counts_from_the_stop_and_is_called_one(room: Room, outages: Outages) -> None:
    outages.beat()
    room.clock.turn(seconds=7)
    outages.stop()
    stopped = room.clock()
    room.clock.turn(days=2)
    assert come_back(outages, room) == timedelta(days=2)
    assert [(each.began_at, each.stopped) for each in outages.recent()] == [(stopped, True)] * 2
    outages.beat()
    room.clock.turn(minutes=2)
    come_back(outages, room)
    assert outages.recent()[0].stopped is False, "the stop before is over"


def test_a_clock_that_was_set_back_makes_no_outage(room: Room, outages: Outages) -> None:
    outages.beat()
    room.clock.turn(hours=-3)
    assert come_back(outages, room) is None
    assert outages.recent() == []


def test_a_line_that_is_no_longer_configured_has_no_outage(room: Room, outages: Outages) -> None:
    outages.beat()
    room.clock.turn(minutes=5)
    assert outages.note_return({HUB_LINE: "refuse"}, at=room.clock()) is not None
    assert [each.line_number for each in outages.recent()] == [HUB_LINE]
