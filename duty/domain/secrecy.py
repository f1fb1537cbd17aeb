"""A call under secrecy: from the suspicion to the sealed recording and back (requirement 6.5-a).

``flagged`` → ``sealing`` → ``wiping`` → ``sealed``; a false flag is lifted by ``lifting`` → ``lifted``. From the
first of these to the last but one nothing of the call's words is shown, searched, exported or told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from duty.domain.errors import BrokenState


class SecrecyState(StrEnum):
    """How far a flagged call is: ``flagged`` waits for the call's end or for a key, ``sealing`` has its key, ``wiping``
    is booked and its plain files go, ``sealed`` is done; ``lifting`` gets its plain files back."""

    FLAGGED = "flagged"
    SEALING = "sealing"
    WIPING = "wiping"
    SEALED = "sealed"
    LIFTING = "lifting"
    LIFTED = "lifted"


class SecrecyStep(StrEnum):
    """What moves a call on."""

    MARK = "mark"
    BEGIN = "begin"
    BOOK = "book"
    WIPED = "wiped"
    LIFT = "lift"
    RESTORED = "restored"


class SecrecySource(StrEnum):
    """Who suspected it: the live captions, the final transcript, a person."""

    CAPTIONS = "captions"
    TRANSCRIPT = "transcript"
    PERSON = "person"


class SecrecyAct(StrEnum):
    """What is told in the custody chain of a call under secrecy."""

    MARK = "secret_mark"
    SEAL = "secret_seal"
    OPEN = "secret_open"
    LOOK = "secret_look"
    CLOSE = "secret_close"
    REFUSE = "secret_refuse"
    LIFT = "secret_lift"
    RESTORE = "secret_restore"


ACTIVE = frozenset(SecrecyState) - {SecrecyState.LIFTED}
"""Under secrecy."""
MOVING = frozenset({SecrecyState.SEALING, SecrecyState.WIPING, SecrecyState.LIFTING})
"""The files are being changed: nobody else may begin to read them."""
LOCKED = frozenset({SecrecyState.WIPING, SecrecyState.SEALED, SecrecyState.LIFTING})
"""The sealed files are booked and are what counts."""

_NEXT: Mapping[tuple[SecrecyState, SecrecyStep], SecrecyState] = {
    (SecrecyState.LIFTED, SecrecyStep.MARK): SecrecyState.FLAGGED,
    (SecrecyState.FLAGGED, SecrecyStep.BEGIN): SecrecyState.SEALING,
    (SecrecyState.SEALING, SecrecyStep.BEGIN): SecrecyState.SEALING,
    (SecrecyState.SEALING, SecrecyStep.BOOK): SecrecyState.WIPING,
    (SecrecyState.WIPING, SecrecyStep.WIPED): SecrecyState.SEALED,
    (SecrecyState.FLAGGED, SecrecyStep.LIFT): SecrecyState.LIFTING,
    (SecrecyState.SEALED, SecrecyStep.LIFT): SecrecyState.LIFTING,
    (SecrecyState.LIFTING, SecrecyStep.RESTORED): SecrecyState.LIFTED,
}


def next_state(state: SecrecyState, step: SecrecyStep) -> SecrecyState:
    """The state after ``step``. Raises BrokenState for a pair the table lacks."""
    try:
        return _NEXT[state, step]
    except KeyError:
        raise BrokenState("secrecy_state", state=state, step=step) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A time-bound permission of one person to hear and read one sealed call, and why it was asked for."""

    opening_id: int
    call_id: str
    officer_id: int
    reason: str
    opened_at: datetime
    ends_at: datetime
    closed_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether it still stands."""
        return self.closed_at is None and now < self.ends_at
