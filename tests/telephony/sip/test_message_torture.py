"""The parser against messages after RFC 4475 (SIP torture tests): valid ones are read as it says, invalid ones refused.

Each is written here from the RFC's description and carries its name there. Treatments above the parser (416, 406, 483,
merging…) belong to the tests of the layers that decide them; here it counts that the message reaches them intact.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.message import Message, Request, Response, error_response_for, parse
from telephony.sip.sdp import parse_sdp
from telephony.sip.uri import OpaqueUri, SipUri

SDP = "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.3\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\nm=audio 49217 RTP/AVP 0 12\n"


def wire(head: str, body: str | bytes = b"", *, length: int | None = None) -> bytes:
    """A message of ``head`` with CRLF line ends; ``length`` None leaves Content-Length as written in the head."""
    octets = body.replace("\n", "\r\n").encode() if isinstance(body, str) else body
    text = head.strip("\n") + ("" if length is None else f"\nContent-Length: {length}")
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n\r\n" + octets


def simple(**changes: str) -> bytes:
    """A plain OPTIONS with lines replaced ("" takes one away); ``start`` is the start line, ``more`` is added."""
    method = changes.get("start", "OPTIONS").split(" ")[0]
    lines = {
        "start": "OPTIONS sip:user@example.com SIP/2.0",
        "to": "To: sip:user@example.com",
        "from": "From: sip:caller@example.net;tag=323",
        "max": "Max-Forwards: 70",
        "call_id": "Call-ID: torture.1@example.net",
        "cseq": f"CSeq: 60 {method}",
        "via": "Via: SIP/2.0/UDP host.example.net;branch=z9hG4bKkdjuw",
        "contact": "Contact: <sip:caller@host.example.net>",
        "more": "",
        "length": "l: 0",
    } | changes
    return wire("\n".join(line for line in lines.values() if line))


WSINV = wire(
    """
INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
TO :
 sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>
  ;
  tag = 98asjd8
MaX-fOrWaRdS: 0068
Call-ID: wsinv.ndaksdj@192.0.2.1
Content-Length   : 150
cseq: 0009
  INVITE
Via  : SIP  /   2.0
 /UDP
    192.0.2.2;branch=390skdjuw
s :
NewFangledHeader:   newfangled value
 continued newfangled value
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     spindle.example.com   ;
  branch  =   z9hG4bK9ikj8  ,
 SIP  /    2.0   / UDP  192.168.255.111   ; branch=
 z9hG4bK30239
m:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =
      newvalue ;
  secondparam ; q = 0.33
""",
    "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.3\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\nm=audio 49217 RTP/AVP 0 12\n"
    "m=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n",
)


def wsinv(message: Message) -> None:
    assert (message.to.tag, message.from_.tag, message.from_.display) == ("1918181833n", "98asjd8", 'J Rosenberg \\"')
    assert (message.max_forwards, message.cseq.number, message.cseq.method) == (68, 9, "INVITE")
    assert [via.branch for via in message.vias] == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]
    assert [via.transport for via in message.vias] == ["UDP", "TCP", "UDP"]
    assert message.headers.get("Subject") == ""
    assert message.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert message.headers.get("UnknownHeaderWithUnusualValue") == ";;,,;;,;"
    contact = message.contacts[0]
    assert (contact.display, contact.params) == (
        'Quoted string ""',
        (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33")),
    )
    assert isinstance(message.routes[0].uri, SipUri)
    assert message.routes[0].uri.param("unknown-no-value") == ""
    assert len(message.body) == 150
    assert [media.kind for media in parse_sdp(message.body).media] == ["audio", "video"]


INTMETH_URI = (
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
)
INTMETH = wire(
    f"!interesting-Method0123456789_*+`.%indeed'~ {INTMETH_URI} SIP/2.0"
    """
Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~
To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>
 ;fromParam''~+*_!.-%="\u0440\u0430\u0431\u043e\u0442\u0430\u044e\u0449\u0438\u0439"
 ;tag=_token~1'+`*%!-.
Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{
CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
Max-Forwards: 255
extensionHeader-!.%*+_`'~:\ufeff\u5927\u505c\u96fb
Content-Length: 0
"""
)


def intmeth(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == "!interesting-Method0123456789_*+`.%indeed'~"
    assert isinstance(message.target, SipUri)
    assert message.target.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert message.target.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.via.branch == "z9hG4bK-.!%66*_+`'~"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    assert message.from_.tag == "_token~1'+`*%!-."
    assert message.from_.params[0] == ("fromparam''~+*_!.-%", "работающий")
    assert message.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert message.headers.get("extensionHeader-!.%*+_`'~") == "\ufeff大停電"


def user(expected: str) -> Callable[[Message], None]:
    def check(message: Message) -> None:
        assert isinstance(message, Request)
        assert isinstance(message.target, SipUri)
        assert message.target.user == expected

    return check


def escaped_header_names_and_methods_stay(message: Message) -> None:
    assert isinstance(message, Request)
    assert message.method == "RE%47IST%45R"
    assert message.headers.get("%43all-ID") == "noise"


def longreq(message: Message) -> None:
    assert len(message.vias) == 34
    assert message.via.host == "sip33.example.com"
    assert len(message.headers.get("Unknown-" + "Long" * 19 + "-Name") or "") == 1500


def dblreq(message: Message) -> None:
    assert isinstance(message, Request)
    assert (message.method, message.body, message.call_id) == (
        "REGISTER",
        b"",
        "dblreq.0ha0isndaksdj99sdfafnl3lk233412",
    )


def semiuri(message: Message) -> None:
    user("user;par=u%40example.net")(message)
    assert isinstance(message, Request)
    assert isinstance(message.target, SipUri)
    assert message.target.params == ()


def transports(message: Message) -> None:
    assert [via.transport for via in message.vias] == ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]


