"""Approved exceptions to the ban on forwarding: what may be asked for, by whom it is approved, and while it is in force
(requirement 6.1-e). Asked by one person, approved by another, for one line, one way, one target and at most a day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from unicodedata import normalize

from duty.domain.errors import Refused
from duty.domain.texts import refuse_unreadable

LONGEST = timedelta(hours=24)
FARTHEST = timedelta(days=30)
"""How long before it begins an exception can be asked for."""
MAX_REASON_CHARS = 500
MAX_CODE_CHARS = 60
_CODE = re.compile(r"\+?[0-9*#]+")


class ExceptionWay(StrEnum):
    """The ways that can be let through. A transfer (REFER) or a redirect (3xx) never is: the call would leave the line
    and its recording; a code dialled to the network and moved media do not."""

    FEATURE_CODE = "feature_code"
    MEDIA_MOVE = "media_move"


class ExceptionState(StrEnum):
    """How far an exception has come."""

    ASKED = "asked"
    APPROVED = "approved"
    IN_FORCE = "in_force"
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardException:
    """One approved exception, as telephony decides by it."""

    line_number: str
    way: ExceptionWay
    target: str
    starts_at: datetime
    ends_at: datetime

    def in_force(self, at: datetime) -> bool:
        """Whether it holds at that instant; its end no longer belongs to it."""
        return self.starts_at <= at < self.ends_at

    def covers(self, way: str, target: str, at: datetime) -> bool:
        """Whether an attempt to forward by ``way`` to ``target`` is this one, and may be made at that instant."""
        return way == self.way and self.in_force(at) and canonical(self.way, target) == self.target


def canonical(way: ExceptionWay, target: str) -> str:
    """The one form of a target: the bare code as dialled, or the shortest form of the address; "" for what is none."""
    text = normalize("NFKC", target)
    if way is ExceptionWay.FEATURE_CODE:
        code = re.sub(r"[\s-]", "", text)
        return code if _CODE.fullmatch(code) and len(code) <= MAX_CODE_CHARS else ""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""


def asked_for(*, way: ExceptionWay, target: str, reason: str, start: datetime, end: datetime, now: datetime) -> str:
    """The canonical target of an exception asked for at ``now``. Raises Refused for what cannot be approved."""
    refuse_unreadable(target, reason)
    if not reason.strip() or len(reason) > MAX_REASON_CHARS:
        raise Refused("exception_reason", limit=MAX_REASON_CHARS)
    found = canonical(way, target)
    if not found:
        raise Refused("exception_target")
    if not timedelta() < end - start <= LONGEST:
        raise Refused("exception_too_long", hours=int(LONGEST.total_seconds() // 3600))
    if end <= now or start > now + FARTHEST:
        raise Refused("exception_times")
    return found


def check_approval(*, asked_by: int, approver: int, state: ExceptionState) -> None:
    """Raises Refused where nobody waits for approval any more, or the asker would approve what they asked for."""
    if state is not ExceptionState.ASKED:
        raise Refused("exception_not_asked")
    if asked_by == approver:
        raise Refused("exception_own")


def state_of(
    *, approved_at: datetime | None, revoked_at: datetime | None, start: datetime, end: datetime, now: datetime
) -> ExceptionState:
    """How far an exception has come by ``now``. One never approved ends with its time as well."""
    if revoked_at is not None:
        return ExceptionState.REVOKED
    if now >= end:
        return ExceptionState.ENDED
    if approved_at is None:
        return ExceptionState.ASKED
    return ExceptionState.IN_FORCE if now >= start else ExceptionState.APPROVED
