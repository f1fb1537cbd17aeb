"""Telephony's eye on the approved exceptions to the ban on forwarding: read from the book each second, for a revocation
must count at once. What was read last stays while the book cannot be read; each exception still ends by its own clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from duty.domain.exceptions import ForwardException

_log = logging.getLogger(__name__)

LOOK_S = 1.0
RETRY_S = 5.0


async def watch(
    approved: Callable[[], Sequence[ForwardException]], allow: Callable[[Sequence[ForwardException]], None]
) -> None:
    """Hand what ``approved`` reads, in a thread, to ``allow``, on the loop; until cancelled."""
    known: list[ForwardException] = []
    while True:
        try:
            found = list(await asyncio.to_thread(approved))
        except Exception as error:  # noqa: BLE001 - the edge: a failing store must not stop the line
            _log.error("the exceptions to the ban on forwarding cannot be read: %s", error)
            await asyncio.sleep(RETRY_S)
            continue
        if found != known:
            _log.warning("exceptions to the ban on forwarding: %d approved", len(found))
            known = found
            allow(found)
        await asyncio.sleep(LOOK_S)
