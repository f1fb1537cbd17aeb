"""G.711 into linear samples for the live captions (ITU-T G.711; RFC 3551 payload types 0 and 8)."""

from __future__ import annotations

import numpy as np

from transcription.engine import Samples

PCMU = 0
PCMA = 8


def _ulaw_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 0x07)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 0x07
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES = {PCMU: _ulaw_table(), PCMA: _alaw_table()}


_ORDER = np.argsort(_TABLES[PCMA])
_MIDPOINTS = (_TABLES[PCMA][_ORDER][1:].astype(np.float64) + _TABLES[PCMA][_ORDER][:-1]) / 2


def encode_alaw(samples: Samples) -> bytes:
    """G.711 A-law of ``samples``: the code of the nearest level."""
    return _ORDER[np.searchsorted(_MIDPOINTS, samples)].astype(np.uint8).tobytes()


def decode(codec: int, payload: bytes) -> Samples:
    """Linear int16 samples at 8 kHz of ``payload``. Raises ValueError for another codec than 0 or 8."""
    table = _TABLES.get(codec)
    if table is None:
        raise ValueError(f"payload type {codec} is not G.711")
    return table[np.frombuffer(payload, dtype=np.uint8)]
