"""What both ends of a leg tell each other about the media: when we report, what, and what we learn (RFC 3550 6.2 to
6.4).

Two members only, so of the interval's rules remain the five seconds, the half of it at the beginning and the random
factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from telephony.rtp.g711 import SAMPLE_RATE
from telephony.rtp.rtcp import Goodbye, Report, ReportBlock, SenderInfo, parse_compound, source_description

_INTERVAL_S = 5.0
_NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 to 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What we sent on the leg: ``timestamp`` went out with the last packet, at ``sent_at`` (s, steady)."""

    ssrc: int
    packets: int
    octets: int
    timestamp: int
    sent_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came from the leg's present source. ``lost`` and ``expected`` count packets of the whole call, ``jitter``
    is in timestamp units."""

    ssrc: int
    highest_sequence: int
    expected: int
    lost: int
    jitter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteView:
    """What the remote told of what it hears from us; None is what it never told. ``lost`` is packets."""

    reports: int
    lost: int | None
    fraction_lost: float | None
    jitter_ms: float | None
    round_trip_ms: float | None
    left: bool


class ReportExchange:
    """The reports of one leg. ``chance`` gives 0..1; ``cname`` is ours."""

    def __init__(self, *, cname: str, chance: Callable[[], float]) -> None:
        self._cname = cname
        self._chance = chance
        self._due: float | None = None
        self._reported = False
        self._expected = self._lost = 0
        self._last_report = 0
        self._last_report_at = 0.0
        self._block: ReportBlock | None = None
        self._round_trip: float | None = None
        self._reports = 0
        self._left = False

    def due(self, now: float) -> bool:
        """Whether a report is to be sent; asked while the leg has a remote. ``now`` in s on a steady clock."""
        if self._due is None:
            self._due = now + self._interval() / 2
        if now < self._due:
            return False
        self._due = now + self._interval()
        return True

    def report(self, *, sent: Sent | None, received: Received | None, own: int, now: float, unix: float) -> bytes:
        """The compound to be sent. ``own`` is our SSRC while nothing was sent; ``unix`` the wall clock, s."""
        sender = None if sent is None else _sender_info(sent, now, unix)
        ssrc = own if sent is None else sent.ssrc
        blocks = () if received is None else (self._report_block(received, now),)
        self._reported = True
        return Report(ssrc=ssrc, sender=sender, blocks=blocks).serialize() + source_description(ssrc, self._cname)

    def goodbye(self, *, sent: Sent | None, received: Received | None, own: int, now: float, unix: float) -> bytes:
        """The last compound; empty when we never reported (RFC 3550 6.3.7)."""
        if not self._reported:
            return b""
        ssrc = own if sent is None else sent.ssrc
        report = self.report(sent=sent, received=received, own=own, now=now, unix=unix)
        return report + Goodbye(ssrcs=(ssrc,)).serialize()

    def receive(self, datagram: bytes, *, own: int | None, now: float, unix: float) -> None:
        """Takes a compound of the remote; ``own`` is the SSRC we send with. Raises MalformedPacketError."""
        for packet in parse_compound(datagram):
            if isinstance(packet, Goodbye):
                self._left = True
                continue
            self._reports += 1
            if packet.sender is not None:
                self._last_report, self._last_report_at = packet.sender.ntp >> 16 & 0xFFFFFFFF, now
            for block in packet.blocks:
                if block.ssrc == own:
                    self._take(block, unix)

    def view(self) -> RemoteView:
        """What was learnt up to now."""
        block = self._block
        return RemoteView(
            reports=self._reports,
            lost=None if block is None else block.lost,
            fraction_lost=None if block is None else block.fraction_lost / 256,
            jitter_ms=None if block is None else block.jitter * 1000 / SAMPLE_RATE,
            round_trip_ms=self._round_trip,
            left=self._left,
        )

    def _interval(self) -> float:
        return _INTERVAL_S * (0.5 + self._chance())

    def _take(self, block: ReportBlock, unix: float) -> None:
        self._block = block
        if block.last_report:
            arrived = _ntp(unix) >> 16 & 0xFFFFFFFF
            elapsed = (arrived - block.last_report - block.delay) & 0xFFFFFFFF
            if elapsed < 0x80000000:  # a remote that counts its own delay wrongly gives less than nothing
                self._round_trip = elapsed * 1000 / 65536

    def _report_block(self, received: Received, now: float) -> ReportBlock:
        expected, lost = received.expected - self._expected, received.lost - self._lost
        self._expected, self._lost = received.expected, received.lost
        delay = round((now - self._last_report_at) * 65536) if self._last_report else 0
        return ReportBlock(
            ssrc=received.ssrc,
            fraction_lost=min(255, max(0, lost) * 256 // expected) if expected > 0 else 0,
            lost=received.lost,
            highest_sequence=received.highest_sequence,
            jitter=received.jitter,
            last_report=self._last_report,
            delay=max(0, delay),
        )


def _sender_info(sent: Sent, now: float, unix: float) -> SenderInfo:
    elapsed = round((now - sent.sent_at) * SAMPLE_RATE)
    return SenderInfo(ntp=_ntp(unix), timestamp=sent.timestamp + elapsed, packets=sent.packets, octets=sent.octets)


def _ntp(unix: float) -> int:
    """The 64-bit NTP time of the wall clock ``unix`` (s)."""
    return int((unix + _NTP_EPOCH) * 0x100000000) & 0xFFFFFFFFFFFFFFFF
