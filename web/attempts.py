"""How often one address may try to sign in; the lock of a single account is the accounts' own affair."""

from __future__ import annotations

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from web.errors import TooManyAttempts


class Attempts:
    """Counts tries per address over a moving window, in this process."""

    def __init__(self, rate: str = "20/minute") -> None:
        self._rate = parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def note(self, address: str) -> None:
        """One more try. Raises TooManyAttempts."""
        if not self._limiter.hit(self._rate, address):
            raise TooManyAttempts()
