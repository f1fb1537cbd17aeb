"""Whatever the link does, both ends agree on how a request ended, or the end that does not know says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telephony.sip.events import (
    AckMissing,
    AckReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Message, make_response
from tests.telephony.sip.peers import ONCE, TO_CALLEE, TO_CALLER, Link, ack_for, request, tokens


def fates_with(delays: list[float]) -> st.SearchStrategy[list[tuple[float, ...]]]:
    return st.lists(st.lists(st.sampled_from(delays), max_size=3).map(tuple), min_size=1, max_size=60)


FATES = fates_with([0.01, 0.02, 0.3, 0.6, 2.5, 9.0])
WITHIN_T4 = fates_with([0.01, 0.02, 0.3, 0.6, 2.5])
"""No copy outlives T4, the longest that RFC 3261 expects a message to stay in the network."""


def scripted(fates: list[tuple[float, ...]]) -> Callable[[str, Message], tuple[float, ...]]:
    """One fate a datagram; when the list is used up, it begins again."""
    position = iter(range(10**9))
    return lambda _name, _message: fates[next(position) % len(fates)]


@dataclass
class Call:
    """What both users saw of one INVITE that the callee finally answers with ``status``."""

    link: Link
    status: int
    finals: list[int] = field(default_factory=list)
    invites: int = 0
    acks: int = 0

    def __post_init__(self) -> None:
        self.link.users = {"caller": self.caller, "callee": self.callee}

    def caller(self, event: Event, now: float) -> None:
        if isinstance(event, ResponseReceived) and event.response.status >= 200:
            self.finals.append(event.response.status)
            if event.response.status < 300 and event.response.cseq.method == "INVITE":
                self.link.caller.send_ack(ack_for(event.response), self.link.to_callee, now)

    def callee(self, event: Event, now: float) -> None:
        if isinstance(event, RequestReceived):
            self.invites += 1
            for status in (180, self.status):
                response = make_response(event.request, status, to_tag="u")
                self.link.callee.respond(event.transaction_id, response, now)
        self.acks += isinstance(event, AckReceived)

    def failed(self, events: list[Event]) -> bool:
        return any(isinstance(event, TransactionFailed | AckMissing) for event in events)


@given(fates=FATES, status=st.sampled_from([200, 486]))
@settings(max_examples=150, deadline=None)
def test_an_invite_ends_the_same_at_both_ends_or_is_reported(fates: list[tuple[float, ...]], status: int) -> None:
    call = Call(Link(fate=scripted(fates)), status)
    call.link.caller.send_request(request("INVITE"), call.link.to_callee, call.link.now)
    call.link.run(150)
    link = call.link
    caller_failed, callee_failed = call.failed(link.caller_events), call.failed(link.callee_events)
    # What the caller's user sees: the callee's answer once, or a failure; or 180 and then nothing, which only a
    # ringing time of the user's bounds (the INVITE machine has no timer while it rings).
    ringing = [event.response.status for event in link.caller_events if isinstance(event, ResponseReceived)] == [180]
    assert call.finals == [status] or caller_failed or ringing
    assert len(call.finals) <= 1
    if call.invites and not callee_failed:
        assert call.finals == [status]  # the callee was told that its answer came, and it did
    if status == 200:
        assert call.acks <= call.invites
        assert bool(call.acks) != callee_failed or not call.invites
    assert len(link.callee) == 0
    assert len(link.caller) == (1 if ringing and not caller_failed else 0)


@given(fates=FATES, status=st.sampled_from([200, 404]), provisional=st.booleans())
@settings(max_examples=150, deadline=None)
def test_another_request_ends_for_its_sender_in_any_case(
    fates: list[tuple[float, ...]], status: int, provisional: bool
) -> None:
    link = Link(fate=scripted(fates))
    call = Call(link, status)
    link.caller.send_request(request("MESSAGE"), link.to_callee, link.now)
    link.run(150)
    assert (call.finals == [status]) != call.failed(link.caller_events)
    assert not call.finals or call.invites >= 1
    assert len(link.caller) == len(link.callee) == 0


@given(
    copies=st.integers(1, 10), delays=st.lists(st.sampled_from([0.01, 0.5, 1.0, 3.0, 9.0]), min_size=10, max_size=10)
)
@settings(max_examples=60, deadline=None)
def test_copies_in_any_order_are_one_request(copies: int, delays: list[float]) -> None:
    """All within the life of the transaction: later ones are new by RFC 3261, there is nothing left to know them by."""
    link = Link(fate=lambda _name, _message: tuple(delays[:copies]))
    call = Call(link, 200)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(31)
    assert call.invites == 1
    assert call.finals == [200]
    assert call.acks == 1


@given(
    fates=WITHIN_T4,
    cancel_after=st.sampled_from([0.0, 0.005, 0.015, 0.025, 1.0]),
    answer_after=st.sampled_from([0.012, 0.02, 0.5, 2.0]),
)
@settings(max_examples=150, deadline=None)
def test_cancel_and_answer_may_cross_at_any_moment(
    fates: list[tuple[float, ...]], cancel_after: float, answer_after: float
) -> None:
    link = Link(fate=scripted(fates))
    state: dict[str, object] = {"final": None}

    def callee(event: Event, now: float) -> None:
        if isinstance(event, RequestReceived) and "call" not in state:
            state["call"] = event
            link.callee.respond(event.transaction_id, make_response(event.request, 180, to_tag="u"), now)
        elif type(event).__name__ == "CancelReceived":
            answer(487)

    def answer(status: int) -> None:
        call = state.get("call")
        if isinstance(call, RequestReceived) and state["final"] is None:
            state["final"] = status
            link.callee.respond(call.transaction_id, make_response(call.request, status, to_tag="u"), link.now)

    finals: list[int] = []

    def caller(event: Event, now: float) -> None:
        if isinstance(event, ResponseReceived) and event.response.status >= 200:
            finals.append(event.response.status)
            if event.response.status == 200:
                link.caller.send_ack(ack_for(event.response), link.to_callee, now)

    link.users = {"caller": caller, "callee": callee}
    invite = link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    for moment, act in sorted(
        [(cancel_after, lambda: link.caller.cancel(invite, link.now)), (answer_after, lambda: answer(200))],
        key=lambda pair: pair[0],
    ):
        link.run(100.0 + moment - link.now)
        act()
    link.run(60)
    answer(480)  # the callee's user ends what still rings
    link.run(100)
    failed = any(isinstance(event, TransactionFailed) for event in link.caller_events)
    assert len(finals) == 1 or failed
    if finals:
        assert finals == [state["final"]]
    assert len(link.caller) == len(link.callee) == 0


def test_two_thousand_transactions_leave_nothing_behind() -> None:
    """And the layer is cheap: well over 1,000 transactions a second for both ends and their parser together."""
    caller, callee = TransactionLayer(rng=tokens("a")), TransactionLayer(rng=tokens("b"))
    count, now = 2_000, 0.0
    started = time.process_time()
    for number in range(count):
        now = number / 1_000
        caller.send_request(request("OPTIONS", call_id=f"c{number}"), TO_CALLEE, now)
        for data, _ in caller.packets_to_send():
            callee.receive(data, TO_CALLER, now)
        event = callee.next_event()
        assert isinstance(event, RequestReceived)
        callee.respond(event.transaction_id, make_response(event.request, 200, to_tag="u"), now)
        for data, _ in callee.packets_to_send():
            caller.receive(data, TO_CALLEE, now)
        assert isinstance(caller.next_event(), ResponseReceived)
        caller.handle_timer(now)
        callee.handle_timer(now)
    rate = count / (time.process_time() - started)
    assert len(callee) == count
    for layer in (caller, callee):
        layer.handle_timer(now + 32.0)
        assert len(layer) == 0
        assert layer.get_timer() is None
        live = vars(layer)["_live"]
        assert not any(value for value in vars(live).values() if isinstance(value, dict | list))
    assert rate > 500, f"{rate:.0f} transactions/s"


@pytest.mark.parametrize("lost_from", ["caller", "callee"])
def test_a_link_that_is_dead_one_way_is_a_timeout(lost_from: str) -> None:
    link = Link(fate=lambda name, _message: () if name == lost_from else ONCE)
    call = Call(link, 200)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(70)
    assert call.failed(link.caller_events)
    assert call.failed(link.callee_events) == (lost_from == "callee")
    assert len(link.caller) == len(link.callee) == 0
