"""What a line check's probe saw, what our own side saw of it, and the verdict that follows: pure, so that it can be
tried on every combination (requirement 6.1-e).

A line passes only when its number, dialled from outside, was answered by this very process: the answer spoke digits
that were made for this one call. Everything else has a name of its own, for a carrier that forwards a duty line does
not say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter

from duty.domain.happenings import Json
from duty.domain.linechecks import Finding, Verdict

LEAST_TOKEN = 4
_BUSY = frozenset({486, 600})
_NOT_LET_IN = frozenset({401, 407})
_DIVERTED_CAUSE = re.compile(r"cause(=|%3d)(302|404|408|480|486|487|503)\b", re.IGNORECASE)


class Manner(StrEnum):
    """How our side takes the probe's call. Each finds one kind of forwarding that a carrier may have set: at once for
    unconditional, after ringing for on no answer, busy for on busy."""

    ANSWER = "answer"
    RING = "ring"
    BUSY = "busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSeen:
    """One response: its status, s since the INVITE, and the header that tells of a forwarding, if any."""

    status: int
    at_s: float
    diverted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEvidence:
    """What the probe saw. ``digits_events`` came as telephone-events, ``digits_voice`` as tones in the voice;
    ``level_dbfs`` of what was heard, None for nothing; ``fault`` says what kept the probe itself from working."""

    agent: Literal["softphone", "pyvoip"]
    dialled: str
    statuses: tuple[StatusSeen, ...] = ()
    answer_s: float | None = None
    digits_events: str = ""
    digits_voice: str = ""
    heard_s: float = 0.0
    level_dbfs: float | None = None
    fault: str = ""

    @property
    def final(self) -> int | None:
        """The final status, None where none came."""
        return next((seen.status for seen in self.statuses if seen.status >= 200), None)


EVIDENCE: TypeAdapter[ProbeEvidence] = TypeAdapter(ProbeEvidence)
"""How evidence crosses from the probe's process: one line of JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurSide:
    """What this process saw of the probe's call: whether it arrived, was answered by us and acknowledged, and how it
    ended (``reason`` as in the book)."""

    arrived: bool = False
    answered: bool = False
    call_id: str | None = None
    reason: str = ""


def diverted(history: Sequence[str], diversion: Sequence[str]) -> str:
    """What a response's History-Info and Diversion headers tell of a forwarding (RFC 7044, RFC 5806); "" for nothing.
    An entry of History-Info that names no reason is only the way of the call."""
    if diversion:
        return f"Diversion: {diversion[0]}"[:200]
    found = next((value for value in history if _DIVERTED_CAUSE.search(value)), "")
    return f"History-Info: {found}"[:200] if found else ""


def judge(evidence: ProbeEvidence, ours: OurSide, *, token: str, manner: Manner) -> tuple[Verdict, str]:
    """The verdict on one probe call and a reason for it. PASSED is never given to a call that was to be answered
    and in which the token was not heard."""
    forwarded = _forwarded(evidence)
    if forwarded:
        return Verdict.FORWARDED, forwarded
    if evidence.answer_s is not None:
        return _answered(evidence, ours, token, manner)
    if ours.arrived and manner is Manner.BUSY and evidence.final in _BUSY:
        return Verdict.PASSED, "busy_kept"
    if evidence.fault:
        return Verdict.FAULT, evidence.fault
    if evidence.final in _NOT_LET_IN:
        return Verdict.FAULT, f"sip_{evidence.final}"
    if evidence.final in _BUSY:
        return Verdict.BUSY, f"sip_{evidence.final}"
    if evidence.final is not None:
        return Verdict.DEAD, f"sip_{evidence.final}"
    return Verdict.DEAD, "no_answer" if evidence.statuses else "no_response"


def _forwarded(evidence: ProbeEvidence) -> str:
    for seen in evidence.statuses:
        if seen.status == 181 or 300 <= seen.status < 400:
            return f"sip_{seen.status}"
        if seen.diverted:
            return "diverted"
    return ""


def _answered(evidence: ProbeEvidence, ours: OurSide, token: str, manner: Manner) -> tuple[Verdict, str]:
    heard = _heard(evidence, token)
    if ours.answered and manner is not Manner.BUSY:
        return (Verdict.PASSED, "token_heard") if heard else (Verdict.DEAD, "token_not_heard")
    if heard:
        return Verdict.FOREIGN, "token_without_call"
    if ours.arrived:
        return Verdict.FORWARDED, "answered_elsewhere"
    return Verdict.FOREIGN, "answered_by_stranger"


def _heard(evidence: ProbeEvidence, token: str) -> bool:
    return len(token) >= LEAST_TOKEN and any(token in one for one in (evidence.digits_events, evidence.digits_voice))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """One probe call of a check and the verdict on it."""

    manner: Manner
    evidence: ProbeEvidence
    ours: OurSide
    verdict: Verdict
    reason: str


def conclude(runs: Sequence[ProbeRun], *, through_carrier: bool) -> Finding:
    """The verdict on the line: the first that is not good; good only where the call that was to be answered was."""
    bad = next((run for run in runs if run.verdict is not Verdict.PASSED), None)
    answered = next((run for run in runs if run.manner is Manner.ANSWER), None)
    shown = bad or answered
    if shown is None:
        return Finding(verdict=Verdict.FAULT, reason="not_dialled")
    return Finding(
        verdict=shown.verdict if bad or answered else Verdict.FAULT,
        reason=shown.reason,
        answer_s=shown.evidence.answer_s,
        call_id=shown.ours.call_id,
        evidence={"through_carrier": through_carrier, "probes": [_told(run) for run in runs]},
    )


def _told(run: ProbeRun) -> dict[str, Json]:
    seen = run.evidence
    return {
        "manner": run.manner.value,
        "verdict": run.verdict.value,
        "reason": run.reason,
        "agent": seen.agent,
        "dialled": seen.dialled,
        "statuses": " ".join(f"{one.status}@{one.at_s:.2f}" for one in seen.statuses),
        "diverted": next((one.diverted for one in seen.statuses if one.diverted), ""),
        "answer_s": seen.answer_s,
        "digits_events": seen.digits_events,
        "digits_voice": seen.digits_voice,
        "heard_s": round(seen.heard_s, 2),
        "level_dbfs": seen.level_dbfs,
        "fault": seen.fault,
        "arrived": run.ours.arrived,
        "answered": run.ours.answered,
        "our_reason": run.ours.reason,
        "call": run.ours.call_id,
    }
