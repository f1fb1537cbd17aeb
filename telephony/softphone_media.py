"""The voice of the built-in softphone: what it says in exact 20 ms frames, and an account of what it hears.

``Speech`` and ``Ear`` are pure; ``AudioStream`` puts them on a socket. The schedule is counted from its beginning, so
that lateness of one frame never delays the next, and the stream goes on in silence between utterances as a real
phone's does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass

from telephony.media_ports import PortPool
from telephony.rtp.coverage import Coverage
from telephony.rtp.dtmf import Digit, DigitDetector, press
from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.g711 import SAMPLE_RATE, Law, Samples
from telephony.rtp.outbound import frame
from telephony.rtp.packet import parse_packet
from telephony.rtp.sequence import SequenceWindow
from telephony.rtp.statistics import StreamCounter, StreamStatistics
from telephony.rtp.timeline import Timeline
from telephony.sip.sdp import AudioTarget

FRAME = 160
"""Samples in 20 ms."""
FRAME_S = FRAME / SAMPLE_RATE
STALL_S = 1.0
"""Lateness after which the schedule moves instead of being caught up with by a burst."""
_PRESS_MS = 100
_BETWEEN_PRESSES_MS = 60
_PORTS = (30_000, 39_999)
_START_PAIRS = 4_000
_LARGEST = 2048
_LAWS = {law.value: law for law in Law}
_SENDS = frozenset({"sendrecv", "sendonly"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPacket:
    """One packet to send now: ``timestamp`` counts samples from the stream's beginning; ``is_event`` marks a
    telephone-event payload."""

    payload: bytes
    timestamp: int
    marker: bool
    is_event: bool


class Speech:
    """What one side says from the stream's first sample on, 20 ms at a time. Pure."""

    def __init__(self) -> None:
        self.position = 0
        self._pieces: deque[tuple[int, Samples]] = deque()
        self._end = 0
        self._digits: deque[str] = deque()
        self._press: deque[tuple[int, OutgoingPacket]] = deque()
        self._quiet_until = 0
        self._silent = True

    def say(self, samples: Samples, *, at: int | None = None) -> int:
        """Say 8 kHz ``samples`` at sample ``at``, or as soon as what was queued before is said; the sample after
        its last. Raises ValueError for a place that has passed or is taken."""
        earliest = max(self.position, self._end)
        start = earliest if at is None else at
        if start < earliest:
            raise ValueError("that moment has passed, or something else is said then")
        self._pieces.append((start, samples))
        self._end = start + len(samples)
        return self._end

    def press(self, digits: str) -> int:
        """Press keys one after another, from now on (RFC 4733); the sample by which the last is released.

        Raises ValueError for what is no key.
        """
        for digit in digits:
            next(press(digit, duration_ms=_PRESS_MS))
        self._digits.extend(digits)
        step = -(-(_PRESS_MS + _BETWEEN_PRESSES_MS) * SAMPLE_RATE // 1000)
        return max(self.position, self._quiet_until) + (len(self._digits) + 1) * step

    def next_frame(self, law: Law) -> list[OutgoingPacket]:
        """The packets of the next 20 ms: one of audio, or those of a key being pressed."""
        start, self.position = self.position, self.position + FRAME
        if not self._press and self._digits and start >= self._quiet_until:
            self._begin_press(self._digits.popleft(), start)
        if self._press:
            self._silent = True
            return self._due_events()
        return [self._audio(start, law)]

    def _begin_press(self, digit: str, start: int) -> None:
        for packet in press(digit, duration_ms=_PRESS_MS):
            event = OutgoingPacket(payload=packet.payload, timestamp=start, marker=packet.marker, is_event=True)
            self._press.append((start + packet.offset_ms * SAMPLE_RATE // 1000, event))
        self._quiet_until = start + (_PRESS_MS + _BETWEEN_PRESSES_MS) * SAMPLE_RATE // 1000

    def _due_events(self) -> list[OutgoingPacket]:
        due = []
        while self._press and self._press[0][0] <= self.position:
            due.append(self._press.popleft()[1])
        return due

    def _audio(self, start: int, law: Law) -> OutgoingPacket:
        payload = bytearray(law.silence * FRAME)
        spoken = False
        while self._pieces and self._pieces[0][0] < start + FRAME:
            at, samples = self._pieces[0]
            low, high = max(start, at), min(start + FRAME, at + len(samples))
            if high > low:
                payload[low - start : high - start] = law.encode(samples[low - at : high - at])
                spoken = True
            if at + len(samples) > start + FRAME:
                break
            self._pieces.popleft()
        marker, self._silent = self._silent and spoken, not spoken
        return OutgoingPacket(payload=bytes(payload), timestamp=start, marker=marker, is_event=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came in: ``alaw`` from the first packet on, silence where nothing came; ``gaps`` as (first sample,
    samples); ``malformed`` counts datagrams that were no RTP; ``foreign`` packets of another sender or codec."""

    alaw: bytes
    gaps: tuple[tuple[int, int], ...]
    statistics: StreamStatistics
    digits: tuple[Digit, ...]
    malformed: int
    foreign: int

    @property
    def seconds(self) -> float:
        """Length of ``alaw``."""
        return len(self.alaw) / SAMPLE_RATE


class Ear:
    """Places what it hears by timestamp and counts what is missing. Pure; ``now`` is s of one steady clock."""

    def __init__(self) -> None:
        self.telephone_event: int | None = None
        self.first_at: float | None = None
        self._source: tuple[str, int] | None = None
        self._window, self._counter = SequenceWindow(), StreamCounter()
        self._timeline, self._coverage = Timeline(), Coverage()
        self._alaw = bytearray()
        self._detector = DigitDetector()
        self._digits: list[Digit] = []
        self._malformed = self._foreign = 0

    def receive(self, datagram: bytes, source: tuple[str, int], now: float) -> None:
        """One datagram; the first sender is listened to, others are only counted."""
        try:
            packet = parse_packet(datagram)
        except MalformedPacketError:
            self._malformed += 1
            return
        if self._source not in (None, source):
            self._foreign += 1
            return
        self._source = source
        self.first_at = now if self.first_at is None else self.first_at
        order = self._window.receive(packet.ssrc, packet.sequence)
        self._counter.count(order, self._window.step)
        law = _LAWS.get(packet.payload_type)
        if law is not None and packet.payload:
            self._counter.time(packet.timestamp, now)
            arrival = round((now - self.first_at) * SAMPLE_RATE)
            size = len(packet.payload)
            position, _ = self._timeline.place(order=order, timestamp=packet.timestamp, samples=size, arrival=arrival)
            if position is not None:
                self._write(position, Law.PCMA.recode(packet.payload, law))
        elif packet.payload_type == self.telephone_event:
            self._event(packet.payload, packet.timestamp, now)
        else:
            self._foreign += 1

    def heard(self, now: float) -> Heard:
        """Everything up to now."""
        self._digits += self._detector.expire(now)
        return Heard(
            alaw=bytes(self._alaw),
            gaps=self._coverage.gaps,
            statistics=self._counter.snapshot(),
            digits=tuple(self._digits),
            malformed=self._malformed,
            foreign=self._foreign,
        )

    def _event(self, payload: bytes, timestamp: int, now: float) -> None:
        try:
            self._digits += self._detector.receive(payload, timestamp=timestamp, now=now)
        except MalformedPacketError:
            self._malformed += 1

    def _write(self, position: int, alaw: bytes) -> None:
        missing = position + len(alaw) - len(self._alaw)
        if missing > 0:
            self._alaw += Law.PCMA.silence * missing
        self._alaw[position : position + len(alaw)] = alaw
        self._coverage.add(position, len(alaw))


class AudioStream:
    """One RTP session of the softphone on the running loop. ``late_s`` is the most a frame was ever late."""

    def __init__(self, host: str) -> None:
        """Binds an even port and the next. Raises NoFreePortError."""
        self._loop = asyncio.get_running_loop()
        first = _PORTS[0] + 2 * secrets.randbelow(_START_PAIRS)
        self._pair = PortPool(host=host, first=first, last=_PORTS[1], rest_s=0.0).lend(0.0)
        self.address = (host, self._pair.port)
        self.speech, self.ear = Speech(), Ear()
        self.sent = self.refused = self.stalls = 0
        self.late_s = 0.0
        self._target: AudioTarget | None = None
        self._started: float | None = None
        self._frames = 0
        self._sequence, self._timestamp = secrets.randbits(16), secrets.randbits(32)
        self._ssrc = secrets.randbits(32)
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._closed = False
        self._loop.add_reader(self._pair.rtp.fileno(), self._read)

    @property
    def accepts_digits(self) -> bool:
        """Whether the peer reads telephone-events."""
        return self._target is not None and self._target.telephone_event is not None

    def send_to(self, target: AudioTarget) -> None:
        """Take what was negotiated, first or again; the stream begins with the first."""
        self._target = target
        self.ear.telephone_event = target.telephone_event
        if self._started is None and not self._closed:
            self._started = self._loop.time()
            self._tick()

    async def until(self, position: int) -> None:
        """Wait until the stream has sent the samples before ``position``; returns at once when it is closed."""
        if self._closed or self.speech.position >= position:
            return
        reached: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((position, reached))
        await reached

    def heard(self) -> Heard:
        """What came in up to now."""
        return self.ear.heard(self._loop.time())

    def close(self) -> None:
        """Stop sending and listening; twice is once."""
        if self._closed:
            return
        while self._read():
            pass
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._pair.rtp.fileno())
        self._pair.close()
        self._release(None)

    def _tick(self) -> None:
        now = self._loop.time()
        assert self._started is not None  # noqa: S101 - set before the first tick
        late = now - (self._started + self._frames * FRAME_S)
        self.late_s = max(self.late_s, late)
        if late > STALL_S:
            self.stalls += 1
            self._started += late
        while (due := self._started + self._frames * FRAME_S) <= now:
            self._frames += 1
            self._send_frame()
        self._release(self.speech.position)
        self._timer = self._loop.call_at(due, self._tick)

    def _send_frame(self) -> None:
        assert self._target is not None  # noqa: S101 - the stream begins with its target
        target = self._target
        for packet in self.speech.next_frame(_LAWS[target.payload_type]):
            payload_type = target.telephone_event if packet.is_event else target.payload_type
            if payload_type is None or target.direction not in _SENDS:
                continue
            datagram = frame(
                sequence=self._sequence,
                timestamp=self._timestamp + packet.timestamp,
                ssrc=self._ssrc,
                payload_type=payload_type,
                marker=packet.marker,
                payload=packet.payload,
            )
            self._sequence += 1
            try:
                self._pair.rtp.sendto(datagram, (target.host, target.port))
                self.sent += 1
            except OSError:
                self.refused += 1

    def _release(self, position: int | None) -> None:
        """Wake who waits for a sample that is sent by now; everybody for None."""
        kept = []
        for wanted, reached in self._waiting:
            if position is not None and wanted > position:
                kept.append((wanted, reached))
            elif not reached.done():
                reached.set_result(None)
        self._waiting = kept

    def _read(self) -> bool:
        try:
            datagram, source = self._pair.rtp.recvfrom(_LARGEST)
        except OSError:
            return False
        self.ear.receive(datagram, (source[0], source[1]), self._loop.time())
        return True
