"""The copy of the running audio for live captions: a datagram per frame to whoever listens, at no cost to
the call.

Nothing here ever blocks or raises: captions may miss a word, the recording and the relay may not.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker

_RETRY_S = 1.0


class LiveFeed:
    """Sends live frames to the datagram socket that transcription binds at ``path``.

    ``clock`` is a steady clock in s. Frames are dropped and counted while nobody listens (looked for once a
    second) and while the listener's queue is full.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = str(path)
        self._clock = clock
        self._socket: socket.socket | None = None
        self._retry_at = clock()
        self.sent = 0
        self.dropped = 0

    def send(self, frame: LiveFrame) -> bool:
        """Whether ``frame`` was handed over. Raises ValueError for a frame that cannot be packed."""
        listener = self._socket or self._connect()
        if listener is not None:
            try:
                listener.send(frame.pack())
            except BlockingIOError:
                pass
            except OSError:
                self._disconnect()
            else:
                self.sent += 1
                return True
        self.dropped += 1
        return False

    def end(self, call_id: str, position: int) -> None:
        """Tells the listener, once per channel, that the call is over; ``position`` is its length in
        samples."""
        for speaker in Speaker:
            self.send(LiveFrame(call_id=call_id, speaker=speaker, codec=None, position=position, payload=b""))

    def close(self) -> None:
        """Lets go of the listener."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket | None:
        if self._clock() < self._retry_at:
            return None
        candidate = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        candidate.setblocking(False)
        try:
            candidate.connect(self._path)
        except OSError:
            candidate.close()
            self._retry_at = self._clock() + _RETRY_S
            return None
        self._socket = candidate
        return candidate

    def _disconnect(self) -> None:
        self.close()
        self._retry_at = self._clock() + _RETRY_S
