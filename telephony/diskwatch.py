"""The disk, watched before it is full: an alarm when little is left, and one when what is left will not last
(requirement 6.4-a)."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import deque
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from duty.domain.happenings import AlarmKind, Severity
from duty.services.alarms import Alarms

_log = logging.getLogger(__name__)

LOOK_S = 15.0
_SPACING_S = 60.0
_WINDOW_S = 6 * 3600.0
_LEAST_S = 1800.0
_FREED = 1.02
"""A step up by more than this is somebody's tidying: what was before says nothing of what comes."""
_EASED = 1.25
"""The alarm passes only when the forecast is so much better than the mark."""


class Forecast:
    """When the disk will be full at the rate of the last hours. Times in s on any steady clock, room in bytes."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def add(self, now: float, free: int) -> None:
        """One look; more than one a minute are one."""
        if self._looks and free > self._looks[-1][1] * _FREED:
            self._looks.clear()
        if not self._looks or now - self._looks[-1][0] >= _SPACING_S:
            self._looks.append((now, free))
        while now - self._looks[0][0] > _WINDOW_S:
            self._looks.popleft()

    def hours_left(self) -> float | None:
        """Hours until nothing is free; None where it does not get less, or too little is known."""
        (begin, before), (end, free) = (self._looks[0], self._looks[-1]) if self._looks else ((0.0, 0), (0.0, 0))
        if end - begin < _LEAST_S or free >= before:
            return None
        return free * (end - begin) / (before - free) / 3600


class DiskWatch:
    """Tells each alarm once when it begins and once when it passes."""

    def __init__(self, directory: Path, alarms: Alarms, *, low_mb: int, fill_hours: float) -> None:
        self._directory, self._alarms = directory, alarms
        self._low_mb, self._fill_hours = low_mb, fill_hours
        self._forecast = Forecast()
        self._low: bool | None = None
        self._filling: bool | None = None

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                free = shutil.disk_usage(self._directory).free
                await asyncio.to_thread(self.look, free, loop.time())
            except (SQLAlchemyError, OSError) as error:  # the next look may succeed; the watch must not end
                _log.error("the disk cannot be watched, or its alarm not written: %s", error)
            await asyncio.sleep(LOOK_S)

    def look(self, free: int, now: float) -> None:
        """``free`` bytes are left at ``now``. Raises SQLAlchemyError, and tells at the next look then."""
        free_mb = free // 1_000_000
        if (low := free_mb < self._low_mb) != self._low:
            if low:
                self._alarms.report(AlarmKind.DISK_LOW, Severity.CRITICAL, subject="data", free_mb=free_mb)
            else:
                self._alarms.settle(AlarmKind.DISK_LOW, subject="data")
            self._low = low
        self._forecast.add(now, free)
        self._tell_filling(self._forecast.hours_left(), free_mb)

    def _tell_filling(self, hours: float | None, free_mb: int) -> None:
        mark = self._fill_hours * (_EASED if self._filling else 1.0)
        filling = hours is not None and hours < mark
        if filling == self._filling:
            return
        if filling and hours is not None:
            self._alarms.report(
                AlarmKind.DISK_FILLING, Severity.WARNING, subject="data", free_mb=free_mb, hours=round(hours, 1)
            )
        else:
            self._alarms.settle(AlarmKind.DISK_FILLING, subject="data")
        self._filling = filling
