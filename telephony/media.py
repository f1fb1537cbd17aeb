"""Media of all calls: lends ports, relays and records both voices, plays announcements, hears digits and
fax tones.

The event loop only moves packets; files are written, synced and sealed by threads, so that a slow disk is
never heard on the line (requirements 5-a, 6.1-d, 6.6-b). ``MediaPlane`` and ``MediaSession`` are all that a
call needs to know.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from duty.domain.transcripts import Speaker
from telephony.livefeed import LiveFeed
from telephony.media_errors import NoFreePortError, RecordingNotSealedError
from telephony.media_poll import MediaPoll
from telephony.media_ports import PortPool
from telephony.media_session import MediaSession
from telephony.recorder import Recorder, recording_directory
from telephony.recording_threads import RecordingThreads
from telephony.sealing import SealedRecording

__all__ = ["MediaPlane", "MediaSession", "PlaneStatistics"]

_TICK_S = 0.25
_SLICES = 25
_SWITCH_S = 0.0005
"""How long another thread may hold the interpreter while a packet waits; Python's own 5 ms would be heard."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneStatistics:
    """All sessions together: ``sessions`` are open now, ``free_port_pairs`` can be lent (a session takes
    two), packet counts are since the start. ``free_bytes`` is the room for recordings, None when the disk
    does not say; ``failing_recordings`` cannot be written at the moment, ``unsealed`` ended but wait for
    the disk."""

    sessions: int
    free_port_pairs: int
    received: int
    sent: int
    lost: int
    stray: int
    malformed: int
    live_sent: int
    live_dropped: int
    free_bytes: int | None
    failing_recordings: int
    unsealed: int


class MediaPlane:
    """Everything between the ports and the disk. Made outside or inside a running loop; used and closed
    inside one. From the first session on the process switches its threads every half millisecond.

    ``port_range`` is inclusive; ``clock`` gives s on a steady clock; ``on_late_seal`` hears of recordings
    that could be sealed only after their call. Raises ValueError for an address or range that cannot be
    used.
    """

    def __init__(
        self,
        *,
        bind_host: str,
        advertised_host: str,
        port_range: tuple[int, int],
        recordings_root: Path,
        clock: Callable[[], float] = time.monotonic,
        live: LiveFeed | None = None,
        port_rest_s: float = 5.0,
        on_late_seal: Callable[[SealedRecording], None] | None = None,
    ) -> None:
        self.advertised_host = advertised_host
        self.clock = clock
        self.live = live
        self._root = recordings_root
        self._ports = PortPool(host=bind_host, first=port_range[0], last=port_range[1], rest_s=port_rest_s)
        self._sessions: set[MediaSession] = set()
        self._totals = dict.fromkeys(("received", "sent", "lost", "stray", "malformed"), 0)
        self.recordings = RecordingThreads(recordings_root, clock=clock, on_late_seal=on_late_seal)
        self._ticker: asyncio.Task[None] | None = None
        self._poll: MediaPoll | None = None

    def open(self, call_id: str, *, started_at: datetime) -> MediaSession:
        """Ports for one call. ``call_id`` is 32 hex digits, ``started_at`` the wall clock of this moment.

        Raises NoFreePortError, and ValueError for an unusable id or a time without zone.
        """
        recording_directory(self._root, call_id, started_at)
        now = self.clock()
        first = self._ports.lend(now)
        try:
            second = self._ports.lend(now)
        except NoFreePortError:
            self._ports.take_back(first, now)
            raise
        session = MediaSession(self, call_id=call_id, started_at=started_at, pairs=(first, second))
        self._sessions.add(session)
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().create_task(self._tick_forever())
        return session

    async def aclose(self) -> None:
        """Closes every session and lets the threads finish. What still cannot be sealed is left for
        ``salvage``."""
        for session in tuple(self._sessions):
            try:
                await session.close()
            except RecordingNotSealedError as error:
                _log.error("%s", error)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.recordings.aclose()
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        if self.live is not None:
            self.live.close()

    @property
    def statistics(self) -> PlaneStatistics:
        """All sessions together."""
        totals = dict(self._totals)
        for session in self._sessions:
            _add(totals, session)
        return PlaneStatistics(
            sessions=len(self._sessions),
            free_port_pairs=self._ports.free,
            live_sent=self.live.sent if self.live else 0,
            live_dropped=self.live.dropped if self.live else 0,
            free_bytes=_free_bytes(self._root),
            failing_recordings=self.recordings.failing,
            unsealed=self.recordings.unsealed,
            **totals,
        )

    def poll(self) -> MediaPoll:
        """The one wake-up of all sockets, made in the running loop when it is first needed."""
        if self._poll is None:
            sys.setswitchinterval(_SWITCH_S)
            self._poll = MediaPoll(asyncio.get_running_loop(), clock=self.clock)
        return self._poll

    def forget(self, session: MediaSession) -> None:
        """Takes the ports of a closed session back."""
        self._sessions.discard(session)
        _add(self._totals, session)
        for pair in session.pairs():
            self._ports.take_back(pair, self.clock())

    async def seal(self, recorder: Recorder, *, end: int) -> SealedRecording:
        """Tells the captions that the call is over, and seals. Raises RecordingNotSealedError."""
        if self.live is not None:
            self.live.end(recorder.call_id, end)
        return await self.recordings.seal(recorder, end=end)

    async def _tick_forever(self) -> None:
        """A slice of the sessions at a time, so that no packet waits for all of them."""
        while True:
            sessions = tuple(self._sessions)
            for number in range(_SLICES):
                await asyncio.sleep(_TICK_S / _SLICES)
                now = self.clock()
                for session in sessions[number::_SLICES]:
                    if session in self._sessions:
                        _tick(session.tick, now)
            _tick(self.recordings.tick, self.clock())


def _tick(one: Callable[[float], None], now: float) -> None:
    """What fails in one call must not keep the recordings of all from the disk."""
    try:
        one(now)
    except Exception:  # noqa: BLE001 - the edge
        _log.exception("a tick of the media failed")


def _add(totals: dict[str, int], session: MediaSession) -> None:
    for speaker in Speaker:
        leg = session.statistics(speaker)
        totals["received"] += leg.stream.received
        totals["sent"] += leg.sent
        totals["lost"] += leg.stream.lost
        totals["stray"] += leg.stray
        totals["malformed"] += leg.malformed


def _free_bytes(root: Path) -> int | None:
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None
