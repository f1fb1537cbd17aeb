"""Exceptions to the ban on forwarding need two people, a reason and an end; who may do what, on both stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.exceptions import ExceptionState, ExceptionWay, ForwardException, canonical
from duty.domain.rights import Actor, Role
from duty.services.exceptions import ForwardExceptions
from duty.store.tables import AuditRow
from tests.duty.room import HUB_LINE, TOWN_LINE, Room

pytestmark = pytest.mark.rule("6.1-e")

CODE = "*57*13900139000#"


@pytest.fixture
def exceptions(room: Room) -> ForwardExceptions:
    return ForwardExceptions(room.store, room.clock)


def ask(
    exceptions: ForwardExceptions,
    room: Room,
    actor: Actor,
    *,
    hours: float = 2,
    line: str = HUB_LINE,
    way: ExceptionWay = ExceptionWay.FEATURE_CODE,
    target: str = CODE,
    reason: str = "线路检修",
    begins: timedelta = timedelta(),
) -> int:
    start = room.clock() + begins
    end = start + timedelta(hours=hours)
    return exceptions.ask(actor, line, way=way, target=target, reason=reason, start=start, end=end)


def test_one_asks_another_approves_and_it_ends(exceptions: ForwardExceptions, room: Room) -> None:
    officer, leader = room.person(), room.person(Role.LEADER)
    made = ask(exceptions, room, officer)
    assert exceptions.approved() == []
    exceptions.approve(leader, made)
    (value,) = exceptions.in_force(HUB_LINE, room.clock())
    assert (value.way, value.target) == (ExceptionWay.FEATURE_CODE, CODE)
    assert exceptions.in_force(TOWN_LINE, room.clock()) == []
    (view,) = exceptions.shown()
    assert (view.asked_by, view.approved_by, view.state) == (officer.name, leader.name, ExceptionState.IN_FORCE)
    room.clock.turn(hours=2)
    assert (exceptions.approved(), exceptions.shown()) == ([], [])
    assert exceptions.recent(officer)[0].state is ExceptionState.ENDED
    with room.store.reading() as session:
        rows = session.execute(select(AuditRow.action, AuditRow.officer_id).where(AuditRow.subject.like("forward_%")))
        assert [tuple(row) for row in rows] == [
            ("ask_exception", officer.officer_id),
            ("approve_exception", leader.officer_id),
        ]


def test_nobody_approves_their_own_nor_twice(exceptions: ForwardExceptions, room: Room) -> None:
    leader, other = room.person(Role.LEADER), room.person(Role.HUB)
    made = ask(exceptions, room, leader)
    with pytest.raises(Refused, match="exception_own"):
        exceptions.approve(leader, made)
    exceptions.approve(other, made)
    with pytest.raises(Refused, match="exception_not_asked"):
        exceptions.approve(other, made)


@pytest.mark.parametrize("role", list(Role))
def test_who_may_ask_approve_and_revoke(exceptions: ForwardExceptions, room: Room, role: Role) -> None:
    person, officer = room.person(role), room.person()
    if role in (Role.OFFICER, Role.LEADER, Role.HUB):
        exceptions.revoke(person, ask(exceptions, room, person))
    else:
        with pytest.raises(Forbidden):
            ask(exceptions, room, person)
        with pytest.raises(Forbidden):
            exceptions.revoke(person, ask(exceptions, room, officer))
    made = ask(exceptions, room, officer)
    if role in (Role.LEADER, Role.HUB):
        exceptions.approve(person, made)
    else:
        with pytest.raises(Forbidden):
            exceptions.approve(person, made)


def test_units_keep_to_themselves(exceptions: ForwardExceptions, room: Room) -> None:
    town_leader, hub = room.person(Role.LEADER, unit="BS"), room.person(Role.HUB)
    made = ask(exceptions, room, room.person())
    for act in (exceptions.approve, exceptions.revoke):
        with pytest.raises(Forbidden):
            act(town_leader, made)
    assert exceptions.recent(town_leader) == []
    exceptions.approve(hub, ask(exceptions, room, town_leader, line=TOWN_LINE))
    assert len(exceptions.recent(hub)) == 2


def test_a_revoked_one_holds_no_more(exceptions: ForwardExceptions, room: Room) -> None:
    officer, leader = room.person(), room.person(Role.LEADER)
    made = ask(exceptions, room, officer)
    exceptions.approve(leader, made)
    exceptions.revoke(officer, made)
    assert exceptions.approved() == []
    with pytest.raises(Refused, match="exception_over"):
        exceptions.revoke(leader, made)
    with pytest.raises(Refused, match="exception_not_asked"):
        exceptions.approve(leader, made)


def test_one_that_begins_later_is_not_in_force_yet(exceptions: ForwardExceptions, room: Room) -> None:
    made = ask(exceptions, room, room.person(), begins=timedelta(hours=1))
    exceptions.approve(room.person(Role.LEADER), made)
    assert exceptions.in_force(HUB_LINE, room.clock()) == []
    assert exceptions.shown()[0].state is ExceptionState.APPROVED
    room.clock.turn(hours=1)
    assert len(exceptions.in_force(HUB_LINE, room.clock())) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"hours": 24.01}, "exception_too_long"),
        ({"hours": 0}, "exception_too_long"),
        ({"hours": -1}, "exception_too_long"),
        ({"begins": timedelta(hours=-3)}, "exception_times"),
        ({"begins": timedelta(days=31)}, "exception_times"),
        ({"reason": "  "}, "exception_reason"),
        ({"reason": "长" * 501}, "exception_reason"),
        ({"target": ""}, "exception_target"),
        ({"target": "*57*abc"}, "exception_target"),
        ({"target": "phone.example", "way": ExceptionWay.MEDIA_MOVE}, "exception_target"),
        ({"reason": "a\x00b"}, "text_unreadable"),
    ],
)
def test_what_cannot_be_asked_for(
    exceptions: ForwardExceptions, room: Room, change: dict[str, object], code: str
) -> None:
    with pytest.raises(Refused, match=code):
        ask(exceptions, room, room.person(), **change)  # type: ignore[arg-type]
    assert exceptions.recent(room.person()) == []


def test_unknown_lines_and_exceptions(exceptions: ForwardExceptions, room: Room) -> None:
    with pytest.raises(NotFound):
        ask(exceptions, room, room.person(), line="1")
    for act in (exceptions.approve, exceptions.revoke):
        with pytest.raises(NotFound):
            act(room.person(Role.LEADER), 99)


@given(offset=st.integers(-100, 100), other=st.text(max_size=20))
def test_it_covers_its_own_target_in_its_own_time(offset: int, other: str) -> None:
    start = datetime(2026, 11, 23, tzinfo=UTC)
    value = ForwardException(
        line_number=HUB_LINE,
        way=ExceptionWay.FEATURE_CODE,
        target=CODE,
        starts_at=start,
        ends_at=start + timedelta(seconds=50),
    )
    at = start + timedelta(seconds=offset)
    assert value.covers("feature_code", "＊57＊139-0013-9000#", at) == (0 <= offset < 50)
    assert not value.covers("refer", CODE, at)
    assert not value.covers("media_move", CODE, at)
    if canonical(ExceptionWay.FEATURE_CODE, other) != CODE:
        assert not value.covers("feature_code", other, at)
