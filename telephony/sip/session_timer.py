"""Session timers (RFC 4028): how a session whose other end has vanished comes to an end.

Where the peer keeps no timer, it is asked by OPTIONS within the dialog instead. Pure: instants (monotonic s) and
messages in, header fields and what is due out.
"""

from __future__ import annotations

from enum import StrEnum

from telephony.sip.headers import parse_number, parse_params
from telephony.sip.message import Request, Response
from telephony.sip.reliable import options

LEAST_S = 90
"""The shortest interval of RFC 4028 section 4."""
OPTION = "timer"
_LIMIT = 2**31 - 1
_MARGIN_S = 32.0
_AGAIN_S = 3.0

Fields = tuple[tuple[str, str], ...]


class Due(StrEnum):
    """What a session wants now."""

    REFRESH = "refresh"
    PROBE = "probe"
    EXPIRED = "expired"


class SessionTimer:
    """The timer of one dialog. ``wanted_s`` is the interval we ask for; ``due`` when ``take_due`` has something."""

    def __init__(self, wanted_s: int) -> None:
        self.wanted_s = wanted_s
        self.least_s = LEAST_S
        self.interval_s: int | None = None
        self.we_refresh = False
        self.due: float | None = None
        self._expires: float | None = None
        self._asked = False

    # We ask

    def offer(self) -> Fields:
        """The fields of an INVITE of ours; who refreshes is the peer's choice (section 7.1)."""
        return _fields(self.wanted_s, self.least_s)

    def refresh(self) -> Fields:
        """The fields of a refresh of ours: of this request we are the UAC."""
        return _fields(self.interval_s or self.wanted_s, self.least_s, "uac")

    def answered(self, response: Response, now: float) -> None:
        """A 2xx to an INVITE or refresh of ours (section 7.2); without Session-Expires the peer keeps no timer."""
        interval, refresher = read_session_expires(response)
        self._agree(interval, refresher != "uas", now)

    def too_small(self, response: Response) -> bool:
        """Take up a 422; False where it gives no reason to ask for more (section 7.3)."""
        least = parse_number(response.headers.get("Min-SE") or "", _LIMIT)
        if response.status != 422 or least is None or least <= (self.interval_s or self.wanted_s):
            return False
        self.least_s = max(self.least_s, least)
        self.wanted_s = least
        self.interval_s = None if self.interval_s is None else least
        return True

    # The peer asks

    def answer(self, request: Request, now: float) -> Fields:
        """The fields of our 2xx to an INVITE or UPDATE (section 9). A peer without timers gets one only where a proxy
        wants it, and then we refresh."""
        asked, refresher = read_session_expires(request)
        supports = supports_timer(request)
        if asked is None and not supports:
            self._agree(None, False, now)
            return ()
        least = parse_number(request.headers.get("Min-SE") or "", _LIMIT) or LEAST_S
        interval = max(least, self.wanted_s) if asked is None else max(min(asked, self.wanted_s), min(asked, least))
        theirs = supports and refresher == "uac"
        self._agree(interval, not theirs, now)
        shown = ("Session-Expires", f"{interval};refresher={'uac' if theirs else 'uas'}")
        return (("Require", OPTION), shown) if supports else (shown,)

    # Time

    def take_due(self, now: float) -> Due | None:
        """What is to be done now. After REFRESH and PROBE, ``answered`` or ``put_off`` is expected."""
        if self.due is None or self.due > now:
            return None
        if self._expires is not None and (self._asked or not self.we_refresh or now >= self._expires):
            self.stop()
            return Due.EXPIRED
        self._asked = True
        self.due = self._expires
        return Due.PROBE if self._expires is None else Due.REFRESH

    def put_off(self, now: float, again_s: float = _AGAIN_S) -> None:
        """The peer lives but has not refreshed: ask again in ``again_s``, as long as there is time."""
        self._asked = False
        again = now + (self.wanted_s if self._expires is None else again_s)
        self.due = again if self._expires is None else min(again, self._expires)

    def stop(self) -> None:
        """The session is over."""
        self.due = self._expires = None

    def _agree(self, interval: int | None, we_refresh: bool, now: float) -> None:
        self._asked = False
        self.interval_s, self.we_refresh = interval, we_refresh
        if interval is None:
            self._expires, self.due = None, now + self.wanted_s
            return
        self._expires = now + interval - min(_MARGIN_S, interval / 3)  # section 10
        self.due = now + interval / 2 if we_refresh else self._expires


def supports_timer(message: Request | Response) -> bool:
    """Whether the peer says that it keeps session timers."""
    return OPTION in options(message, "Supported")


def refused_interval(request: Request) -> Fields:
    """The Min-SE of a 422 where ``request`` asks for an interval that is too small; empty where it does not. A peer
    that would not understand is not refused (section 8.1)."""
    asked, _ = read_session_expires(request)
    return (("Min-SE", str(LEAST_S)),) if asked is not None and asked < LEAST_S and supports_timer(request) else ()


def read_session_expires(message: Request | Response) -> tuple[int | None, str]:
    """Interval in s and refresher (``uac``, ``uas`` or "") of Session-Expires; None where there is none to be read."""
    value = message.headers.get("Session-Expires")
    if value is None:
        return None, ""
    number, separator, rest = value.partition(";")
    interval = parse_number(number.strip(" \t"), _LIMIT)
    if not interval:
        return None, ""
    refresher = dict(parse_params(separator + rest)).get("refresher") or ""
    return interval, refresher.lower()


def _fields(interval: int, least: int, refresher: str = "") -> Fields:
    shown = f"{interval};refresher={refresher}" if refresher else str(interval)
    return (("Supported", OPTION), ("Session-Expires", shown), ("Min-SE", str(least)))
