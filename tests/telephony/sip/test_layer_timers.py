"""Each timer of RFC 3261 table 4 and RFC 6026, once, by what it sends and when."""

from __future__ import annotations

import pytest

from telephony.sip.events import (
    AckMissing,
    Event,
    FailureCause,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.message import Message, make_response
from tests.telephony.sip.peers import ONCE, Link, ack_for, request

A = [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
E = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def answering(link: Link, *statuses: int) -> None:
    """The callee answers every request with these."""

    def user(event: Event, now: float) -> None:
        if isinstance(event, RequestReceived):
            for status in statuses:
                link.callee.respond(event.transaction_id, make_response(event.request, status, to_tag="u"), now)

    link.users["callee"] = user


def lost(_name: str, _message: Message) -> tuple[float, ...]:
    return ()


def causes(events: list[Event]) -> list[FailureCause]:
    return [event.cause for event in events if isinstance(event, TransactionFailed)]


def test_a_and_b_an_invite_without_answer() -> None:
    link = Link(fate=lost)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(31.9)
    assert link.times("caller", "INVITE") == A
    assert causes(link.caller_events) == []
    link.run(0.1)
    assert causes(link.caller_events) == [FailureCause.TIMEOUT]
    assert len(link.caller) == 0


def test_a_stops_at_a_provisional_and_no_timer_bounds_the_ringing() -> None:
    link = Link()
    answering(link, 180)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(600)
    assert link.times("caller", "INVITE") == [0.0]
    assert causes(link.caller_events) == []
    assert link.caller.get_timer() is None


def test_d_a_failure_that_comes_again_is_acknowledged_for_32_s() -> None:
    link = Link()
    answering(link, 486)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(0.1)
    (refusal,) = [message for _, name, message in link.sent if name == "callee"]
    for _ in range(3):
        link.caller.receive(refusal.serialize(), link.to_callee, link.now)
        link.run(1)
    assert len(link.times("caller", "ACK")) == 4
    link.run(28.9)
    assert len(link.caller) == 1
    link.run(0.2)
    assert len(link.caller) == 0
    assert len(link.caller_events) == 1


def test_e_and_f_a_request_without_answer() -> None:
    link = Link(fate=lost)
    link.caller.send_request(request("OPTIONS"), link.to_callee, link.now)
    link.run(32.0)
    assert link.times("caller", "OPTIONS") == E
    assert causes(link.caller_events) == [FailureCause.TIMEOUT]
    assert len(link.caller) == 0


def test_e_is_t2_after_a_provisional() -> None:
    link = Link()
    answering(link, 100)
    link.caller.send_request(request("OPTIONS"), link.to_callee, link.now)
    link.run(32.0)
    assert link.times("caller", "OPTIONS") == [0.0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert causes(link.caller_events) == [FailureCause.TIMEOUT]


def test_g_and_h_a_failure_without_ack() -> None:
    link = Link()
    answering(link, 486)
    link.fate = lambda _name, _message: ONCE if len(link.sent) == 1 else ()  # only the first INVITE arrives
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(32.1)
    assert link.times("callee", "SIP/2.0 486") == E
    assert causes(link.callee_events) == [FailureCause.TIMEOUT]
    assert len(link.callee) == 0


def test_i_acks_are_absorbed_for_t4() -> None:
    link = Link()
    answering(link, 486)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(4.9)
    assert len(link.callee) == 1
    link.run(0.2)
    assert len(link.callee) == 0


def test_j_a_request_that_comes_again_gets_the_same_answer_for_32_s() -> None:
    link = Link()
    answering(link, 200)
    link.caller.send_request(request("OPTIONS"), link.to_callee, link.now)
    link.run(31.9)
    (_, _, sent), *_ = link.sent
    link.callee.receive(sent.serialize(), link.to_caller, link.now)
    link.run(0.05)
    assert link.times("callee", "SIP/2.0 200") == [0.0, 31.89]
    assert len(link.callee_events) == 1
    link.run(0.2)
    assert len(link.callee) == 0


def test_k_responses_are_absorbed_for_t4() -> None:
    link = Link(fate=lambda _name, _message: (0.01, 0.02, 0.03))
    answering(link, 200)
    link.caller.send_request(request("OPTIONS"), link.to_callee, link.now)
    link.run(4.9)
    assert len(link.caller) == 1
    assert len(link.caller_events) == 1
    link.run(0.2)
    assert len(link.caller) == 0


def test_l_and_the_2xx_repeated_until_its_ack() -> None:
    link = Link()
    answering(link, 200)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(31.9)  # the caller's user never acknowledges
    assert link.times("callee", "SIP/2.0 200") == E
    assert not any(isinstance(event, AckMissing) for event in link.callee_events)
    link.run(0.2)
    assert isinstance(link.callee_events[-1], AckMissing)
    assert len(link.callee) == 0


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_the_2xx_stops_at_its_ack_and_l_still_absorbs_the_invite(transport: str) -> None:
    link = Link(transport=transport)
    answering(link, 200)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(2.0)  # repeated on a stream too: it is end to end (RFC 3261 13.3.1.4)
    response = next(event.response for event in link.caller_events if isinstance(event, ResponseReceived))
    link.caller.send_ack(ack_for(response), link.to_callee, link.now)
    link.run(10)
    assert link.times("callee", "SIP/2.0 200") == [0.0, 0.5, 1.5]
    (_, _, invite), *_ = link.sent
    link.callee.receive(invite.serialize(), link.to_caller, link.now)
    link.run(20.1)
    assert len(link.callee) == 0
    assert sum(isinstance(event, RequestReceived) for event in link.callee_events) == 1
    assert not any(isinstance(event, AckMissing) for event in link.callee_events)


def test_m_a_2xx_is_acknowledged_again_for_32_s() -> None:
    link = Link()
    answering(link, 200)

    def user(event: Event, now: float) -> None:
        if isinstance(event, ResponseReceived):
            link.caller.send_ack(ack_for(event.response), link.to_callee, now)

    link.users["caller"] = user
    acks_sent: list[int] = []

    def lose_first_ack(_name: str, message: Message) -> tuple[float, ...]:
        if message.cseq.method == "ACK":
            acks_sent.append(1)
            return ONCE if len(acks_sent) > 1 else ()
        return ONCE

    link.fate = lose_first_ack
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(31.9)
    assert len(link.caller) == 1
    assert link.times("caller", "ACK") == [0.0, 0.5]
    assert sum(isinstance(event, ResponseReceived) for event in link.caller_events) == 1
    link.run(0.2)
    assert len(link.caller) == 0


def test_an_answer_that_the_user_never_gives_is_not_kept_for_ever() -> None:
    link = Link()
    link.caller.send_request(request("INFO", to_tag="u"), link.to_callee, link.now)
    link.run(32.1)
    assert causes(link.callee_events) == [FailureCause.TIMEOUT]
    assert len(link.callee) == 0


@pytest.mark.parametrize(("method", "status"), [("INVITE", 486), ("OPTIONS", 200)])
def test_on_a_stream_nothing_is_repeated_and_nothing_lingers(method: str, status: int) -> None:
    link = Link(transport="TCP")
    answering(link, status)
    link.caller.send_request(request(method), link.to_callee, link.now)
    link.run(0.1)
    assert len(link.caller) == len(link.callee) == 0
    assert link.times("caller", method) == [0.0]
    assert link.times("callee", "SIP/2.0") == [0.0]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_on_a_stream_silence_is_a_timeout_too(method: str) -> None:
    link = Link(transport="TCP", fate=lost)
    link.caller.send_request(request(method), link.to_callee, link.now)
    link.run(32.0)
    assert link.times("caller", method) == [0.0]
    assert causes(link.caller_events) == [FailureCause.TIMEOUT]
