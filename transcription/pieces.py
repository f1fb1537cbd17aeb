"""Hearing a channel piece by piece, and remembering what was heard by the sound itself: a piece that was heard while
the call went on, or before a recording had to make way, is not heard again, whoever asks."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from transcription.engine import Capabilities, Engine, Heard, Piece, Samples, unheard
from transcription.pauses import LONGEST_S, SHORTEST_S, next_cut

Key = tuple[str, ...]
_WAIT_S = 0.5


class Memory:
    """What was heard in pieces of sound, the latest ``limit`` of them. Used by several threads; of two that want the
    same piece at the same time one hears it and the other waits."""

    def __init__(self, limit: int = 6000) -> None:
        self._limit = limit
        self._known: OrderedDict[Key, tuple[Piece, ...]] = OrderedDict()
        self._busy: dict[Key, threading.Event] = {}
        self._lock = threading.Lock()

    def recall(
        self, key: Key, hear: Callable[[], Sequence[Piece]], waiting: Callable[[], None] = lambda: None
    ) -> tuple[Piece, ...]:
        """What was heard in ``key``'s sound; ``hear`` where nobody has heard it. ``waiting`` is called again and again
        while another hears it. Raises what ``hear`` and ``waiting`` raise."""
        while True:
            with self._lock:
                if key in self._known:
                    self._known.move_to_end(key)
                    return self._known[key]
                other = self._busy.get(key)
                if other is None:
                    mine = self._busy[key] = threading.Event()
                    break
            while not other.wait(_WAIT_S):
                waiting()
        try:
            heard = tuple(hear())
            with self._lock:
                self._known[key] = heard
                while len(self._known) > self._limit:
                    self._known.popitem(last=False)
            return heard
        finally:
            with self._lock:
                del self._busy[key]
            mine.set()


class PieceEngine:
    """An engine that hears by pieces, which are cut in pauses, and remembers them; see ``Engine``."""

    def __init__(self, engine: Engine, memory: Memory) -> None:
        self._engine, self._memory = engine, memory

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._engine.name

    @property
    def model(self) -> str:
        """The model's name."""
        return self._engine.model

    @property
    def model_sha256(self) -> str:
        """What pins the weights."""
        return self._engine.model_sha256

    @property
    def settings(self) -> dict[str, str]:
        """The engine's, and where pieces are cut."""
        return {**self._engine.settings, "pieces_s": f"{SHORTEST_S:g}-{LONGEST_S:g}"}

    @property
    def capabilities(self) -> Capabilities:
        """The engine's."""
        return self._engine.capabilities

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        """See ``Engine.transcribe``."""
        found: list[Piece] = []
        for start, end in cut(samples, sample_rate_hz):

            def so_far(done: int, before: int = start) -> None:
                heard(before + done)

            found += self.hear(
                samples[start:end], sample_rate_hz, phrases=phrases, start_s=start / sample_rate_hz, heard=so_far
            )
            heard(end)
        return found

    def hear(
        self,
        piece: Samples,
        sample_rate_hz: int,
        *,
        phrases: Sequence[str] = (),
        start_s: float = 0.0,
        heard: Heard = unheard,
    ) -> list[Piece]:
        """One piece, which begins at ``start_s`` of the channel; from memory where it was heard before."""
        key = (self.model_sha256, *(f"{a}={b}" for a, b in sorted(self.settings.items())), *_sound(piece, phrases))
        pieces = self._memory.recall(
            key,
            lambda: self._engine.transcribe(piece, sample_rate_hz, phrases=phrases, heard=heard),
            waiting=lambda: heard(0),
        )
        return [_moved(each, start_s) for each in pieces]


def cut(samples: Samples, sample_rate_hz: int) -> Iterator[tuple[int, int]]:
    """The pieces of a finished channel, first and last sample (excluded) of each, without a gap."""
    start = 0
    while start < len(samples):
        length = next_cut(samples[start:], sample_rate_hz)
        end = len(samples) if length is None else start + length
        yield start, end
        start = end


def _sound(piece: Samples, phrases: Sequence[str]) -> tuple[str, str]:
    return hashlib.sha256(piece.tobytes()).hexdigest(), hashlib.sha256("\0".join(phrases).encode()).hexdigest()


def _moved(piece: Piece, by_s: float) -> Piece:
    if not by_s:
        return piece
    words = tuple(
        replace(word, start_s=round(word.start_s + by_s, 3), end_s=round(word.end_s + by_s, 3)) for word in piece.words
    )
    return replace(piece, start_s=round(piece.start_s + by_s, 3), end_s=round(piece.end_s + by_s, 3), words=words)
