"""One remote's media: its sockets, who may send to them, and the way of each packet (RFC 3550, RFC 4733).

This is the path that 20 ms frames take, two of them a call and fifty a second each: no task, no value per
packet, one clock reading, and the datagram itself is passed on wherever nothing in it must change.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from duty.domain.transcripts import Speaker
from telephony.media_poll import MediaPoll
from telephony.media_ports import SocketPair, receive_dated
from telephony.media_reports import LegReports
from telephony.media_track import Track
from telephony.rtp.dtmf import Digit, DigitDetector
from telephony.rtp.ear import Ear, Heard
from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.g711 import Law
from telephony.rtp.outbound import OutboundStream
from telephony.rtp.packet import HEADER, PAYLOAD_TYPE_MASK, VERSION_BITS, payload_bounds
from telephony.rtp.reports import Received, RemoteView, Sent
from telephony.rtp.sequence import Order, SequenceWindow
from telephony.rtp.statistics import StreamCounter, StreamStatistics

_LARGEST = 2048
"""Bytes; G.711 over Ethernet fits whatever the packet time. A longer datagram is cut and refused."""
_WAITING = 500
"""Datagrams taken from a socket at its close: ten seconds, more than its buffer holds of a voice."""
_COMFORT_NOISE = 13
"""RFC 3389: the other side is silent and sends nothing else; not an unknown payload."""
_MUXED_RTCP = range(192, 224)
"""Second bytes that are RTCP on the media's port (RFC 5761 section 4)."""
_LAWS = {law.value: law for law in Law}
_HEARING = frozenset({"sendrecv", "sendonly"})

Header = tuple[int, int, int, int, int]


