"""One PBX of a line: our registration there, whether it answers, and whether it is a good way out just now.

Pure: it is told of what was heard and of the time, and says which requests to send and what its state is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from telephony.line import TrunkProfile
from telephony.sip.flow import Flow
from telephony.sip.message import Headers, Request, Response
from telephony.sip.registration import Registration, RegistrationState, retry_after
from telephony.sip.target import bracketed, contact_uri

PING_LIMIT_S = 4.0
"""A PBX that has not answered OPTIONS by then counts as gone; an answer that comes later brings it back."""
PING_AGAIN_S = 10.0
"""How often one that is gone is asked, at least."""
BARRED_LIMIT_S = 300.0
"""However long a 503 asks us to stay away: a duty line has few other ways out."""
UNANSWERED_S = 30.0
"""How long one that did not answer a call is a last resort, where no OPTIONS are sent to find out more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRoute:
    """The resolved way to one PBX. ``domain`` is its host, with the port where the settings name one; ``name`` whom its
    certificate has to speak for. A lower ``priority`` is tried first; ``weight`` shares out among equals (RFC 2782).
    """

    flow: Flow
    domain: str
    name: str = ""
    priority: int = 0
    weight: int = 0

    @property
    def key(self) -> tuple[str, str, tuple[str, int]]:
        """What makes it another PBX."""
        return self.domain, self.flow.transport, self.flow.remote

    @property
    def address(self) -> str:
        """Where it is, as the console shows it."""
        host, port = self.flow.remote
        return f"{bracketed(host)}:{port}" + ("" if self.flow.transport == "UDP" else f"/{self.flow.transport}")


