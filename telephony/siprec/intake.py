"""An arriving recording session: whether it is one, from whom it may come, and which line it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from duty.domain.calls import Direction
from telephony.line import LineProfile, Network, within
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import split_list
from telephony.sip.message import Request
from telephony.sip.multipart import SDP_TYPE, parts
from telephony.siprec.leg import OPTION
from telephony.siprec.metadata import MEDIA_TYPE, Metadata, parse_metadata
from telephony.siprec.parties import OwnNumbers, Parties, find_parties

SOURCE = "+sip.src"
_OLD_MEDIA_TYPE = "application/rs-metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What an INVITE of a recording client is about. ``metadata`` are None where it brought none."""

    line: LineProfile
    metadata: Metadata | None
    parties: Parties

    @property
    def session_id(self) -> str:
        """The client's id of the call."""
        return self.metadata.session_id if self.metadata is not None else ""


def is_recording_session(request: Request) -> bool:
    """Whether an INVITE begins one: it requires ``siprec``, or its contact is a recording client's (RFC 7866 section
    6.1.1)."""
    required = {tag.lower() for value in request.headers.get_all("Require") for tag in split_list(value)}
    return OPTION in required or any(contact.param(SOURCE) is not None for contact in request.contacts)


def clients_lines(lines: Iterable[LineProfile], host: str) -> tuple[LineProfile, ...]:
    """The lines whose calls may be forked to us from ``host``."""
    return tuple(line for line in lines if line.siprec is not None and within(host, line.siprec.peers))


def client_networks(lines: Iterable[LineProfile]) -> set[Network]:
    """Where the recording clients of all ``lines`` are."""
    return {network for line in lines if line.siprec is not None for network in line.siprec.peers}


def take_in(request: Request, dialled: str, lines: Sequence[LineProfile]) -> Intake | None:
    """What the INVITE is about; None where none of ``lines``, those of its sender, takes part in the call: then it is
    not ours to record.

    Raises RemoteProtocolError (400) for metadata that cannot be read, unless the request URI names the line: its call
    has to be in the book whatever is told of it (requirement 6.1-a).
    """
    named = next((line for line in lines if line.number == dialled), None)
    metadata = _metadata(request, needed=named is None)
    present = metadata.present if metadata is not None else ()
    line = next((line for line in lines if any(map(OwnNumbers.of(line).have, present))), named)
    if line is None:
        return None
    nobody = Parties(officer=None, others=(), direction=Direction.INBOUND)
    parties = find_parties(metadata, OwnNumbers.of(line)) if metadata is not None else nobody
    return Intake(line=line, metadata=metadata, parties=parties)


def _metadata(request: Request, *, needed: bool) -> Metadata | None:
    raw = metadata_in(request)
    try:
        return parse_metadata(raw) if raw else None
    except RemoteProtocolError:
        if needed:
            raise
        return None


def metadata_in(request: Request) -> bytes:
    """The metadata document in the body, empty where there is none. Raises RemoteProtocolError (400) for a malformed
    multipart."""
    found = (part.body for part in parts(request) if part.media_type in (MEDIA_TYPE, _OLD_MEDIA_TYPE))
    return next(found, b"")


def without_metadata(request: Request) -> Request:
    """The request as the rest of us reads it: one that tells metadata alone has no body."""
    try:
        types = {part.media_type for part in parts(request)}
    except RemoteProtocolError:
        return request
    if not types or SDP_TYPE in types or not types & {MEDIA_TYPE, _OLD_MEDIA_TYPE}:
        return request
    return request.replace(headers=request.headers.without("Content-Type"), body=b"")
