"""What a process does beside its calls, for as long as it lives: none of it may end unnoticed, and none of it is worth
a call, so that one that fails is told of and begins again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

_log = logging.getLogger(__name__)

PAUSE_S = 5.0
LONGEST_PAUSE_S = 320.0
"""A chore that fails again and again is tried less and less often; one that ran for so long begins anew."""

Work = Callable[[], Coroutine[Any, Any, None]]


class Chores:
    """Begun by name. ``tell`` hears, in a thread, which chore failed and of what; what it raises is logged."""

    def __init__(self, tell: Callable[[str, Exception], None], *, pause_s: float = PAUSE_S) -> None:
        self._tell = tell
        self._pause_s = pause_s
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, name: str, work: Work) -> None:
        """Do ``work``, again and again while it fails, until it returns or everything is stopped."""
        task = asyncio.get_running_loop().create_task(self._do(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Cancel what is being done."""
        for task in self._tasks:
            task.cancel()

    async def _do(self, name: str, work: Work) -> None:
        loop, pause = asyncio.get_running_loop(), self._pause_s
        while True:
            began = loop.time()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the edge: nothing may vanish, nothing may stop the line
                _log.exception("the chore %s failed", name)
                await self._told(name, error)
            else:
                return
            if loop.time() - began > LONGEST_PAUSE_S:
                pause = self._pause_s
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _told(self, name: str, error: Exception) -> None:
        try:
            await asyncio.to_thread(self._tell, name, error)
        except Exception:  # noqa: BLE001 - it was logged, and the chore must begin again
            _log.exception("that the chore %s failed could not be told", name)