class Target:
    """A PBX that the line ``number`` has ``trunk`` at. Times are monotonic s."""

    def __init__(
        self,
        route: TrunkRoute,
        *,
        number: str,
        trunk: TrunkProfile,
        token: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self.route = route
        self.told: tuple[str, str] | None = None
        """State and reason as they were reported last."""
        self._number, self._keep_alive_s = number, trunk.keep_alive_s
        self._chance, self._token = chance, token
        self._answers: bool | None = None
        self._fault = ""
        self._last_resort_until = 0.0
        self._ping_due: float | None = None
        self._ping_limit: float | None = None
        self._ping_call_id, self._ping_cseq = token(), 0
        self._pings: list[Request] = []
        self._takes_options = False
        self.registration: Registration | None = None
        if trunk.username:
            self.registration = Registration(
                aor=f"sip:{trunk.username}@{route.domain}",
                registrar=f"sip:{route.domain}",
                username=trunk.username,
                password=trunk.password,
                contact=self.contact,
                token=token,
                chance=chance,
            )

    @property
    def contact(self) -> str:
        """Our Contact there."""
        return f"<{contact_uri(self._number, self.route.flow)}>"

    @property
    def state(self) -> tuple[str, str]:
        """State and reason as the book has them. ``unchecked``: it neither wants a registration nor is asked."""
        if self._answers is False:
            return "unreachable", self._fault
        if self.registration is not None:
            return self.registration.state.value, self.registration.reason
        return ("reachable" if self._answers else "unchecked"), ""

    def rank(self, now: float) -> int:
        """How good a way out it is: 0 works, 1 is not known, 2 asked us to stay away, 3 does not answer."""
        if self._answers is False:
            return 3
        if self._last_resort_until > now:
            return 2
        registered = self.registration is None or self._registered
        return 0 if registered and (self._answers or self._keep_alive_s == 0) else 1

    # What is heard

    def heard(self, now: float) -> None:
        """It answered something."""
        was_gone = self._answers is False
        self._answers, self._fault = True, ""
        if was_gone and self.registration is not None:
            self.registration.start(now)  # it may have been started anew, and have forgotten us

    def registered(self, response: Response, now: float) -> None:
        """The answer to a REGISTER."""
        self._answers, self._fault = True, ""
        if self.registration is not None:
            self.registration.receive_response(response, now)

    def register_failed(self, cause: str, now: float) -> None:
        """A REGISTER got no answer."""
        self.gone(cause)
        if self.registration is not None:
            self.registration.transaction_failed(cause, now)

    def gone(self, reason: str) -> None:
        """Nothing reaches it."""
        self._answers, self._fault = False, reason

    def suspect(self, now: float) -> None:
        """It may be gone: ask it at once."""
        if self._keep_alive_s:
            self._ping_due = now
        else:
            self._last_resort_until = now + UNANSWERED_S

    def unavailable(self, response: Response, now: float) -> None:
        """It answered 503: until its Retry-After it is asked for nothing where others are (RFC 3261 21.5.4)."""
        self._last_resort_until = now + min(retry_after(response), BARRED_LIMIT_S)

    def pinged(self, response: Response, now: float) -> None:
        """The answer to an OPTIONS. Any will do but those by which somebody says that it is not there."""
        if response.status < 200:
            return
        self._ping_limit = None
        self._takes_options = True
        if response.status in (408, 503):
            self.gone(f"{response.status} {response.reason}".strip())
            self._ask_again_by(now + self._ping_again_s)
        else:
            self.heard(now)

    def ping_failed(self, cause: str, now: float) -> None:
        """An OPTIONS could not be sent, or got no answer, which was known long before."""
        if cause == "transport":
            self._ping_limit = None
            self.gone(cause)
            self._ask_again_by(now + self._ping_again_s)

    # Time

    def start(self, now: float) -> None:
        """Register, or ask whether it is there."""
        if self.registration is not None:
            self.registration.start(now)
        if self._keep_alive_s:
            self._ping_due = now + (self._keep_alive_s if self.registration is not None else self._chance())

    def stop(self, now: float) -> None:
        """Leave it."""
        self._ping_due = self._ping_limit = None
        if self.registration is not None:
            self.registration.stop(now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; None for never."""
        registration = self.registration.get_timer() if self.registration is not None else None
        moments = (registration, self._ping_due, self._ping_limit)
        return min((moment for moment in moments if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Renew, ask, or give up waiting."""
        if self.registration is not None:
            due = self.registration.get_timer()
            if due is not None and due <= now:
                self.registration.handle_timer(now)
        if self._ping_limit is not None and self._ping_limit <= now:
            self._ping_limit = None
            if self._takes_options or not self._registered:
                self.gone("timeout")
                self._ask_again_by(now + self._ping_again_s)
        if self._ping_due is not None and self._ping_due <= now:
            self._ping(now)

    def requests_to_send(self) -> list[Request]:
        """The REGISTER and OPTIONS (RFC 3261 11) to send; each is given once."""
        requests, self._pings = self._pings, []
        if self.registration is not None:
            requests += self.registration.requests_to_send()
            while self.registration.next_event() is not None:
                pass  # ``state`` says the same
        return requests

    @property
    def _registered(self) -> bool:
        """Whether a registration says that it is there. Some PBXs take registrations and never answer OPTIONS."""
        return self.registration is not None and self.registration.state is RegistrationState.REGISTERED

    @property
    def _ping_again_s(self) -> float:
        return min(self._keep_alive_s, PING_AGAIN_S)

    def _ask_again_by(self, moment: float) -> None:
        if self._ping_due is not None:
            self._ping_due = min(self._ping_due, moment)

    def _ping(self, now: float) -> None:
        wait = self._ping_again_s if self._answers is False else self._keep_alive_s
        self._ping_due = now + wait * (0.9 + 0.2 * self._chance())
        self._ping_limit = now + PING_LIMIT_S
        self._ping_cseq += 1
        host = bracketed(self.route.flow.local[0])
        uri = f"sip:{self.route.domain}"
        items = [
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self._number}@{host}>;tag={self._token()}"),
            ("To", f"<{uri}>"),
            ("Call-ID", self._ping_call_id),
            ("CSeq", f"{self._ping_cseq} OPTIONS"),
            ("Contact", self.contact),
            ("Accept", "application/sdp"),
        ]
        self._pings.append(Request(method="OPTIONS", uri=uri, headers=Headers(items)))
