"""Where a channel may be cut so that its pieces can be heard one by one, while it still grows: in pauses.

A cut is decided from what lies before it alone, so that a channel that is heard while people speak is cut at the very
places where the finished recording is cut: what was heard then is the same audio and need not be heard again.
"""

from __future__ import annotations

import numpy as np

from transcription.engine import Samples

SHORTEST_S = 8.0
LONGEST_S = 24.0
_FRAME_S = 0.02
_PAUSE = 30
"""Frames: 0.6 s."""
_LOOK_EVERY = 10
_QUIET_SHARE = 15
"""The percentile of the frames' powers that counts as the line's own noise."""
_ABOVE_NOISE = 3.0
_SILENCE = 30.0**2
"""The power below which anything is a pause: -61 dBFS."""


def next_cut(samples: Samples, sample_rate_hz: int) -> int | None:
    """The sample where the first piece of ``samples`` ends, or None where more has to be heard to say. The end of a
    finished recording is a cut that this does not tell of."""
    frame = max(1, int(_FRAME_S * sample_rate_hz))
    shortest, longest = int(SHORTEST_S / _FRAME_S), int(LONGEST_S / _FRAME_S)
    count = min(len(samples) // frame, longest)
    if count < shortest:
        return None
    grid = samples[: count * frame].reshape(count, frame).astype(np.float64)
    powers = np.mean(grid**2, axis=1)
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    for end in range(shortest, count + 1, _LOOK_EVERY):
        noise = float(np.percentile(powers[:end], _QUIET_SHARE))
        if (sums[end] - sums[end - _PAUSE]) / _PAUSE <= max(_SILENCE, _ABOVE_NOISE * noise):
            return (end - _PAUSE // 2) * frame
    if count < longest:
        return None
    half = _PAUSE // 2
    means = (sums[half:] - sums[:-half])[shortest:]
    return (shortest + int(np.argmin(means)) + half // 2) * frame
