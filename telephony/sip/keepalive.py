"""Keep-alives: what peers send to keep a NAT open, and our own question whether a peer is still there.

The question is an OPTIONS outside any dialog. Any final answer, even a refusal, proves that the peer lives; only
silence or a broken transport says that it does not (RFC 3261 section 11).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from telephony.sip.message import Headers, Request, Response

STUN_COOKIE = b"\x21\x12\xa4\x42"
INTERVAL_S = 30.0
RETRY_S = 5.0
"""Seconds between two questions while the peer does not answer."""


def is_keepalive(data: bytes) -> bool:
    """Whether a datagram only keeps a way open: empty, line ends or NULs (RFC 5626 section 4.4.1 and what phones make
    of it), or a STUN message (RFC 8489 section 5), which nobody here answers."""
    if data[:1] <= b"\x03" and data[4:8] == STUN_COOKIE:
        return True
    return not data.strip(b"\r\n\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChanged:
    """``alive`` has changed at ``since`` (s); ``reason`` is the status line or the failure that told it."""

    alive: bool
    reason: str
    since: float


class OptionsKeepAlive:
    """Asks one peer again and again. Pure, shaped like ``Registration``: the caller sends ``requests_to_send``,
    hands back the response or failure, wakes it at ``get_timer`` and reads ``next_event``.

    ``target`` is the Request-URI, ``sender`` our address; ``token`` gives unguessable text. Times are s of the
    caller's monotonic clock. ``alive`` is None before the first answer.
    """

    def __init__(self, *, target: str, sender: str, token: Callable[[], str], interval_s: float = INTERVAL_S) -> None:
        self.alive: bool | None = None
        self._target, self._sender, self._token = target, sender, token
        self._interval_s = interval_s
        self._call_id = token()
        self._cseq = 0
        self._pending: int | None = None
        self._due: float | None = None
        self._requests: list[Request] = []
        self._events: deque[PeerChanged] = deque()

    def start(self) -> None:
        """Ask at once, then regularly."""
        self._ask()

    def stop(self) -> None:
        """Ask no more; an answer that is still to come changes nothing."""
        self._due = self._pending = None

    def receive_response(self, response: Response, now: float) -> None:
        """A response to a question; provisional ones and those to earlier questions change nothing."""
        if response.status >= 200 and response.cseq.number == self._pending:
            self._learned(True, f"{response.status} {response.reason}".strip(), now)

    def transaction_failed(self, cause: str, now: float) -> None:
        """No response came: ``cause`` is "timeout" or "transport"."""
        if self._pending is not None:
            self._learned(False, cause, now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; None while a question is open."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Ask where it is time."""
        if self._due is not None and now >= self._due:
            self._ask()

    def requests_to_send(self) -> list[Request]:
        """The OPTIONS requests to send (without Via); each is given once."""
        requests, self._requests = self._requests, []
        return requests

    def next_event(self) -> PeerChanged | None:
        """The oldest event not yet read."""
        return self._events.popleft() if self._events else None

    def _ask(self) -> None:
        self._cseq += 1
        self._pending, self._due = self._cseq, None
        items = [
            ("Max-Forwards", "70"),
            ("From", f"<{self._sender}>;tag={self._token()}"),
            ("To", f"<{self._target}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} OPTIONS"),
            ("Accept", "application/sdp"),
        ]
        self._requests.append(Request(method="OPTIONS", uri=self._target, headers=Headers(items)))

    def _learned(self, alive: bool, reason: str, now: float) -> None:
        self._pending = None
        self._due = now + (self._interval_s if alive else RETRY_S)
        if alive is not self.alive:
            self.alive = alive
            self._events.append(PeerChanged(alive=alive, reason=reason, since=now))
