"""拨测 and 查岗 as values: what was to be checked, why, what came of it, and when the day's checks are due
(requirement 4-a, 6.1-e, 6.6-b)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from random import Random

from duty.domain.errors import Refused
from duty.domain.happenings import Json
from duty.domain.times import SHANGHAI

MIN_PIN_DIGITS, MAX_PIN_DIGITS = 4, 8
_DAY_S = 24 * 3600


class CheckKind(StrEnum):
    """拨测: does the number ring here? 查岗: does the officer answer and prove to be there?"""

    LINE = "line"
    SPOT = "spot"


class Cause(StrEnum):
    """Why it was made."""

    ORDERED = "ordered"
    PLANNED = "planned"
    HANDOVER = "handover"


class CheckState(StrEnum):
    """How far a check has come."""

    DUE = "due"
    RUNNING = "running"
    DONE = "done"


class Verdict(StrEnum):
    """What a check found. The first group judges a line, the second an officer; the last two judge nobody."""

    PASSED = "passed"
    FORWARDED = "forwarded"
    FOREIGN = "foreign"
    DEAD = "dead"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    WRONG_PIN = "wrong_pin"
    NO_PIN = "no_pin"
    NO_ANSWER = "no_answer"
    FAULT = "fault"
    NOT_RUN = "not_run"

    @property
    def failed(self) -> bool:
        """Whether something is wrong that somebody has to see to."""
        return self not in (Verdict.PASSED, Verdict.NOT_RUN)

    @property
    def grave(self) -> bool:
        """Whether the line or the duty is at stake, and not only the check."""
        return self.failed and self not in (Verdict.FAULT, Verdict.BUSY)

    @property
    def concerns_officer(self) -> bool:
        """Whether a person is found at fault, who may appeal. A fault of the line never is a person's."""
        return self in (Verdict.WRONG_PIN, Verdict.NO_PIN, Verdict.NO_ANSWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCheck:
    """A check that telephony has taken on. ``token`` are the digits that prove our own answer."""

    check_id: int
    kind: CheckKind
    cause: Cause
    line_number: str
    token: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What telephony found. ``reason`` is a code the console has words for; ``answer_s`` from dialling to the answer;
    ``evidence`` small JSON values, never a PIN."""

    verdict: Verdict
    reason: str
    answer_s: float | None = None
    call_id: str | None = None
    officer_id: int | None = None
    evidence: dict[str, Json | list[dict[str, Json]]] = field(default_factory=dict)


def day_times(*, seed: str, line_number: str, kind: CheckKind, day: date, count: int) -> list[datetime]:
    """When a day's checks of one line are due: anywhere in its 24 hours in Shanghai, in order.

    The times follow from the secret ``seed``, so that planning twice plans nothing twice and nobody without the secret
    can foresee them; a larger ``count`` keeps the times of a smaller one.
    """
    chance = Random(f"{seed}:{line_number}:{kind.value}:{day.isoformat()}")  # noqa: S311 - the seed is the secret
    midnight = datetime.combine(day, time(), tzinfo=SHANGHAI)
    return sorted(midnight + timedelta(seconds=chance.randrange(_DAY_S)) for _ in range(count))


def check_pin(pin: str) -> None:
    """Raises Refused for what is no PIN of 4 to 8 digits, or one that anybody would try first."""
    if not (pin.isascii() and pin.isdigit() and MIN_PIN_DIGITS <= len(pin) <= MAX_PIN_DIGITS):
        raise Refused("pin_malformed", least=MIN_PIN_DIGITS, most=MAX_PIN_DIGITS)
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    if len(steps) == 1 and steps <= {0, 1, 9}:
        raise Refused("pin_unusable")
