"""Reason and Q.850 causes: read, kept in the book, and said by us (RFC 3326)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.calls import CallEventKind
from telephony.line import TrunkProfile
from telephony.sip.causes import ELSEWHERE, NORMAL, Cause, of_status, read_reasons
from telephony.sip.flow import Flow
from telephony.trunk_target import TrunkRoute
from tests.telephony.world import DESK, LOCAL, World, line


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (['Q.850;cause=17;text="User busy"'], Cause(code=17, text="User busy")),
        (['SIP ;cause=600 ;text="Busy, Everywhere", Q.850 ;cause=1'], Cause(code=1)),
        (["SIP;cause=404"], Cause(code=1)),
        (["SIP;cause=200;text=elsewhere"], Cause(code=None, text="elsewhere")),
        (["Q.850;cause=17", "Q.850;cause=1"], Cause(code=17)),
        (["preemption;cause=1"], None),
        (["Q.850;cause"], Cause(code=None)),
        (['Q.850;cause=1;text="'], None),
        ([], None),
    ],
)
def test_what_a_reason_says(values: list[str], cause: Cause | None) -> None:
    assert read_reasons(values) == cause


@given(st.lists(st.text(max_size=40), max_size=3))
def test_no_reason_does_harm(values: list[str]) -> None:
    found = read_reasons(values)
    assert found is None or found.code is None or 0 <= found.code <= 999


def test_a_status_stands_for_a_cause() -> None:
    assert [of_status(status).code for status in (404, 486, 503, 299)] == [1, 17, 41, None]


def test_the_book_keeps_why_a_phone_failed_and_why_the_caller_left() -> None:
    world = World()
    phone, other, caller = world.phone("1001"), world.phone("1002"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.respond(480, headers={"Reason": 'Q.850;cause=27;text="Down"'})
    other.on_invite = lambda session: session.answer()
    caller.invite(DESK)
    world.run(1.0)
    (failed,) = [each for each in world.records() if each.kind is CallEventKind.LEG_FAILED]
    assert failed.data == {"extension": "1001", "status": 480, "cause": 27, "cause_text": "Down"}
    caller.last.send("BYE", headers={"Reason": "Q.850;cause=16"})
    world.run(1.0)
    assert world.records()[-1].data == {"reason": "caller_hung_up", "cause": 16}
    (bye,) = world.sent_to(other, "BYE")
    assert bye.headers.get("Reason") == NORMAL
    caller.last.ended = True
    world.check()


def test_a_phone_that_lost_the_race_shows_no_missed_call() -> None:
    world = World()
    phone, other, caller = world.phone("1001"), world.phone("1002"), world.peer("127.0.0.7")
    phone.on_invite = other.on_invite = lambda session: session.ring()
    caller.invite(DESK)
    world.run(1.0)
    phone.last.answer()
    world.run(1.0)
    (cancel,) = world.sent_to(other, "CANCEL")
    assert cancel.headers.get("Reason") == ELSEWHERE
    world.check()


def test_a_missed_call_stays_one() -> None:
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.ring()
    caller.invite(DESK)
    world.run(1.0)
    caller.last.cancel()
    world.run(1.0)
    (cancel,) = world.sent_to(phone, "CANCEL")
    assert "Reason" not in cancel.headers
    assert "cause" not in world.records()[-1].data
    world.check()


def test_a_cancel_says_why_and_the_phones_hear_it() -> None:
    world = World()
    phone, caller = world.phone("1001"), world.peer("127.0.0.7")
    phone.on_invite = lambda session: session.ring()
    caller.invite(DESK)
    world.run(1.0)
    caller.last.cancelled = True
    caller.layer.cancel(caller.last.transaction_id, world.now, reason=ELSEWHERE)
    world.run(1.0)
    (cancel,) = world.sent_to(phone, "CANCEL")
    assert cancel.headers.get("Reason") == ELSEWHERE
    assert world.records()[-1].data["cause_text"] == "Call completed elsewhere"
    world.check()


@pytest.mark.parametrize(("headers", "cause"), [({}, 1), ({"Reason": "Q.850;cause=22"}, 22)])
def test_the_network_says_why_a_number_cannot_be_had(headers: dict[str, str], cause: int) -> None:
    route = TrunkRoute(flow=Flow(transport="UDP", remote=("198.51.100.5", 5060), local=LOCAL), domain="pbx.example")
    world = World(line(trunk=TrunkProfile(registrar="sip:pbx.example")), trunks={DESK: route})
    phone, pbx = world.phone("1001"), world.peer("198.51.100.5", user="pbx")
    pbx.on_invite = lambda session: session.respond(404, headers=headers)
    phone.invite("13800138000")
    world.run(1.0)
    assert world.records()[-1].data == {"reason": "network_404", "cause": cause}
    world.check()
