"""交接班: the states of a handover and what must be so before each signature (requirement 6.2-d). Pure.

The sheet is frozen at the first signature; the second signature is the takeover, and both are under the same sheet:
what has happened in between sends it back to be signed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from duty.domain.chain import Canonical
from duty.domain.errors import Refused

MAX_NOTES_CHARS = 4000
OWED = ("entries", "drafts", "pending", "missed")
"""The parts of a sheet that must not change between the two signatures. Alarms and lines are as at the first one."""


class HandoverState(StrEnum):
    """正在准备, 交班人已签字, 已交接, 已取消."""

    OPEN = "open"
    GIVEN = "given"
    TAKEN = "taken"
    CANCELLED = "cancelled"


class HandoverStep(StrEnum):
    """What is done with a handover."""

    WRITE = "write"
    EXCUSE = "excuse"
    GIVE = "give"
    TAKE = "take"
    RETURN = "return"
    CANCEL = "cancel"


_STEPS: dict[tuple[HandoverState, HandoverStep], HandoverState] = {
    (HandoverState.OPEN, HandoverStep.WRITE): HandoverState.OPEN,
    (HandoverState.OPEN, HandoverStep.EXCUSE): HandoverState.OPEN,
    (HandoverState.OPEN, HandoverStep.GIVE): HandoverState.GIVEN,
    (HandoverState.OPEN, HandoverStep.CANCEL): HandoverState.CANCELLED,
    (HandoverState.GIVEN, HandoverStep.TAKE): HandoverState.TAKEN,
    (HandoverState.GIVEN, HandoverStep.RETURN): HandoverState.OPEN,
    (HandoverState.GIVEN, HandoverStep.CANCEL): HandoverState.CANCELLED,
}


def next_state(state: HandoverState, step: HandoverStep) -> HandoverState:
    """Where a step leads. Raises Refused where it cannot be taken."""
    try:
        return _STEPS[state, step]
    except KeyError:
        raise Refused("handover_state") from None


def check_signers(*, giver: int, taker: int) -> None:
    """Raises Refused where one person would sign for both."""
    if giver == taker:
        raise Refused("handover_same_person")


def check_calm(incidents: Collection[int], excused: Collection[int]) -> None:
    """Raises Refused while an incident is being worked on for which no leader has written why the shifts may change.
    The reason covers the incidents it was written about, not a later one."""
    if not_covered := set(incidents) - set(excused):
        raise Refused("handover_incident", count=len(not_covered))


def same_owed(signed: Mapping[str, Canonical], now: Mapping[str, Canonical]) -> bool:
    """Whether what the sheet hands over is still what was signed."""
    return all(signed.get(part) == now.get(part) for part in OWED)
