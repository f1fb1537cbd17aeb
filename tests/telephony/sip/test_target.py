"""Where a URI leads, and what our own contact is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow, Transport
from telephony.sip.message import Request, parse
from telephony.sip.target import Target, contact_uri, dialog_flow, same_address, same_host, target_of
from telephony.sip.uri import SipUri, parse_uri


def sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


@pytest.mark.parametrize(
    ("text", "transport", "host", "port"),
    [
        ("sip:pbx.example", "UDP", "pbx.example", 5060),
        ("sip:a@pbx.example:5080;transport=tcp", "TCP", "pbx.example", 5080),
        ("sip:pbx.example;transport=TLS", "TLS", "pbx.example", 5061),
        ("sips:pbx.example", "TLS", "pbx.example", 5061),
        ("sips:pbx.example;transport=tcp", "TLS", "pbx.example", 5061),
        ("sip:[2001:db8::1]", "UDP", "2001:db8::1", 5060),
        ("sip:[2001:db8::1]:5070;transport=udp", "UDP", "2001:db8::1", 5070),
    ],
)
def test_where_a_uri_leads(text, transport, host, port):
    assert target_of(sip(text)) == Target(transport=transport, host=host, port=port)


@pytest.mark.parametrize("text", ["sip:a@b;transport=sctp", "sip:a@b;transport=ws", "sips:a@b;transport=udp"])
def test_transports_that_we_do_not_have_are_refused(text):
    with pytest.raises(RemoteProtocolError) as caught:
        target_of(sip(text))
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("transport", "host", "secure", "written"),
    [
        ("UDP", "192.0.2.1", False, "sip:line@192.0.2.1:5060"),
        ("TCP", "192.0.2.1", False, "sip:line@192.0.2.1:5060;transport=tcp"),
        ("TLS", "2001:db8::1", False, "sip:line@[2001:db8::1]:5060;transport=tls"),
        ("TLS", "2001:db8::1", True, "sips:line@[2001:db8::1]:5060"),
    ],
)
def test_our_contact_leads_back_the_way_it_came(transport: Transport, host, secure, written):
    flow = Flow(transport=transport, remote=("192.0.2.9", 40000), local=(host, 5060))
    uri = contact_uri("line", flow, secure=secure)
    assert str(uri) == written
    assert target_of(uri) == Target(transport=transport, host=host, port=5060)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("[2001:db8::1]", "2001:DB8:0::1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("PBX.example.", "pbx.example", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "pbx.example", False),
    ],
)
def test_hosts_are_compared_as_addresses(first, second, same):
    assert same_host(first, second) is same
    assert same_address((first, 5060), (second, 5060)) is same
    assert not same_address((first, 5060), (second, 5061))


@pytest.mark.parametrize(
    ("vias", "routes", "contact", "transport", "remote"),
    [
        (1, (), "sip:1001@192.0.2.7:5070", "UDP", ("198.51.100.1", 5060)),  # NAT: back along the flow
        (2, (), "sip:1001@192.0.2.7:5070", "UDP", ("192.0.2.7", 5070)),
        (3, (), "sip:1001@192.0.2.7", "UDP", ("192.0.2.7", 5060)),
        (2, ("<sip:198.51.100.1;lr>",), "sip:1001@192.0.2.7", "UDP", ("198.51.100.1", 5060)),
        (2, (), "sip:1001@phone.example", "UDP", ("198.51.100.1", 5060)),
        (2, (), "sip:1001@192.0.2.7;transport=tcp", "UDP", ("198.51.100.1", 5060)),
        (2, (), "sip:1001@192.0.2.7;transport=sctp", "UDP", ("198.51.100.1", 5060)),
        (2, (), "sip:1001@[2001:db8::7]", "UDP", ("198.51.100.1", 5060)),
        (2, (), "tel:+8637122595110", "UDP", ("198.51.100.1", 5060)),
        (2, (), "sip:1001@192.0.2.7", "TCP", ("198.51.100.1", 5060)),
    ],
)
def test_requests_within_a_dialog_go_past_a_proxy_that_records_no_route(vias, routes, contact, transport, remote):
    head = "INVITE sip:a@127.0.0.1 SIP/2.0\r\n" + "".join(
        f"Via: SIP/2.0/{transport} h{number}:5060;branch=z9hG4bK{number}\r\n" for number in range(vias)
    )
    request = parse(f"{head}From: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n".encode())
    assert isinstance(request, Request)
    flow = Flow(transport=transport, remote=("198.51.100.1", 5060), local=("127.0.0.1", 5060))
    assert dialog_flow(request, contact, routes, flow) == replace(flow, remote=remote)
