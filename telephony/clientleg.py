"""The leg that we began: a desk phone being rung, or the far party of a call out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from duty.domain.transcripts import Speaker
from telephony.branch import Branch, Branches
from telephony.leg import AGENT, ALLOW, EXTENSIONS, SDP_TYPE, Credentials, Errand, Leg, Wire
from telephony.media_policy import PLAIN, MediaPolicy
from telephony.sip import causes, reliable
from telephony.sip.dialog import Dialog
from telephony.sip.digest import authorize, parse_challenge
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Headers, Request, Response
from telephony.sip.sdp import Security
from telephony.sip.session_timer import OPTION as TIMER
from telephony.sip.session_timer import SessionTimer

_NOT_ACCEPTABLE = frozenset({488, 606})


class ClientLeg(Leg):
    """A leg that we began: a desk phone being rung, or the far party of an outgoing call."""

    def __init__(
        self,
        *,
        name: str,
        speaker: Speaker,
        uri: str,
        from_: NameAddr,
        to: NameAddr,
        flow: Flow,
        contact: str,
        local: tuple[str, int],
        tag: str,
        credentials: Credentials | None = None,
        hosts: tuple[str, ...] = (),
        hops: int = 70,
        policy: MediaPolicy = PLAIN,
    ) -> None:
        super().__init__(speaker=speaker, flow=flow, contact=contact, local=local, tag=tag, hosts=hosts, policy=policy)
        self.name = name
        self.transaction_id = ""
        self.status: int | None = None
        self.cancelled = False
        self._uri, self._from, self._to = uri, from_, to
        self._credentials = credentials
        self._request: Request | None = None
        self._accepted: Response | None = None
        self._authorized: tuple[tuple[str, str], ...] = ()
        self._hops = hops
        self._branches = Branches()
        self._branch: Branch | None = None
        self._without: frozenset[str] = frozenset()
        self._demands: frozenset[str] = frozenset()
        self._codecs: tuple[int, ...] | None = None
        self._insists = False

    @property
    def settled(self) -> bool:
        """True once the INVITE has its final response, or failed."""
        return self.status is not None

    @property
    def pending(self) -> bool:
        """Whether the INVITE is sent and its final response may still come."""
        return bool(self.transaction_id) and not self.settled

    def start(self, wire: Wire, codecs: Iterable[int] | None = None) -> bool:
        """Send the INVITE with our offer; False, and nothing sent, where the policy allows none (``may_offer``)."""
        if not self.may_offer:
            return False
        self._codecs = None if codecs is None else tuple(codecs)
        self.session = SessionTimer(wire.session_s) if wire.session_s else None
        self._request = Request(
            method="INVITE",
            uri=self._uri,
            headers=Headers(
                [
                    ("Max-Forwards", str(self._hops)),
                    ("From", f"{self._from};tag={self._tag}"),
                    ("To", str(self._to)),
                    ("Call-ID", wire.token()),
                    ("CSeq", "1 INVITE"),
                    ("Contact", self.contact),
                    ("Allow", ALLOW),
                    ("User-Agent", AGENT),
                    *self._capabilities(wire),
                    ("Content-Type", SDP_TYPE),
                ]
            ),
            body=self.offer_body(self._codecs),
        )
        self.transaction_id = wire.send_request(self._request, self.flow)
        return True

    @property
    def security(self) -> Security:
        """As the policy has it, or no less than encryption where the peer refused plain audio with keys beside it."""
        security = super().security
        return replace(security, required=True) if self._insists else security

    def _capabilities(self, wire: Wire) -> list[tuple[str, str]]:
        """What we can do beyond RFC 3261, and what the peer wants us to demand."""
        timer = self.session.offer()[1:] if self.session is not None else ()
        able = [*([TIMER] if timer else []), *([reliable.OPTION] if wire.reliable else [])]
        fields = {
            "Supported": ", ".join(tag for tag in able if tag not in self._without),
            "Require": ", ".join(sorted(self._demands)),
        }
        return [*((name, value) for name, value in fields.items() if value), *timer]

    def cause(self, status: int) -> causes.Cause:
        """Why the INVITE failed with ``status``: what the peer says, else what the status stands for."""
        final = self._accepted
        said = None if final is None or final.status < 300 else causes.read_reasons(final.headers.get_all("Reason"))
        return said or causes.of_status(status)

    def cancel(self, wire: Wire, *, reason: str = "") -> None:
        """Stop ringing; safe to call again and after the answer."""
        if not self.settled and not self.cancelled and self.transaction_id:
            self.cancelled = True
            wire.cancel(self.transaction_id, reason=reason)

    @property
    def asks(self) -> bool:
        """Until our INVITE is answered, and during each further one."""
        return not self.settled or super().asks

    @property
    def is_owed_answer(self) -> bool:
        """Until our offer is answered, reliably or with the 2xx, and during each further one."""
        first = not self.settled and not (self._branch is not None and self._branch.agreed)
        return first or self.awaits_answer or super().asks

    def drop(self, wire: Wire, *, status: int, reason: str = causes.NORMAL) -> None:  # noqa: ARG002
        """Cancel the INVITE, or BYE where it is answered."""
        if self.settled:
            self.bye(wire, reason=reason)
        else:
            self.cancel(wire)

    def take(self, request: Request, flow: Flow) -> None:
        """A request of whoever rings at the far end counts, until one of them has answered."""
        branch = self._branches.get(request.from_.tag)
        if branch is not None and not self.settled:
            self._turn(branch)
        super().take(request, flow)

    def is_surplus(self, response: Response) -> bool:
        """Whether somebody else at the far end, which forked our INVITE, answers as well (RFC 3261 13.2.2.4)."""
        answered = self.status is not None and 200 <= self.status < 300
        return answered and 200 <= response.status < 300 and response.to.tag is not None

    def turn_away(self, wire: Wire, response: Response) -> None:
        """End the session of a surplus 2xx; ours goes on."""
        if self._request is not None:
            branch = self._branches.get(response.to.tag)
            dialog = branch.dialog if branch is not None else Dialog.as_uac(self._request, response)
            dialog.receive_response(response)
            wire.send_ack(dialog.ack(self._request.cseq.number, extra=self._authorized), self.flow)
            wire.send_request(dialog.request("BYE"), self.flow)

    def receive(self, response: Response, flow: Flow) -> None:
        """Take up a response to the INVITE: the dialog it makes and, from 200 on, the final status.

        Raises RemoteProtocolError for a 2xx without To tag, which nobody could acknowledge.
        """
        if 200 <= response.status < 300 and response.to.tag is None:
            raise RemoteProtocolError(400, "2xx without To tag")
        self.flow = flow
        if 100 < response.status < 300 and response.to.tag is not None and self._request is not None:
            branch = self._branch_of(response, self._request)
            self._turn(branch)
            branch.dialog.receive_response(response)
            if response.body and reliable.number_of(response) is not None and not branch.agreed:
                branch.agreed = self._can_accept(response)
        if response.status >= 200:
            self.status = response.status
            self.ended = response.status >= 300
            self._accepted = response
            self._read_allow(response)

    def take_answer(self, response: Response) -> None:
        """Where the peer wants our audio: what it said reliably stands against all that follows (RFC 3261 13.2.1); else
        it is what ``response`` says, or an earlier one of the same dialog. Raises RemoteProtocolError (400, 415,
        488)."""
        if self._branch is not None and self._branch.agreed:
            return
        if response.body or self.target is None:
            self.accept(response)

    def attend(self, wire: Wire, response: Response) -> bool:
        """Do what a response to our INVITE asks of the leg alone: PRACK (RFC 3262 section 4), or the INVITE in another
        form (420, 421, 422). True where nobody else is to hear of it: it came again or too early, or the INVITE is on
        its way once more."""
        if response.status < 200:
            return not self._acknowledge_early(wire, response)
        return self._ask_differently(wire, response)

    def _acknowledge_early(self, wire: Wire, response: Response) -> bool:
        number = reliable.number_of(response)
        if number is None or self._request is None or self.settled or not wire.reliable:
            return True
        if response.to.tag is None or response.cseq.number != self._request.cseq.number:
            return False
        branch = self._branch_of(response, self._request)
        if branch.number is not None and number != branch.number + 1:
            return False
        branch.number = number
        rack = ("RAck", f"{number} {self._request.cseq.number} INVITE")
        self._run_errand(wire, Errand(dialog=branch.dialog, method="PRACK", extra=(rack,)))
        return True

    def _branch_of(self, response: Response, request: Request) -> Branch:
        tag = response.to.tag or ""
        return self._branches.get(tag) or self._branches.add(tag, Dialog.as_uac(request, response))

    def _turn(self, branch: Branch) -> None:
        """``branch`` is who speaks now; of the one that spoke before only what it said is kept."""
        if self._branch is not branch:
            if self._branch is not None:
                self._branch.target = self.target
            self._branch, self.dialog, self.target = branch, branch.dialog, branch.target

    def _can_accept(self, response: Response) -> bool:
        try:
            self.accept(response)
        except RemoteProtocolError:
            return False
        return True

    def acknowledge(self, wire: Wire) -> None:
        """ACK the 2xx; the session runs from now on."""
        if self.session is not None and self._accepted is not None:
            self.session.answered(self._accepted, wire.now)
        if self.dialog is not None and self._request is not None:
            wire.send_ack(self.dialog.ack(self._request.cseq.number, extra=self._authorized), self.flow)

    def retry_with_credentials(self, wire: Wire, response: Response) -> bool:
        """Answer a 401/407 once by the same INVITE with our credentials; False where that is not possible."""
        if self._credentials is None or self._authorized or self._request is None or self.cancelled:
            return False
        self._authorized = self.prove(wire, response, self._request)
        if not self._authorized:
            return False
        self.status, self.ended = None, False
        self._ask_again(wire, self._request.replace(headers=self._request.headers.appended(*self._authorized[0])))
        return True

    def _ask_differently(self, wire: Wire, response: Response) -> bool:
        """Answer 422 by the same INVITE with the interval that the peer demands (RFC 4028 section 7.3), 420 without the
        extensions it does not know, 421 with those it demands (RFC 3261 8.1.3.5, 21.4.16), 488 with encrypted audio
        and nothing else, where keys stood beside plain audio before; False where that is not possible."""
        if self._request is None or self.settled or self.cancelled or not self._adapt(response):
            return False
        headers = self._request.headers
        for name in ("Supported", "Require", "Session-Expires", "Min-SE", "Authorization", "Proxy-Authorization"):
            headers = headers.without(name)
        for name, value in self._capabilities(wire):
            headers = headers.appended(name, value)
        self._authorized = ()
        body = self.offer_body(self._codecs) if response.status in _NOT_ACCEPTABLE else self._request.body
        self._ask_again(wire, self._request.replace(headers=headers, body=body))
        return True

    def _adapt(self, response: Response) -> bool:
        """Whether what a refusal asks for can be done, and has not been done before."""
        if response.status == 420:
            refused = (reliable.options(response, "Unsupported") & EXTENSIONS) - self._without
            self._without |= refused
            if TIMER in refused:
                self.session = None
            return bool(refused)
        if response.status in _NOT_ACCEPTABLE:
            possible = bool(self._cryptos) and not self.security.required
            self._insists = self._insists or possible
            return possible
        if response.status == 421:
            demanded = reliable.options(response, "Require") - self._demands
            possible = bool(demanded) and demanded <= EXTENSIONS - self._without
            self._demands |= demanded if possible else frozenset()
            return possible
        return self.session is not None and self.session.too_small(response)

    def _ask_again(self, wire: Wire, request: Request) -> None:
        """Send the INVITE once more with the next number; whoever spoke for the first one is forgotten."""
        self._request = request.replace(headers=request.headers.with_value("CSeq", f"{request.cseq.number + 1} INVITE"))
        self._branches.clear()
        self._branch = self.dialog = self.target = None
        self.transaction_id = wire.send_request(self._request, self.flow)

    def prove(self, wire: Wire, response: Response, asked: Request) -> tuple[tuple[str, str], ...]:
        """Our credentials for ``asked``, which ``response`` challenges; empty where there are none or they were
        shown already."""
        proxy = response.status == 407
        values = response.headers.get_all("Proxy-Authenticate" if proxy else "WWW-Authenticate")
        challenge = next((each for each in map(parse_challenge, values) if each.supported), None)
        name = "Proxy-Authorization" if proxy else "Authorization"
        if challenge is None or self._credentials is None or name in asked.headers:
            return ()
        user, password = self._credentials.username, self._credentials.password
        return ((name, authorize(challenge, asked.method, asked.uri, user, password, wire.token(), 1)),)
