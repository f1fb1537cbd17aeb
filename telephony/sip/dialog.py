"""Dialogs (RFC 3261 section 12): who the two ends are, in which order requests come, and by which route
they go.

A dialog holds nothing but text and numbers, so that it can be stored with ``dataclasses.asdict`` and a call
that was up before a restart can still be ended properly with ``Dialog(**values)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.headers import NameAddr, parse_name_addr
from telephony.sip.message import Headers, Request, Response
from telephony.sip.uri import SipUri

MAX_FORWARDS = "70"
_TARGET_REFRESH = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
_OUT_OF_ORDER = frozenset({"ACK", "CANCEL"})  # they carry the number of the request they belong to
_NOT_IN_REQUEST_URI = frozenset({"method"})

DialogKey = tuple[str, str, str | None]
"""Call-ID, local tag, remote tag (RFC 3261 section 12)."""


@dataclass(slots=True, kw_only=True)
class Dialog:
    """One end of a dialog.

    ``local`` and ``remote`` are From/To values with their tags, ``target`` is the peer's contact URI,
    ``contact`` our Contact value, ``routes`` the Route values in the order in which a request visits them.
    ``local_cseq`` is the number of our last request; ``remote_cseq`` that of the peer's last one, None
    before its first.
    """

    call_id: str
    local: str
    remote: str
    target: str
    contact: str
    routes: tuple[str, ...] = ()
    local_cseq: int = 0
    remote_cseq: int | None = None
    confirmed: bool = False

    @classmethod
    def as_uas(cls, request: Request, response: Response) -> Dialog:
        """The dialog that our ``response`` (101-299 with To tag and Contact) to ``request`` makes (12.1.1).

        Raises RemoteProtocolError (400) for a request without one Contact, LocalProtocolError for a
        response of ours that makes no dialog.
        """
        contact = response.headers.get("Contact")
        if response.to.tag is None or contact is None or not 100 < response.status < 300:
            raise LocalProtocolError("a response without To tag or Contact makes no dialog")
        if len(request.contacts) != 1:
            raise RemoteProtocolError(400, "Exactly one Contact expected")
        return cls(
            call_id=request.call_id,
            local=str(response.to),
            remote=str(request.from_),
            target=str(request.contacts[0].uri),
            contact=contact,
            routes=tuple(map(str, request.record_routes)),
            remote_cseq=request.cseq.number,
            confirmed=response.status >= 200,
        )

    @classmethod
    def as_uac(cls, request: Request, response: Response) -> Dialog:
        """The dialog that the peer's ``response`` to our ``request`` makes (12.1.2).

        A response that lacks the mandatory Contact does not cost the call: then the URI that was asked is
        the target. Raises RemoteProtocolError for a response without To tag.
        """
        if response.to.tag is None or not 100 < response.status < 300:
            raise RemoteProtocolError(400, "The response makes no dialog")
        contacts = response.contacts
        return cls(
            call_id=request.call_id,
            local=str(request.from_),
            remote=str(response.to),
            target=str(contacts[0].uri) if contacts else request.uri,
            contact=request.headers.get("Contact") or "",
            routes=tuple(map(str, reversed(response.record_routes))),
            local_cseq=request.cseq.number,
            confirmed=response.status >= 200,
        )

    @property
    def local_tag(self) -> str:
        """Our tag."""
        return parse_name_addr(self.local).tag or ""

    @property
    def remote_tag(self) -> str | None:
        """The peer's tag; None for a peer of RFC 2543."""
        return parse_name_addr(self.remote).tag

    @property
    def key(self) -> DialogKey:
        """What identifies the dialog at our end."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def matches(self, message: Request | Response) -> bool:
        """Whether a received message belongs to this dialog."""
        return dialog_key(message) == self.key

    def request(
        self,
        method: str,
        *,
        body: bytes = b"",
        content_type: str | None = None,
        extra: Iterable[tuple[str, str]] = (),
    ) -> Request:
        """The next request within the dialog (12.2.1.1), without Via. Raises LocalProtocolError for ACK and
        CANCEL."""
        if method in _OUT_OF_ORDER:
            raise LocalProtocolError(f"{method} takes no number of its own")
        self.local_cseq += 1
        return self._request(method, self.local_cseq, body, content_type, extra)

    def ack(
        self,
        cseq: int,
        *,
        body: bytes = b"",
        content_type: str | None = None,
        extra: Iterable[tuple[str, str]] = (),
    ) -> Request:
        """The ACK to the 2xx of our INVITE with number ``cseq`` (13.2.2.4); ``extra`` repeats its
        credentials."""
        return self._request("ACK", cseq, body, content_type, extra)

    def receive_request(self, request: Request) -> None:
        """Take up a request of the peer's, ACK included: order, then target refresh (12.2.2).

        Raises RemoteProtocolError: 481 where it belongs to another dialog, 500 where its CSeq number is not
        above the last one's.
        """
        if not self.matches(request):
            raise RemoteProtocolError(481, "Call/Transaction Does Not Exist")
        if request.method in _OUT_OF_ORDER:
            return
        if self.remote_cseq is not None and request.cseq.number <= self.remote_cseq:
            raise RemoteProtocolError(500, "CSeq out of order")
        self.remote_cseq = request.cseq.number
        self._refresh(request.method, request.contacts)

    def receive_response(self, response: Response) -> None:
        """Take up a response to a request of ours within the dialog: confirmation and target refresh.

        The route set of an early dialog is made anew by the 2xx (13.2.2.4), later ones leave it as it is.
        Raises RemoteProtocolError (481) where it belongs to another dialog.
        """
        if not self.matches(response):
            raise RemoteProtocolError(481, "Response of another dialog")
        if not 200 <= response.status < 300:
            return
        if not self.confirmed and response.cseq.method == "INVITE":
            self.routes = tuple(map(str, reversed(response.record_routes)))
            self.confirmed = True
        self._refresh(response.cseq.method, response.contacts)

    def _refresh(self, method: str, contacts: tuple[NameAddr, ...]) -> None:
        if method in _TARGET_REFRESH and contacts:
            self.target = str(contacts[0].uri)

    def _request(
        self,
        method: str,
        cseq: int,
        body: bytes,
        content_type: str | None,
        extra: Iterable[tuple[str, str]],
    ) -> Request:
        uri, routes = self._routing()
        items = [
            *(("Route", route) for route in routes),
            ("Max-Forwards", MAX_FORWARDS),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        if method in _TARGET_REFRESH:
            items.append(("Contact", self.contact))
        if content_type is not None:
            items.append(("Content-Type", content_type))
        return Request(method=method, uri=uri, headers=Headers([*items, *extra]), body=body)

    def _routing(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values. A first route without ``lr`` wants to see itself as Request-URI."""
        if not self.routes:
            return self.target, ()
        first = parse_name_addr(self.routes[0]).uri
        if not isinstance(first, SipUri) or first.param("lr") is not None:
            return self.target, self.routes
        params = tuple((name, value) for name, value in first.params if name.lower() not in _NOT_IN_REQUEST_URI)
        strict = SipUri(
            scheme=first.scheme,
            user=first.user,
            password=first.password,
            host=first.host,
            port=first.port,
            params=params,
        )
        return str(strict), (*self.routes[1:], f"<{self.target}>")


def dialog_key(message: Request | Response) -> DialogKey:
    """The key of the dialog at our end to which a received message belongs."""
    from_tag, to_tag = message.from_.tag, message.to.tag
    if isinstance(message, Request):
        return (message.call_id, to_tag or "", from_tag)
    return (message.call_id, from_tag or "", to_tag)