def mpart(message: Message) -> None:
    assert message.body == b"--x\r\n\r\n\x00\xff\r\n\r\n--x--"


def reason(expected: str) -> Callable[[Message], None]:
    def check(message: Message) -> None:
        assert isinstance(message, Response)
        assert message.reason == expected

    return check


def opaque(scheme: str) -> Callable[[Message], None]:
    def check(message: Message) -> None:
        assert isinstance(message, Request)
        assert isinstance(message.target, OpaqueUri)
        assert message.target.scheme == scheme

    return check


def cparam01(message: Message) -> None:
    assert message.contacts[0].params == (("unknownparam", None),)


def cparam02(message: Message) -> None:
    assert message.contacts[0].params == ()
    assert str(message.contacts[0].uri) == "sip:+19725552222@gw1.example.net;unknownparam"


def regescrt(message: Message) -> None:
    assert isinstance(message.contacts[0].uri, SipUri)
    assert message.contacts[0].uri.headers == (("Route", "%3Csip:sip.example.com%3E"),)


def zeromf(message: Message) -> None:
    assert message.max_forwards == 0


def inv2543(message: Message) -> None:
    assert message.via.branch is None
    assert (message.from_.tag, message.to.tag, message.max_forwards) == (None, None, None)
    assert message.body.startswith(b"v=0")


def badbranch(message: Message) -> None:
    assert message.via.branch == "z9hG4bK"


def as_it_came(message: Message) -> None:
    assert message.serialize()


def expires_default(message: Message) -> None:
    assert message.expires == 3600
    assert message.contacts[0].expires == 3600


