"""Dialogs as the two ends of one call see them."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.dialog import Dialog, dialog_key
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.message import Request, Response, make_response
from tests.telephony.sip.peers import request

ROUTED = ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]


def invite(record_routes: list[str] | None = None) -> Request:
    message = request("INVITE")
    headers = message.headers.appended("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    for route in record_routes or []:
        headers = headers.appended("Record-Route", route)
    return message.replace(headers=headers)


def answer(to: Request, status: int = 200, contact: str | None = "<sip:phone@192.0.2.2:5062>") -> Response:
    extra = [] if contact is None else [("Contact", contact)]
    return make_response(to, status, to_tag="callee", extra=extra)


def pair(record_routes: list[str] | None = None) -> tuple[Dialog, Dialog]:
    call = invite(record_routes)
    return Dialog.as_uac(call, answer(call)), Dialog.as_uas(call, answer(call))


def arrived(message: Request) -> Request:
    """With a Via, as a receiver sees it."""
    return message.replace(headers=message.headers.prepended("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKy"))


def test_the_ends_mirror_each_other() -> None:
    caller, callee = pair()
    assert caller.key == ("call-1", "caller", "callee")
    assert callee.key == ("call-1", "callee", "caller")
    assert (caller.local, caller.remote) == (callee.remote, callee.local)
    assert caller.target == "sip:phone@192.0.2.2:5062"
    assert callee.target == "sip:13800138000@192.0.2.1:5060"
    assert (caller.local_cseq, caller.remote_cseq) == (1, None)
    assert (callee.local_cseq, callee.remote_cseq) == (0, 1)


@given(turns=st.lists(st.booleans(), max_size=20))
def test_requests_of_either_end_are_taken_by_the_other(turns: list[bool]) -> None:
    caller, callee = pair(ROUTED)
    for by_caller in turns:
        sender, receiver = (caller, callee) if by_caller else (callee, caller)
        message = arrived(sender.request("INFO"))
        receiver.receive_request(message)
        assert receiver.remote_cseq == sender.local_cseq
        assert dialog_key(message) == receiver.key
        assert not sender.matches(message)
        sender.receive_response(make_response(message, 200))


def test_the_route_is_walked_from_either_end() -> None:
    caller, callee = pair(ROUTED)
    bye = caller.request("BYE")
    assert bye.uri == "sip:phone@192.0.2.2:5062"
    assert bye.headers.get_all("Route") == ("<sip:p1.example;lr>", "<sip:p2.example;lr>")
    assert callee.request("BYE").headers.get_all("Route") == ("<sip:p2.example;lr>", "<sip:p1.example;lr>")


def test_a_strict_router_stands_in_the_request_uri() -> None:
    caller, _ = pair(["<sip:p2.example;lr>", "<sip:old.example;method=INVITE;transport=udp>"])
    bye = caller.request("BYE")
    assert bye.uri == "sip:old.example;transport=udp"
    assert bye.headers.get_all("Route") == ("<sip:p2.example;lr>", "<sip:phone@192.0.2.2:5062>")


def test_the_ack_carries_the_number_of_its_invite_even_later() -> None:
    caller, callee = pair()
    caller.request("INFO")
    ack = caller.ack(1, extra=[("Authorization", "Digest x")])
    assert str(ack.cseq) == "1 ACK"
    assert ack.headers.get("Authorization") == "Digest x"
    callee.receive_request(arrived(ack))
    assert callee.remote_cseq == 1
    with pytest.raises(LocalProtocolError):
        caller.request("ACK")
    assert caller.local_cseq == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_request_out_of_order_is_refused(number: int) -> None:
    caller, callee = pair()
    late = caller.request("INFO")
    late = late.replace(headers=late.headers.with_value("CSeq", f"{number} INFO"))
    with pytest.raises(RemoteProtocolError) as refusal:
        callee.receive_request(arrived(late))
    assert refusal.value.status == 500
    assert callee.remote_cseq == 1


def test_a_request_of_another_dialog_is_refused() -> None:
    caller, callee = pair()
    other = caller.request("BYE")
    other = other.replace(headers=other.headers.with_value("From", "<sip:x@192.0.2.1>;tag=other"))
    with pytest.raises(RemoteProtocolError) as refusal:
        callee.receive_request(arrived(other))
    assert refusal.value.status == 481


def test_a_reinvite_moves_the_target_and_an_info_does_not() -> None:
    caller, callee = pair()
    caller.contact = "<sip:13800138000@192.0.2.77>"
    callee.receive_request(arrived(caller.request("INFO", extra=[("Contact", "<sip:evil@192.0.2.66>")])))
    assert callee.target == "sip:13800138000@192.0.2.1:5060"
    again = arrived(caller.request("INVITE"))
    callee.receive_request(again)
    assert callee.target == "sip:13800138000@192.0.2.77"
    caller.receive_response(answer(again, contact="<sip:phone@192.0.2.88>"))
    assert caller.target == "sip:phone@192.0.2.88"


def test_an_early_dialog_takes_its_route_from_the_2xx() -> None:
    call = invite(["<sip:early.example;lr>"])
    dialog = Dialog.as_uac(call, answer(call, 180))
    assert not dialog.confirmed
    dialog.receive_response(answer(invite(ROUTED)))
    assert dialog.confirmed
    assert dialog.routes == ("<sip:p1.example;lr>", "<sip:p2.example;lr>")


def test_a_missing_contact_costs_no_call_of_ours_but_is_refused_in_an_invite() -> None:
    call = invite()
    assert Dialog.as_uac(call, answer(call, contact=None)).target == call.uri
    nameless = call.replace(headers=call.headers.without("Contact"))
    with pytest.raises(RemoteProtocolError) as refusal:
        Dialog.as_uas(nameless, answer(nameless))
    assert refusal.value.status == 400
    with pytest.raises(LocalProtocolError):
        Dialog.as_uas(call, answer(call, contact=None))
    with pytest.raises(RemoteProtocolError):
        Dialog.as_uac(call, make_response(call, 180))


def test_a_dialog_survives_as_plain_values() -> None:
    caller, _ = pair(ROUTED)
    values = json.loads(json.dumps(asdict(caller)))
    again = Dialog(**{**values, "routes": tuple(values["routes"])})
    assert again == caller
    assert again.request("BYE") == caller.request("BYE")
