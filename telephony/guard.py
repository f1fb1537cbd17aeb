"""The guard: every way a call could be moved off the duty phone, in one table, and how each is recognised
and answered.

It decides and returns decisions; the call machine acts on them. A refusal never harms the call it happens in
(requirement 6.1-e: 禁止值班固定电话呼叫转移).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from unicodedata import normalize

from duty.domain.exceptions import ForwardException
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import parse_name_addr, split_list
from telephony.sip.message import Request, Response


class Way(StrEnum):
    """Ways a call can leave the duty phone; the book and the alarm carry these names."""

    REDIRECT = "redirect"
    REFER = "refer"
    REPLACES = "replaces"
    MEDIA_MOVE = "media_move"
    FORWARDING_SETUP = "forwarding_setup"
    FEATURE_CODE = "feature_code"
    PRESSED_CODE = "pressed_code"
    FOREIGN_REGISTRATION = "foreign_registration"
    CONFERENCE = "conference"
    NETWORK_REDIRECT = "network_redirect"
    FORWARDED_181 = "forwarded_181"
    DIVERTED = "diverted"
    RECORDED_TRANSFER = "recorded_transfer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the guard: where the way is defined, how it is noticed, and the SIP status it is answered
    with (None where there is nothing to answer). ``exception``: whether an approved exception can let it pass."""

    way: Way
    source: str
    detection: str
    status: int | None
    exception: bool = False


TABLE: tuple[Rule, ...] = (
    Rule(way=Way.REDIRECT, source="RFC 3261 8.1.3.4", detection="3xx from the desk phone to our INVITE", status=None),
    Rule(way=Way.REFER, source="RFC 3515", detection="REFER from the desk phone, blind or attended", status=603),
    Rule(way=Way.REPLACES, source="RFC 3891", detection="INVITE with Replaces", status=403),
    Rule(
        way=Way.MEDIA_MOVE,
        source="RFC 3264 8",
        detection="an offer or answer from the desk phone whose audio address is not the phone's own",
        status=488,
        exception=True,
    ),
    Rule(
        way=Way.FORWARDING_SETUP,
        source="RFC 6665, RFC 3903, RFC 3428, BroadWorks as-feature-event, RFC 6080",
        detection="SUBSCRIBE, NOTIFY, PUBLISH or MESSAGE of a feature or profile event, or with a body that forwards",
        status=403,
    ),
    Rule(
        way=Way.FEATURE_CODE,
        source="carrier feature codes",
        detection="a forwarding code is dialled",
        status=403,
        exception=True,
    ),
    Rule(
        way=Way.PRESSED_CODE,
        source="RFC 4733, RFC 6086 section 2, ITU-T Q.23",
        detection="a forwarding code or a hook flash within a call: by RTP events, by INFO, or as tones in the voice",
        status=403,
    ),
    Rule(
        way=Way.FOREIGN_REGISTRATION,
        source="RFC 3261 10.3",
        detection="a phone's own password is used to REGISTER from outside its allowed networks (once an hour each)",
        status=403,
    ),
    Rule(
        way=Way.CONFERENCE,
        source="RFC 4579, RFC 5359 2.10",
        detection="INVITE to a third party from a desk phone that has a caller, held or not",
        status=403,
    ),
    Rule(
        way=Way.NETWORK_REDIRECT, source="RFC 3261 8.1.3.4", detection="3xx from the network to our call", status=None
    ),
    Rule(way=Way.FORWARDED_181, source="RFC 3261 21.1.3", detection="181 Call Is Being Forwarded", status=None),
    Rule(
        way=Way.DIVERTED,
        source="RFC 5806, RFC 7044",
        detection="Diversion, History-Info or a served-user header on arrival: the call is taken but marked",
        status=None,
    ),
    Rule(
        way=Way.RECORDED_TRANSFER,
        source="RFC 7865",
        detection="in a recording session, the line's participant leaves and the others talk on: marked",
        status=None,
    ),
)
_STATUS = {rule.way: rule.status for rule in TABLE}
_EXCEPTION = frozenset(rule.way for rule in TABLE if rule.exception)

