"""Whether the other end of a leg is still there: its session timer run, by refreshes and questions in the dialog."""

from __future__ import annotations

from hashlib import sha256

from telephony.clientleg import ClientLeg
from telephony.leg import SDP_TYPE, Leg, Wire
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.message import Request, Response
from telephony.sip.session_timer import Due

_GONE = frozenset({408, 481})
_NO_UPDATE = frozenset({405, 420, 501})
_CROSSED = 491


def keep(leg: Leg, wire: Wire) -> bool:
    """Do what the leg's session wants now; False where its peer has vanished."""
    if leg.ended or leg.dialog is None or leg.session is None:
        return True
    due = leg.session.take_due(wire.now)
    if due is Due.REFRESH:
        _refresh(leg, wire)
    elif due is Due.PROBE:
        _ask(leg, wire, "OPTIONS")
    return due is not Due.EXPIRED


def answered(leg: Leg, wire: Wire, response: Response) -> bool:
    """A response to what ``keep`` asked; False where it says that the peer is gone. A 2xx to a re-INVITE is
    acknowledged here, its SDP is the caller's matter."""
    asked = leg.inquiry
    if response.status < 200 or asked is None or leg.dialog is None or leg.session is None:
        return True
    leg.inquiry = None
    try:
        leg.dialog.receive_response(response)
    except RemoteProtocolError:
        return True
    if asked.method == "INVITE" and response.status < 300:
        wire.send_ack(leg.dialog.ack(asked.cseq.number), leg.flow)
    if leg.ended:
        return True
    if response.status in _GONE:
        return False
    _take_up(leg, wire, asked, response)
    return True


def _take_up(leg: Leg, wire: Wire, asked: Request, response: Response) -> None:
    if leg.session is None:
        return
    if response.status < 300 and asked.method != "OPTIONS":
        leg.session.answered(response, wire.now)
    elif leg.session.too_small(response):
        _refresh(leg, wire)
    elif response.status in _NO_UPDATE and asked.method == "UPDATE":
        leg.takes_update = False
        _refresh(leg, wire)
    elif response.status in (401, 407) and (proof := leg.prove(wire, response, asked)):
        _ask(leg, wire, asked.method, (*proof, *leg.session.refresh()))
    elif response.status == _CROSSED:
        leg.session.put_off(wire.now, glare_s(leg))
    else:
        leg.session.put_off(wire.now)


def glare_s(leg: Leg) -> float:
    """How long to wait after 491, when offers of both sides crossed (RFC 3261 14.1, RFC 3311 5.1): 2.1 to 4 s where the
    Call-ID is ours, else 0 to 2 s, in units of 10 ms."""
    first, steps = (210, 190) if isinstance(leg, ClientLeg) else (0, 200)
    return (first + int(chance(leg) * (steps + 1))) / 100


def chance(leg: Leg) -> float:
    """A number 0..1 that nobody else can tell beforehand, another one for each request of ours or the peer's."""
    dialog = leg.dialog
    seed = "" if dialog is None else f"{dialog.local}|{dialog.local_cseq}|{dialog.remote_cseq}"
    return int.from_bytes(sha256(seed.encode()).digest()[:4], "big") / 2**32


def _refresh(leg: Leg, wire: Wire) -> None:
    if leg.session is not None:
        _ask(leg, wire, "UPDATE" if leg.takes_update else "INVITE", leg.session.refresh())


def _ask(leg: Leg, wire: Wire, method: str, extra: tuple[tuple[str, str], ...] = ()) -> None:
    """One request within the dialog; a re-INVITE offers what was last agreed, unchanged."""
    if leg.dialog is None:
        return
    body = leg.described if method == "INVITE" else b""
    leg.inquiry = leg.dialog.request(method, body=body, content_type=SDP_TYPE if body else None, extra=extra)
    leg.inquiry_id = wire.send_request(leg.inquiry, leg.flow)