VALID = {
    "wsinv: tortuous blanks, folds and compact forms": (WSINV, wsinv),
    "intmeth: the whole breadth of the grammar": (INTMETH, intmeth),
    "esc01: escaped characters in a user": (
        simple(start="OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0"),
        user("sips%3Auser%40example.com"),
    ),
    "escnull: an escaped NUL": (
        simple(start="REGISTER sip:null-%00-null@example.com SIP/2.0"),
        user("null-%00-null"),
    ),
    "esc02: % where it escapes nothing": (
        simple(start="RE%47IST%45R sip:registrar.example.com SIP/2.0", more="%43all-ID: noise"),
        escaped_header_names_and_methods_stay,
    ),
    "lwsdisp: no blank between display name and <": (
        simple(**{"from": "From: caller<sip:caller@example.com>;tag=323"}),
        lambda message: (message.from_.display == "caller" and message.from_.tag == "323") or pytest.fail("lwsdisp"),
    ),
    "longreq: long values": (
        simple(
            via="\n".join(f"Via: SIP/2.0/TCP sip{n}.example.com;branch=z9hG4bK{n}" for n in range(33, -1, -1)),
            to=f'To: "I have a {"very " * 100}long name" <sip:{"user" * 60}@example.com>',
            more=f"Unknown-{'Long' * 19}-Name: {'v' * 1500}",
        ),
        longreq,
    ),
    "dblreq: a second request in the datagram": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            call_id="Call-ID: dblreq.0ha0isndaksdj99sdfafnl3lk233412",
        )
        + simple(start="INVITE sip:joe@example.com SIP/2.0"),
        dblreq,
    ),
    "semiuri: semicolon parameters in the user": (
        simple(start="OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"),
        semiuri,
    ),
    "transports: transports that nobody knows": (
        simple(
            via="\n".join(
                f"Via: SIP/2.0/{transport} t{n}.example.com;branch=z9hG4bK{n}"
                for n, transport in enumerate(["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"])
            )
        ),
        transports,
    ),
    "mpart01: binary body with empty lines": (
        simple(start="MESSAGE sip:kumiko@example.org SIP/2.0", length="l: 18\nContent-Type: multipart/mixed;boundary=x")
        + b"--x\r\n\r\n\x00\xff\r\n\r\n--x--",
        mpart,
    ),
    "unreason: a reason in UTF-8": (
        simple(start="SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое", cseq="CSeq: 35 INVITE"),
        reason("= 2**3 * 5**2 но сто девяносто девять - простое"),
    ),
    "noreason: an empty reason": (simple(start="SIP/2.0 100 ", cseq="CSeq: 35 INVITE"), reason("")),
    "badbranch: a branch of the cookie alone": (
        simple(via="Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"),
        badbranch,
    ),
    "unkscm: an unknown scheme": (
        simple(start="OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0"),
        opaque("nobodyknowsthisscheme"),
    ),
    "novelsc: a registered scheme that is not SIP's": (
        simple(start="OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"),
        opaque("soap.beep"),
    ),
    "unksm2: unknown schemes in To, From and Contact": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            to="To: isbn:2983792873",
            **{"from": "From: <http://www.example.com>;tag=3234233"},
            contact="Contact: <name:John_Smith>",
        ),
        lambda message: str(message.to.uri) == "isbn:2983792873" or pytest.fail("unksm2"),
    ),
    "bext01: unknown Require and Proxy-Require": (
        simple(more="Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis"),
        as_it_came,
    ),
    "invut: an unknown media type": (
        simple(start="INVITE sip:user@example.com SIP/2.0", length="l: 3\nContent-Type: application/unknownformat")
        + b"<a>",
        lambda message: message.content_type == "application/unknownformat" or pytest.fail("invut"),
    ),
    "regaut01: an unknown authorization scheme": (
        simple(start="REGISTER sip:example.com SIP/2.0", more="Authorization: NoOneKnowsThisScheme opaque-data=here"),
        as_it_came,
    ),
    "bcast: a response for someone else": (
        simple(
            start="SIP/2.0 200 OK",
            cseq="CSeq: 8 INVITE",
            via="Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923"
            "\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23",
        ),
        lambda message: message.vias[1].host == "255.255.255.255" or pytest.fail("bcast"),
    ),
    "zeromf: no hops left": (simple(max="Max-Forwards: 0"), zeromf),
    "cparam01: an unknown contact parameter": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            contact="Contact: sip:+19725552222@gw1.example.net;unknownparam",
        ),
        cparam01,
    ),
    "cparam02: an unknown URI parameter": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            contact="Contact: <sip:+19725552222@gw1.example.net;unknownparam>",
        ),
        cparam02,
    ),
    "regescrt: escaped headers in a contact's URI": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            contact="Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>",
        ),
        regescrt,
    ),
    "sdp01: nothing we have is acceptable": (
        simple(start="INVITE sip:user@example.com SIP/2.0", more="Accept: text/nobodyKnowsThis"),
        as_it_came,
    ),
    "inv2543: a peer of RFC 2543": (
        wire(
            "INVITE sip:UserB@example.com SIP/2.0\n"
            "Via: SIP/2.0/UDP iftgw.example.com\n"
            "From: <sip:+13035551111@ift.client.example.net;user=phone>\n"
            "Record-Route: <sip:UserB@example.com;maddr=ss1.example.com>\n"
            "To: sip:+16505552222@ss1.example.net;user=phone\n"
            "Call-ID: inv2543.1717@ift.client.example.com\n"
            "CSeq: 56 INVITE\n"
            "Content-Type: application/sdp",
            SDP,
        ),
        inv2543,
    ),
    "baddate: a Date in another zone, which nothing here reads": (
        simple(more="Date: Fri, 01 Jan 2010 16:00:00 EST"),
        as_it_came,
    ),
    "baddn: a display name that needs quotes, tolerated": (
        simple(**{"from": "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43"}),
        lambda message: message.from_.tag == "43" or pytest.fail("baddn"),
    ),
    "scalar02 (expiry): an expiry beyond 32 bits counts as an hour": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            more="Expires: " + "1" * 80,
            contact="Contact: <sip:user@host129.example.com>;expires=280297596632815",
        ),
        expires_default,
    ),
}

