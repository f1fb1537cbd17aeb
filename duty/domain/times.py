"""One time zone and one text form: instants are kept in UTC and shown in Asia/Shanghai."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]
"""Gives the present instant, timezone-aware."""


def utc_now() -> datetime:
    """The present instant in UTC; the only clock the services are given outside tests."""
    return datetime.now(UTC)


def to_text(instant: datetime) -> str:
    """Canonical text of an instant, always UTC with microseconds: ``2026-11-23T08:00:00.000000Z``.

    Raises ValueError for an instant without a zone.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> datetime:
    """The instant that ``to_text`` wrote. Raises ValueError for any other form."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def local(instant: datetime) -> datetime:
    """The instant as the wall clock in Kaifeng shows it."""
    return instant.astimezone(SHANGHAI)


def year_of(instant: datetime) -> int:
    """The calendar year in which an entry is numbered: Shanghai's, not UTC's."""
    return local(instant).year
