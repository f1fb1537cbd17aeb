"""The phones may ring as soon as a call's line outlives the process; whoever dialled hears nothing until it outlives a
power cut."""

from __future__ import annotations

import pytest

from duty.domain.calls import Outcome
from tests.telephony.world import DESK, World, audio

pytestmark = pytest.mark.rule("6.1-a")


@pytest.fixture
def world() -> World:
    world = World()
    world.keep_s = 0.4
    return world


def test_phones_ring_but_the_caller_is_not_answered_before_the_line_is_kept(world: World) -> None:
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    session = caller.invite(DESK, audio("127.0.0.7"))
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    phone.last.answer()
    world.run(0.15)
    assert phone.last.final == 200
    assert session.statuses == []
    world.run(0.3)
    assert session.statuses == [100, 180, 200]
    assert session.up
    world.check()


def test_a_call_given_up_before_its_line_is_kept(world: World) -> None:
    world.keep_s = 5.0
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    session = caller.invite(DESK, audio("127.0.0.7"))
    world.run(0.1)
    phone.last.ring()
    world.run(0.1)
    caller.layer.cancel(session.transaction_id, world.now)
    world.run(1.0)
    assert session.statuses == []
    world.run(6.0)
    assert session.statuses[0] == 100, "a CANCEL of ours may leave only after the first answer (RFC 3261 9.1)"
    assert session.final == 487
    assert phone.last.final == 487
    assert world.outcome()[0] is Outcome.CANCELLED
    world.check()


def test_a_retransmission_is_not_answered_either(world: World) -> None:
    world.keep_s = 3.0
    world.phone("1001")
    session = world.peer("127.0.0.7").invite(DESK, audio("127.0.0.7"))
    world.run(2.5)
    assert len(world.opened()) == 1
    assert session.statuses == []
    world.run(1.0)
    assert session.statuses[0] == 100
    world.check()


def test_a_refused_call_is_refused_only_when_it_is_kept(world: World) -> None:
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    session = caller.invite(DESK, audio("127.0.0.7"))
    world.run(0.1)
    phone.last.respond(486)
    world.run(0.2)
    assert session.statuses == []
    world.run(0.5)
    assert session.statuses == [100, 486]
    world.check()
