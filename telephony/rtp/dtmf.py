"""Digits pressed during a call, as telephone-event payloads (RFC 4733).

One press arrives as many packets with one timestamp, its end three times over; here it becomes one ``Digit``.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from telephony.rtp.errors import MalformedPacketError

DIGITS = "0123456789*#ABCD"
"""Digit of each event code 0..15 (RFC 4733 3.2)."""

_EVENT = struct.Struct("!BBH")
_END_BIT = 0x80
_TIMESTAMPS_PER_MS = 8
_REPEATED_ENDS = 3
_ABANDONED_AFTER_S = 0.3
_REMEMBERED = 16
FLASH_CODE = 16
"""The hook flash (RFC 4733 7.1, as RFC 2833 had it)."""
_LONGEST = 0xFFFF
"""Timestamp units that one report can say; a key held longer goes on in another segment (RFC 4733 2.5.1.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelephoneEvent:
    """One event report: ``code`` 0..255, ``duration`` in timestamp units (8 kHz), ``volume`` 0..63 in
    -dBm0."""

    code: int
    end: bool
    volume: int
    duration: int

    def serialize(self) -> bytes:
        """The four bytes of RFC 4733 2.3."""
        flags = (_END_BIT if self.end else 0) | (self.volume & 0x3F)
        return _EVENT.pack(self.code, flags, min(self.duration, _LONGEST))


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """One key press: ``digit`` is one of ``DIGITS``, ``duration_ms`` as far as it was reported."""

    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPacket:
    """What one packet of a generated press carries: sent ``offset_ms`` after the press began, always with the
    timestamp of that beginning and the next sequence number."""

    payload: bytes
    marker: bool
    offset_ms: int


def parse_events(payload: bytes) -> tuple[TelephoneEvent, ...]:
    """The event reports in ``payload``, the current one first or alone. Raises MalformedPacketError."""
    if not payload or len(payload) % _EVENT.size:
        raise MalformedPacketError("a telephone-event payload is a multiple of four bytes")
    return tuple(
        TelephoneEvent(code=code, end=bool(flags & _END_BIT), volume=flags & 0x3F, duration=duration)
        for code, flags, duration in _EVENT.iter_unpack(payload)
    )


def press(digit: str, *, duration_ms: int, ptime_ms: int = 20, volume: int = 10) -> Iterator[EventPacket]:
    """Packets of one key press, the last report three times with the end bit (RFC 4733 2.5.1.4).

    Raises ValueError when ``digit`` is none of ``DIGITS`` or the press is longer than one event can say (8191
    ms).
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise ValueError("no such digit")
    if not 0 < duration_ms <= _LONGEST // _TIMESTAMPS_PER_MS:
        raise ValueError("a key press lasts 1 to 8191 ms")
    code = DIGITS.index(digit)
    steps = [*range(ptime_ms, duration_ms, ptime_ms), duration_ms]
    for number, elapsed in enumerate(steps):
        end = number == len(steps) - 1
        event = TelephoneEvent(code=code, end=end, volume=volume, duration=elapsed * _TIMESTAMPS_PER_MS)
        for _ in range(_REPEATED_ENDS if end else 1):
            yield EventPacket(payload=event.serialize(), marker=number == 0, offset_ms=elapsed)


class PressStarts:
    """Tells by the packets of one stream which press each belongs to, from the first of them on, and keeps what was
    decided about it."""

    def __init__(self) -> None:
        self._decided: dict[int, tuple[int, bool]] = {}

    def passes(self, payload: bytes, *, timestamp: int, decide: Callable[[int], bool]) -> bool:
        """What ``decide`` said of the event code of this press; asked once a press. Raises MalformedPacketError."""
        code = parse_events(payload)[0].code
        known = self._decided.get(timestamp) or self._decided.get((timestamp - _LONGEST) & 0xFFFFFFFF)
        if known is None or known[0] != code:
            known = (code, decide(code))
        self._decided[timestamp] = known
        while len(self._decided) > _REMEMBERED:
            del self._decided[next(iter(self._decided))]
        return known[1]


class DigitDetector:
    """Turns the event packets of one stream into digits, each reported once however often its end was
    sent."""

    def __init__(self) -> None:
        self._start: int | None = None
        self._event: TelephoneEvent | None = None
        self._before = 0
        self._heard_at = 0.0
        self._reported: deque[int] = deque(maxlen=_REMEMBERED)

    def receive(self, payload: bytes, *, timestamp: int, now: float) -> list[Digit]:
        """Digits that ended with this packet (none, one, or more when ends were lost). ``now`` in s on any
        one clock.

        Raises MalformedPacketError.
        """
        digits: list[Digit] = []
        for event in parse_events(payload):
            digits += self._report(event, timestamp, now)
            timestamp = (timestamp + event.duration) & 0xFFFFFFFF
        return digits

    def expire(self, now: float) -> list[Digit]:
        """The digit whose end never came, 0.3 s after its last packet."""
        if self._event is None or now - self._heard_at < _ABANDONED_AFTER_S:
            return []
        return self._finish()

    def _report(self, event: TelephoneEvent, start: int, now: float) -> list[Digit]:
        if event.code >= len(DIGITS) or start in self._reported:
            return []
        if self._goes_on(event, start):
            return self._report(event, start, now)
        digits = self._finish() if start != self._start else []
        if self._event is None or event.duration >= self._event.duration:
            self._start, self._event, self._heard_at = start, event, now
        return digits + self._finish() if event.end else digits

    def _goes_on(self, event: TelephoneEvent, start: int) -> bool:
        """Whether the report is the first of a further segment of the press that is under way."""
        if self._event is None or self._start is None or event.code != self._event.code:
            return False
        if (start - self._start) & 0xFFFFFFFF != _LONGEST:
            return False
        self._reported.append(self._start)
        self._before += _LONGEST
        self._start, self._event = start, event
        return True

    def _finish(self) -> list[Digit]:
        if self._event is None or self._start is None:
            return []
        event = self._event
        self._reported.append(self._start)
        duration, self._before = self._before + event.duration, 0
        self._start = self._event = None
        return [Digit(digit=DIGITS[event.code], duration_ms=duration // _TIMESTAMPS_PER_MS)]