INVALID = {
    "badinv01: empty parameters and elements": (
        simple(
            via="Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
            to='To: "Joe" <sip:joe@example.org>;;;;',
            contact='Contact: "" <> ;,"Joe" <sip:joe@example.org>;;,,;;',
        ),
        400,
    ),
    "clerr: Content-Length beyond the datagram": (simple(length="Content-Length: 9999") + SDP.encode(), 400),
    "ncl: negative Content-Length": (simple(length="Content-Length: -999") + SDP.encode(), 400),
    "scalar02: CSeq beyond 31 bits": (simple(cseq="CSeq: 36893488147419103232 OPTIONS"), 400),
    "scalar02: Max-Forwards beyond 255": (simple(max="Max-Forwards: 300"), 400),
    "scalarlg: a response with such a CSeq": (
        simple(start="SIP/2.0 503 Service Unavailable", cseq="CSeq: 9292394834772304023312 OPTIONS"),
        400,
    ),
    "quotbal: an unbalanced quote": (simple(to='To: "Mr. J. User <sip:j.user@example.com>'), 400),
    "ltgtruri: the Request-URI in angle brackets": (simple(start="OPTIONS <sip:user@example.com> SIP/2.0"), 400),
    "lwsruri: a blank in the Request-URI": (simple(start="OPTIONS sip:user@example.com; lr SIP/2.0"), 400),
    "lwsstart: several blanks in the request line": (simple(start="OPTIONS  sip:user@example.com  SIP/2.0"), 400),
    "trws: blanks after the request line": (simple(start="OPTIONS sip:user@example.com SIP/2.0  "), 400),
    "escruri: headers in the Request-URI": (
        simple(start="OPTIONS sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0"),
        400,
    ),
    "regbadct: headers in a contact without brackets": (
        simple(
            start="REGISTER sip:example.com SIP/2.0",
            contact="Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E",
        ),
        400,
    ),
    "badaspec: blanks inside the brackets": (simple(to='To: "Watson, Thomas" < sip:t.watson@example.org >'), 400),
    "badvers: an unknown version": (simple(start="OPTIONS sip:t.watson@example.org SIP/7.0"), 505),
    "mismatch01: CSeq names another method": (simple(cseq="CSeq: 8 INVITE"), 400),
    "mismatch02: the same with an unknown method": (
        simple(start="NEWMETHOD sip:user@example.com SIP/2.0", cseq="CSeq: 8 INVITE"),
        400,
    ),
    "bigcode: a status of ten digits": (
        simple(start="SIP/2.0 4294967301 better not break the receiver", cseq="CSeq: 1 INVITE"),
        400,
    ),
    "insuf: no Call-ID, From or To": (simple(**{"to": "", "from": "", "call_id": ""}), 400),
    "multi01: single fields twice": (
        simple(
            cseq="CSeq: 5 OPTIONS\nCSeq: 59 OPTIONS",
            call_id="Call-ID: multi01.98asdh@192.0.2.1\nCall-ID: multi01.98asdh@192.0.2.2",
            more="From: <sip:other@example.com>;tag=88\nTo: sip:other@example.net\nMax-Forwards: 5",
        ),
        400,
    ),
    "mcl01: two Content-Lengths": (simple(length="Content-Length: 13\nContent-Length: 5") + b"There's no way", 400),
}


@pytest.mark.parametrize("name", VALID)
def test_valid_torture_is_read_as_the_rfc_says(name):
    data, check = VALID[name]
    message = parse(data)
    check(message)
    assert parse(message.serialize()) == message


@pytest.mark.parametrize("name", INVALID)
def test_invalid_torture_is_refused(name):
    data, status = INVALID[name]
    with pytest.raises(RemoteProtocolError) as caught:
        parse(data)
    assert caught.value.status == status
    answer = error_response_for(data, caught.value)
    answerable = not data.startswith(b"SIP/") and not name.startswith(("insuf", "badinv01"))
    assert (answer is not None) == answerable
    if answer is not None:
        assert answer.status == status
        assert answer.serialize()
