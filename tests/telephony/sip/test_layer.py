"""The transaction layer against itself over a link, and against single messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telephony.sip.errors import LocalProtocolError
from telephony.sip.events import (
    AckReceived,
    CancelReceived,
    Event,
    FailureCause,
    MalformedReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Headers, Request, Response, make_response
from tests.telephony.sip.peers import (
    TO_CALLEE,
    TO_CALLER,
    Link,
    ack_for,
    events_of,
    request,
    sent_by,
    tokens,
)


def from_wire(
    method: str, *, branch: str, call_id: str = "w1", cseq: int = 1, to_tag: str = "", tag: str = "f"
) -> Request:
    to = "<sip:duty@192.0.2.2>" + (f";tag={to_tag}" if to_tag else "")
    headers = [
        ("Via", f"SIP/2.0/UDP 192.0.2.1:5060;{branch}"),
        ("From", f"<sip:caller@192.0.2.1>;tag={tag}"),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
    ]
    return Request(method=method, uri="sip:duty@192.0.2.2", headers=Headers(headers))


def received(layer: TransactionLayer, message: Request | Response, now: float = 0.0) -> list[Event]:
    layer.receive(message.serialize(), TO_CALLER, now)
    return events_of(layer)


def only_request(events: list[Event]) -> RequestReceived:
    (event,) = events
    assert isinstance(event, RequestReceived)
    return event


@pytest.fixture
def layer() -> TransactionLayer:
    return TransactionLayer(rng=tokens("t"))


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_an_answered_call_ends_with_nothing_left() -> None:
    link = Link()

    def callee(event: Event, now: float) -> None:
        if isinstance(event, RequestReceived):
            status = 200 if event.request.method == "BYE" else 180
            link.callee.respond(event.transaction_id, make_response(event.request, status, to_tag="callee"), now)
            if status == 180:
                link.callee.respond(event.transaction_id, make_response(event.request, 200, to_tag="callee"), now)

    def caller(event: Event, now: float) -> None:
        if (
            isinstance(event, ResponseReceived)
            and event.response.cseq.method == "INVITE"
            and event.response.status == 200
        ):
            link.caller.send_ack(ack_for(event.response), link.to_callee, now)

    link = Link(callee_user=callee, caller_user=caller)
    link.caller.send_request(request("INVITE"), link.to_callee, link.now)
    link.run(1)
    link.caller.send_request(request("BYE", cseq=2, to_tag="callee"), link.to_callee, link.now)
    link.run(40)
    assert kinds(link.callee_events) == ["RequestReceived", "AckReceived", "RequestReceived"]
    assert kinds(link.caller_events) == ["ResponseReceived"] * 3
    assert len(link.caller) == len(link.callee) == 0
    assert link.caller.get_timer() is None
    assert link.callee.get_timer() is None


def test_an_invite_that_comes_ten_times_is_one_call(layer: TransactionLayer) -> None:
    invite = from_wire("INVITE", branch="branch=z9hG4bKx")
    events = [event for _ in range(10) for event in received(layer, invite)]
    call = only_request(events)
    assert layer.counters.requests_again == 9
    assert sent_by(layer) == []  # no 100 that the user has not given
    layer.respond(call.transaction_id, make_response(call.request, 100), 0.0)
    assert received(layer, invite) == []
    assert [message.status for message in sent_by(layer) if isinstance(message, Response)] == [100, 100]


def test_the_same_branch_from_another_sender_is_another_request(layer: TransactionLayer) -> None:
    one = from_wire("OPTIONS", branch="branch=z9hG4bKx", call_id="w1")
    other = from_wire("OPTIONS", branch="branch=z9hG4bKx", call_id="w2")
    other = other.replace(headers=other.headers.with_value("Via", "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx"))
    assert len(received(layer, one) + received(layer, other)) == 2


def test_ack_to_a_failure_is_absorbed_and_stops_the_repetition(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKx")))
    layer.respond(call.transaction_id, make_response(call.request, 486, to_tag="u"), 0.0)
    assert received(layer, from_wire("ACK", branch="branch=z9hG4bKx", to_tag="u"), 0.1) == []
    layer.packets_to_send()
    layer.handle_timer(4.0)
    assert layer.packets_to_send() == []
    layer.handle_timer(5.2)  # timer I
    assert len(layer) == 0


def test_ack_to_2xx_finds_its_call_by_dialog_and_comes_once(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKx")))
    layer.respond(call.transaction_id, make_response(call.request, 200, to_tag="u"), 0.0)
    ack = from_wire("ACK", branch="branch=z9hG4bKother", to_tag="u")
    (event,) = received(layer, ack, 0.1)
    assert isinstance(event, AckReceived)
    assert event.transaction_id == call.transaction_id
    assert received(layer, ack, 0.2) == []
    assert received(layer, from_wire("ACK", branch="branch=z9hG4bKb", to_tag="other"), 0.2) == []
    assert layer.counters.stray_acks == 1


@pytest.mark.parametrize("branch", ["branch=1", "rport"])
def test_a_peer_of_rfc_2543_is_matched_without_cookie(layer: TransactionLayer, branch: str) -> None:
    invite = from_wire("INVITE", branch=branch)
    call = only_request(received(layer, invite))
    assert received(layer, invite) == []
    second = only_request(received(layer, from_wire("INVITE", branch=branch, call_id="w2")))
    assert second.transaction_id != call.transaction_id
    (cancelled,) = received(layer, from_wire("CANCEL", branch=branch))
    assert cancelled == CancelReceived(transaction_id=call.transaction_id)
    layer.respond(call.transaction_id, make_response(call.request, 487, to_tag="u"), 0.0)
    layer.packets_to_send()
    received(layer, from_wire("ACK", branch=branch, to_tag="u"), 0.1)
    layer.handle_timer(1.0)
    assert layer.packets_to_send() == []


def test_a_peer_of_rfc_2543_acknowledges_a_2xx_with_the_same_via(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=1")))
    layer.respond(call.transaction_id, make_response(call.request, 200, to_tag="u"), 0.0)
    assert kinds(received(layer, from_wire("ACK", branch="branch=1", to_tag="u"))) == ["AckReceived"]


def test_cancel_is_answered_and_told_once_while_it_rings(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKx")))
    layer.respond(call.transaction_id, make_response(call.request, 180, to_tag="u"), 0.0)
    layer.packets_to_send()
    cancel = from_wire("CANCEL", branch="branch=z9hG4bKx")
    assert received(layer, cancel) == [CancelReceived(transaction_id=call.transaction_id)]
    assert received(layer, cancel) == []
    answers = sent_by(layer)
    assert [
        (answer.status, answer.cseq.method, answer.to.tag) for answer in answers if isinstance(answer, Response)
    ] == [
        (200, "CANCEL", "u"),
        (200, "CANCEL", "u"),
    ]


def test_cancel_of_nothing_is_answered_481(layer: TransactionLayer) -> None:
    assert received(layer, from_wire("CANCEL", branch="branch=z9hG4bKx")) == []
    (answer,) = sent_by(layer)
    assert isinstance(answer, Response)
    assert answer.status == 481


def test_cancel_that_crosses_the_200_is_answered_and_changes_nothing(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKx")))
    layer.respond(call.transaction_id, make_response(call.request, 200, to_tag="u"), 0.0)
    assert received(layer, from_wire("CANCEL", branch="branch=z9hG4bKx")) == []
    assert [answer.status for answer in sent_by(layer) if isinstance(answer, Response)] == [200, 200]
    assert kinds(received(layer, from_wire("ACK", branch="branch=z9hG4bKa", to_tag="u"))) == ["AckReceived"]


def ringing(layer: TransactionLayer) -> tuple[str, Request]:
    identity = layer.send_request(request("INVITE"), TO_CALLEE, 0.0)
    (invite,) = sent_by(layer)
    assert isinstance(invite, Request)
    return identity, invite


def test_our_cancel_waits_for_the_first_provisional(layer: TransactionLayer) -> None:
    identity, invite = ringing(layer)
    layer.cancel(identity, 0.1)
    layer.cancel(identity, 0.1)
    assert layer.packets_to_send() == []
    layer.receive(make_response(invite, 100).serialize(), TO_CALLEE, 0.2)
    (cancel,) = sent_by(layer)
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via, cancel.cseq.number) == ("CANCEL", invite.via, invite.cseq.number)
    assert (cancel.uri, cancel.call_id, cancel.to, cancel.from_) == (
        invite.uri,
        invite.call_id,
        invite.to,
        invite.from_,
    )
    layer.receive(make_response(invite, 180, to_tag="u").serialize(), TO_CALLEE, 0.3)
    assert layer.packets_to_send() == []


def test_our_cancel_after_the_provisional_leaves_at_once_and_ends_in_487(layer: TransactionLayer) -> None:
    identity, invite = ringing(layer)
    layer.receive(make_response(invite, 180, to_tag="u").serialize(), TO_CALLEE, 0.2)
    layer.cancel(identity, 0.3)
    (cancel,) = sent_by(layer)
    assert isinstance(cancel, Request)
    layer.receive(make_response(cancel, 200, to_tag="u").serialize(), TO_CALLEE, 0.4)
    layer.receive(make_response(invite, 487, to_tag="u").serialize(), TO_CALLEE, 0.4)
    statuses = [event.response.status for event in events_of(layer) if isinstance(event, ResponseReceived)]
    assert statuses == [180, 487]  # the 200 to the CANCEL is the layer's own matter
    (ack,) = sent_by(layer)
    assert isinstance(ack, Request)
    assert (ack.method, ack.via, ack.to.tag) == ("ACK", invite.via, "u")


def test_our_cancel_that_crosses_a_200_leaves_the_call_to_its_user(layer: TransactionLayer) -> None:
    identity, invite = ringing(layer)
    layer.receive(make_response(invite, 180, to_tag="u").serialize(), TO_CALLEE, 0.2)
    layer.cancel(identity, 0.3)
    layer.packets_to_send()
    layer.receive(make_response(invite, 200, to_tag="u").serialize(), TO_CALLEE, 0.3)
    layer.cancel(identity, 0.3)
    assert layer.packets_to_send() == []
    assert kinds(events_of(layer)) == ["ResponseReceived", "ResponseReceived"]


def test_a_cancelled_invite_that_nobody_ends_is_given_up(layer: TransactionLayer) -> None:
    identity, invite = ringing(layer)
    layer.receive(make_response(invite, 180, to_tag="u").serialize(), TO_CALLEE, 0.2)
    events_of(layer)
    layer.cancel(identity, 10.0)
    layer.handle_timer(41.9)
    assert events_of(layer) == []
    layer.handle_timer(42.0)
    assert events_of(layer) == [TransactionFailed(transaction_id=identity, cause=FailureCause.TIMEOUT)]


def test_2xx_again_is_acknowledged_again_without_the_user(layer: TransactionLayer) -> None:
    _, invite = ringing(layer)
    answer = make_response(invite, 200, to_tag="u", extra=[("Contact", "<sip:duty@192.0.2.2>")])
    layer.receive(answer.serialize(), TO_CALLEE, 0.2)
    layer.receive(answer.serialize(), TO_CALLEE, 0.3)  # before the user acknowledged: nothing to repeat yet
    assert len(events_of(layer)) == 1
    assert layer.packets_to_send() == []
    layer.send_ack(ack_for(answer), TO_CALLEE, 0.4)
    (first,) = layer.packets_to_send()
    layer.receive(answer.serialize(), TO_CALLEE, 0.5)
    assert events_of(layer) == []
    assert layer.packets_to_send() == [first]
    other = make_response(invite, 200, to_tag="fork", extra=[("Contact", "<sip:duty@192.0.2.2>")])
    layer.receive(other.serialize(), TO_CALLEE, 0.6)
    assert kinds(events_of(layer)) == ["ResponseReceived"]


def test_stray_responses_are_dropped(layer: TransactionLayer) -> None:
    _, invite = ringing(layer)
    foreign = invite.replace(headers=invite.headers.with_value("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnone"))
    layer.receive(make_response(foreign, 200, to_tag="u").serialize(), TO_CALLEE, 0.1)
    second_via = invite.replace(headers=invite.headers.appended("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK7"))
    layer.receive(make_response(second_via, 200, to_tag="u").serialize(), TO_CALLEE, 0.1)
    other_method = make_response(invite, 200, to_tag="u")
    other_method = other_method.replace(headers=other_method.headers.with_value("CSeq", "1 BYE"))
    layer.receive(other_method.serialize(), TO_CALLEE, 0.1)
    assert events_of(layer) == []
    assert layer.packets_to_send() == []
    assert layer.counters.stray_responses == 3


def test_a_request_that_came_by_two_paths_is_refused_the_second_time(layer: TransactionLayer) -> None:
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKone")))
    assert received(layer, from_wire("INVITE", branch="branch=z9hG4bKtwo")) == []
    (refusal,) = sent_by(layer)
    assert isinstance(refusal, Response)
    assert (refusal.status, refusal.via.branch) == (482, "z9hG4bKtwo")
    assert received(layer, from_wire("ACK", branch="branch=z9hG4bKtwo", to_tag=refusal.to.tag or "")) == []
    layer.respond(call.transaction_id, make_response(call.request, 200, to_tag="u"), 0.0)
    assert kinds(received(layer, from_wire("INVITE", branch="branch=z9hG4bKre", to_tag="u", cseq=2))) == [
        "RequestReceived"
    ]


def test_a_request_of_ours_that_is_sent_back_to_us_is_a_loop(layer: TransactionLayer) -> None:
    _, invite = ringing(layer)
    back = invite.replace(headers=invite.headers.prepended("Via", "SIP/2.0/UDP 192.0.2.2:5062;branch=z9hG4bKphone"))
    layer.receive(back.serialize(), TO_CALLEE, 0.1)
    assert events_of(layer) == []
    (refusal,) = sent_by(layer)
    assert isinstance(refusal, Response)
    assert refusal.status == 482


@pytest.mark.parametrize(
    ("via", "remote", "goes_to", "shows"),
    [
        ("192.0.2.1:5070;branch=z9hG4bKx", ("192.0.2.1", 40000), ("192.0.2.1", 5070), "192.0.2.1:5070;branch=z9hG4bKx"),
        (
            "10.0.0.7:5070;branch=z9hG4bKx",
            ("192.0.2.1", 40000),
            ("192.0.2.1", 5070),
            "10.0.0.7:5070;branch=z9hG4bKx;received=192.0.2.1",
        ),
        (
            "10.0.0.7;rport;branch=z9hG4bKx",
            ("192.0.2.1", 40000),
            ("192.0.2.1", 40000),
            "10.0.0.7;rport=40000;branch=z9hG4bKx;received=192.0.2.1",
        ),
        (
            "phone.local;branch=z9hG4bKx",
            ("192.0.2.1", 40000),
            ("192.0.2.1", 5060),
            "phone.local;branch=z9hG4bKx;received=192.0.2.1",
        ),
        (
            "[2001:db8::1]:5070;branch=z9hG4bKx;rport",
            ("2001:db8::1", 40000),
            ("2001:db8::1", 40000),
            "[2001:db8::1]:5070;branch=z9hG4bKx;rport=40000;received=2001:db8::1",
        ),
    ],
)
def test_the_answer_goes_where_the_request_came_from(
    layer: TransactionLayer, via: str, remote: tuple[str, int], goes_to: tuple[str, int], shows: str
) -> None:
    options = from_wire("OPTIONS", branch="branch=z9hG4bKx")
    options = options.replace(headers=options.headers.with_value("Via", f"SIP/2.0/UDP {via}"))
    layer.receive(options.serialize(), replace(TO_CALLER, remote=remote), 0.0)
    event = only_request(events_of(layer))
    layer.respond(event.transaction_id, make_response(event.request, 200, to_tag="u"), 0.0)
    ((data, flow),) = layer.packets_to_send()
    assert flow.remote == goes_to
    assert f"Via: SIP/2.0/UDP {shows}\r\n".encode() in data


def test_malformed_bytes_are_counted_told_and_answered_where_possible(layer: TransactionLayer) -> None:
    layer.receive(b"\x00\xff nonsense", TO_CALLER, 0.0)
    bad = from_wire("INVITE", branch="branch=z9hG4bKx").serialize().replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1)
    layer.receive(bad, TO_CALLER, 0.0)
    events = events_of(layer)
    assert kinds(events) == ["MalformedReceived"] * 2
    assert all(isinstance(event, MalformedReceived) and event.flow == TO_CALLER for event in events)
    (answer,) = sent_by(layer)
    assert isinstance(answer, Response)
    assert answer.status == 505
    assert layer.counters.malformed == 2


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0"])
def test_keepalives_are_no_messages(layer: TransactionLayer, data: bytes) -> None:
    layer.receive(data, TO_CALLER, 0.0)
    assert events_of(layer) == []
    assert layer.packets_to_send() == []


def test_overload_is_answered_503_and_costs_no_memory() -> None:
    layer = TransactionLayer(rng=tokens("t"), max_transactions=3)
    for number in range(5):
        received(layer, from_wire("INVITE", branch=f"branch=z9hG4bK{number}", call_id=f"w{number}"))
    assert len(layer) == 3
    refusals = sent_by(layer)
    assert [
        (answer.status, answer.headers.get("Retry-After")) for answer in refusals if isinstance(answer, Response)
    ] == [(503, "5")] * 2
    assert kinds(received(layer, from_wire("CANCEL", branch="branch=z9hG4bK0", call_id="w0"))) == ["CancelReceived"]


def test_a_failed_transport_ends_what_waits_on_it_and_only_that(layer: TransactionLayer) -> None:
    elsewhere = replace(TO_CALLEE, remote=("192.0.2.3", 5060))
    lost = layer.send_request(request("OPTIONS", call_id="lost"), TO_CALLEE, 0.0)
    layer.send_request(request("OPTIONS", call_id="kept"), elsewhere, 0.0)
    layer.transport_failed(TO_CALLEE, 0.1)
    assert events_of(layer) == [TransactionFailed(transaction_id=lost, cause=FailureCause.TRANSPORT)]
    assert len(layer) == 1


def test_misuse_is_an_error_of_ours_and_lateness_is_none(layer: TransactionLayer) -> None:
    with pytest.raises(LocalProtocolError):
        layer.send_request(request("ACK"), TO_CALLEE, 0.0)
    with pytest.raises(LocalProtocolError):
        layer.cancel("c99", 0.0)
    options = layer.send_request(request("OPTIONS"), TO_CALLEE, 0.0)
    with pytest.raises(LocalProtocolError):
        layer.cancel(options, 0.0)
    with pytest.raises(LocalProtocolError):
        layer.respond(options, make_response(from_wire("OPTIONS", branch="branch=z9hG4bKx"), 200), 0.0)
    call = only_request(received(layer, from_wire("INVITE", branch="branch=z9hG4bKx")))
    with pytest.raises(LocalProtocolError):
        layer.respond(call.transaction_id, make_response(call.request, 200), 0.0)  # no To tag
    layer.transport_failed(TO_CALLER, 1.0)
    layer.respond(call.transaction_id, make_response(call.request, 180), 1.0)
    assert layer.counters.late_responses == 1
