"""What the transaction layer tells its user. Transaction ids are opaque text, unique while the process
lives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response


class FailureCause(StrEnum):
    """Why a transaction ended without what its user waited for."""

    TIMEOUT = "timeout"
    TRANSPORT = "transport"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """A new request (never ACK, never CANCEL, never a retransmission). Answer it with ``respond``.

    ``request`` carries ``received`` and ``rport`` in its top Via, so that a response copied from it finds
    its way.
    """

    transaction_id: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReceived:
    """The INVITE ``transaction_id`` is to be answered 487; its CANCEL is already answered 200 (RFC 3261 9.2).

    A final response may have been given between the arrival and this event; then there is nothing to do.
    ``reasons`` are its Reason fields (RFC 3326).
    """

    transaction_id: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AckReceived:
    """The ACK to the 2xx of INVITE ``transaction_id``; once, its retransmissions are absorbed."""

    transaction_id: str
    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class AckMissing:
    """64*T1 after the 2xx of INVITE ``transaction_id`` no ACK has come: end the dialog (RFC 3261
    13.3.1.4)."""

    transaction_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived:
    """A response to our request: every provisional, one final; of an INVITE's 2xx the first of each To
    tag."""

    transaction_id: str
    response: Response
    flow: Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFailed:
    """Nothing more will come of ``transaction_id``.

    For a request of ours: no final response. For one received: our answer was not given in time, could not
    be sent, or our failure response to an INVITE was never acknowledged.
    """

    transaction_id: str
    cause: FailureCause


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedReceived:
    """``flow`` sent what is no SIP message; it was answered where an answer was possible."""

    flow: Flow
    error: RemoteProtocolError


Event = (
    RequestReceived
    | CancelReceived
    | AckReceived
    | AckMissing
    | ResponseReceived
    | TransactionFailed
    | MalformedReceived
)
