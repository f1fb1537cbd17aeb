"""G.722 at 64 kbit/s and the way between it and G.711 (ITU-T G.722, RFC 3551 4.5.2).

One byte holds two samples at 16 kHz and counts as one tick of the RTP clock, which the RFC keeps at 8000 Hz. So a frame
of G.722 and the same stretch of G.711 have equally many bytes, and places and losses are counted alike for both.

What the step to 8 kHz takes away is the band above 3.8 kHz, and A-law's noise is added to the rest. libg722 could do
that step itself by leaving the upper sub-band out; but a tone at 4.4 kHz then comes back at 3.6 kHz, 7 dB weaker, where
this filter leaves less than a thousandth of it.
"""

from __future__ import annotations

import numpy as np
from G722 import G722
from numpy.typing import NDArray

from telephony.rtp.g711 import Law, Samples

NAME = "G722"
PAYLOAD_TYPE = 9
_RATE = 16_000
_BITS = 64_000
_TAPS = 95
_PASS_HZ = 3_800.0
_HISTORY = _TAPS - 1


def _lowpass() -> NDArray[np.float32]:
    """Half-power at 3.8 kHz, -24 dB at 4 kHz, -69 dB from 4.4 kHz on, for samples at 16 kHz."""
    at = np.arange(_TAPS) - _HISTORY / 2
    taps = np.sinc(2 * _PASS_HZ / _RATE * at) * np.kaiser(_TAPS, 6.0)
    lowpass: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return lowpass


_LOWPASS = _lowpass()


class WidebandDecoder:
    """One stream of G.722, heard at 8 kHz. It has a memory: frames are to come in their order, each once."""

    def __init__(self) -> None:
        self._codec = G722(_RATE, _BITS)
        self._history = np.zeros(_HISTORY, dtype=np.float32)

    def decode(self, payload: bytes) -> Samples:
        """One sample at 8 kHz for each byte of ``payload``, of which there is at least one."""
        wide = np.frombuffer(self._codec.decode(payload), dtype=np.int16).astype(np.float32)
        joined = np.concatenate([self._history, wide])
        self._history = joined[wide.size :]
        return _rounded(np.convolve(joined, _LOWPASS, "valid")[::2])

    def to_law(self, payload: bytes, law: Law) -> bytes:
        """``payload`` in ``law``, byte for byte."""
        return law.encode(self.decode(payload))


class WidebandEncoder:
    """One stream of G.722 made of telephone sound; its upper band stays empty."""

    def __init__(self) -> None:
        self._codec = G722(_RATE, _BITS)
        self._history = np.zeros(_HISTORY, dtype=np.float32)

    def encode(self, samples: Samples) -> bytes:
        """One byte for each of ``samples`` at 8 kHz, of which there is at least one."""
        wide = np.zeros(2 * samples.size, dtype=np.float32)
        wide[::2] = samples
        joined = np.concatenate([self._history, wide])
        self._history = joined[wide.size :]
        encoded: bytes = self._codec.encode(_rounded(2 * np.convolve(joined, _LOWPASS, "valid")))
        return encoded

    def from_law(self, payload: bytes, law: Law) -> bytes:
        """``payload`` of ``law`` in G.722, byte for byte."""
        return self.encode(law.decode(payload))


def _rounded(wave: NDArray[np.float32]) -> Samples:
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
