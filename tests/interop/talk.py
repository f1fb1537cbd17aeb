"""The other party of a foreign program: SIPp signals, an RtpPeer speaks, listens and presses keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.peers.audio import RATE_HZ, Samples, decode_alaw
from tests.peers.digits import press, pressed
from tests.peers.ports import Address
from tests.peers.rtp_peer import RtpPacket, RtpPeer, packetize
from tests.peers.sipp import SCENARIOS as PEERS_SCENARIOS
from tests.peers.sipp import SippRun

SCENARIOS = Path(__file__).parent / "scenarios"
Values = dict[str, str | int]


@dataclass(slots=True)
class Party:
    """One side of a call. ``media`` is where its audio comes and goes."""

    run: SippRun
    media: RtpPeer
    _last: RtpPacket | None = None

    def says(self, alaw: bytes) -> None:
        """Says it, beginning now, and returns when it is said."""
        first = self._last
        packets = packetize(
            alaw,
            sequence=first.sequence + 1 if first else None,
            timestamp=first.timestamp + 160 if first else None,
            ssrc=first.ssrc if first else None,
        )
        self._send(packets)

    def presses(self, keys: str) -> None:
        """Presses keys (RFC 4733) after something was said."""
        assert self._last is not None
        self._send(press(keys, self._last))

    def pressed(self) -> str:
        """The keys that the other side pressed."""
        return pressed(self.media.received)

    def heard(self, alaw: bytes) -> float:
        """The share of ``alaw`` that was heard, see ``share_heard``."""
        return share_heard(decode_alaw(alaw), decode_alaw(self.media.heard()))

    def _send(self, packets: list[RtpPacket]) -> None:
        to: Address = self.run.wait_for_audio_address()
        self.media.finish_sending()
        self.media.send_packets(packets, to)
        self.media.finish_sending()
        self._last = packets[-1]


def folder_of(scenario: str) -> Path:
    """Where a scenario lies: here or with the peers."""
    return SCENARIOS if (SCENARIOS / f"{scenario}.xml").exists() else PEERS_SCENARIOS


_PIECE = int(0.15 * RATE_HZ)
_LOUD = 0.2
_SAME = 0.9


def share_heard(said: Samples, received: Samples) -> float:
    """The share, 0 to 1, of the loud pieces of 0.15 s of ``said`` that are somewhere in ``received``: a jitter buffer
    may slip by some samples between two words, but must not lose one."""
    pieces = [said[start : start + _PIECE].astype(np.float64) for start in range(0, len(said) - _PIECE + 1, _PIECE)]
    levels = [float(np.sqrt(np.mean(piece**2))) for piece in pieces]
    loud = [piece for piece, level in zip(pieces, levels, strict=True) if level > _LOUD * max(levels)]
    if len(received) < _PIECE:
        return 0.0
    return sum(_best_correlation(piece, received.astype(np.float64)) >= _SAME for piece in loud) / len(loud)


def _best_correlation(piece: NDArray[np.float64], received: NDArray[np.float64]) -> float:
    """The greatest normalised correlation of ``piece`` with any stretch of ``received`` of its length."""
    size = 1 << (len(piece) + len(received) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(received, size) * np.conj(np.fft.rfft(piece, size)), size)
    places = len(received) - len(piece) + 1
    energy = np.concatenate(([0.0], np.cumsum(received**2)))
    scale = np.linalg.norm(piece) * np.sqrt(energy[len(piece) :] - energy[:places])
    return float(np.max(product[:places] / np.maximum(scale, 1.0)))


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Until ``done()`` is true. Raises AssertionError with ``what``."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.03)
