"""The error tree of the SIP package. Its two branches say whose fault it was, hence who has to act."""

from __future__ import annotations


class SipError(Exception):
    """Root of everything that ``telephony.sip`` raises."""


class RemoteProtocolError(SipError):
    """The peer broke the protocol.

    ``status`` is the SIP status code (RFC 3261 section 21) to answer with when an answer is possible,
    ``reason`` a short ASCII text of ours that never repeats what the peer sent.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


class LocalProtocolError(SipError):
    """We are about to break the protocol: a programming error, such as a missing pair in a state table."""
