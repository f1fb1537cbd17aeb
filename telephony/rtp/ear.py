"""What is listened for in one side's voice: fax tones, digits pressed in the voice, and whether it is a voice at all.

Frames are collected and heard a quarter of a second at a time, since a numpy call costs the same for one as for ten.
"""

from __future__ import annotations

from dataclasses import dataclass

from telephony.rtp.dtmf import Digit
from telephony.rtp.g711 import Law
from telephony.rtp.inband import InbandDetector
from telephony.rtp.tones import FaxDetector

_PIECE = 2000
"""Samples heard at once."""
_FAX_LISTENING = 60 * 8000
"""Samples from the beginning in which a fax shows itself."""
_AUDIBLE = 200
"""Peak of 16-bit samples, -44 dBFS: above the noise of an open line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a piece of voice contained. ``tones`` are ``cng``, ``ced`` and ``v21``, each once in a
    call."""

    tones: tuple[str, ...]
    digits: tuple[Digit, ...]


class Ear:
    """Listens to one channel. ``audible`` tells whether it ever rose above the noise of an open line; digits are
    listened for while ``inband`` is set."""

    def __init__(self) -> None:
        self.audible = False
        self.inband = False
        self._waiting = bytearray()
        self._law = Law.PCMA
        self._listened = 0
        self._fax: FaxDetector | None = FaxDetector()
        self._keys = InbandDetector()

    def take(self, payload: bytes, law: Law) -> Heard | None:
        """One frame. What it completes is returned; mostly nothing, as frames are collected first."""
        if law is self._law:
            self._waiting += payload
            return self.listen() if len(self._waiting) >= _PIECE else None
        heard = self.listen()
        self._law = law
        self._waiting += payload
        return heard

    def listen(self) -> Heard | None:
        """Hears what was collected up to now; None for nothing of note."""
        busy = self.inband or self._fax or not self.audible
        if not self._waiting or not busy:
            self._waiting.clear()
            return None
        samples = self._law.decode(bytes(self._waiting))
        self._waiting.clear()
        self.audible = self.audible or max(int(samples.max()), -int(samples.min())) >= _AUDIBLE
        digits = self._keys.receive(samples) if self.inband else []
        tones = self._fax.receive(samples) if self._fax is not None else []
        self._listened += samples.size
        if self._listened > _FAX_LISTENING:
            self._fax = None
        return Heard(tones=tuple(tones), digits=tuple(digits)) if tones or digits else None
