"""RTP packets as bytes (RFC 3550 section 5.1 and 5.3.1).

The relay reads only the fixed header by ``HEADER`` and ``payload_bounds``; whole packets as values are for
everything that is not in the way of 20 ms frames.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from telephony.rtp.errors import MalformedPacketError

HEADER = struct.Struct("!BBHII")
"""First byte (V, P, X, CC), second byte (M, PT), sequence number, timestamp, SSRC."""

VERSION_BITS = 0x80
PADDING_BIT = 0x20
EXTENSION_BIT = 0x10
CSRC_COUNT_MASK = 0x0F
MARKER_BIT = 0x80
PAYLOAD_TYPE_MASK = 0x7F
_EXTENSION = struct.Struct("!HH")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet. ``sequence`` has 16 bits, ``timestamp`` and ``ssrc`` have 32, ``payload_type`` 7.

    ``extension`` is the profile's 16 bits and the data (a multiple of 4 bytes); ``padding`` counts the bytes
    that follow the payload, its own count byte included (0 or 1..255).
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    padding: int = 0

    def serialize(self) -> bytes:
        """Bytes of one datagram. Raises ValueError for a field that does not fit its bits."""
        if len(self.csrcs) > CSRC_COUNT_MASK or not 0 <= self.payload_type <= PAYLOAD_TYPE_MASK:
            raise ValueError("an RTP packet has at most 15 CSRCs and a payload type of 7 bits")
        if not 0 <= self.padding <= 255:
            raise ValueError("RTP padding is counted by one byte")
        first = VERSION_BITS | len(self.csrcs)
        first |= PADDING_BIT if self.padding else 0
        first |= EXTENSION_BIT if self.extension is not None else 0
        second = self.payload_type | (MARKER_BIT if self.marker else 0)
        try:
            head = HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)
            head += struct.pack(f"!{len(self.csrcs)}I", *self.csrcs) + self._packed_extension()
        except struct.error as error:
            raise ValueError(f"RTP field out of range: {error}") from error
        tail = bytes(self.padding - 1) + bytes((self.padding,)) if self.padding else b""
        return head + self.payload + tail

    def _packed_extension(self) -> bytes:
        if self.extension is None:
            return b""
        profile, data = self.extension
        if len(data) % 4:
            raise ValueError("an RTP header extension is a whole number of 32-bit words")
        return _EXTENSION.pack(profile, len(data) // 4) + data


def payload_bounds(datagram: bytes) -> tuple[int, int]:
    """Start and end of the payload in ``datagram`` (bytes). Raises MalformedPacketError where there is
    none."""
    size = len(datagram)
    if size < HEADER.size:
        raise MalformedPacketError("shorter than the RTP header")
    first = datagram[0]
    if first & 0xC0 != VERSION_BITS:
        raise MalformedPacketError("not RTP version 2")
    start = HEADER.size + 4 * (first & CSRC_COUNT_MASK)
    if first & EXTENSION_BIT:
        if start + _EXTENSION.size > size:
            raise MalformedPacketError("header extension is cut off")
        start += _EXTENSION.size + 4 * _EXTENSION.unpack_from(datagram, start)[1]
    end = size
    if first & PADDING_BIT:
        if datagram[-1] == 0:
            raise MalformedPacketError("padding of no bytes")
        end -= datagram[-1]
    if start > end:
        raise MalformedPacketError("header or padding reaches past the datagram")
    return start, end


def parse_packet(datagram: bytes) -> RtpPacket:
    """The packet in ``datagram``. Raises MalformedPacketError and nothing else, whatever the bytes are."""
    start, end = payload_bounds(datagram)
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(datagram)
    count = first & CSRC_COUNT_MASK
    extension_at = HEADER.size + 4 * count
    extension = None
    if first & EXTENSION_BIT:
        profile = _EXTENSION.unpack_from(datagram, extension_at)[0]
        extension = (profile, datagram[extension_at + _EXTENSION.size : start])
    return RtpPacket(
        payload_type=second & PAYLOAD_TYPE_MASK,
        marker=bool(second & MARKER_BIT),
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        csrcs=struct.unpack_from(f"!{count}I", datagram, HEADER.size),
        extension=extension,
        payload=datagram[start:end],
        padding=len(datagram) - end,
    )
