"""What a user agent server looks at before it does anything for a request (RFC 3261 section 8.2.1 to 8.2.3).

The checks stand in the RFC's order, so that a request with several faults gets the answer the RFC gives it. What
only concerns one method (To without a known dialog, Contact, credentials) is decided where that method is served.
"""

from __future__ import annotations

from dataclasses import dataclass

from telephony.sip.headers import split_list
from telephony.sip.message import Request
from telephony.sip.multipart import SDP_TYPE, body_types, is_optional
from telephony.sip.uri import OpaqueUri

REGISTERED_METHODS = frozenset(
    {
        "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER",
        "REGISTER", "SUBSCRIBE", "UPDATE",
    }
)  # fmt: skip
"""The SIP methods in IANA's registry: 405 for one we do not serve, 501 for one nobody knows (section 21.5.2)."""

_WITH_SESSION = frozenset({"INVITE", "UPDATE", "PRACK", "ACK"})
_NEVER_REFUSED = frozenset({"ACK", "CANCEL"})
_READABLE = "application/sdp, multipart/mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A final answer: status 400..699 and the header fields that tell the peer what would have been taken."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


def inspect(request: Request, *, methods: frozenset[str], extensions: frozenset[str] = frozenset()) -> Refusal | None:
    """Why ``request`` cannot be served at all; None where it can.

    ``methods`` are those that somebody here serves, ``extensions`` the option tags of RFC 3261 section 27.1 that a
    Require may name.
    """
    if request.method in _NEVER_REFUSED:
        return None
    if request.method not in methods:
        status = 405 if request.method in REGISTERED_METHODS else 501
        return Refusal(status=status, headers=(("Allow", ", ".join(sorted(methods))),))
    if isinstance(request.target, OpaqueUri):
        return Refusal(status=416)
    unsupported = [tag for tag in _listed(request, "Require") if tag.lower() not in extensions]
    if unsupported:
        return Refusal(status=420, headers=(("Unsupported", ", ".join(unsupported)),))
    if request.method in _WITH_SESSION:
        return _inspect_content(request)
    return None


def _inspect_content(request: Request) -> Refusal | None:
    """415 for a body we cannot read and are not free to ignore, 406 where the peer takes no answer of ours."""
    encodings = [name for name in _listed(request, "Content-Encoding") if name.lower() != "identity"]
    if encodings and not is_optional(request):
        return Refusal(status=415, headers=(("Accept-Encoding", "identity"),))
    if request.body and SDP_TYPE not in body_types(request) and not is_optional(request):
        return Refusal(status=415, headers=(("Accept", _READABLE),))
    if request.method != "ACK" and not _takes_sdp(request):
        return Refusal(status=406, headers=(("Accept", _READABLE),))
    return None


def _takes_sdp(request: Request) -> bool:
    """Whether the peer reads our answer; without Accept it does (RFC 3261 section 20.1)."""
    if "Accept" not in request.headers:
        return True
    ranges = {item.partition(";")[0].strip(" \t").lower() for item in _listed(request, "Accept")}
    return bool(ranges & {SDP_TYPE, "application/*", "*/*"})


def _listed(request: Request, name: str) -> list[str]:
    return [item for value in request.headers.get_all(name) for item in split_list(value)]
