"""How a caller's identity was checked, and when that suffices (requirement 6.1-c)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from duty.domain.errors import Refused
from duty.domain.texts import refuse_unreadable


class Method(StrEnum):
    """通讯录比对, 回拨核实, 提问核实, 熟悉声音, 书面说明."""

    DIRECTORY = "directory"
    CALL_BACK = "call_back"
    CHALLENGE = "challenge"
    KNOWN_VOICE = "known_voice"
    REASON = "reason"


class Verdict(StrEnum):
    """核实无误, 核实不符, 无法核实."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not_verified"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check as the officer records it. ``note`` is required where the verdict is not ``verified``, and always
    for a known voice or a written reason, since nothing else proves those."""

    method: Method
    verdict: Verdict
    note: str = ""
    contact_id: int | None = None
    number_called: str = ""

    def validated(self) -> CheckResult:
        """This result, or Refused when what the method needs is missing."""
        refuse_unreadable(self.note)
        if self.method is Method.REASON and self.verdict is Verdict.VERIFIED:
            raise Refused("identity_reason_is_no_proof")
        needs_note = self.verdict is not Verdict.VERIFIED or self.method in (
            Method.KNOWN_VOICE,
            Method.CHALLENGE,
        )
        if needs_note and not self.note.strip():
            raise Refused("identity_note_missing")
        if self.method in (Method.DIRECTORY, Method.CALL_BACK) and self.contact_id is None:
            raise Refused("identity_contact_missing")
        return self


def suffices(verdicts: Iterable[Verdict]) -> bool:
    """True when an important entry may be finalized: the caller was verified, or it is recorded why that could not
    be done. A check that failed does not suffice by itself: the officer must then state a reason."""
    return any(verdict in (Verdict.VERIFIED, Verdict.IMPOSSIBLE) for verdict in verdicts)
