"""G.711: the two laws of the telephone network, and the way between them (ITU-T G.711, 1988).

Everything is a table made once from the recommendation's segments. Between the laws a code goes to the
nearest value of the other law by way of uniform 16-bit samples, as every gateway does, so that a recording
can be recoded again.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
"""Uniform PCM at 8 kHz, 16 bits, one channel."""

SAMPLE_RATE = 8000
"""Hz; also the RTP clock rate of both laws (RFC 3551 4.5.14)."""


def _alaw_values() -> Samples:
    """Value of each of the 256 A-law codes (G.711 table 1, scaled from 13 to 16 bits; even bits are
    inverted)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment, step = (code >> 4) & 7, code & 15
    magnitude = np.where(segment == 0, (step << 4) + 8, ((step << 4) + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _ulaw_values() -> Samples:
    """Value of each of the 256 µ-law codes (G.711 table 2, scaled from 14 to 16 bits; all bits are
    inverted)."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    segment, step = (code >> 4) & 7, code & 15
    magnitude = (((step << 3) + 0x84) << segment) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _segment(magnitude: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number of the highest set bit above bit 4, i.e. how far a magnitude reaches over the first 32 steps."""
    return np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)


def _alaw_codes() -> NDArray[np.uint8]:
    """A-law code of each 16-bit sample, indexed by the sample taken as unsigned."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(sample < 0, ~sample, sample) >> 4
    segment = np.where(magnitude < 16, 0, _segment(magnitude) + 1)
    step = magnitude >> np.maximum(segment - 1, 0) & 15
    codes: NDArray[np.uint8] = ((segment << 4 | step | np.where(sample < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return codes


def _ulaw_codes() -> NDArray[np.uint8]:
    """µ-law code of each 16-bit sample, indexed by the sample taken as unsigned."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum((np.where(sample < 0, ~sample, sample) >> 2) + 33, 0x1FFF)
    segment = _segment(magnitude) - 1
    step = magnitude >> (segment + 1) & 15
    codes: NDArray[np.uint8] = (~(segment << 4 | step | np.where(sample < 0, 0x80, 0)) & 0xFF).astype(np.uint8)
    return codes


class Law(IntEnum):
    """A law by its static RTP payload type (RFC 3551 table 4)."""

    PCMU = 0
    PCMA = 8

    @property
    def silence(self) -> bytes:
        """The one byte that stands for silence."""
        return _SILENCE[self]

    def decode(self, payload: bytes | bytearray | memoryview) -> Samples:
        """Samples of ``payload``, one per byte."""
        return _VALUES[self][np.frombuffer(payload, dtype=np.uint8)]

    def encode(self, samples: Samples) -> bytes:
        """One byte for each of ``samples``."""
        return _CODES[self][np.ascontiguousarray(samples, dtype=np.int16).view(np.uint16)].tobytes()

    def recode(self, payload: bytes, source: Law) -> bytes:
        """``payload`` of the law ``source`` in this law."""
        return payload if source is self else payload.translate(_RECODE[self])


_VALUES = {Law.PCMA: _alaw_values(), Law.PCMU: _ulaw_values()}
_CODES = {Law.PCMA: _alaw_codes(), Law.PCMU: _ulaw_codes()}
_SILENCE = {Law.PCMA: b"\xd5", Law.PCMU: b"\xff"}
_RECODE = {
    Law.PCMA: Law.PCMA.encode(_VALUES[Law.PCMU]),
    Law.PCMU: Law.PCMU.encode(_VALUES[Law.PCMA]),
}
"""For each target law, the code of each code of the other one, for ``bytes.translate``."""