class Target(Protocol):
    """Where a remote takes its media, as negotiated. ``payload_type`` is 0 or 8; ``direction`` is ours (RFC
    3264): with ``recvonly`` and ``inactive`` the remote does not want to hear us. ``host`` is an address,
    not a name."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def payload_type(self) -> int: ...
    @property
    def telephone_event(self) -> int | None: ...
    @property
    def direction(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStatistics:
    """What one leg did up to now; all counts are packets. ``stray`` came from a foreign address,
    ``refused`` had a timestamp that fits no place in the recording, ``unheard`` are DTMF packets the other
    side did not negotiate, ``rtcp`` are reports taken. ``remote`` is what the remote reports of our stream;
    ``audible`` whether its voice ever rose above the noise of an open line."""

    stream: StreamStatistics
    sent: int
    stray: int
    malformed: int
    unknown_payload: int
    unheard: int
    socket_errors: int
    refused: int
    rtcp: int
    comfort_noise: int
    remote: RemoteView
    audible: bool


class MediaLeg:
    """One side of a session. ``clock`` gives s on a steady clock; the callbacks are called from the event
    loop."""

    def __init__(
        self,
        *,
        speaker: Speaker,
        sockets: SocketPair,
        poll: MediaPoll,
        clock: Callable[[], float],
        on_digit: Callable[[Speaker, Digit], None],
        on_tone: Callable[[Speaker, str], None],
    ) -> None:
        self.speaker = speaker
        self.sockets = sockets
        self.other: MediaLeg | None = None
        self.bridged = False
        self.playing = False
        self.track: Track | None = None
        self.last_packet_at: float | None = None
        self.law = Law.PCMA
        self._poll = poll
        self._recvfrom = sockets.rtp.recvfrom
        self._sendto = sockets.rtp.sendto
        self._clock = clock
        self._on_digit = on_digit
        self._on_tone = on_tone
        self._ipv6 = ":" in sockets.rtp.getsockname()[0]
        self._host: str | None = None
        self._source: tuple[str, int] | None = None
        self._destination: tuple[str, int] | None = None
        self._latching = False
        self._hears = False
        self._telephone_event: int | None = None
        self._window = SequenceWindow()
        self._counter = StreamCounter()
        self._digits = DigitDetector()
        self._ear = Ear()
        self._outbound = OutboundStream()
        self._reports = LegReports(sockets.rtcp, clock=clock)
        self._sent = self._octets = self._stray = self._malformed = self._unknown = 0
        self._unheard = self._socket_errors = self._comfort_noise = 0
        poll.add(sockets.rtp, self._read_one)
        poll.add(sockets.rtcp, self._reports.read_one)

    def set_remote(self, target: Target, *, latch: bool) -> None:
        """Takes what was negotiated. Raises ValueError for a host that is no address or a codec other than
        G.711."""
        address = ipaddress.ip_address(target.host)
        self.law = Law(target.payload_type)
        self._telephone_event = target.telephone_event
        self._ear.inband = target.telephone_event is None
        somewhere = target.port != 0 and not address.is_unspecified
        self._hears = somewhere and target.direction in _HEARING
        if somewhere and (self._destination, self._latching) != ((str(address), target.port), latch):
            self._host, self._destination, self._latching = str(address), (str(address), target.port), latch
            self._source = None if latch else self._destination
            self._reports.set_remote(str(address), target.port)

    def close(self) -> None:
        """Takes what already waits in the socket, says goodbye and stops reading; the pool closes the
        sockets."""
        for _ in range(_WAITING):
            if not self._read_one(True):
                break
        self._report_tones(self._ear.listen())
        if self.track is not None:
            self.track.hand_over()
        self._report(self._clock(), last=True)
        self._poll.remove(self.sockets.rtp)
        self._poll.remove(self.sockets.rtcp)

    def statistics(self) -> LegStatistics:
        """The figures as a value."""
        return LegStatistics(
            stream=self._counter.snapshot(),
            sent=self._sent,
            stray=self._stray,
            malformed=self._malformed,
            unknown_payload=self._unknown,
            unheard=self._unheard,
            socket_errors=self._socket_errors,
            refused=self.track.refused if self.track else 0,
            rtcp=self._reports.taken,
            comfort_noise=self._comfort_noise,
            remote=self._reports.view(),
            audible=self._ear.audible,
        )

    def tick(self, now: float) -> None:
        """What no packet triggers: digits whose end was lost, tones, reports, and the track's notes."""
        for digit in self._digits.expire(now):
            self._on_digit(self.speaker, digit)
        self._report_tones(self._ear.listen())
        if self._reports.due(now):
            self._report(now)
        if self.track is not None:
            self.track.tick(lost=self._counter.lost, now=now)

    def play(self, *, header: Header, payload: bytes, now: float) -> None:
        """Sends one frame of our own; ``payload`` is in this leg's law. A remote on hold hears nothing."""
        if self._hears:
            self._pass_on(HEADER.pack(*header) + payload, header, self.law.value, now)

    def _read_one(self, late: bool) -> bool:
        """One datagram a turn: asking an empty socket again would cost more than the loop's next turn."""
        try:
            if late:
                datagram, source, now = receive_dated(self.sockets.rtp, _LARGEST + 1, self._clock())
            else:
                datagram, source = self._recvfrom(_LARGEST + 1)
                now = self._clock()
        except BlockingIOError:
            return False
        except OSError:
            self._socket_errors += 1
            return False
        self._receive(datagram, source, now)
        return True

    def _receive(self, datagram: bytes, source: tuple[str, int], now: float) -> None:
        if self._ipv6:
            source = source[:2]
        if source != self._source and not self._latch(source):
            self._stray += 1
            return
        size = len(datagram)
        start, end = HEADER.size, size
        if size <= HEADER.size or size > _LARGEST or datagram[0] != VERSION_BITS:
            try:
                start, end = payload_bounds(datagram)
            except MalformedPacketError:
                self._malformed += 1
                return
        if start == end or size > _LARGEST:
            self._malformed += 1
            return
        header: Header = HEADER.unpack_from(datagram)
        payload_type = header[1] & PAYLOAD_TYPE_MASK
        law = _LAWS.get(payload_type)
        if law is None and header[1] in _MUXED_RTCP:
            self._reports.take(datagram)
            return
        self.last_packet_at = now
        window = self._window
        order = window.receive(header[4], header[2])
        self._counter.count(order, window.step)
        if law is not None:
            self._audio(datagram, header, law, start, end, order, now)
        elif payload_type == self._telephone_event:
            self._event(datagram, header, start, end, now)
        elif payload_type == _COMFORT_NOISE:
            self._comfort_noise += 1
        else:
            self._unknown += 1

    def _latch(self, source: tuple[str, int]) -> bool:
        """Takes the first sender at the negotiated address for the remote, where that was allowed."""
        if self._source is not None or not self._latching or source[0] != self._host:
            return False
        self._source = self._destination = source
        return True

    def _audio(self, datagram: bytes, header: Header, law: Law, start: int, end: int, order: Order, now: float) -> None:
        timestamp = header[3]
        self._counter.time(timestamp, now)
        other = self.other
        payload = datagram[start:end]
        if self.bridged and other is not None and other._hears and not other.playing:
            if law is other.law:
                other._pass_on(datagram, header, law.value, now)
            else:
                recoded = datagram[:start] + other.law.recode(payload, law) + datagram[end:]
                other._pass_on(recoded, header, other.law.value, now)
        if self.track is not None:
            self.track.take(order=order, timestamp=timestamp, payload=payload, law=law, now=now)
        heard = self._ear.take(payload, law)
        if heard is not None:
            self._report_tones(heard)

    def _event(self, datagram: bytes, header: Header, start: int, end: int, now: float) -> None:
        other = self.other
        if self.bridged and other is not None and other._hears and not other.playing:
            if other._telephone_event is None:
                self._unheard += 1
            else:
                other._pass_on(datagram, header, other._telephone_event, now)
        try:
            digits = self._digits.receive(datagram[start:end], timestamp=header[3], now=now)
        except MalformedPacketError:
            self._malformed += 1
            return
        for digit in digits:
            self._on_digit(self.speaker, digit)

    def _report_tones(self, heard: Heard | None) -> None:
        if heard is not None:
            for tone in heard.tones:
                self._on_tone(self.speaker, tone)
            for digit in heard.digits:
                self._on_digit(self.speaker, digit)

    def _report(self, now: float, *, last: bool = False) -> None:
        ssrc, (timestamp, sent_at) = self._outbound.ssrc, self._outbound.latest
        sent = received = None
        if ssrc is not None and self._sent:
            sent = Sent(ssrc=ssrc, packets=self._sent, octets=self._octets, timestamp=timestamp, sent_at=sent_at)
        if self._window.ssrc is not None:
            received = Received(
                ssrc=self._window.ssrc,
                highest_sequence=self._window.highest,
                expected=self._counter.expected,
                lost=self._counter.lost,
                jitter=self._counter.jitter,
            )
        self._reports.send(sent=sent, received=received, now=now, last=last)

    def _pass_on(self, datagram: bytes, header: Header, payload_type: int, now: float) -> None:
        out = self._outbound.rewrite(datagram, header=header, payload_type=payload_type, now=now)
        if out is None or self._destination is None:
            return
        try:
            self._sendto(out, self._destination)
        except OSError:
            self._socket_errors += 1
        else:
            self._sent += 1
            self._octets += len(out) - HEADER.size
