"""One remote's media: its sockets, who may send to them, and the way of each packet (RFC 3550, RFC 4733).

This is the path that 20 ms frames take, two of them a call and fifty a second each. A packet like the one before it is
passed on by a few comparisons (``_pass_plain``) and looked at later, a tenth of a second at a time (``settle``);
anything else takes the long way at once, and so learns what may be passed on next.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from duty.domain.transcripts import Speaker
from telephony.keys import How
from telephony.media_cipher import MUXED_RTCP, MediaCipher, SealedDatagrams, UnauthenticError
from telephony.media_poll import MediaPoll
from telephony.media_ports import Datagram, SocketPair, Source
from telephony.media_reports import LegReports
from telephony.media_track import Track
from telephony.media_values import LegStatistics, Target
from telephony.media_voice import VoiceIn
from telephony.rtp.dtmf import Digit, DigitDetector, PressStarts
from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.g711 import Law
from telephony.rtp.g722 import NAME as WIDEBAND_NAME
from telephony.rtp.g722 import PAYLOAD_TYPE as WIDEBAND
from telephony.rtp.g722 import WidebandDecoder, WidebandEncoder
from telephony.rtp.outbound import OutboundStream
from telephony.rtp.packet import HEADER, PAYLOAD_TYPE_MASK, VERSION_BITS, payload_bounds
from telephony.rtp.reports import Sent
from telephony.rtp.sequence import Order
from telephony.sip.security_description import MediaKeys

_LARGEST = 2048
"""Bytes; G.711 over Ethernet fits whatever the packet time. A longer datagram is cut and refused."""
_WAITING = 500
"""Datagrams taken from a socket at its close: ten seconds, more than its buffer holds of a voice."""
_SETTLE = 5
"""Plain packets that are looked at together, after those of other calls were passed on."""
_SETTLE_AT_ONCE = 5 * _SETTLE
"""So many are not put off any longer, whoever else has packets."""
_COMFORT_NOISE = 13
"""RFC 3389: the other side is silent and sends nothing else; not an unknown payload."""
_EARLY = 25
_EARLY_S = 1.0
"""What comes before the answer that says from where it may come: media must be taken from the moment of the offer on
(RFC 3264 section 5.1), and the answer to it may be overtaken by them. Half a second of packets, s."""
_LAWS = {law.value: law for law in Law}
_HEARING = frozenset({"sendrecv", "sendonly"})

Header = tuple[int, int, int, int, int]


class _Plain(NamedTuple):
    """What the next packet must be like to be passed on without a look: its source, the bytes of version and payload
    type, those of its SSRC. ``to`` is None where nobody is to hear it, ``shifts`` where nothing in it must change;
    ``wide`` says that it holds G.722."""

    source: Source
    head: bytes
    ssrc: bytes
    law: Law
    to: MediaLeg | None
    shifts: tuple[int, int, int] | None
    wide: bool


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
        may_press: Callable[[Speaker, int], bool],
        on_digit: Callable[[Speaker, Digit, How], bool],
        on_tone: Callable[[Speaker, str], None],
    ) -> None:
        self.speaker = speaker
        self.sockets = sockets
        self.other: MediaLeg | None = None
        self.last_packet_at: float | None = None
        self.law = Law.PCMA
        self.wide = False
        self._wire, self._laws, self._wide_type = self.law.value, _LAWS, WIDEBAND
        self._decoder: WidebandDecoder | None = None
        self._encoder: WidebandEncoder | None = None
        self._bridged = self._playing = False
        self._poll = poll
        self._plain_datagrams = Datagram(sockets.rtp, clock=clock, largest=_LARGEST + 1)
        self._datagrams: Datagram | SealedDatagrams = self._plain_datagrams
        self._sendto: Callable[[bytes, Source], int] = sockets.rtp.sendto
        self._cipher: MediaCipher | None = None
        self._clock = clock
        self._may_press = may_press
        self._on_digit = on_digit
        self._on_tone = on_tone
        self._host: str | None = None
        self._source: Source | None = None
        self._destination: Source | None = None
        self._told: Source | None = None
        self._latching = False
        self._early: deque[tuple[bytes, Source, float]] = deque(maxlen=_EARLY)
        self._hears = False
        self._telephone_event: int | None = None
        self._plain: _Plain | None = None
        self._waiting: list[bytes] = []
        self._arrivals: list[float] = []
        self._unsent = 0
        self._voice = VoiceIn()
        self._digits = DigitDetector()
        self._presses = PressStarts()
        self._outbound = OutboundStream()
        self._reports = LegReports(sockets.rtcp, clock=clock)
        self._undeciphered = 0
        self._sent = self._octets = self._stray = self._malformed = self._unknown = 0
        self._unheard = self._socket_errors = self._comfort_noise = 0
        poll.add(sockets.rtp, self._read_one)
        poll.add(sockets.rtcp, self._reports.read_one)

    @property
    def reads_events(self) -> bool:
        """Whether keys were agreed on as events; tones beside them are for the guard alone."""
        return self._telephone_event is not None

    @property
    def bridged(self) -> bool:
        """Whether the other side hears this one."""
        return self._bridged

    @bridged.setter
    def bridged(self, bridged: bool) -> None:
        self._forget()
        self._bridged = bridged

    @property
    def playing(self) -> bool:
        """Whether this side hears something of ours in place of the other one."""
        return self._playing

    @playing.setter
    def playing(self, playing: bool) -> None:
        if self.other is not None:
            self.other._forget()
        self._playing = playing

    @property
    def track(self) -> Track | None:
        """Where this side is recorded."""
        return self._voice.track

    @track.setter
    def track(self, track: Track | None) -> None:
        self._forget()
        self._voice.track = track

    def set_remote(self, target: Target, *, latch: bool) -> None:
        """Takes what was negotiated. Raises ValueError for a host that is no address or a codec that is neither G.711
        nor G.722."""
        address, wide = ipaddress.ip_address(target.host), target.payload_type == WIDEBAND
        law = Law.PCMA if wide else Law(target.payload_type)
        for leg in (self, self.other):
            if leg is not None:
                leg._forget()
        self.law, self.wide = law, wide
        self._wire = target.wire_payload_type
        self._laws = _LAWS if wide else _LAWS | {self._wire: law}
        self._wide_type = self._wire if wide else WIDEBAND
        self._telephone_event = target.telephone_event
        self._voice.ear.inband = target.telephone_event is None or self.speaker is Speaker.OFFICER
        somewhere = target.port != 0 and not address.is_unspecified
        self._hears = somewhere and target.direction in _HEARING
        self._encrypt(target.keys)
        if somewhere and (self._destination, self._latching) != ((str(address), target.port), latch):
            self._host, self._destination, self._latching = str(address), (str(address), target.port), latch
            self._told, self._source = self._destination, None if latch else self._destination
            self._reports.set_remote(str(address), target.rtcp_port)
            self._take_early((str(address), target.port))
        if isinstance(self._datagrams, SealedDatagrams):
            self._datagrams.host = self._host
        self._reports.share(self._send_shared if target.rtcp_mux else None)

    def _encrypt(self, keys: MediaKeys | None) -> None:
        """With ``keys`` nothing is sent or taken that they do not protect, without them all is plain."""
        if keys is None:
            self._datagrams, self._sendto, self._cipher = self._plain_datagrams, self.sockets.rtp.sendto, None
        else:
            self._cipher = self._cipher or MediaCipher()
            self._cipher.set_keys(keys)
            self._datagrams = SealedDatagrams(self._plain_datagrams, self._cipher)
            self._sendto = self._send_sealed
        self._reports.encrypt(self._cipher)

    def _send_shared(self, compound: bytes) -> None:
        """A report to where the media go, which may have been learnt from them."""
        if self._destination is not None:
            self._sendto(compound, self._destination)

    def _send_sealed(self, packet: bytes, to: Source) -> int:
        assert self._cipher is not None  # noqa: S101 - set together with this method
        return self.sockets.rtp.sendto(self._cipher.seal(packet), to)

    def close(self) -> None:
        """Takes what already waits in the socket, says goodbye and stops reading; the pool closes the
        sockets."""
        for _ in range(_WAITING):
            if not self._read_one(True):
                break
        self._forget()
        self._voice.listen()
        self._report_heard()
        if self.track is not None:
            self.track.hand_over()
        self._report(self._clock(), last=True)
        self._poll.remove(self.sockets.rtp)
        self._poll.remove(self.sockets.rtcp)

    def statistics(self) -> LegStatistics:
        """The figures as a value."""
        for leg in (self, self.other):
            if leg is not None:
                leg.settle()
        return LegStatistics(
            stream=self._voice.counter.snapshot(),
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
            audible=self._voice.ear.audible,
            codec=WIDEBAND_NAME if self.wide else self.law.name,
            undeciphered=self._undeciphered,
            rtcp_refused=self._reports.refused,
            encryption=self._cipher.suite if self._cipher is not None else "",
        )

    def tick(self, now: float) -> None:
        """What no packet triggers: digits whose end was lost, tones, reports, and the track's notes."""
        self.settle()
        for digit in self._digits.expire(now):
            self._on_digit(self.speaker, digit, How.EVENT)
        self._voice.listen()
        self._report_heard()
        if self._reports.due(now):
            self._report(now)
        if self.track is not None:
            self.track.tick(lost=self._voice.counter.lost, now=now)

    def play(self, *, header: Header, payload: bytes, now: float) -> None:
        """Sends one frame of our own; ``payload`` is in this leg's law. A remote on hold hears nothing."""
        if self._hears:
            payload = self._encoded(payload, self.law)
            self._pass_on(HEADER.pack(*header) + payload, header, self._wire, now)

    def press(self, *, header: Header, payload: bytes, now: float) -> bool:
        """Sends one telephone-event packet of our own; False where the remote reads none."""
        if self._telephone_event is None:
            return False
        if self._hears:
            self._pass_on(HEADER.pack(*header) + payload, header, self._telephone_event, now)
        return True

    def settle(self) -> None:
        """Counts, records and hears the plain packets that were passed on."""
        plain = self._plain
        if plain is None or not self._waiting:
            return
        waiting, arrivals, unsent = self._waiting, self._arrivals, self._unsent
        self._waiting, self._arrivals, self._unsent = [], [], 0
        if plain.wide:
            waiting = [datagram[: HEADER.size] + self._narrowed(datagram[HEADER.size :]) for datagram in waiting]
        sequence, timestamp = self._voice.take_plain(waiting, arrivals, plain.law)
        if plain.to is not None:
            to, (by_sequence, by_timestamp, _) = plain.to, plain.shifts or (0, 0, 0)
            to._sent += len(waiting) - unsent
            to._octets += sum(map(len, waiting)) - HEADER.size * len(waiting)
            to._outbound.advance(
                (sequence + by_sequence) & 0xFFFF, (timestamp + by_timestamp) & 0xFFFFFFFF, arrivals[-1]
            )
        self._report_heard()

    def _forget(self) -> None:
        """Something changed: the next packet takes the long way."""
        self.settle()
        self._plain = None

    def _read_one(self, late: bool) -> bool:
        """One datagram a turn: asking an empty socket again would cost more than the loop's next turn."""
        try:
            datagram, source, now = self._datagrams.dated() if late else self._datagrams.next()
        except BlockingIOError:
            return False
        except UnauthenticError:
            self._undeciphered += 1
            return True
        except OSError:
            self._socket_errors += 1
            return False
        plain = self._plain
        if (
            plain is not None
            and datagram[8:12] == plain.ssrc
            and datagram[:2] == plain.head
            and source == plain.source
            and HEADER.size < len(datagram) <= _LARGEST
        ):
            self._pass_plain(plain, datagram, now)
        else:
            self.settle()
            self._receive(datagram, source, now)
        return True

    def _pass_plain(self, plain: _Plain, datagram: bytes, now: float) -> None:
        to, shifts, out = plain.to, plain.shifts, datagram
        if to is not None and to._destination is not None:
            if shifts is not None:
                first, second, sequence, timestamp, _ = HEADER.unpack_from(datagram)
                sequence, timestamp = (sequence + shifts[0]) & 0xFFFF, (timestamp + shifts[1]) & 0xFFFFFFFF
                out = HEADER.pack(first, second, sequence, timestamp, shifts[2]) + datagram[HEADER.size :]
            try:
                to._sendto(out, to._destination)
            except OSError:
                to._socket_errors += 1
                self._unsent += 1
        self.last_packet_at = now
        self._arrivals.append(now)
        self._waiting.append(datagram)
        waiting = len(self._waiting)
        if waiting == _SETTLE:
            self._poll.later(self.settle)
        elif waiting >= _SETTLE_AT_ONCE:
            self.settle()

    def _receive(self, datagram: bytes, source: Source, now: float) -> None:
        if source[:2] != self._source and not self._latch(source[:2], datagram):
            self._keep_early(datagram, source, now)
            return
        try:
            start, end = payload_bounds(datagram)
        except MalformedPacketError:
            self._malformed += 1
            return
        if start == end or len(datagram) > _LARGEST:
            self._malformed += 1
            return
        header: Header = HEADER.unpack_from(datagram)
        if header[1] in MUXED_RTCP:
            self._reports.take(datagram)
            return
        self.last_packet_at = now
        order = self._voice.count(header[4], header[2])
        payload_type = header[1] & PAYLOAD_TYPE_MASK
        law = self._laws.get(payload_type)
        if law is not None:
            self._audio(datagram, header, law, start, end, order, now)
            self._learn(datagram, header, source, law, order, wide=False)
        elif payload_type == self._wide_type:
            self._wideband(datagram, header, start, end, order, now)
            self._learn(datagram, header, source, Law.PCMA, order, wide=True)
        elif payload_type == self._telephone_event:
            self._event(datagram, header, start, end, now)
        elif payload_type == _COMFORT_NOISE:
            self._comfort_noise += 1
        else:
            self._unknown += 1

    def _keep_early(self, datagram: bytes, source: Source, now: float) -> None:
        """Before the remote is known nobody is a stranger yet."""
        if self._host is not None or len(self._early) == _EARLY:
            self._stray += 1
        if self._host is None:
            self._early.append((datagram, source, now))

    def _take_early(self, remote: Source) -> None:
        """What came from exactly where the remote now says that it is; the rest was stray."""
        early, self._early = self._early, deque(maxlen=_EARLY)
        for datagram, source, at in early:
            if source[:2] != remote or self._clock() - at > _EARLY_S:
                self._stray += 1
                continue
            try:
                opened = datagram if self._cipher is None else self._cipher.open(datagram)
            except UnauthenticError:
                self._undeciphered += 1
            else:
                self._receive(opened, source, at)

    def _latch(self, source: Source, datagram: bytes) -> bool:
        """Takes the first who sends media from the negotiated address for the remote, where that was allowed; whoever
        sends from the negotiated port itself takes over from one who did not, for that may be an earlier call's."""
        if not self._latching or source[0] != self._host:
            return False
        if self._source is not None and source != self._told:
            return False
        if len(datagram) < HEADER.size or datagram[0] & 0xC0 != VERSION_BITS:
            return False
        payload_type = datagram[1] & PAYLOAD_TYPE_MASK
        others = (self._telephone_event, self._wide_type, _COMFORT_NOISE)
        if payload_type not in self._laws and payload_type not in others:
            return False
        self._forget()
        self._source = self._destination = source
        if self.other is not None:
            self.other._forget()
        return True

    def _listener(self) -> MediaLeg | None:
        """The other side, where it is to hear this one now."""
        other = self.other
        return other if self._bridged and other is not None and other._hears and not other._playing else None

    def _learn(self, datagram: bytes, header: Header, source: Source, law: Law, order: Order, *, wide: bool) -> None:
        """From the packet that took the long way, what those after it must be like to be passed on at once."""
        self._plain = None
        if header[0] != VERSION_BITS or order is not Order.NEXT:
            return
        number = header[1] & PAYLOAD_TYPE_MASK
        to, shifts = self._listener(), None
        if to is not None:
            if wide is not to.wide or law is not to.law or number != to._wire:
                return
            changes, ssrc = to._outbound.shift(header[4]), to._outbound.ssrc
            if changes is None or ssrc is None:
                return
            if changes != (0, 0) or ssrc != header[4]:
                shifts = (*changes, ssrc)
        self._plain = _Plain(source, bytes((VERSION_BITS, number)), datagram[8:12], law, to, shifts, wide)

    def _audio(self, datagram: bytes, header: Header, law: Law, start: int, end: int, order: Order, now: float) -> None:
        payload = datagram[start:end]
        other = self._listener()
        if other is not None:
            if other.wide or law is not other.law:
                datagram = datagram[:start] + other._encoded(payload, law) + datagram[end:]
            other._pass_on(datagram, header, other._wire, now)
        self._voice.take(order=order, timestamp=header[3], payload=payload, law=law, now=now)
        self._report_heard()

    def _wideband(self, datagram: bytes, header: Header, start: int, end: int, order: Order, now: float) -> None:
        """A frame of G.722: passed on as it is where the other side has it too, and recorded as telephone sound. A
        repeat is not decoded, for the codec has a memory."""
        if order is Order.DUPLICATE:
            self._voice.take(order=order, timestamp=header[3], payload=datagram[start:end], law=Law.PCMA, now=now)
            return
        payload = self._narrowed(datagram[start:end])
        other = self._listener()
        if other is not None:
            if not other.wide:
                datagram = datagram[:start] + other.law.recode(payload, Law.PCMA) + datagram[end:]
            other._pass_on(datagram, header, other._wire, now)
        self._voice.take(order=order, timestamp=header[3], payload=payload, law=Law.PCMA, now=now)
        self._report_heard()

    def _narrowed(self, payload: bytes) -> bytes:
        """G.722 that came in, in A-law."""
        if self._decoder is None:
            self._decoder = WidebandDecoder()
        return self._decoder.to_law(payload, Law.PCMA)

    def _encoded(self, payload: bytes, law: Law) -> bytes:
        """``payload`` of ``law`` as this side's remote takes it."""
        if not self.wide:
            return self.law.recode(payload, law)
        if self._encoder is None:
            self._encoder = WidebandEncoder()
        return self._encoder.from_law(payload, law)

    def _event(self, datagram: bytes, header: Header, start: int, end: int, now: float) -> None:
        payload = datagram[start:end]
        try:
            passes = self._presses.passes(payload, timestamp=header[3], decide=partial(self._may_press, self.speaker))
            digits = self._digits.receive(payload, timestamp=header[3], now=now)
        except MalformedPacketError:
            self._malformed += 1
            return
        other = self._listener()
        number = other._telephone_event if other is not None else None
        if other is not None and number is None:
            self._unheard += 1
        elif other is not None and number is not None and passes:
            other._pass_on(datagram, header, number, now)
        for digit in digits:
            self._on_digit(self.speaker, digit, How.EVENT)

    def _report_heard(self) -> None:
        for heard in self._voice.heard():
            for tone in heard.tones:
                self._on_tone(self.speaker, tone)
            for digit in heard.digits:
                self._on_digit(self.speaker, digit, How.VOICE)

    def _report(self, now: float, *, last: bool = False) -> None:
        if self.other is not None:
            self.other.settle()
        ssrc, (timestamp, sent_at) = self._outbound.ssrc, self._outbound.latest
        sent = None
        if ssrc is not None and self._sent:
            sent = Sent(ssrc=ssrc, packets=self._sent, octets=self._octets, timestamp=timestamp, sent_at=sent_at)
        self._reports.send(sent=sent, received=self._voice.received(), now=now, last=last)

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
