"""Reliable provisional responses (RFC 3262): numbered, repeated until their PRACK comes, one at a time.

Pure: messages and instants (monotonic s) in, what is due out.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import parse_number, split_list
from telephony.sip.message import Request, Response

OPTION = "100rel"
T1_S = 0.5
_PATIENCE = 64
"""Of T1: then nobody will send the PRACK (section 3)."""
_LARGEST = 2**32 - 1
_MOST_WAITING = 8
FIRST = range(1, 2**31)
"""What the first number of a transaction may be (section 3)."""


class Sending:
    """Our reliable provisional responses to one INVITE. ``due`` when ``take_due`` has something; ``first`` is their
    first number, one of ``FIRST``."""

    def __init__(self, first: int) -> None:
        self.due: float | None = None
        self._number = first - 1
        self._sent: Response | None = None
        self._waiting: deque[Response] = deque(maxlen=_MOST_WAITING)
        self._interval = T1_S
        self._until = 0.0

    @property
    def describes(self) -> bool:
        """Whether one with a session description still waits for its PRACK: until then the INVITE cannot be accepted
        (section 3)."""
        return any(each.body for each in (self._sent, *self._waiting) if each is not None)

    def send(self, response: Response, now: float) -> Response | None:
        """``response`` with its number, to be sent now; None where the one before still waits for its PRACK."""
        if self._sent is not None:
            self._waiting.append(response)
            return None
        self._number += 1
        headers = response.headers.appended("Require", OPTION).appended("RSeq", str(self._number))
        self._sent = response.replace(headers=headers)
        self._interval, self._until = T1_S, now + _PATIENCE * T1_S
        self.due = now + T1_S
        return self._sent

    def acknowledge(self, prack: Request) -> bool:
        """Take up a PRACK; False where it belongs to nothing that waits for one."""
        if self._sent is None or read_rack(prack) != (self._number, self._sent.cseq.number, "INVITE"):
            return False
        self._sent = self.due = None
        return True

    def next(self, now: float) -> Response | None:
        """What waited for the PRACK that has come, to be sent now."""
        return self.send(self._waiting.popleft(), now) if self._waiting and self._sent is None else None

    def take_due(self, now: float) -> Response | None:
        """The response again, at intervals that double; None where nobody has acknowledged it in time."""
        if self._sent is None or now >= self._until:
            self.stop()
            return None
        self._interval *= 2
        self.due = min(now + self._interval, self._until)
        return self._sent

    def stop(self) -> None:
        """The INVITE has its final response: nothing is repeated, a PRACK on its way is still known."""
        self.due = None
        self._waiting.clear()


def number_of(response: Response) -> int | None:
    """The number of a reliable provisional response; None where it is none."""
    if not 100 < response.status < 200 or OPTION not in options(response, "Require"):
        return None
    return parse_number((response.headers.get("RSeq") or "").strip(" \t"), _LARGEST)


def read_rack(prack: Request) -> tuple[int, int, str] | None:
    """Number, CSeq number and method of what a PRACK acknowledges; None where its RAck cannot be read."""
    parts = (prack.headers.get("RAck") or "").split()
    if len(parts) != 3:
        return None
    number, cseq = (parse_number(part, _LARGEST) for part in parts[:2])
    return None if number is None or cseq is None else (number, cseq, parts[2])


def options(message: Request | Response, name: str) -> frozenset[str]:
    """The option tags that ``name`` (Supported, Require, Unsupported) lists, in lower case. A list that cannot be read
    names none: it costs what it might have offered, not the call."""
    tags: set[str] = set()
    for value in message.headers.get_all(name):
        with suppress(RemoteProtocolError):
            tags.update(tag.lower() for tag in split_list(value))
    return frozenset(tags)
