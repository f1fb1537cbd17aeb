"""Sends prepared audio to one leg: an announcement once, ringing tone until it is stopped.

Frames are due at fixed moments counted from the first, so that no delay adds up; a frame that is late is
sent at once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import numpy as np

from telephony.media_leg import MediaLeg
from telephony.rtp.g711 import Law, Samples

FRAME_S = 0.020
_FRAME = 160
_SKIP_S = 0.5
"""A loop that stood still this long goes on from here instead of sending all at once."""

Copy = Callable[[bytes, Law, float, bool], None]
"""Takes payload, law, now (s on the media clock) and whether it is the first frame."""


class Playback:
    """One running playback; ``done`` becomes True at its end, False when it was stopped before."""

    def __init__(
        self,
        leg: MediaLeg,
        samples: Samples,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        repeat: bool,
        copy: Copy | None,
    ) -> None:
        if not samples.size:
            raise ValueError("there is nothing to play")
        self.done: asyncio.Future[bool] = loop.create_future()
        self._leg = leg
        self._samples = np.pad(samples, (0, -samples.size % _FRAME))
        self._frames = self._samples.size // _FRAME
        self._encoded: tuple[Law, bytes] = (leg.law, leg.law.encode(self._samples))
        self._loop = loop
        self._clock = clock
        self._repeat = repeat
        self._copy = copy
        self._ssrc = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._number = 0
        self._due = loop.time()
        leg.playing = True
        self._handle: asyncio.Handle = loop.call_soon(self._send_due)

    def stop(self) -> None:
        """Ends the playback now; after its end this does nothing."""
        self._finish(False)

    def _finish(self, complete: bool) -> None:
        if not self.done.done():
            self._handle.cancel()
            self._leg.playing = False
            self.done.set_result(complete)

    def _send_due(self) -> None:
        now = self._loop.time()
        if now - self._due > _SKIP_S:
            self._due = now
        while self._due <= now and not self.done.done():
            self._send_frame()
            self._due += FRAME_S
        if not self.done.done():
            self._handle = self._loop.call_at(self._due, self._send_due)

    def _send_frame(self) -> None:
        if self._number == self._frames and not self._repeat:
            self._finish(True)
            return
        law, number, now = self._leg.law, self._number, self._clock()
        at = number % self._frames * _FRAME
        payload = self._in_law(law)[at : at + _FRAME]
        header = (
            0x80,
            law.value | (0 if number else 0x80),
            (self._sequence + number) & 0xFFFF,
            (self._timestamp + number * _FRAME) & 0xFFFFFFFF,
            self._ssrc,
        )
        self._leg.play(header=header, payload=payload, now=now)
        if self._copy is not None:
            self._copy(payload, law, now, number == 0)
        self._number += 1

    def _in_law(self, law: Law) -> bytes:
        """The whole audio in ``law``; a re-INVITE may change the law in the middle."""
        if self._encoded[0] is not law:
            self._encoded = (law, law.encode(self._samples))
        return self._encoded[1]
