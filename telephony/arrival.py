"""Where an INVITE came in, and who it says is calling."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr, parse_name_addr, split_list
from telephony.sip.message import Request
from telephony.sip.uri import SipUri, TelUri, Uri

HOPS = 70
"""Of a request that begins here (RFC 3261 8.1.1.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An INVITE outside any dialog: its transaction, the flow it came by, and the Contact we show there."""

    transaction_id: str
    request: Request
    flow: Flow
    contact: str

    @property
    def host(self) -> str:
        """The address of who sent it."""
        return self.flow.remote[0]

    @property
    def source(self) -> str:
        """That address with its port, as the book keeps it."""
        return f"{self.flow.remote[0]}:{self.flow.remote[1]}"


def caller_of(request: Request, *, trusted: bool) -> tuple[NameAddr, str]:
    """Who calls and how far that may be believed: an identity asserted by our own trunk, else the bare From, which
    anybody may write (RFC 3325 section 5)."""
    if trusted:
        for text in request.headers.get_all("P-Asserted-Identity"):
            with suppress(RemoteProtocolError):  # one that cannot be read costs its trust, not the call
                for value in split_list(text):
                    return _bare(parse_name_addr(value)), "asserted"
    return _bare(request.from_), "from"


def hops_left(request: Request) -> int:
    """How many hops what we send on for ``request`` may still take, so that a call that comes back to us ends some time
    (RFC 7332 section 5); below 1 it may take none."""
    return HOPS if request.max_forwards is None else min(request.max_forwards - 1, HOPS)


def user_of(uri: Uri) -> str:
    """The number or extension a URI names; "" where it names none."""
    if isinstance(uri, SipUri):
        return uri.user or ""
    return uri.digits if isinstance(uri, TelUri) else ""


def _bare(address: NameAddr) -> NameAddr:
    return NameAddr(display=address.display, uri=address.uri)
