"""The torture messages of RFC 4475 and RFC 5118 against an element like ours: what it makes of each, and what it says.

The element is what stands before calls: the transaction layer, the checks of a user agent server and the registrar.
``TREATMENTS`` is the table that ``docs/conformance.md`` prints for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import pytest

from telephony.sip.authentication import Account
from telephony.sip.digest import Nonces, authorize, ha1, parse_challenge
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.events import MalformedReceived, RequestReceived
from telephony.sip.flow import Flow, Transport
from telephony.sip.framing import StreamFramer
from telephony.sip.inspection import inspect
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Message, Request, Response, make_response, parse
from telephony.sip.multipart import parts
from telephony.sip.registrar import Registrar
from telephony.sip.sdp import accept, answer, parse_sdp
from telephony.sip.uri import OpaqueUri, SipUri
from tests.telephony.sip.peers import events_of, tokens
from tests.telephony.sip.torture import rfc4475, rfc5118

METHODS = frozenset({"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "REGISTER"})
MESSAGES = rfc4475.MESSAGES | rfc5118.MESSAGES
DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"

Treatment = int | Literal["served", "dropped", "unanswered"]
"""A final status; "served": a call, for whoever takes calls; "dropped": a response that nobody waits for;
"unanswered": refused without an answer, because the message says nobody to answer."""

TREATMENTS: dict[str, Treatment] = {
    "wsinv": "served",
    "intmeth": 501,
    "esc01": "served",
    "escnull": 401,
    "esc02": 501,
    "lwsdisp": 200,
    "longreq": "served",
    "dblreq": 401,
    "semiuri": 200,
    "transports": 200,
    "mpart01": 405,
    "unreason": "dropped",
    "noreason": "dropped",
    "badinv01": "unanswered",
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": "unanswered",
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "trws": 400,
    "escruri": 400,
    "baddate": "served",
    "regbadct": 400,
    "badaspec": 400,
    "baddn": 200,
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": "unanswered",
    "badbranch": 200,
    "insuf": "unanswered",
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 401,
    "bext01": 420,
    "invut": 415,
    "regaut01": 401,
    "multi01": 400,
    "mcl01": 400,
    "bcast": "dropped",
    "zeromf": 200,
    "cparam01": 401,
    "cparam02": 401,
    "regescrt": 401,
    "sdp01": 406,
    "inv2543": "served",
    "ipv6-good": 401,
    "ipv6-bad": 400,
    "port-ambiguous": 401,
    "port-unambiguous": 401,
    "via-received-param-with-delim": 481,
    "via-received-param-no-delim": 200,
    "ipv6-in-sdp": "served",
    "mult-ip-in-header": 481,
    "mult-ip-in-sdp": "served",
    "ipv4-mapped-ipv6": "served",
    "ipv6-bug-abnf-3-colons": 200,
    "ipv6-correct-abnf-2-colons": 200,
}
REFUSED_BY_PARSER = frozenset({400, 505, "unanswered"})


class Element:
    """What stands before calls. ``receive`` gives the answers; calls that would be made are in ``calls``."""

    def __init__(self, transport: Transport = "UDP", accounts: Iterable[str] = ()) -> None:
        self.flow = Flow(transport=transport, remote=("192.0.2.99", 5060), local=("192.0.2.1", 5060))
        self.layer = TransactionLayer(rng=tokens("t"))
        known = {user: Account(user=user, ha1={"MD5": ha1(user, "realm", "password")}) for user in accounts}
        self.registrar = Registrar(known, "realm", Nonces(b"secret"), algorithms=("MD5",))
        self.calls: list[Request] = []
        self.malformed = 0
        self.stray = 0

    def receive(self, data: bytes) -> list[bytes]:
        self.layer.receive(data, self.flow, 0.0)
        for event in events_of(self.layer):
            if isinstance(event, MalformedReceived):
                self.malformed += 1
            else:
                assert isinstance(event, RequestReceived)
                response = self._serve(event.request)
                if response is not None:
                    self.layer.respond(event.transaction_id, response, 0.0)
        return [packet for packet, _ in self.layer.packets_to_send()]

    def _serve(self, request: Request) -> Response | None:
        refusal = inspect(request, methods=METHODS)
        if refusal is not None:
            return make_response(request, refusal.status, to_tag="t", extra=refusal.headers)
        if request.method == "REGISTER":
            return self.registrar.receive(request, self.flow, 1000.0).response
        if request.to.tag is not None and request.method != "INVITE":
            return make_response(request, 481, to_tag="t")
        if request.method == "INVITE":
            self.calls.append(request)
            return None
        return make_response(request, 200, to_tag="t")


def statuses(answers: Iterable[bytes]) -> list[int]:
    return [int(answer.split(b" ", 2)[1]) for answer in answers]


def test_the_table_holds_every_message_of_both_rfcs():
    assert len(rfc4475.MESSAGES) == 49
    assert len(rfc5118.MESSAGES) == 12
    assert list(TREATMENTS) == list(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_treatment(name):
    element, treatment = Element(), TREATMENTS[name]
    answers = element.receive(MESSAGES[name].data)
    if isinstance(treatment, int):
        assert statuses(answers) == [treatment]
        # A refused message's faulty fields are given back as they came, so such an answer may be as faulty.
        assert treatment in REFUSED_BY_PARSER or isinstance(parse(answers[0]), Response)
    else:
        assert answers == []
    assert len(element.calls) == (treatment == "served")
    assert element.malformed == (treatment in REFUSED_BY_PARSER)
    assert element.layer.counters.stray_responses == (treatment == "dropped")


@pytest.mark.parametrize("name", [name for name in MESSAGES if TREATMENTS[name] not in REFUSED_BY_PARSER])
def test_what_is_read_is_written_without_loss(name):
    message = parse(MESSAGES[name].data)
    assert parse(message.serialize()) == message


@pytest.mark.parametrize("name", MESSAGES)
def test_a_repetition_changes_nothing(name):
    """The same datagram again: the same answer, and no second call."""
    element = Element()
    first = element.receive(MESSAGES[name].data)
    again = element.receive(MESSAGES[name].data)
    assert statuses(again) == statuses(first)
    assert len(element.calls) == (TREATMENTS[name] == "served")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("size", [1, 7])
def test_on_a_stream_the_bytes_come_in_pieces(name, size):
    """The framer gives the same message, or ends the connection where its length cannot be known."""
    data, framer, messages = MESSAGES[name].data, StreamFramer(), []
    try:
        for start in range(0, len(data), size):
            messages += framer.feed(data[start : start + size])
    except RemoteProtocolError:
        pass
    if name in ("ncl", "mcl01", "inv2543"):
        assert messages == []
        assert framer.fault is not None
    elif name in ("clerr", "multi01"):  # multi01 counts two bytes more than it has
        assert messages == []
        assert framer.pending
    else:
        assert parse_or_fault(messages[0]) == parse_or_fault(data)


def parse_or_fault(data: bytes) -> Message | int:
    try:
        return parse(data)
    except RemoteProtocolError as error:
        return error.status


# What is read out of the valid ones


def target(message: Message) -> SipUri:
    assert isinstance(message, Request)
    assert isinstance(message.target, SipUri)
    return message.target


def wsinv(message: Message) -> None:
    assert message.max_forwards == 68
    assert str(message.cseq) == "9 INVITE"
    assert message.to.tag == "1918181833n"
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert [(via.transport, via.host, via.branch) for via in message.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert message.headers.get("Subject") == ""
    assert message.headers.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    route = message.routes[0].uri
    assert isinstance(route, SipUri)
    assert (route.param("unknownwith"), route.param("unknown-no-value")) == ("value", "")
    contact = message.contacts[0]
    assert contact.display == 'Quoted string ""'
    assert contact.params == (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
    assert [media.kind for media in parse_sdp(message.body).media] == ["audio", "video"]


def intmeth(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert target(message).user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert target(message).password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.via.branch == "z9hG4bK-.!%66*_+`'~"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.from_.params[0] == ("fromparam''~+*_!.-%", "работающий")
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"


def esc01(message: Message) -> None:
    assert target(message).user == "sips%3Auser%40example.com"
    assert isinstance(message.to.uri, SipUri)
    assert message.to.uri.user == "user"
    contact = message.contacts[0].uri
    assert isinstance(contact, SipUri)
    assert contact.user == "caller"
    assert contact.params == (("%6C%72", None), ("n%61me", "v%61lue%25%34%31"))


def escnull(message: Message) -> None:
    assert isinstance(message.to.uri, SipUri)
    assert message.to.uri.user == "null-%00-null"
    assert [str(contact.uri) for contact in message.contacts] == [
        "sip:%00@host5.example.com",
        "sip:%00%00@host5.example.com",
    ]


def esc02(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"
    assert message.to.display == "%Z%45"
    assert [str(contact.uri.host) for contact in message.contacts] == ["host1.example.com", "host3.example.com"]
    assert message.headers.get("C%6Fntact") is not None


def longreq(message: Message) -> None:
    assert len(message.vias) == 34
    assert (message.via.host, message.vias[-1].received) == ("sip33.example.com", "192.0.2.5")
    assert len(message.from_.tag or "") == 155
    assert isinstance(message.to.uri, SipUri)
    assert message.to.uri.port == 6000


def dblreq(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.method, message.body) == ("REGISTER", b"")


def semiuri(message: Message) -> None:
    assert (target(message).user, target(message).params) == ("user;par=u%40example.net", ())


def transports(message: Message) -> None:
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def mpart01(message: Message) -> None:
    text, signature = parts(message)
    assert (text.media_type, text.body) == ("text/plain", b"Hello")
    assert signature.body == rfc4475._SIGNATURE


def unreason(message: Message) -> None:
    assert isinstance(message, Response)
    assert message.reason == "= 2**3 * 5**2 но сто девяносто девять - простое"


def noreason(message: Message) -> None:
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (100, "")


def inv2543(message: Message) -> None:
    assert (message.via.branch, message.from_.tag, message.to.tag, message.max_forwards) == (None,) * 4
    assert parse_sdp(message.body).media[0].port == 49217


def unknown_scheme(message: Message) -> None:
    assert isinstance(message, Request)
    assert isinstance(message.target, OpaqueUri)


def unksm2(message: Message) -> None:
    assert (str(message.to.uri), str(message.contacts[0].uri)) == ("isbn:2983792873", "name:John_Smith")


def cparam01(message: Message) -> None:
    assert message.contacts[0].params == (("unknownparam", None),)


def cparam02(message: Message) -> None:
    assert message.contacts[0].params == ()
    assert str(message.contacts[0].uri) == "sip:+19725552222@gw1.example.net;unknownparam"


def regescrt(message: Message) -> None:
    assert isinstance(message.contacts[0].uri, SipUri)
    assert message.contacts[0].uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)


def request_host(host: str, port: int | None = None) -> Callable[[Message], None]:
    def check(message: Message) -> None:
        assert (target(message).host, target(message).port) == (host, port)

    return check


def received(message: Message) -> None:
    assert (message.via.received or "").strip("[]") == "2001:db8::9:255"


def ipv6_in_sdp(message: Message) -> None:
    description = parse_sdp(message.body)
    assert description.connection is not None
    assert description.connection.host == "2001:db8::20"


def mult_ip_in_header(message: Message) -> None:
    assert [via.host for via in message.vias] == ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:255]"]
    assert message.via.port == 6050


def mult_ip_in_sdp(message: Message) -> None:
    _, target_of_audio = answer(parse_sdp(message.body), host="192.0.2.7", port=4000, session_id=1, version=1)
    assert (target_of_audio.host, target_of_audio.port) == ("192.0.2.1", 22334)
    assert accept(parse_sdp(message.body), host="192.0.2.7").host == "192.0.2.1"


def mapped(message: Message) -> None:
    assert [via.host for via in message.vias] == ["[::ffff:192.0.2.10]", "[::ffff:192.0.2.2]"]
    assert parse_sdp(message.body).connection == parse_sdp(message.body).origin.connection


READINGS: dict[str, Callable[[Message], None]] = {
    "wsinv": wsinv,
    "intmeth": intmeth,
    "esc01": esc01,
    "escnull": escnull,
    "esc02": esc02,
    "longreq": longreq,
    "dblreq": dblreq,
    "semiuri": semiuri,
    "transports": transports,
    "mpart01": mpart01,
    "unreason": unreason,
    "noreason": noreason,
    "unkscm": unknown_scheme,
    "novelsc": unknown_scheme,
    "unksm2": unksm2,
    "cparam01": cparam01,
    "cparam02": cparam02,
    "regescrt": regescrt,
    "inv2543": inv2543,
    "ipv6-good": request_host("[2001:db8::10]"),
    "port-ambiguous": request_host("[2001:db8::10:5070]"),
    "port-unambiguous": request_host("[2001:db8::10]", 5070),
    "via-received-param-with-delim": received,
    "via-received-param-no-delim": received,
    "ipv6-in-sdp": ipv6_in_sdp,
    "mult-ip-in-header": mult_ip_in_header,
    "mult-ip-in-sdp": mult_ip_in_sdp,
    "ipv4-mapped-ipv6": mapped,
    "ipv6-bug-abnf-3-colons": request_host("[2001:db8::192.0.2.1]"),
    "ipv6-correct-abnf-2-colons": request_host("[2001:db8::192.0.2.1]"),
}


@pytest.mark.parametrize("name", READINGS)
def test_reading(name):
    READINGS[name](parse(MESSAGES[name].data))


# What a known phone gets that sends one of the registrations


@pytest.mark.parametrize(
    ("name", "user", "contacts"),
    [
        ("escnull", "null-%00-null", ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"]),
        ("dblreq", "j.user", ["sip:j.user@host.example.com"]),
        ("cparam01", "watson", ["sip:+19725552222@gw1.example.net"]),
        ("cparam02", "watson", ["sip:+19725552222@gw1.example.net;unknownparam"]),
        ("regescrt", "user", ["sip:user@example.com?Route=%3Csip:sip.example.com%3E"]),
        ("ipv6-good", "user", ["sip:caller@[2001:db8::1]"]),
    ],
)
def test_a_known_phone_registers_with_what_it_sent(name, user, contacts):
    element = Element(accounts=[user])
    request = parse(MESSAGES[name].data)
    assert isinstance(request, Request)
    challenged = element.registrar.receive(request, element.flow, 1000.0).response
    value = challenged.headers.get("WWW-Authenticate") or ""
    credentials = authorize(parse_challenge(value), "REGISTER", request.uri, user, "password", "cnonce", 1)
    proven = request.replace(headers=request.headers.appended("Authorization", credentials))
    outcome = element.registrar.receive(proven, element.flow, 1001.0)
    assert outcome.response.status == 200
    assert [str(contact.uri) for contact in outcome.response.contacts] == contacts


def test_a_registration_of_a_foreign_scheme_is_refused_even_to_a_known_phone():
    element = Element(accounts=["2983792873"])
    request = parse(MESSAGES["unksm2"].data)
    assert isinstance(request, Request)
    value = element.registrar.receive(request, element.flow, 1000.0).response.headers.get("WWW-Authenticate") or ""
    credentials = authorize(parse_challenge(value), "REGISTER", request.uri, "2983792873", "password", "cnonce", 1)
    proven = request.replace(headers=request.headers.appended("Authorization", credentials))
    assert element.registrar.receive(proven, element.flow, 1001.0).response.status == 403


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("intmeth", "Allow", "ACK, BYE, CANCEL, INFO, INVITE, OPTIONS, REGISTER, UPDATE"),
        ("bext01", "Unsupported", "nothingSupportsThis, nothingSupportsThisEither"),
        ("invut", "Accept", "application/sdp, multipart/mixed"),
        ("sdp01", "Accept", "application/sdp, multipart/mixed"),
    ],
)
def test_a_refusal_says_what_would_have_been_taken(name, header, value):
    assert parse(Element().receive(MESSAGES[name].data)[0]).headers.get(header) == value


def test_messages_of_a_branch_without_uniqueness_are_told_apart_by_more():
    """badbranch: the cookie alone identifies nothing, so a second request under it is no repetition."""
    element = Element()
    first = MESSAGES["badbranch"].data
    assert statuses(element.receive(first)) == [200]
    second = first.replace(b"badbranch.sadonfo", b"badbranch.another").replace(b"CSeq: 8 ", b"CSeq: 9 ")
    assert statuses(element.receive(second)) == [200]
    assert element.layer.counters.requests_again == 0


# The table for people


def test_the_document_lists_every_message_with_its_treatment():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([0-9.]+) \| ([^|]+?) \|", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert {name: (section, treatment) for name, section, treatment in rows} == {
        name: (MESSAGES[name].section, str(treatment)) for name, treatment in TREATMENTS.items()
    }
