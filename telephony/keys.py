"""Keys pressed within a call: by RTP events (RFC 4733), by INFO, or as tones in the voice. Each counts once however
often and by whichever way it is told; the guard looks at those of the desk phone before the other side learns of them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from telephony import guard
from telephony.rtp.dtmf import DIGITS
from telephony.sip.message import Request

FLASH = guard.FLASH
"""The hook flash among the keys: event 16 of RFC 4733, ``!`` or ``hf`` in INFO."""
SAME_S = 1.0
"""Within this time the same key told in another way is the same press."""
GAP_S = 10.0
"""Keys farther apart than this belong to no common code: no exchange waits so long for the next one."""
_KEPT = 40
_TOLD = 32
_DEFAULT_MS, _SHORTEST_MS, _LONGEST_MS = 160, 40, 8000
_LARGEST_BODY = 1024
_LINE = re.compile(r"(signal|duration)[ \t]*=[ \t]*(\S{1,8})", re.IGNORECASE)
_NUMBERED = {str(code): key for code, key in enumerate(DIGITS)} | {"16": FLASH}
_FLASHES = frozenset({"!", "hf", "flash", "f"})


class How(StrEnum):
    """How a key was told."""

    EVENT = "event"
    INFO = "info"
    VOICE = "voice"


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoKey:
    """A key told by INFO. ``key`` is one of ``DIGITS`` or ``FLASH``."""

    key: str
    duration_ms: int


def read_info(request: Request) -> InfoKey | None:
    """The key in an INFO of application/dtmf-relay, application/dtmf or application/hook-flash as all phones send them,
    though no RFC defines them (RFC 6086 section 2 names them legacy); None for anything else."""
    kind = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if len(request.body) > _LARGEST_BODY:
        return None
    body = request.body.decode("latin-1").strip()
    if kind == "application/hook-flash":
        return InfoKey(key=FLASH, duration_ms=_DEFAULT_MS)
    if kind == "application/dtmf":
        return _info_key(body, "")
    if kind == "application/dtmf-relay":
        found = {name.lower(): value for name, value in _LINE.findall(body)}
        return _info_key(found.get("signal", ""), found.get("duration", ""))
    return None


def _info_key(signal: str, duration: str) -> InfoKey | None:
    signal = signal.strip()
    key = FLASH if signal.lower() in _FLASHES else signal.upper() if signal.upper() in set(DIGITS) else ""
    key = key or _NUMBERED.get(signal, "")
    ms = int(duration) if duration.isascii() and duration.isdigit() else _DEFAULT_MS
    return InfoKey(key=key, duration_ms=min(max(ms, _SHORTEST_MS), _LONGEST_MS)) if key else None


class OnePress:
    """Tells a press from the same press told in another way: some phones send an event and an INFO for each key."""

    def __init__(self) -> None:
        self._told: deque[tuple[str, How, float]] = deque(maxlen=_TOLD)

    def is_new(self, key: str, how: How, now: float) -> bool:
        """Whether ``key`` told at ``now`` (monotonic s) is a press that was not told before."""
        while self._told and now - self._told[0][2] > SAME_S:
            self._told.popleft()
        for place, (told, by, _) in enumerate(self._told):
            if told == key and by is not how:
                del self._told[place]
                return False
        self._told.append((key, how, now))
        return True


class KeyWatch:
    """The guard's eye on the desk phone's keys within one call. After a forwarding code has begun, keys are withheld up
    to its ``#`` or a pause."""

    def __init__(self, codes: Sequence[str]) -> None:
        self._codes = codes
        self._keys = ""
        self._last = 0.0
        self._withheld = False
        self._once = OnePress()
        self._passed = True

    def press(self, key: str, how: How, now: float) -> tuple[bool, guard.Attempt | None]:
        """Whether the other side may learn of ``key``, and the attempt to forward that it completes, told once."""
        if not self._once.is_new(key, how, now):
            return self._passed, None
        if now - self._last > GAP_S:
            self._keys, self._withheld = "", False
        self._last = now
        attempt = None
        if self._withheld:
            self._passed = False
            self._withheld = key != "#"
        else:
            self._keys = (self._keys + key)[-_KEPT:]
            attempt = guard.examine_pressed(self._keys, self._codes)
            self._passed = attempt is None
            self._withheld = attempt is not None and key not in ("#", FLASH)
        if not self._passed and not self._withheld:
            self._keys = ""
        return self._passed, attempt
