"""Requests too long for UDP go by TCP, and by UDP after all where the peer has no TCP (RFC 3261 18.1.1)."""

from __future__ import annotations

import pytest

from telephony.sip.events import FailureCause, ResponseReceived, TransactionFailed
from telephony.sip.flow import Flow
from telephony.sip.layer import LARGEST_DATAGRAM, WITHOUT_TCP_S, TransactionLayer
from telephony.sip.message import Request, make_response, parse
from tests.telephony.sip.peers import TCP_TO_CALLEE, TO_CALLEE, events_of, request, tokens

BODY = b"v=0\r\n" + b"a=x\r\n" * 1000


def long_request(method: str = "INVITE", **changes: int) -> Request:
    return request(method, **changes).replace(body=BODY)


def sent(layer: TransactionLayer) -> list[tuple[Request, Flow]]:
    pairs = [(parse(packet), flow) for packet, flow in layer.packets_to_send()]
    return [(message, flow) for message, flow in pairs if isinstance(message, Request)]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_long_request_goes_by_tcp_and_says_so_in_its_via(method):
    layer = TransactionLayer(rng=tokens("t"))
    layer.send_request(long_request(method), TO_CALLEE, 0.0)
    [(message, flow)] = sent(layer)
    assert flow == TCP_TO_CALLEE
    assert message.via.transport == "TCP"
    assert message.via.param("rport") is None
    layer.handle_timer(31.0)
    assert sent(layer) == []  # a stream repeats by itself


def test_a_request_that_fits_stays_with_udp_and_the_limit_is_the_whole_message():
    layer = TransactionLayer(rng=tokens("t"))
    bare = request("INVITE")
    layer.send_request(bare, TO_CALLEE, 0.0)
    [(packet, _)] = layer.packets_to_send()
    room = LARGEST_DATAGRAM - len(packet) - 3  # Content-Length grows by three digits
    for body, transport in ((room, "UDP"), (room + 1, "TCP")):
        layer.send_request(bare.replace(body=b"a" * body), TO_CALLEE, 0.0)
        [(packet, flow)] = layer.packets_to_send()
        assert flow.transport == transport
    assert len(packet) < LARGEST_DATAGRAM  # without rport, which is for UDP


def test_refused_tcp_makes_it_udp_in_the_same_transaction():
    layer = TransactionLayer(rng=tokens("t"))
    identity = layer.send_request(long_request(), TO_CALLEE, 0.0)
    [(by_tcp, _)] = sent(layer)
    layer.transport_failed(TCP_TO_CALLEE, 1.0)
    [(by_udp, flow)] = sent(layer)
    assert flow == TO_CALLEE
    assert (by_udp.via.transport, by_udp.via.branch) == ("UDP", by_tcp.via.branch)
    assert by_udp.body == BODY
    assert len(by_udp.vias) == 1
    assert events_of(layer) == []
    layer.handle_timer(1.5)
    assert len(sent(layer)) == 1  # repeated as UDP has it
    layer.receive(make_response(by_udp, 200, to_tag="callee").serialize(), TO_CALLEE, 2.0)
    [event] = events_of(layer)
    assert isinstance(event, ResponseReceived)
    assert event.transaction_id == identity


def test_a_peer_without_tcp_is_not_asked_again_for_a_while():
    layer = TransactionLayer(rng=tokens("t"))
    layer.send_request(long_request(), TO_CALLEE, 0.0)
    layer.transport_failed(TCP_TO_CALLEE, 0.0)
    sent(layer)
    flows = []
    for moment in (1.0, WITHOUT_TCP_S - 1, WITHOUT_TCP_S + 1):
        layer.send_request(long_request(cseq=int(moment) + 2), TO_CALLEE, moment)
        flows += [flow.transport for _, flow in sent(layer)]
    assert flows == ["UDP", "UDP", "TCP"]


def test_a_cancel_that_waits_goes_with_the_request():
    layer = TransactionLayer(rng=tokens("t"))
    identity = layer.send_request(long_request(), TO_CALLEE, 0.0)
    layer.cancel(identity, 0.1)
    layer.transport_failed(TCP_TO_CALLEE, 1.0)
    by_udp = sent(layer)[-1][0]
    layer.receive(make_response(by_udp, 180, to_tag="callee").serialize(), TO_CALLEE, 1.1)
    [(cancel, flow)] = sent(layer)
    assert (cancel.method, flow, str(cancel.via)) == ("CANCEL", TO_CALLEE, str(by_udp.via))


def test_a_connection_lost_after_an_answer_is_a_failure():
    layer = TransactionLayer(rng=tokens("t"))
    identity = layer.send_request(long_request(), TO_CALLEE, 0.0)
    [(message, _)] = sent(layer)
    layer.receive(make_response(message, 180, to_tag="callee").serialize(), TCP_TO_CALLEE, 0.5)
    layer.transport_failed(TCP_TO_CALLEE, 1.0)
    assert events_of(layer)[-1] == TransactionFailed(transaction_id=identity, cause=FailureCause.TRANSPORT)
    assert sent(layer) == []
    assert len(layer) == 0


def test_where_both_fail_the_user_hears_of_it_once():
    layer = TransactionLayer(rng=tokens("t"))
    identity = layer.send_request(long_request(), TO_CALLEE, 0.0)
    layer.transport_failed(TCP_TO_CALLEE, 0.0)
    layer.transport_failed(TO_CALLEE, 0.0)
    assert events_of(layer) == [TransactionFailed(transaction_id=identity, cause=FailureCause.TRANSPORT)]
    assert len(layer) == 0
    assert layer.get_timer() is None


def test_switching_can_be_left_out():
    layer = TransactionLayer(rng=tokens("t"), largest_datagram=None)
    layer.send_request(long_request(), TO_CALLEE, 0.0)
    assert sent(layer)[0][1] == TO_CALLEE


def test_tcp_and_tls_are_left_as_they_are():
    layer = TransactionLayer(rng=tokens("t"))
    tls = Flow(transport="TLS", remote=("2001:db8::2", 5061), local=("2001:db8::1", 5061))
    layer.send_request(long_request(), tls, 0.0)
    [(message, flow)] = sent(layer)
    assert flow == tls
    assert str(message.via).startswith("SIP/2.0/TLS [2001:db8::1]:5061;branch=")
