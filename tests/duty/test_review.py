"""The supervisor's list of calls: filters that find what they name, and nothing of another unit."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.errors import Forbidden
from duty.domain.rights import Role
from duty.services.callreview import CallFilter
from duty.services.directory import NewContact
from tests.duty.room import TOWN_LINE, Room


@pytest.mark.rule("6.1-a")
def test_calls_are_found_by_what_they_were(room: Room) -> None:
    supervisor = room.person(Role.SUPERVISOR)
    room.directory.add(room.person(Role.LEADER), NewContact(organisation="市应急局", numbers=("22595000",)))
    room.clock.now = datetime(2026, 11, 22, 15, 59, tzinfo=UTC)  # 23:59 on the 22nd in Shanghai
    answered = room.answered_call("22595000")
    room.clock.turn(minutes=2)
    missed = room.arrive("13800138000")
    room.happen(missed, CallEventKind.FORWARD_MARKED)
    room.happen(missed, CallEventKind.ENDED, Outcome.MISSED)
    dialled = room.answered_call("119", direction=Direction.OUTBOUND)
    town = room.arrive("10086", line=TOWN_LINE)

    def found(**wanted: object) -> set[str]:
        wanted_filter = CallFilter(**wanted)
        page = [call.id for call in room.review.page(supervisor, wanted_filter)]
        assert room.review.count(supervisor, wanted_filter) == len(page)
        return set(page)

    assert found() == {answered, missed, dialled, town}
    assert found(outcome=Outcome.MISSED) == {missed}
    assert found(direction=Direction.OUTBOUND) == {dialled}
    assert found(flagged=True) == {missed}
    assert found(words="应急") == {answered}
    assert found(words="138001") == {missed}
    assert found(words="%") == found(words="\x00") == set()
    assert found(unit_id=room.units["BS"]) == {town}
    assert found(until=date(2026, 11, 22)) == {answered}
    assert found(since=date(2026, 11, 23), direction=Direction.INBOUND) == {missed, town}
    assert room.review.outcomes(supervisor, CallFilter()) == {"answered": 2, "missed": 1, "live": 1}
    newest = room.review.page(supervisor, CallFilter(limit=1))
    assert {call.id for call in newest} == {town}


@pytest.mark.rule("3-a")
def test_a_filter_does_not_reach_beyond_ones_unit(room: Room) -> None:
    mine, town = room.arrive(), room.person(unit="BS")
    assert room.review.page(town, CallFilter(unit_id=room.units["LT"])) == []
    assert room.review.page(room.person(), CallFilter())[0].id == mine
    with pytest.raises(Forbidden):
        room.review.page(room.person(Role.AUDITOR), CallFilter())
