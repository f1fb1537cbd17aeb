"""Telephony's sign of life in the store, every ten seconds, and the note of its return after it was away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from duty.services.outages import BEAT_S, Outages

_log = logging.getLogger(__name__)


async def keep(outages: Outages, on_outage: Mapping[str, str], *, since: datetime) -> None:
    """Note the return at ``since``, then beat until cancelled. No beat hides an outage that is not noted yet, however
    long the database stays away."""
    noted = False
    while True:
        try:
            if not noted:
                away = await asyncio.to_thread(outages.note_return, on_outage, at=since)
                noted = True
                if away is not None:
                    _log.warning("the lines were not served for %d s", away.total_seconds())
            await asyncio.to_thread(outages.beat)
        except SQLAlchemyError as error:
            _log.error("no sign of life can be written: %s", error)
        await asyncio.sleep(BEAT_S)


async def end(outages: Outages) -> None:
    """Say that the end is on purpose; without the database it will look like a loss."""
    try:
        await asyncio.to_thread(outages.stop)
    except SQLAlchemyError as error:
        _log.error("the stop cannot be written: %s", error)
