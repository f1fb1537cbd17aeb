"""The threads that serve all running recordings: one writes, one syncs, one seals.

They are apart because they take their time for different reasons: writing is memory speed, syncing waits
for the disk, sealing a long call takes seconds. None may hold up another, and none the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from telephony.media_errors import RecordingNotSealedError
from telephony.recorder import Recorder
from telephony.sealing import SealedRecording
from telephony.sealing_process import SealingProcess

_SYNC_S = 1.0
_RETRY_SEAL_S = 10.0
_BREATH_S = 0.0005
_ROUND_S = 0.2
"""Of breaths in one round, however many recordings there are."""
_log = logging.getLogger(__name__)


class RecordingThreads:
    """Serves the recorders it began until they are sealed. ``clock`` gives s on a steady clock;
    ``on_late_seal`` hears, in the event loop, of recordings that the disk took only after their call."""

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], float],
        on_late_seal: Callable[[SealedRecording], None] | None,
    ) -> None:
        self._root = root
        self._clock = clock
        self._on_late_seal = on_late_seal
        self._recorders: set[Recorder] = set()
        self._unsealed: dict[Recorder, int] = {}
        self._writer = ThreadPoolExecutor(1, "recording-writer")
        self._syncer = ThreadPoolExecutor(1, "recording-syncer")
        self._sealer = ThreadPoolExecutor(1, "recording-sealer")
        self._sealing = SealingProcess()
        self._running: dict[ThreadPoolExecutor, Future[None]] = {}
        self._synced_at = self._tried_at = clock()
        self._retry: asyncio.Task[None] | None = None

    @property
    def failing(self) -> int:
        """Recordings that cannot be written at the moment."""
        return sum(recorder.disk_state().failing is not None for recorder in self._recorders)

    @property
    def call_ids(self) -> set[str]:
        """The calls whose recordings are in hand, running or waiting to be sealed."""
        return {recorder.call_id for recorder in self._recorders}

    @property
    def unsealed(self) -> int:
        """Recordings whose call ended and whose end is not on the disk yet."""
        return len(self._unsealed)

    def begin(self, call_id: str, started_at: datetime) -> Recorder:
        """A new recorder; its sidecar is on its way to the disk when this returns."""
        recorder = Recorder(root=self._root, call_id=call_id, started_at=started_at)
        self._recorders.add(recorder)
        self._writer.submit(recorder.tick, self._clock()).add_done_callback(_report)
        return recorder

    def tick(self, now: float) -> None:
        """To be called several times a second from the event loop."""
        self._start(self._writer, lambda recorder: recorder.tick(now))
        if now - self._synced_at >= _SYNC_S:
            self._synced_at = now
            self._start(self._syncer, Recorder.sync)
        if self._unsealed and now - self._tried_at >= _RETRY_SEAL_S and (not self._retry or self._retry.done()):
            self._tried_at = now
            self._retry = asyncio.get_running_loop().create_task(self._retry_sealing())

    async def seal(self, recorder: Recorder, *, end: int) -> SealedRecording:
        """Seals at sample ``end``. Raises RecordingNotSealedError and keeps the recorder for another try."""
        self._unsealed[recorder] = end
        loop = asyncio.get_running_loop()
        sealed = await loop.run_in_executor(self._sealer, lambda: recorder.seal(end=end, by=self._sealing.salvage))
        self._unsealed.pop(recorder, None)
        self._recorders.discard(recorder)
        return sealed

    async def aclose(self) -> None:
        """Lets the threads finish. What still cannot be sealed is left for ``salvage``."""
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
        for executor in (self._writer, self._syncer, self._sealer):
            await asyncio.to_thread(executor.shutdown)
        await asyncio.to_thread(self._sealing.close)

    def _start(self, executor: ThreadPoolExecutor, work: Callable[[Recorder], None]) -> None:
        """Does ``work`` for all recorders in the executor's thread, unless it is still busy with the last
        round."""
        running = self._running.get(executor)
        if running is None or running.done():
            self._running[executor] = executor.submit(_for_all, work, tuple(self._recorders))
            self._running[executor].add_done_callback(_report)

    async def _retry_sealing(self) -> None:
        for recorder, end in tuple(self._unsealed.items()):
            try:
                sealed = await self.seal(recorder, end=end)
            except RecordingNotSealedError as error:
                _log.warning("%s", error)
            else:
                if self._on_late_seal is not None:
                    self._on_late_seal(sealed)


def _for_all(work: Callable[[Recorder], None], recorders: tuple[Recorder, ...]) -> None:
    """With a breath after each: the loop gives the interpreter up at every packet, and a thread that takes it for all
    recorders in a row would have it hold packets for tens of ms."""
    pause = min(_BREATH_S, _ROUND_S / max(1, len(recorders)))
    for recorder in recorders:
        work(recorder)
        time.sleep(pause)


def _report(future: Future[None]) -> None:
    """A fault of ours in a thread must be seen; the next round tries again."""
    error = future.exception()
    if error is not None:
        _log.error("recording thread failed", exc_info=error)
