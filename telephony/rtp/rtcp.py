"""RTCP as bytes: sender and receiver reports, CNAME and goodbye (RFC 3550 section 6).

Other packets of a compound are passed over, as RFC 3550 6.1 asks; what is no RTCP at all is the sender's fault.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.packet import PADDING_BIT, VERSION_BITS

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
_COUNT_MASK = 0x1F
_CNAME = 1
_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")
_SSRC = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver tells of one source. ``fraction_lost`` is in 1/256, ``lost`` packets (24 bits, signed),
    ``jitter`` in timestamp units; ``last_report`` and ``delay`` (both 1/65536 s) are 0 when none was received."""

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int

    def serialize(self) -> bytes:
        """The 24 bytes of RFC 3550 6.4.1."""
        lost = max(-0x800000, min(0x7FFFFF, self.lost)) & 0xFFFFFF
        return _BLOCK.pack(
            self.ssrc,
            (self.fraction_lost & 0xFF) << 24 | lost,
            self.highest_sequence & 0xFFFFFFFF,
            min(self.jitter, 0xFFFFFFFF),
            self.last_report,
            min(self.delay, 0xFFFFFFFF),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderInfo:
    """What a sender tells of itself; ``ntp`` is the 64-bit NTP time that ``timestamp`` belongs to."""

    ntp: int
    timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A sender report, or a receiver report where ``sender`` is None."""

    ssrc: int
    sender: SenderInfo | None
    blocks: tuple[ReportBlock, ...]

    def serialize(self) -> bytes:
        """One packet of the compound. Raises ValueError for more than 31 blocks."""
        if len(self.blocks) > _COUNT_MASK:
            raise ValueError("a report holds at most 31 blocks")
        body = b"".join(block.serialize() for block in self.blocks)
        if self.sender is None:
            return _packet(RECEIVER_REPORT, len(self.blocks), _SSRC.pack(self.ssrc) + body)
        told = self.sender
        head = _SENDER.pack(
            self.ssrc, told.ntp, told.timestamp & 0xFFFFFFFF, told.packets & 0xFFFFFFFF, told.octets & 0xFFFFFFFF
        )
        return _packet(SENDER_REPORT, len(self.blocks), head + body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """The sources ``ssrcs`` have left."""

    ssrcs: tuple[int, ...]

    def serialize(self) -> bytes:
        """One packet of the compound."""
        return _packet(GOODBYE, len(self.ssrcs), struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs))


def source_description(ssrc: int, cname: str) -> bytes:
    """An SDES packet with nothing but the CNAME (RFC 3550 6.5.1). Raises ValueError for one over 255 bytes."""
    name = cname.encode()
    if len(name) > 255:
        raise ValueError("a CNAME has at most 255 bytes")
    item = bytes((_CNAME, len(name))) + name
    return _packet(SOURCE_DESCRIPTION, 1, _SSRC.pack(ssrc) + item + bytes(4 - len(item) % 4))


def parse_compound(datagram: bytes) -> tuple[Report | Goodbye, ...]:
    """The reports and goodbyes in ``datagram``. Raises MalformedPacketError and nothing else (RFC 3550 A.2)."""
    found: list[Report | Goodbye] = []
    first = True
    for kind, count, body in _packets(datagram):
        if first and kind not in (SENDER_REPORT, RECEIVER_REPORT):
            raise MalformedPacketError("an RTCP compound begins with a report")
        first = False
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            found.append(_report(kind, count, body))
        elif kind == GOODBYE:
            if len(body) < 4 * count:
                raise MalformedPacketError("a goodbye is cut off")
            found.append(Goodbye(ssrcs=struct.unpack_from(f"!{count}I", body)))
    return tuple(found)


def _packets(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, count and body of each packet."""
    if len(datagram) < _HEADER.size + _SSRC.size:
        raise MalformedPacketError("shorter than an RTCP packet")
    at = 0
    while at < len(datagram):
        if at + _HEADER.size > len(datagram):
            raise MalformedPacketError("an RTCP header is cut off")
        first, kind, words = _HEADER.unpack_from(datagram, at)
        end = at + 4 * (words + 1)
        if first & 0xC0 != VERSION_BITS or end > len(datagram):
            raise MalformedPacketError("no RTCP packet of version 2, or one that is cut off")
        if first & PADDING_BIT and end != len(datagram):
            raise MalformedPacketError("only the last packet of a compound is padded")
        yield kind, first & _COUNT_MASK, datagram[at + _HEADER.size : end]
        at = end


def _report(kind: int, count: int, body: bytes) -> Report:
    head = _SENDER.size if kind == SENDER_REPORT else _SSRC.size
    if len(body) < head + count * _BLOCK.size:
        raise MalformedPacketError("a report is cut off")
    blocks = tuple(_block(body, head + number * _BLOCK.size) for number in range(count))
    if kind == RECEIVER_REPORT:
        return Report(ssrc=_SSRC.unpack_from(body)[0], sender=None, blocks=blocks)
    ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
    sender = SenderInfo(ntp=ntp, timestamp=timestamp, packets=packets, octets=octets)
    return Report(ssrc=ssrc, sender=sender, blocks=blocks)


def _block(body: bytes, at: int) -> ReportBlock:
    ssrc, losses, highest, jitter, last, delay = _BLOCK.unpack_from(body, at)
    lost = losses & 0xFFFFFF
    return ReportBlock(
        ssrc=ssrc,
        fraction_lost=losses >> 24,
        lost=lost - 0x1000000 if lost & 0x800000 else lost,
        highest_sequence=highest,
        jitter=jitter,
        last_report=last,
        delay=delay,
    )


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(VERSION_BITS | count, kind, len(body) // 4) + body
