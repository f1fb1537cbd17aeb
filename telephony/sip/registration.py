"""Our own registration at the PBX or carrier (RFC 3261 section 10.2): kept up for as long as the service
runs.

Pure, shaped like the transaction layer: the caller sends what ``requests_to_send`` gives, hands back the
response or the failure, wakes it at ``get_timer``, and reads ``next_event``. Times are s of the caller's
monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from telephony.sip.digest import Challenge, authorize, parse_challenge
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import parse_name_addr, parse_number
from telephony.sip.message import Headers, Request, Response
from telephony.sip.uri import equivalent

REFRESH_AT = 0.8
"""Part of the granted time after which it is renewed, at the latest."""
JITTER = 0.1
"""Part of the granted time by which the renewal may come earlier, so that many lines do not renew at once."""
SHORTEST_GUESS_S = 30
FIRST_RETRY_S = 4.0
LONGEST_RETRY_S = 300.0
"""However long the registrar asks us to wait: a duty line does not stay away for an hour."""
_ATTEMPTS = 4  # requests of one attempt: a challenge, a stale nonce, a longer expiry, and done


class RegistrationState(StrEnum):
    """Whether calls from the PBX reach us. ``FAILED`` lasts, through all retries, until a registration
    succeeds."""

    UNREGISTERED = "unregistered"
    REGISTERING = "registering"
    REGISTERED = "registered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationChanged:
    """The state is another one since ``since``."""

    state: RegistrationState
    reason: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFailed:
    """A renewal failed while the binding is still valid until ``valid_until``; it is tried again before."""

    reason: str
    valid_until: float


RegistrationEvent = RegistrationChanged | RefreshFailed


class Registration:
    """One address of record at one registrar.

    ``aor`` and ``registrar`` are URIs, ``contact`` our Contact value, ``expires`` the wish in s. ``token``
    gives unguessable text, ``chance`` a number in 0..1 for the jitter.
    """

    def __init__(
        self,
        *,
        aor: str,
        registrar: str,
        username: str,
        password: str,
        contact: str,
        token: Callable[[], str],
        chance: Callable[[], float],
        expires: int = 600,
    ) -> None:
        self.state = RegistrationState.UNREGISTERED
        self.reason = ""
        self.since = 0.0
        self.valid_until = 0.0
        self.service_route: tuple[str, ...] = ()
        self._aor, self._registrar, self._contact = aor, registrar, contact
        self._username, self._password = username, password
        self._token, self._chance = token, chance
        self._wish = expires
        self._expires = expires
        self._call_id = token()
        self._cseq = 0
        self._pending: int | None = None
        self._tries = 0
        self._failures = 0
        self._challenge: tuple[str, Challenge] | None = None
        self._nonce_count = 0
        self._due: float | None = None
        self._requests: list[Request] = []
        self._events: deque[RegistrationEvent] = deque()

    def start(self, now: float) -> None:
        """Register, and stay so."""
        self._expires = self._wish
        if self.state is not RegistrationState.REGISTERED:
            self._change(RegistrationState.REGISTERING, "", now)
        self._attempt()

    def stop(self, now: float) -> None:
        """Remove our binding. The state is unregistered at once; the answer changes nothing more."""
        was_known = self.state is not RegistrationState.UNREGISTERED
        self._expires = 0
        self._change(RegistrationState.UNREGISTERED, "", now)
        if was_known:
            self._attempt()
        self._due = None

    def receive_response(self, response: Response, now: float) -> None:
        """A response to a request of ours; provisional ones and those to earlier requests change nothing."""
        if response.status < 200 or response.cseq.number != self._pending:
            return
        self._pending = None
        if response.status < 300:
            self._accepted(response, now)
        elif response.status in (401, 407):
            self._challenged(response, now)
        elif response.status == 423:
            self._too_brief(response, now)
        else:
            self._failed(f"{response.status} {response.reason}".strip(), now, retry_after(response))

    def transaction_failed(self, cause: str, now: float) -> None:
        """No response came: ``cause`` is "timeout" or "transport"."""
        if self._pending is not None:
            self._pending = None
            self._failed(cause, now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; None for never."""
        lapse = self.valid_until if self.state is RegistrationState.REGISTERED else None
        return min((moment for moment in (self._due, lapse) if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Renew, try again, or admit that the binding has run out."""
        if self.state is RegistrationState.REGISTERED and now >= self.valid_until:
            self._change(RegistrationState.FAILED, self.reason or "expired", now)
        if self._due is not None and now >= self._due:
            self._attempt()

    def requests_to_send(self) -> list[Request]:
        """The REGISTER requests to send (without Via); each is given once."""
        requests, self._requests = self._requests, []
        return requests

    def next_event(self) -> RegistrationEvent | None:
        """The oldest event not yet read."""
        return self._events.popleft() if self._events else None

    def _attempt(self) -> None:
        self._tries = 0
        self._due = None
        self._send()

    def _send(self) -> None:
        self._tries += 1
        self._cseq += 1
        self._pending = self._cseq
        items = [
            ("Max-Forwards", "70"),
            ("From", f"<{self._aor}>;tag={self._token()}"),
            ("To", f"<{self._aor}>"),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Contact", self._contact),
            ("Expires", str(self._expires)),
            *self._credentials(),
        ]
        self._requests.append(Request(method="REGISTER", uri=self._registrar, headers=Headers(items)))

    def _credentials(self) -> list[tuple[str, str]]:
        if self._challenge is None:
            return []
        header, challenge = self._challenge
        self._nonce_count += 1
        value = authorize(
            challenge,
            "REGISTER",
            self._registrar,
            self._username,
            self._password,
            self._token(),
            self._nonce_count,
        )
        return [(header, value)]

    def _challenged(self, response: Response, now: float) -> None:
        asks, answers = "WWW-Authenticate", "Authorization"
        if response.status == 407:
            asks, answers = "Proxy-Authenticate", "Proxy-Authorization"
        challenge = _first_supported(response.headers.get_all(asks))
        if challenge is None:
            self._failed("no digest challenge that we can answer", now)
            return
        fresh_nonce_refused = self._nonce_count == 1 and not challenge.stale
        if self._tries >= _ATTEMPTS or fresh_nonce_refused:
            self._challenge, self._nonce_count = None, 0
            self._failed("credentials refused", now)
            return
        self._challenge = (answers, challenge)
        self._nonce_count = 0
        self._send()

    def _too_brief(self, response: Response, now: float) -> None:
        least = parse_number(response.headers.get("Min-Expires") or "", 2**31)
        if least is None or least <= self._expires or self._expires == 0 or self._tries >= _ATTEMPTS:
            self._failed("423 without a longer Min-Expires", now)
            return
        self._expires = least
        self._send()

    def _accepted(self, response: Response, now: float) -> None:
        self._failures = 0
        if self._expires == 0:
            return
        granted = self._granted(response)
        if granted <= 0:
            self._failed("registrar granted no time", now)
            return
        self.service_route = response.headers.get_all("Service-Route")
        self.valid_until = now + granted
        self._due = now + granted * (REFRESH_AT - JITTER * self._chance())
        self.reason = ""
        self._change(RegistrationState.REGISTERED, "", now)

    def _granted(self, response: Response) -> int:
        own = parse_name_addr(self._contact).uri
        ours = [contact for contact in response.contacts if equivalent(contact.uri, own)]
        wishes = [contact.expires for contact in ours] + [response.expires, self._expires]
        granted = next(wish for wish in wishes if wish is not None)
        return granted if ours else min([granted, *self._granted_to_others(response)])

    def _granted_to_others(self, response: Response) -> list[int]:
        """The times of the contacts where none of them is ours: a registrar behind a NAT has rewritten it, and does not
        say which. None below ``SHORTEST_GUESS_S``, since it may be another's binding that runs out."""
        return [max(each.expires, SHORTEST_GUESS_S) for each in response.contacts if each.expires is not None]

    def _failed(self, reason: str, now: float, retry_after: float = 0.0) -> None:
        if self.state is RegistrationState.UNREGISTERED:
            return
        self._failures += 1
        backoff = min(FIRST_RETRY_S * 2 ** min(self._failures - 1, 16), LONGEST_RETRY_S)
        wait = max(backoff * (1 - 0.5 * self._chance()), min(retry_after, LONGEST_RETRY_S))
        self._due = now + wait
        self.reason = reason
        if self.state is RegistrationState.REGISTERED and now < self.valid_until:
            self._events.append(RefreshFailed(reason=reason, valid_until=self.valid_until))
        else:
            self._change(RegistrationState.FAILED, reason, now)

    def _change(self, state: RegistrationState, reason: str, now: float) -> None:
        if state is self.state:
            return
        self.state, self.reason, self.since = state, reason, now
        self._events.append(RegistrationChanged(state=state, reason=reason, since=now))


def _first_supported(values: tuple[str, ...]) -> Challenge | None:
    """RFC 8760 section 2.4: the topmost challenge that we can answer."""
    for value in values:
        try:
            challenge = parse_challenge(value)
        except RemoteProtocolError:
            continue
        if challenge.supported:
            return challenge
    return None


def retry_after(response: Response) -> float:
    """How long a refusal asks us to stay away, in s; 0 where it does not say (RFC 3261 20.33)."""
    digits = (response.headers.get("Retry-After") or "").split(";")[0].split("(")[0].strip()
    return float(parse_number(digits, 2**31) or 0)
