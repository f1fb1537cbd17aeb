"""How a message finds its transaction and its way back: branch keys, Via, and the requests that copy an
INVITE's Via.

RFC 3261 17.1.3, 17.2.3, 18.2 and RFC 3581 (``received``/``rport``).
"""

from __future__ import annotations

from dataclasses import replace

from telephony.sip.flow import Flow
from telephony.sip.headers import Via
from telephony.sip.message import Headers, Request, Response
from telephony.sip.uri import Params

MAGIC_COOKIE = "z9hG4bK"
DEFAULT_PORT = 5060
MAX_FORWARDS = "70"

ClientKey = tuple[str, str]
ServerKey = tuple[str, ...]
MergeKey = tuple[str, str, int, str]
AckKey = tuple[str, str | None, str | None, int]


def has_cookie(via: Via) -> bool:
    """Whether the branch is unique in space and time, as RFC 3261 8.1.1.7 wants it. The cookie alone is not (RFC
    4475 section 3.2)."""
    return via.branch is not None and via.branch.startswith(MAGIC_COOKIE) and via.branch != MAGIC_COOKIE


def client_key(via: Via, method: str) -> ClientKey:
    """RFC 3261 17.1.3: the branch we chose and the method, by which CANCEL differs from its INVITE."""
    return (via.branch or "", method)


def server_key(request: Request, method: str) -> ServerKey:
    """RFC 3261 17.2.3 for a transaction of ``method`` (INVITE for the ACK and the CANCEL of one).

    Without the magic cookie the sender follows RFC 2543, whose branches are not unique: then the
    Request-URI, From tag, Call-ID, CSeq number and the whole top Via decide.
    """
    via = request.via
    sent_by = (via.host.lower(), str(via.port or DEFAULT_PORT))
    branch = via.branch or ""
    if has_cookie(via):
        return (branch, *sent_by, method)
    identity = (request.uri, request.from_.tag or "", request.call_id, str(request.cseq.number))
    return ("", branch, *sent_by, *identity, method)


def merge_key(request: Request) -> MergeKey | None:
    """What two copies of one request share that came by different paths (RFC 3261 8.2.2.2); None within a
    dialog."""
    tag = request.from_.tag
    if tag is None or request.to.tag is not None:
        return None
    return (request.call_id, tag, request.cseq.number, request.method)


def ack_key(message: Request | Response) -> AckKey:
    """What a 2xx and its ACK share: the ACK has a branch of its own, so the dialog and the CSeq number say
    it."""
    return (message.call_id, message.from_.tag, message.to.tag, message.cseq.number)


def with_arrival(request: Request, flow: Flow) -> Request:
    """``request`` whose top Via tells where it came from (RFC 3261 18.2.1, RFC 3581 section 4)."""
    via = request.via
    host, port = flow.remote
    if via.wants_rport:
        return _with_top_via(request, via.with_param("received", host).with_param("rport", str(port)))
    if via.host.strip("[]") == host and via.received is None:
        return request
    return _with_top_via(request, via.with_param("received", host))


def reply_flow(request: Request, flow: Flow) -> Flow:
    """Where responses to ``request`` (as ``with_arrival`` left it) go: RFC 3261 18.2.2, RFC 3581 section 4.

    The host is always the one the request came from; ``maddr`` is not followed, it would let anyone aim our
    packets.
    """
    via = request.via
    if flow.reliable or via.wants_rport:
        return flow
    return replace(flow, remote=(flow.remote[0], via.port or DEFAULT_PORT))


def with_own_via(request: Request, flow: Flow, branch: str) -> Request:
    """``request`` with our Via on top, sent by the near end of ``flow``."""
    host, port = flow.local
    rport: Params = () if flow.reliable else (("rport", None),)
    params: Params = (("branch", branch), *rport)
    via = Via(transport=flow.transport, host=f"[{host}]" if ":" in host else host, port=port, params=params)
    return request.replace(headers=request.headers.prepended("Via", str(via)))


def failure_ack(invite: Request, response: Response) -> Request:
    """The ACK to a 3xx-6xx of ``invite`` as it was sent (RFC 3261 17.1.1.3)."""
    to = response.headers.get("To") or invite.headers.get("To") or ""
    return _same_hop(invite, "ACK", to)


def cancel_request(invite: Request, reason: str = "") -> Request:
    """The CANCEL of ``invite`` as it was sent (RFC 3261 9.1), with ``reason`` as its Reason."""
    cancel = _same_hop(invite, "CANCEL", invite.headers.get("To") or "")
    return cancel.replace(headers=cancel.headers.appended("Reason", reason)) if reason else cancel


def _same_hop(invite: Request, method: str, to: str) -> Request:
    kept = [
        ("Via", str(invite.via)),
        *(("Route", route) for route in invite.headers.get_all("Route")),
        ("Max-Forwards", MAX_FORWARDS),
        ("From", invite.headers.get("From") or ""),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.number} {method}"),
    ]
    return Request(method=method, uri=invite.uri, headers=Headers(kept))


def _with_top_via(request: Request, via: Via) -> Request:
    return request.replace(headers=request.headers.with_first("Via", str(via)))
