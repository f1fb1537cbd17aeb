"""Captions while people speak: live audio datagrams in, caption values out, always bounded; sound may be dropped here,
because the recording has it all."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker, Word
from transcription import g711
from transcription.engine import Caption, Samples, Stream, StreamingEngine

_HZ = 8000
_MAX_DATAGRAM = 4096
_FILLED_GAP = 2 * _HZ
_STEP = _HZ // 5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCaption:
    """A caption of one channel of one call. A partial replaces the one before it on that channel.

    ``call_id`` is 32 hex digits; times are seconds from the recording's first sample.
    """

    call_id: str
    speaker: Speaker
    text: str
    start_s: float
    end_s: float
    final: bool
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """Bounds. ``backlog_s`` seconds of sound may wait per channel; ``idle_s`` without frames ends a channel whose end
    was lost; ``threads`` decode at once."""

    streams: int = 32
    backlog_s: float = 5.0
    idle_s: float = 60.0
    threads: int = 1


@dataclass(slots=True)
class _Channel:
    """One channel being heard. ``position`` is the next expected sample of the recording, ``base`` that of the stream's
    first sample; only the thread that has taken the channel (``taken``) touches ``stream`` and ``base``."""

    call_id: str
    speaker: Speaker
    position: int
    seen_s: float
    waiting: deque[tuple[int, Samples]] = field(default_factory=deque)
    backlog: int = 0
    ended: bool = False
    taken: bool = False
    broken: bool = False
    stream: Stream | None = None
    base: int = 0
    fed: int = 0


class LiveCaptions:
    """Hears every channel of every call on one streaming engine.

    ``emit`` is called from decoding threads, one call at a time per channel; what it raises is logged, not passed on.
    """

    def __init__(
        self,
        engine: StreamingEngine,
        emit: Callable[[LiveCaption], None],
        limits: LiveLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._emit = emit
        self._limits = limits or LiveLimits()
        self._clock = clock
        self._channels: dict[tuple[str, Speaker], _Channel] = {}
        self._lock = threading.Lock()
        self._ready: queue.SimpleQueue[_Channel | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.dropped_frames = 0
        self.refused_frames = 0

    def start(self) -> None:
        """Start the decoding threads."""
        for number in range(self._limits.threads):
            thread = threading.Thread(target=self._work, name=f"captions-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what waits, as far as ``timeout_s`` allows, and end the threads."""
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
        self._threads.clear()

    @property
    def open_channels(self) -> int:
        """Channels being heard now."""
        with self._lock:
            return len(self._channels)

    def receive(self, datagram: bytes) -> None:
        """Take one datagram. Never blocks on decoding; a bad one is counted in ``refused_frames``."""
        try:
            frame = LiveFrame.unpack(datagram)
            samples = np.zeros(0, np.int16) if frame.codec is None else g711.decode(frame.codec, frame.payload)
        except ValueError:
            self.refused_frames += 1
            return
        with self._lock:
            channel = self._channel(frame)
            if channel is not None:
                self._enqueue(channel, frame, samples)

    def sweep(self) -> None:
        """End the channels that have been silent on the wire for ``idle_s``; call it about once a second."""
        limit = self._clock() - self._limits.idle_s
        with self._lock:
            for channel in self._channels.values():
                if channel.seen_s < limit and not channel.ended:
                    channel.ended = True
                    self._offer(channel)

    def _channel(self, frame: LiveFrame) -> _Channel | None:
        key = (frame.call_id, frame.speaker)
        channel = self._channels.get(key)
        if channel is None and frame.codec is not None:
            if len(self._channels) >= self._limits.streams:
                self.dropped_frames += 1
                return None
            channel = _Channel(
                call_id=frame.call_id, speaker=frame.speaker, position=frame.position, seen_s=0.0, base=frame.position
            )
            self._channels[key] = channel
        return channel

    def _enqueue(self, channel: _Channel, frame: LiveFrame, samples: Samples) -> None:
        channel.seen_s = self._clock()
        if frame.codec is None:
            channel.ended = True
            self._offer(channel)
            return
        late = frame.position < channel.position
        full = channel.backlog + len(samples) > self._limits.backlog_s * _HZ
        if channel.ended or channel.broken or late or full:
            self.dropped_frames += 1
            return
        channel.waiting.append((frame.position, samples))
        channel.backlog += len(samples)
        channel.position = frame.position + len(samples)
        if channel.backlog >= _STEP:
            self._offer(channel)

    def _offer(self, channel: _Channel) -> None:
        if not channel.taken:
            channel.taken = True
            self._ready.put(channel)

    def _work(self) -> None:
        while (channel := self._ready.get()) is not None:
            try:
                self._hear(channel)
            except Exception:
                log.exception("captions of one channel given up: call %s %s", channel.call_id, channel.speaker)
                with self._lock:
                    channel.broken, channel.stream = True, None
                    channel.waiting, channel.backlog = deque(), 0
            self._release(channel)

    def _hear(self, channel: _Channel) -> None:
        with self._lock:
            waiting, channel.waiting, channel.backlog = channel.waiting, deque(), 0
            ended = channel.ended
        for position, samples in _together(waiting):
            self._feed(channel, position, samples)
        if ended and channel.stream is not None:
            stream, channel.stream = channel.stream, None
            self._show(channel, stream.finish())

    def _release(self, channel: _Channel) -> None:
        """Give the channel back, or drop it when it is over; whatever came meanwhile is decoded next."""
        with self._lock:
            channel.taken = False
            if channel.ended and not channel.waiting and channel.stream is None:
                self._channels.pop((channel.call_id, channel.speaker), None)
            elif channel.ended or channel.backlog >= _STEP:
                self._offer(channel)

    def _feed(self, channel: _Channel, position: int, samples: Samples) -> None:
        gap = position - (channel.base + channel.fed)
        if channel.stream is not None and gap > _FILLED_GAP:
            stream, channel.stream = channel.stream, None
            self._show(channel, stream.finish())
        if channel.stream is None:
            channel.stream = self._engine.open(_HZ)
            channel.base, channel.fed, gap = position, 0, 0
        if gap > 0:
            samples = np.concatenate([np.zeros(gap, np.int16), samples])
        channel.fed += len(samples)
        self._show(channel, channel.stream.feed(samples))

    def _show(self, channel: _Channel, caption: Caption | None) -> None:
        if caption is None:
            return
        offset = channel.base / _HZ
        shifted = tuple(
            Word(text=w.text, start_s=w.start_s + offset, end_s=w.end_s + offset, confidence=w.confidence)
            for w in caption.words
        )
        try:
            self._emit(
                LiveCaption(
                    call_id=channel.call_id,
                    speaker=channel.speaker,
                    text=caption.text,
                    start_s=caption.start_s + offset,
                    end_s=caption.end_s + offset,
                    final=caption.final,
                    words=shifted,
                )
            )
        except Exception:
            log.exception("a caption could not be passed on: call %s", channel.call_id)


def _together(waiting: deque[tuple[int, Samples]]) -> list[tuple[int, Samples]]:
    """Adjoining frames joined, so that the engine is called a few times a second and not fifty."""
    joined: list[tuple[int, list[Samples], int]] = []
    for position, samples in waiting:
        if joined and joined[-1][2] == position:
            start, parts, end = joined[-1]
            joined[-1] = (start, [*parts, samples], end + len(samples))
        else:
            joined.append((position, [samples], position + len(samples)))
    return [(start, np.concatenate(parts)) for start, parts, _ in joined]


def serve(path: Path, captions: LiveCaptions, stop: threading.Event) -> None:
    """Receive datagrams on a unix socket at ``path`` (mode 0600, replaced if left over) until ``stop`` is set.

    Raises OSError when the socket cannot be bound.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        path.chmod(0o600)
        receiver.settimeout(0.2)
        captions.start()
        swept = time.monotonic()
        try:
            while not stop.is_set():
                with suppress(TimeoutError):
                    captions.receive(receiver.recv(_MAX_DATAGRAM))
                if time.monotonic() - swept >= 1.0:
                    swept = time.monotonic()
                    captions.sweep()
        finally:
            captions.stop()
            with suppress(FileNotFoundError):
                path.unlink()