FLASH = "!"
"""The hook flash among pressed keys."""
_OUTSIDE_LINE = re.compile(r"^\+?[0-9]{1,3}(?=[*#])")
_SETUP_METHODS = frozenset({"SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE"})
_SETUP_EVENTS = frozenset({"as-feature-event", "call-info", "ua-profile"})
_SETUP_WORDS = ("setforwarding", "forwardto", "forwarddn", "callforward")
_SETUP_TARGET = re.compile(r"forward(?:to|dn)\W*([^<>\"',;\s]{1,200})", re.IGNORECASE)
_ARRIVAL_HEADERS = ("Diversion", "History-Info", "P-Served-User", "Diverted-By")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A way out was tried. ``target`` is where the call would have gone, as far as the message says;
    ``status`` what the attempt is answered with, None where it is a response that needs no answer."""

    way: Way
    target: str
    status: int | None


def attempt(way: Way, target: str) -> Attempt:
    """An attempt with the answer its rule demands."""
    return Attempt(way=way, target=target, status=_STATUS[way])


def examine_response(response: Response, *, from_phone: bool) -> Attempt | None:
    """A 3xx or 181 in answer to an INVITE of ours: it is never followed."""
    if 300 <= response.status < 400:
        way = Way.REDIRECT if from_phone else Way.NETWORK_REDIRECT
        return attempt(way, _first(response.headers.get_all("Contact")))
    if response.status == 181:
        return attempt(Way.FORWARDED_181, _first(response.headers.get_all("Contact")))
    return None


def examine_request(request: Request) -> Attempt | None:
    """A request from a desk phone, within a call or outside one, that asks for a transfer."""
    if request.method == "REFER":
        return attempt(Way.REFER, request.headers.get("Refer-To") or "")
    if request.method == "INVITE" and request.headers.get("Replaces") is not None:
        return attempt(Way.REPLACES, request.headers.get("Replaces") or "")
    return examine_setup(request)


def examine_setup(request: Request) -> Attempt | None:
    """A request by which a phone has a server forward its calls: by a feature or profile event (RFC 6665), or by what
    its body says however it is spelt. The answer is the same everywhere, for nobody here keeps such states."""
    if request.method not in _SETUP_METHODS:
        return None
    event = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
    body = request.body.decode("latin-1")
    spelt = re.sub(r"[\x00\s_-]", "", body.lower())
    if event not in _SETUP_EVENTS and not any(word in spelt for word in _SETUP_WORDS):
        return None
    target = _SETUP_TARGET.search(body)
    return attempt(Way.FORWARDING_SETUP, target[1] if target else event)


def excepted(found: Attempt, exceptions: Iterable[ForwardException], at: datetime) -> bool:
    """Whether an approved exception in force at that instant lets the attempt pass."""
    return found.way in _EXCEPTION and any(each.covers(found.way, found.target, at) for each in exceptions)


def examine_media(host: str, allowed: Sequence[str]) -> Attempt | None:
    """Audio that a desk phone asks for at ``host``: refused unless it is one of the addresses the phone
    itself uses. All zeros is hold, not a move (RFC 3264 8.4)."""
    if host in ("0.0.0.0", "::") or host in allowed:
        return None
    return attempt(Way.MEDIA_MOVE, host)


def examine_dialled(digits: str, codes: Sequence[str]) -> Attempt | None:
    """A forwarding code dialled at the desk phone. ``codes`` are the configured beginnings, e.g. ``*57*``.

    A code that ends in a digit is taken as a whole (``*72`` is refused, and so is ``*72 13800000000``); one that ends
    in ``*`` also where ``#`` follows at once (``*57#``). Blanks, hyphens and the width of the characters make no
    difference, nor does the prefix for an outside line (``9*57*``).
    """
    dialled = "".join(char for char in normalize("NFKC", digits) if char in "0123456789*#+")
    beginnings = _beginnings(codes)
    inner = _OUTSIDE_LINE.sub("", dialled)
    found = bool(beginnings) and (dialled.startswith(beginnings) or inner.startswith(beginnings))
    return attempt(Way.FEATURE_CODE, dialled) if found else None


def examine_pressed(keys: str, codes: Sequence[str]) -> Attempt | None:
    """The last of the ``keys`` that the desk phone pressed within a call completes the beginning of a forwarding code,
    or is a hook flash, by which an exchange takes an order. Whoever hears it may be a PBX or a menu that forwards."""
    if keys.endswith(FLASH):
        return attempt(Way.PRESSED_CODE, "flash")
    found = max((form for form in _beginnings(codes) if keys.endswith(form)), key=len, default="")
    return attempt(Way.PRESSED_CODE, found) if found else None


def _beginnings(codes: Sequence[str]) -> tuple[str, ...]:
    return tuple({form for code in codes for form in (code, re.sub(r"\*$", "#", code))})


def examine_arrival(request: Request) -> tuple[Attempt, ...]:
    """Signs that an arriving call was forwarded to us on its way: each is marked, the call is taken."""
    return tuple(
        attempt(Way.DIVERTED, f"{name}: {_address(value)}")
        for name in _ARRIVAL_HEADERS
        for text in request.headers.get_all(name)
        for value in _values(text)
    )


def _values(text: str) -> tuple[str, ...]:
    """The elements of a list; all of it as one where it is malformed, for the sign counts, not its grammar."""
    try:
        return split_list(text)
    except RemoteProtocolError:
        return (text,)


def _first(values: Sequence[str]) -> str:
    return _address(values[0]) if values else ""


def _address(text: str) -> str:
    try:
        return str(parse_name_addr(text).uri)
    except RemoteProtocolError:
        return text[:200]
