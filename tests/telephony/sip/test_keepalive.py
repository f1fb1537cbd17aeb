"""What only keeps a way open, and the question whether a peer is still there."""

from __future__ import annotations

import pytest

from telephony.sip.keepalive import INTERVAL_S, RETRY_S, STUN_COOKIE, OptionsKeepAlive, PeerChanged, is_keepalive
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Request, make_response
from tests.telephony.sip.peers import TO_CALLEE, events_of, tokens

STUN = b"\x00\x01\x00\x00" + STUN_COOKIE + b"\x01" * 12


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\r\n", b"\0" * 4, b"\0\0\r\n", STUN, STUN + b"\0" * 100])
def test_keepalives_are_counted_and_nothing_else(data):
    layer = TransactionLayer(rng=tokens("t"))
    layer.receive(data, TO_CALLEE, 0.0)
    assert is_keepalive(data)
    assert (events_of(layer), layer.packets_to_send()) == ([], [])
    assert (layer.counters.keepalives, layer.counters.malformed) == (1, 0)


@pytest.mark.parametrize("data", [b"hello", b"\x80\x08" + bytes(170), b"INVI" + STUN_COOKIE])
def test_other_bytes_are_malformed_and_unanswered(data):
    layer = TransactionLayer(rng=tokens("t"))
    layer.receive(data, TO_CALLEE, 0.0)
    assert layer.packets_to_send() == []
    assert layer.counters.malformed == 1


def asked(keeper: OptionsKeepAlive) -> Request:
    [request] = keeper.requests_to_send()
    return request


def keeper() -> OptionsKeepAlive:
    made = OptionsKeepAlive(target="sip:pbx.example", sender="sip:line@192.0.2.1", token=tokens("k"))
    made.start()
    return made


def test_any_final_answer_means_that_the_peer_lives():
    pbx = keeper()
    first = asked(pbx)
    assert (first.method, first.uri, pbx.get_timer()) == ("OPTIONS", "sip:pbx.example", None)
    pbx.receive_response(make_response(first, 100), 1.0)
    assert pbx.alive is None
    pbx.receive_response(make_response(first, 403, to_tag="x"), 2.0)
    assert pbx.next_event() == PeerChanged(alive=True, reason="403 Forbidden", since=2.0)
    assert pbx.get_timer() == 2.0 + INTERVAL_S
    pbx.handle_timer(2.0 + INTERVAL_S)
    second = asked(pbx)
    assert second.cseq.number == first.cseq.number + 1
    assert second.call_id == first.call_id
    pbx.receive_response(make_response(first, 200, to_tag="x"), 40.0)  # late, of the first
    assert pbx.get_timer() is None
    pbx.receive_response(make_response(second, 200, to_tag="x"), 41.0)
    assert pbx.next_event() is None


def test_silence_is_told_once_and_asked_about_more_often():
    pbx = keeper()
    for moment in (32.0, 70.0):
        asked(pbx)
        pbx.transaction_failed("timeout", moment)
        assert pbx.get_timer() == moment + RETRY_S
        pbx.handle_timer(moment + RETRY_S)
    assert pbx.next_event() == PeerChanged(alive=False, reason="timeout", since=32.0)
    assert pbx.next_event() is None
    pbx.receive_response(make_response(asked(pbx), 200, to_tag="x"), 80.0)
    assert pbx.next_event() == PeerChanged(alive=True, reason="200 OK", since=80.0)


def test_after_the_end_nothing_is_asked_or_learned():
    pbx = keeper()
    question = asked(pbx)
    pbx.stop()
    pbx.receive_response(make_response(question, 200, to_tag="x"), 1.0)
    pbx.transaction_failed("timeout", 1.0)
    pbx.handle_timer(1000.0)
    assert (pbx.next_event(), pbx.requests_to_send(), pbx.get_timer()) == (None, [], None)
