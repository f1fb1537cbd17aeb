"""Whether the calls in the book are the calls on the line: each live call has its open row, each open row its live
call, and each ended call's recording is sealed (requirements 6.1-a, 6.1-d).

A difference counts only when it lasts: a row is written before 100 Trying and read here a moment later or earlier.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from duty.domain.calls import CallEventKind, CallHappening, Outcome
from duty.domain.custody import LIVE, Difference, DifferenceKind
from duty.services.callbook import CallBook
from duty.services.custody import Custody
from duty.services.recordings import Recordings
from telephony.bookkeeper import Bookkeeper
from telephony.endpoint import Endpoint
from telephony.salvage import seal_one
from telephony.sealing_process import SealingProcess

_log = logging.getLogger(__name__)

LOOK_S = 10.0
LASTING_S = 30.0
NOT_LIVE = "not_live"
"""Why a call was ended that nobody ended."""


class Lasting:
    """Tells which of the things seen at each look have been seen at every look for ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[str, float] = {}

    def still(self, seen: Collection[str], now: float) -> list[str]:
        """Those of ``seen`` that have lasted, at ``now`` in s on a steady clock."""
        self._since = {each: self._since.get(each, now) for each in sorted(seen)}
        return [each for each, since in self._since.items() if now - since >= self._seconds]

    def forget(self) -> None:
        """A look could not be made; everything begins anew."""
        self._since = {}


class LiveWatch:
    """Compares, and closes what has no life. ``clock`` gives s on a steady clock."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        book: Bookkeeper,
        calls: CallBook,
        recordings: Recordings,
        custody: Custody,
        root: Path,
        clock: Callable[[], float],
        lasting_s: float = LASTING_S,
    ) -> None:
        self._endpoint, self._book = endpoint, book
        self._calls, self._recordings, self._custody = calls, recordings, custody
        self._root, self._clock = root, clock
        self._dead, self._unbooked, self._unsealed = (Lasting(lasting_s) for _ in range(3))
        self._told: set[str] | None = None
        self._sealing = SealingProcess()

    async def run(self, *, every_s: float = LOOK_S) -> None:
        """Look for ever."""
        try:
            while True:
                await asyncio.sleep(every_s)
                try:
                    await self.look()
                except (SQLAlchemyError, OSError) as error:  # the next look may succeed; the watch must not end
                    _log.error("live calls cannot be compared with the book: %s", error)
        finally:
            await asyncio.to_thread(self._sealing.close)

    async def look(self) -> None:
        """One comparison. Raises SQLAlchemyError. While the book is behind, it cannot be compared."""
        live = self._endpoint.live_calls()
        now = datetime.now(UTC)
        booked = set(await asyncio.to_thread(self._calls.unfinished, now))
        unsealed = set(await asyncio.to_thread(self._recordings.unsealed, now))
        live |= self._endpoint.live_calls()
        if self._book.troubled:
            for lasting in (self._dead, self._unbooked, self._unsealed):
                lasting.forget()
            return
        dead = self._dead.still(booked - live, self._clock())
        unbooked = self._unbooked.still(live - booked, self._clock())
        await self._tell(dead, unbooked)
        for call_id in dead:
            _log.error("call %s is in the book and not on the line: closed", call_id)
            data: dict[str, str | int | float | bool | None] = {"reason": NOT_LIVE}
            self._book.write(
                CallHappening(call_id=call_id, kind=CallEventKind.ENDED, at=now, outcome=Outcome.INTERRUPTED, data=data)
            )
        for call_id in self._unsealed.still(unsealed - self._endpoint.recording_calls(), self._clock()):
            await asyncio.to_thread(seal_one, self._recordings, self._root, call_id, by=self._sealing.salvage)

    async def _tell(self, dead: list[str], unbooked: list[str]) -> None:
        found = [Difference(kind=DifferenceKind.CALL_NOT_LIVE, call_id=call_id) for call_id in dead]
        found += [Difference(kind=DifferenceKind.CALL_NOT_BOOKED, call_id=call_id) for call_id in unbooked]
        subjects = {each.subject for each in found}
        if subjects != self._told:
            await asyncio.to_thread(self._custody.found, found, LIVE)
            self._told = subjects
