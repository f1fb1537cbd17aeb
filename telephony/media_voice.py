"""What comes in on one leg, after it was passed on: counted, placed in the recording, listened to.

None of this is urgent, so it is done for a tenth of a second at a time: packets that follow on, as nearly all do, cost
little more together than one of them alone.
"""

from __future__ import annotations

import struct

from telephony.media_track import Track
from telephony.rtp.ear import Ear, Heard
from telephony.rtp.g711 import Law
from telephony.rtp.packet import HEADER
from telephony.rtp.reports import Received
from telephony.rtp.sequence import Order, SequenceWindow
from telephony.rtp.statistics import StreamCounter

_NUMBERS = struct.Struct("!HI")
_NUMBERS_AT = 2


class VoiceIn:
    """One leg's incoming stream."""

    def __init__(self) -> None:
        self.track: Track | None = None
        self.counter = StreamCounter()
        self.ear = Ear()
        self._window = SequenceWindow()
        self._stray: tuple[int, bytes, Law, float] | None = None
        self._heard: list[Heard] = []

    def count(self, ssrc: int, sequence: int) -> Order:
        """Takes the number of one packet of any payload type."""
        order = self._window.receive(ssrc, sequence)
        self.counter.count(order, self._window.step)
        if order is not Order.RESTART:
            self._stray = None
        return order

    def take(self, *, order: Order, timestamp: int, payload: bytes, law: Law, now: float) -> None:
        """Takes the audio of one packet that was counted. A stray one waits for the next, which tells whether it was
        the first of a restart."""
        if order is Order.STRAY:
            self._stray = (timestamp, payload, law, now)
            return
        if order is Order.RESTART and self._stray is not None:
            (first, said, of, at), self._stray = self._stray, None
            self._take(Order.RESTART, first, said, of, at)
            order = Order.NEXT
        self._take(order, timestamp, payload, law, now)

    def _take(self, order: Order, timestamp: int, payload: bytes, law: Law, now: float) -> None:
        self.counter.time(timestamp, now)
        if self.track is not None:
            self.track.take(order=order, timestamp=timestamp, payload=payload, law=law, now=now)
        self._hear(payload, law)

    def take_plain(self, datagrams: list[bytes], arrivals: list[float], law: Law) -> tuple[int, int]:
        """Counts and takes packets of the present source that have a plain header, in the order of their arrival
        (s on the media clock). Number and timestamp of the newest of them."""
        numbers = [_NUMBERS.unpack_from(datagram, _NUMBERS_AT) for datagram in datagrams]
        size = len(datagrams[0]) - HEADER.size
        sequence, timestamp = numbers[0]
        for datagram, number in zip(datagrams, numbers, strict=True):
            if number != (sequence, timestamp) or len(datagram) - HEADER.size != size:
                break
            sequence, timestamp = (sequence + 1) & 0xFFFF, (timestamp + size) & 0xFFFFFFFF
        else:
            if self._window.advance(numbers[0][0], len(numbers)):
                self._take_run(datagrams, arrivals, numbers[0][1], size, law)
                return numbers[-1]
        self._take_each(datagrams, arrivals, numbers, law)
        first = numbers[0][0]
        return max(numbers, key=lambda number: (number[0] - first + 0x8000) & 0xFFFF)

    def heard(self) -> list[Heard]:
        """Tones and digits in the voice since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def listen(self) -> None:
        """Hears what the ear collected."""
        self._keep(self.ear.listen())

    def received(self) -> Received | None:
        """What our reports say of the stream; None before its first packet."""
        if self._window.ssrc is None:
            return None
        return Received(
            ssrc=self._window.ssrc,
            highest_sequence=self._window.highest,
            expected=self.counter.expected,
            lost=self.counter.lost,
            jitter=self.counter.jitter,
        )

    def _take_run(self, datagrams: list[bytes], arrivals: list[float], timestamp: int, size: int, law: Law) -> None:
        self.counter.count_run(timestamp, size, arrivals)
        payload = b"".join([datagram[HEADER.size :] for datagram in datagrams])
        if self.track is not None:
            self.track.take_run(timestamp=timestamp, payload=payload, size=size, law=law, now=arrivals[-1])
        self._hear(payload, law)

    def _take_each(
        self, datagrams: list[bytes], arrivals: list[float], numbers: list[tuple[int, int]], law: Law
    ) -> None:
        ssrc = self._window.ssrc or 0
        for datagram, now, (sequence, timestamp) in zip(datagrams, arrivals, numbers, strict=True):
            order = self.count(ssrc, sequence)
            self.take(order=order, timestamp=timestamp, payload=datagram[HEADER.size :], law=law, now=now)

    def _hear(self, payload: bytes, law: Law) -> None:
        self._keep(self.ear.take(payload, law))

    def _keep(self, heard: Heard | None) -> None:
        if heard is not None:
            self._heard.append(heard)
