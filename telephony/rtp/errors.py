"""The one way in which bytes from the network can be wrong here: always the sender's fault, never ours."""

from __future__ import annotations


class RtpError(Exception):
    """Root of this package's errors."""


class MalformedPacketError(RtpError):
    """The datagram is no RTP packet (RFC 3550 5.1) or no telephone-event (RFC 4733 2.3)."""
