"""The whole endpoint without its sockets: which message belongs to which call, phone or trunk, and what is to be done.

Shaped like the transaction layer below it: the edge hands over datagrams, instants and the outcomes of what it was
asked to do, then sends ``packets_to_send`` and performs ``actions_to_perform``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_network

from duty.domain.calls import CallEventKind, Outcome, Purpose
from duty.domain.exceptions import ForwardException
from duty.domain.linechecks import Finding, Verdict
from telephony import admission, guard
from telephony.actions import (
    Action,
    FinishCommand,
    MediaAddresses,
    OpenCall,
    ProbeEnded,
    Record,
    ReportAttack,
    ReportComponent,
    ReportForward,
    SpotCheckEnded,
)
from telephony.call import Call, Phase
from telephony.callindex import CallIndex
from telephony.inbound import Admission, InboundCall
from telephony.leg import ALLOW, Credentials
from telephony.line import LineProfile, Network, PhoneTarget, within
from telephony.outbound import CallBack, OutboundCall, Route
from telephony.probe_call import ExpectedProbe, ProbeCall
from telephony.probe_evidence import OurSide
from telephony.sip.authentication import Account, Challenged
from telephony.sip.bindings import Binding
from telephony.sip.dialog import dialog_key
from telephony.sip.digest import Nonces
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.events import (
    AckMissing,
    AckReceived,
    CancelReceived,
    Event,
    MalformedReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr, parse_name_addr, split_list
from telephony.sip.inspection import inspect
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Request, Response, make_response
from telephony.sip.registrar import Registrar
from telephony.sip.registration import Registration, RegistrationChanged
from telephony.sip.session_timer import OPTION as TIMER
from telephony.sip.session_timer import refused_interval
from telephony.sip.target import contact_uri, same_host
from telephony.sip.transaction import Timers
from telephony.sip.uri import SipUri, TelUri, Uri, parse_uri
from telephony.spot_check import SpotCheckCall

FOREIGN_AGAIN_S = 3600.0
MAX_FOREIGN = 256
"""Sources of foreign registrations that are told of within an hour."""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


SERVED = frozenset(ALLOW.split(", ")) | {"REGISTER", "REFER"}
"""Methods that somebody here answers; REFER belongs to the guard."""
EXTENSIONS = frozenset({TIMER})
"""Option tags that a Require may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One moment on two clocks: ``monotonic`` s for timers, ``unix`` s for registrations and nonces."""

    monotonic: float
    unix: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRoute:
    """The resolved way to a line's PBX. ``domain`` is its host, with the port where the settings name one; ``name``
    whom its certificate has to speak for."""

    flow: Flow
    domain: str
    name: str = ""


class LayerWire:
    """The transaction layer at the present instant, as legs see it."""

    def __init__(self, layer: TransactionLayer, token: Callable[[], str], session_s: int) -> None:
        self.now = 0.0
        self.session_s = session_s
        self._layer = layer
        self.token = token

    def send_request(self, request: Request, flow: Flow) -> str:
        """Send a request; the id of its transaction."""
        return self._layer.send_request(request, flow, self.now)

    def respond(self, transaction_id: str, response: Response) -> None:
        """Answer a received request."""
        self._layer.respond(transaction_id, response, self.now)

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Acknowledge a 2xx."""
        self._layer.send_ack(ack, flow, self.now)

    def cancel(self, client_transaction_id: str, *, reason: str = "") -> None:
        """Cancel an INVITE of ours."""
        self._layer.cancel(client_transaction_id, self.now, reason=reason)


class Switchboard:
    """Lines, phones, trunks and the calls between them.

    ``accounts`` are the desk phones by extension. ``token`` gives 32 hex digits of chance, ``chance`` a number 0..1.
    ``trunks`` are the resolved ways out by line number; ``session_s`` is how often a session is refreshed.
    ``allowed_networks`` and ``scanners`` are admission's.
    """

    def __init__(
        self,
        *,
        lines: Sequence[LineProfile],
        accounts: Mapping[str, Account],
        trunks: Mapping[str, TrunkRoute],
        realm: str,
        secret: bytes,
        token: Callable[[], str],
        chance: Callable[[], float],
        timers: Timers | None = None,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
        session_s: int = 1800,
        allowed_networks: Sequence[Network] = (),
        scanners: Iterable[str] = (),
    ) -> None:
        self.layer = TransactionLayer(timers=timers, rng=token)
        self.registrar = Registrar(accounts, realm, Nonces(secret), algorithms=algorithms)
        self._wire = LayerWire(self.layer, token, session_s)
        self._lines = {line.number: line for line in lines}
        self._line_of = {extension: line for line in lines for extension in line.extensions}
        self._accounts, self._trunks = accounts, trunks
        self._trunk_peers = tuple({peer for line in lines if line.trunk is not None for peer in line.trunk.peers})
        self._trunk_hosts: dict[str, set[int]] = {}
        for route in trunks.values():
            self._trunk_hosts.setdefault(route.flow.remote[0], set()).add(route.flow.remote[1])
        known = {
            *self._trunk_peers,
            *(ip_network(host.partition("%")[0]) for host in self._trunk_hosts),
            *(network for account in accounts.values() for network in account.networks),
        }
        self.admission = admission.Admission(allowed=allowed_networks, known=tuple(known), scanners=scanners)
        self._token, self._chance = token, chance
        self.calls = CallIndex()
        self._closing = False
        self._registrations: dict[str, Registration] = {}
        self._register_of: dict[str, str] = {}
        self._hosts_of: dict[str, set[str]] = {}
        self._probes: dict[int, ExpectedProbe] = {}
        self._spot_checks: dict[str, SpotCheckCall] = {}
        self._exceptions: dict[str, tuple[ForwardException, ...]] = {}
        self._foreign: dict[tuple[str, str], float] = {}
        self._actions: list[Action] = []
        self._now = Instant(monotonic=0.0, unix=0.0)

    # Begin and end

    def start(self, bindings: Iterable[Mapping[str, str | int | float]], now: Instant) -> None:
        """Take up the phones' bindings from before a restart and register the trunks."""
        self._at(now)
        self.registrar.restore(bindings, now.unix)
        for extension in self._line_of:
            self._report_phone(extension, "")
        for number, route in self._trunks.items():
            self._start_trunk(self._lines[number], route)

    def shut_down(self, now: Instant) -> None:
        """End every call decently and leave the PBX."""
        self._at(now)
        self._closing = True
        for call in self.calls.live():
            call.hang_up(reason="service_stopped")
            self._settle(call)
        for number, registration in self._registrations.items():
            registration.stop(now.monotonic)
            self._drive(number)

    # What arrives

    def receive(self, data: bytes, flow: Flow, now: Instant) -> bool:
        """One datagram, or one message of a stream; False where nobody is to look at it, and nothing has changed.
        Never raises for what a peer sends."""
        if not self.admission.admit(data, flow.remote[0], now.monotonic):
            return False
        self._at(now)
        self.layer.receive(data, flow, now.monotonic)
        self._pump()
        return True

    def transport_failed(self, flow: Flow, now: Instant) -> None:
        """Nothing can be sent to ``flow`` any more."""
        self._at(now)
        self.layer.transport_failed(flow, now.monotonic)
        if flow.reliable:
            for change in self.registrar.flow_lost(flow):
                self._report_phone(change.binding.user, "connection_lost")
        self._pump()

    def call_opened(self, call_id: str, addresses: MediaAddresses, now: Instant) -> None:
        """The edge has written the call and opened its media."""
        self._at(now)
        call = self.calls.get(call_id)
        if call is None or not call.opening:
            return
        if isinstance(call, OutboundCall):
            call.has_caller = self.calls.talks_to_caller(call.line, call.extension)
        call.opened(addresses, now.monotonic)
        if isinstance(call, InboundCall) and call.live:
            call.admit(self._admission(call), self._phones(call.line), now.monotonic)
            if call.phase is Phase.QUEUED:
                self.calls.wait(call)
        self._settle(call)
        self._pump()

    def call_not_opened(self, call_id: str, reason: str, now: Instant) -> None:
        """The edge could not open the call's media: refuse it; the book says why."""
        self._at(now)
        call = self.calls.get(call_id)
        if call is None or not call.opening:
            return
        self.calls.drop(call_id)
        if isinstance(call, InboundCall | OutboundCall | ProbeCall):
            response = make_response(call.invite, 503, to_tag=self._token())
            self._wire.respond(call.transaction_id, response)
        if isinstance(call, ProbeCall):
            ours = OurSide(arrived=True, call_id=call_id, reason="no_media")
            self._actions.append(ProbeEnded(check_id=call.expected.check_id, ours=ours))
        if isinstance(call, SpotCheckCall):
            finding = Finding(verdict=Verdict.FAULT, reason="no_media", call_id=call_id)
            self._actions.append(SpotCheckEnded(check_id=call.check_id, finding=finding))
        self._actions.append(
            Record(call_id=call_id, kind=CallEventKind.ENDED, outcome=Outcome.FAILED, data={"reason": reason})
        )
        self._pump()

    def announcement_ended(self, call_id: str, now: Instant) -> None:
        """The edge has played the announcement to its end."""
        self._at(now)
        call = self.calls.get(call_id)
        if isinstance(call, InboundCall):
            call.announcement_ended()
            self._settle(call)
        elif isinstance(call, SpotCheckCall):
            call.announcement_ended(now.monotonic)
            self._settle(call)

    def dial(self, *, command_id: int, line_number: str, number: str, now: Instant) -> None:
        """The console asks for a call from the desk to ``number``."""
        self._at(now)
        line = self._lines.get(line_number)
        if line is None or self._closing or self.forbidden_number(line, number):
            self._actions.append(FinishCommand(command_id=command_id, result="refused"))
            return
        self._make_way(line)
        phones = self._phones(line)
        call = CallBack(
            call_id=self._token(),
            line=line,
            wire=self._wire,
            number=number,
            route=self._route(line, number),
            contact=self._contact(line.number, phones[0].flow) if phones else "",
            phones=phones,
        )
        self._open(call, caller=line.number, callee=number, source="console", command_id=command_id)

    def forbidden_number(self, line: LineProfile, number: str) -> bool:
        """Whether the console was asked to dial a forwarding code."""
        return guard.examine_dialled(number, line.forwarding_codes) is not None

    def allow(self, exceptions: Iterable[ForwardException]) -> None:
        """The approved exceptions from now on, instead of those before; each begins and ends by our own clock."""
        found: dict[str, tuple[ForwardException, ...]] = {}
        for each in exceptions:
            found[each.line_number] = (*found.get(each.line_number, ()), each)
        self._exceptions = found

    def _is_excepted(self, line: LineProfile, attempt: guard.Attempt) -> bool:
        at = datetime.fromtimestamp(self._now.unix, UTC)
        return guard.excepted(attempt, self._exceptions.get(line.number, ()), at)

    # Checks

    def expect_probe(self, expected: ExpectedProbe, now: Instant) -> None:
        """A probe of ours will call: its call is taken by us, and ``ProbeEnded`` tells of it."""
        self._at(now)
        self._probes[expected.check_id] = expected

    def forget_probe(self, check_id: int, now: Instant) -> None:
        """The probe has ended; where its call still stands, end it and tell of it."""
        self._at(now)
        self._probes.pop(check_id, None)
        for call in self.calls.live():
            if isinstance(call, ProbeCall) and call.expected.check_id == check_id:
                call.hang_up(reason="probe_gone")
                self._settle(call)

    def spot_check(self, *, check_id: int, line_number: str, ring_s: float, now: Instant) -> bool:
        """Call the desk and ask for a PIN; ``SpotCheckEnded`` tells of it. False where the line is in use now."""
        self._at(now)
        line = self._lines.get(line_number)
        if line is None or self._closing or self.calls.in_use(line) or self.calls.is_waited_for(line):
            return False
        phones = self._phones(line)
        call = SpotCheckCall(
            call_id=self._token(),
            line=line,
            wire=self._wire,
            check_id=check_id,
            contact=self._contact(line.number, phones[0].flow) if phones else "",
            phones=phones,
            ring_s=ring_s,
        )
        self._spot_checks[line.number] = call
        self._open(call, caller=line.number, callee=" ".join(line.extensions), source="check")
        return True

    def key_pressed(self, call_id: str, key: str, now: Instant) -> None:
        """The officer pressed a key in a spot check."""
        self._at(now)
        call = self.calls.get(call_id)
        if isinstance(call, SpotCheckCall):
            call.pressed(key, now.monotonic)
            self._settle(call)

    def pin_checked(self, call_id: str, officer_id: int | None, now: Instant, *, fault: bool = False) -> None:
        """Whose PIN it was, None for nobody's; ``fault`` where it could not be found out."""
        self._at(now)
        call = self.calls.get(call_id)
        if isinstance(call, SpotCheckCall):
            call.pin_checked(officer_id, now.monotonic, fault=fault)
            self._settle(call)

    def _make_way(self, line: LineProfile) -> None:
        """Duty goes before its check."""
        check = self._spot_checks.pop(line.number, None)
        if check is not None and check.live:
            check.give_way(self._now.monotonic)
            self._settle(check)

    def _expected(self, line_number: str, event: RequestReceived) -> ExpectedProbe | None:
        """The probe whose call this is. One that comes through the carrier must come by the line's own trunk."""
        line = self._lines.get(line_number)
        if line is None or not self._probes:
            return None
        caller = _user(_caller(event.request, trusted=self._from_trunk(event.flow))[0].uri)
        may_call = self._may_call(line, event.flow)
        for expected in self._probes.values():
            if (expected.directly or may_call) and expected.matches(line_number, caller, self._now.monotonic):
                return expected
        return None

    def _probed(self, event: RequestReceived, expected: ExpectedProbe) -> None:
        del self._probes[expected.check_id]
        line = self._lines[expected.line_number]
        call = ProbeCall(
            call_id=self._token(),
            line=line,
            wire=self._wire,
            transaction_id=event.transaction_id,
            request=event.request,
            flow=event.flow,
            contact=self._contact(line.number, event.flow),
            expected=expected,
        )
        self._open(
            call,
            caller=expected.caller,
            callee=line.number,
            sip_call_id=event.request.call_id,
            source=f"{event.flow.remote[0]}:{event.flow.remote[1]}",
        )

    # Time

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called (monotonic s); None for never."""
        expiry = self.registrar.next_expiry()
        candidates = [
            self.layer.get_timer(),
            self.calls.next_deadline(),
            None if expiry is None else self._now.monotonic + max(0.0, expiry - self._now.unix),
            *(registration.get_timer() for registration in self._registrations.values()),
        ]
        return min((moment for moment in candidates if moment is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        """Do what is due."""
        self._at(now)
        self.layer.handle_timer(now.monotonic)
        while (call := self.calls.pop_timed_out(now.monotonic)) is not None:
            call.wake(now.monotonic)
            self._settle(call)
        self.calls.forget_ended(now.monotonic)
        for change in self.registrar.expire(now.unix):
            self._report_phone(change.binding.user, "expired")
        for number, registration in self._registrations.items():
            due = registration.get_timer()
            if due is not None and due <= now.monotonic:
                registration.handle_timer(now.monotonic)
                self._drive(number)
        self._pump()

    # What is to be done

    def packets_to_send(self) -> list[tuple[bytes, Flow]]:
        """Datagrams to send now, in order; none to who is shut out, not even what is due to be repeated."""
        now = self._now.monotonic
        packets = self.layer.packets_to_send()
        return [packet for packet in packets if not self.admission.is_shut_out(packet[1].remote[0], now)]

    def actions_to_perform(self) -> list[Action]:
        """What the edge shall do now, in order."""
        actions, self._actions = self._actions, []
        return actions

    def live_calls(self) -> int:
        """How many calls have not ended."""
        return len(self.calls.live())

    # Dispatch

    def _at(self, now: Instant) -> None:
        self._now = now
        self._wire.now = now.monotonic

    def _pump(self) -> None:
        while (event := self.layer.next_event()) is not None:
            try:
                self._dispatch(event)
            except RemoteProtocolError as error:
                if isinstance(event, RequestReceived):
                    self._refuse(event, error.status, error.reason)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._requested(event)
        elif isinstance(event, ResponseReceived):
            self._responded(event)
        elif isinstance(event, CancelReceived):
            self._gave_up(event.transaction_id, event.reasons)
        elif isinstance(event, AckReceived):
            self._acknowledged(event)
        elif isinstance(event, AckMissing):
            self._unacknowledged(event)
        elif isinstance(event, TransactionFailed):
            self._transaction_failed(event)
        elif isinstance(event, MalformedReceived):
            self._count_failure(event.flow)

    def _requested(self, event: RequestReceived) -> None:
        request = event.request
        if request.to.tag is not None:
            self._in_dialog(event)
        elif (setup := guard.examine_setup(request)) is not None:
            self._report_outside(setup, event)
            self._refuse(event, setup.status or 403)
        elif (refusal := inspect(request, methods=SERVED, extensions=EXTENSIONS)) is not None:
            self._refuse(event, refusal.status, extra=refusal.headers)
        elif request.method == "INVITE":
            self._invited(event)
        elif request.method == "REGISTER":
            self._registered(event)
        elif request.method == "OPTIONS":
            self._refuse(event, 200, extra=(("Allow", ALLOW), ("Accept", "application/sdp")))
        elif (attempt := guard.examine_request(request)) is not None:
            self._report_outside(attempt, event)
            self._refuse(event, attempt.status or 603)
        else:
            self._refuse(event, 481)

    def _in_dialog(self, event: RequestReceived) -> None:
        found = self.calls.by_dialog(dialog_key(event.request))
        if found is None:
            self._refuse(event, 481)
            return
        call, leg = found
        if event.request.method == "INVITE":
            self.calls.expect(call, event.transaction_id, leg)
        call.request(leg, event.transaction_id, event.request, event.flow)
        self._settle(call)

    def _responded(self, event: ResponseReceived) -> None:
        number = self._register_of.get(event.transaction_id)
        if number is not None:
            self._registrations[number].receive_response(event.response, self._now.monotonic)
            self._drive(number)
            return
        asked = self.calls.by_inquiry(event.transaction_id)
        if asked is not None:
            asked[0].inquiry_answered(asked[1], event.response)
            self._settle(asked[0])
            return
        found = self.calls.by_client(event.transaction_id)
        if found is None:
            return
        call, leg = found
        if leg.retry_with_longer_session(self._wire, event.response):
            self._settle(call)
            return
        if leg.is_surplus(event.response):
            leg.turn_away(self._wire, event.response)
            return
        try:
            call.leg_responded(leg, event.response, event.flow, self._now.monotonic)
        except RemoteProtocolError:
            call.leg_failed(leg, self._now.monotonic)
        self._settle(call)

    def _gave_up(self, transaction_id: str, reasons: tuple[str, ...] = ()) -> None:
        found = self.calls.by_server(transaction_id)
        if found is not None and transaction_id == found[0].transaction_id:
            found[0].note_cancel(reasons)
            found[0].cancelled(self._now.monotonic)
            self._settle(found[0])

    def _acknowledged(self, event: AckReceived) -> None:
        found = self.calls.by_server(event.transaction_id)
        if found is not None and found[1] is not None:
            found[0].acknowledged(found[1], event.request)
            self._settle(found[0])

    def _unacknowledged(self, event: AckMissing) -> None:
        found = self.calls.by_server(event.transaction_id)
        if found is not None and found[1] is not None:
            found[0].acknowledgement_missing(found[1])
            self._settle(found[0])

    def _transaction_failed(self, event: TransactionFailed) -> None:
        number = self._register_of.pop(event.transaction_id, None)
        if number is not None:
            self._registrations[number].transaction_failed(event.cause, self._now.monotonic)
            self._drive(number)
            return
        asked = self.calls.by_inquiry(event.transaction_id)
        if asked is not None:
            asked[0].inquiry_failed(asked[1])
            self._settle(asked[0])
            return
        found = self.calls.by_client(event.transaction_id)
        if found is None:
            self._gave_up(event.transaction_id)  # the connection of a caller that waited is gone, and so is the caller
            return
        call, leg = found
        call.leg_failed(leg, self._now.monotonic)
        self._settle(call)

    # Calls begin

    def _invited(self, event: RequestReceived) -> None:
        if len(event.request.contacts) != 1:
            raise RemoteProtocolError(400, "Exactly one Contact expected")
        if self._closing:
            raise RemoteProtocolError(503, "Service Unavailable")
        if too_small := refused_interval(event.request):
            self._refuse(event, 422, extra=too_small)
            return
        sender = event.request.from_.uri
        user = sender.user if isinstance(sender, SipUri) else None
        dialled = _user(event.request.target)
        if user in self._accounts and not self._from_trunk(event.flow):
            self._dialled(event, dialled)
            return
        expected = self._expected(dialled, event)
        if expected is not None:
            self._probed(event, expected)
            return
        line = self._lines.get(dialled)
        if line is None or not self._may_call(line, event.flow):
            self._turn_away(event, dialled)
            return
        self._arrived(event, line)

    def _turn_away(self, event: RequestReceived, dialled: str) -> None:
        """A stranger is asked who it is, like one that calls itself by an extension of ours: it shall not learn which
        extensions and lines there are."""
        if self.admission.knows(event.flow.remote[0]):
            self._refuse(event, 404)
        else:
            self._dialled(event, dialled)

    def _arrived(self, event: RequestReceived, line: LineProfile) -> None:
        self._make_way(line)
        caller, trust = _caller(event.request, trusted=self._from_trunk(event.flow))
        call = InboundCall(
            call_id=self._token(),
            line=line,
            wire=self._wire,
            transaction_id=event.transaction_id,
            request=event.request,
            flow=event.flow,
            contact=self._contact(line.number, event.flow),
            caller=caller,
        )
        self._open(
            call,
            caller=_user(caller.uri),
            callee=line.number,
            display=caller.display or "",
            trust=trust,
            sip_call_id=event.request.call_id,
            source=f"{event.flow.remote[0]}:{event.flow.remote[1]}",
        )

    def _dialled(self, event: RequestReceived, number: str) -> None:
        account = self.registrar.authenticator.authenticate(event.request, self._now.unix)
        if isinstance(account, Challenged):
            self._refuse(event, account.status, extra=account.headers)
            return
        self.admission.succeeded(event.flow.remote[0])
        line = self._line_of.get(account.user)
        if line is None or not _allowed(account, event.flow.remote[0]):
            self._refuse(event, 403)
            return
        if not number:
            self._refuse(event, 484)
            return
        call = OutboundCall(
            call_id=self._token(),
            line=line,
            wire=self._wire,
            transaction_id=event.transaction_id,
            request=event.request,
            flow=event.flow,
            extension=account.user,
            number=number,
            route=self._route(line, number),
            contact=self._contact(line.number, event.flow),
        )
        self._open(
            call,
            caller=line.number,
            callee=number,
            sip_call_id=event.request.call_id,
            source=f"{event.flow.remote[0]}:{event.flow.remote[1]}",
        )

    def _open(
        self,
        call: Call,
        *,
        caller: str,
        callee: str,
        source: str,
        display: str = "",
        trust: str = "asserted",
        sip_call_id: str = "",
        command_id: int | None = None,
    ) -> None:
        self.calls.add(call)
        if call.purpose is Purpose.DUTY:
            call.is_excepted = lambda attempt: self._is_excepted(call.line, attempt)
        if call.transaction_id:
            self.calls.expect(call, call.transaction_id)
        self._actions.append(
            OpenCall(
                call_id=call.call_id,
                line_number=call.line.number,
                direction=call.direction,
                caller_number=caller,
                callee_number=callee,
                caller_display=display,
                trust=trust,
                sip_call_id=sip_call_id,
                source=source,
                command_id=command_id,
                purpose=call.purpose,
            )
        )

    def _admission(self, call: InboundCall) -> Admission:
        if self.calls.has_place(call.line) and not self.calls.is_waited_for(call.line):
            return "ring"
        return "queue" if call.line.when_busy == "queue" else "busy"

    def _settle(self, call: Call) -> None:
        """After anything happened to a call: take its actions, keep the index up, serve who waits for its place."""
        self._actions.extend(call.actions)
        call.actions.clear()
        if not self.calls.update(call, self._now.monotonic):
            return
        while (waiting := self.calls.next_waiting(call.line)) is not None:
            waiting.line_free(self._phones(call.line), self._now.monotonic)
            self._settle(waiting)

    # Phones and trunks

    def _registered(self, event: RequestReceived) -> None:
        outcome = self.registrar.receive(event.request, event.flow, self._now.unix)
        self._wire.respond(event.transaction_id, outcome.response)
        if outcome.response.status in (400, 401, 403):
            self._count_failure(event.flow)
        elif outcome.response.status == 200:
            self.admission.succeeded(event.flow.remote[0])
        if outcome.foreign and outcome.user is not None:
            self._report_foreign(outcome.user, event)
        for user in {change.binding.user for change in outcome.changes}:
            self._report_phone(user, "")

    def _report_phone(self, extension: str, reason: str) -> None:
        line = self._line_of.get(extension)
        if line is None:
            return
        bindings = self.registrar.bindings(extension, self._now.unix)
        self._hosts_of[extension] = {binding.flow.remote[0] for binding in bindings}
        self.admission.phones_at(host for hosts in self._hosts_of.values() for host in hosts)
        self._actions.append(
            ReportComponent(
                line_number=line.number,
                kind="phone",
                name=extension,
                state="registered" if bindings else "unregistered",
                reason=reason if not bindings else "",
                bindings=tuple(dict(binding.export()) for binding in bindings),
            )
        )

    def _phones(self, line: LineProfile) -> list[PhoneTarget]:
        return [
            PhoneTarget(
                extension=extension,
                uri=binding.uri,
                flow=_way_to(binding),
                hosts=tuple({binding.flow.remote[0], _host(binding.address.uri)}),
            )
            for extension in line.extensions
            for binding in self.registrar.bindings(extension, self._now.unix)
        ]

    def _start_trunk(self, line: LineProfile, route: TrunkRoute) -> None:
        trunk = line.trunk
        if trunk is None or not trunk.username:
            self._actions.append(
                ReportComponent(line_number=line.number, kind="trunk", name=line.number, state="unchecked")
            )
            return
        registration = Registration(
            aor=f"sip:{trunk.username}@{route.domain}",
            registrar=f"sip:{route.domain}",
            username=trunk.username,
            password=trunk.password,
            contact=self._contact(line.number, route.flow),
            token=self._token,
            chance=self._chance,
        )
        self._registrations[line.number] = registration
        registration.start(self._now.monotonic)
        self._drive(line.number)

    def _drive(self, number: str) -> None:
        registration, route = self._registrations[number], self._trunks[number]
        for request in registration.requests_to_send():
            transaction_id = self.layer.send_request(request, route.flow, self._now.monotonic)
            self._register_of = {transaction_id: number} | {
                key: other for key, other in self._register_of.items() if other != number
            }
        while (event := registration.next_event()) is not None:
            if isinstance(event, RegistrationChanged):
                self._actions.append(
                    ReportComponent(
                        line_number=number,
                        kind="trunk",
                        name=number,
                        state=event.state.value,
                        reason=event.reason,
                    )
                )

    def _route(self, line: LineProfile, number: str) -> Route | None:
        route = self._trunks.get(line.number)
        if route is None or line.trunk is None:
            return None
        credentials = None
        if line.trunk.username:
            credentials = Credentials(username=line.trunk.username, password=line.trunk.password)
        domain = parse_uri(f"sip:{route.domain}")
        if not isinstance(domain, SipUri):
            return None
        uri = SipUri(user=number, host=domain.host, port=domain.port)
        return Route(uri=str(uri), flow=route.flow, domain=domain.host, credentials=credentials)

    def _from_trunk(self, flow: Flow) -> bool:
        """Whether a PBX of ours speaks. A desk phone may share its host, hence the port; a connection has any port."""
        hosts = self._trunk_hosts.get(flow.remote[0])
        if hosts is not None and (flow.reliable or flow.remote[1] in hosts):
            return True
        return within(flow.remote[0], self._trunk_peers)

    def _may_call(self, line: LineProfile, flow: Flow) -> bool:
        """Calls come from the line's own trunk; a line without one takes them from this machine only."""
        if line.trunk is None:
            return within(flow.remote[0], LOOPBACK)
        route = self._trunks.get(line.number)
        if route is not None and route.flow.remote[0] == flow.remote[0]:
            return True
        return within(flow.remote[0], line.trunk.peers)

    # Small answers

    def _contact(self, user: str, flow: Flow) -> str:
        return f"<{contact_uri(user, flow)}>"

    def _refuse(
        self,
        event: RequestReceived,
        status: int,
        reason: str | None = None,
        *,
        extra: Iterable[tuple[str, str]] = (),
    ) -> None:
        response = make_response(event.request, status, reason, to_tag=self._token(), extra=extra)
        self._wire.respond(event.transaction_id, response)
        if 400 <= status < 500 or status >= 600:
            self._count_failure(event.flow)

    def _count_failure(self, flow: Flow) -> None:
        """Whoever keeps being refused is no longer answered, and the desk is told."""
        closing = self.admission.failed(flow.remote[0], self._now.monotonic)
        if closing is not None and closing.alarm:
            self._actions.append(
                ReportAttack(source=closing.source, failures=closing.failures, seconds=closing.seconds)
            )

    def _report_outside(self, attempt: guard.Attempt, event: RequestReceived) -> None:
        """Report a transfer that one of our phones, or our PBX, asks for outside any call. A stranger's is only
        refused: it moves nothing, and nobody shall ring the alarm from afar."""
        line = self._line_of_sender(event.flow)
        if line is not None:
            self._report(attempt, line, event)

    def _report(self, attempt: guard.Attempt, line: LineProfile, event: RequestReceived) -> None:
        self._actions.append(
            ReportForward(
                call_id=None,
                line_number=line.number,
                way=attempt.way,
                target=attempt.target,
                source=event.flow.remote[0],
                raw=event.request.serialize(),
            )
        )

    def _report_foreign(self, extension: str, event: RequestReceived) -> None:
        """A phone's password is used where the phone may not be: told once an hour for each source."""
        line, source = self._line_of.get(extension), event.flow.remote[0]
        now = self._now.monotonic
        self._foreign = {key: told for key, told in self._foreign.items() if now - told < FOREIGN_AGAIN_S}
        if line is None or (extension, source) in self._foreign or len(self._foreign) >= MAX_FOREIGN:
            return
        self._foreign[extension, source] = now
        target = ", ".join(str(contact.uri) for contact in event.request.contacts)[:200]
        self._report(guard.attempt(guard.Way.FOREIGN_REGISTRATION, target or extension), line, event)

    def _line_of_sender(self, flow: Flow) -> LineProfile | None:
        host = flow.remote[0]
        for extension, line in self._line_of.items():
            if any(known.flow.remote[0] == host for known in self.registrar.bindings(extension, self._now.unix)):
                return line
        trunks = (line for line in self._lines.values() if line.trunk is not None)
        return next((line for line in trunks if self._may_call(line, flow)), None)


def _way_to(binding: Binding) -> Flow:
    """How a phone is reached: at the port of its contact where that names the address the registration came from, else
    back through the flow itself, since a NAT stands between (RFC 5626 section 3)."""
    uri = binding.address.uri
    if binding.flow.reliable or not isinstance(uri, SipUri) or not same_host(uri.host, binding.flow.remote[0]):
        return binding.flow
    return replace(binding.flow, remote=(binding.flow.remote[0], uri.port or 5060))


def _allowed(account: Account, host: str) -> bool:
    return not account.networks or within(host, account.networks)


def _user(uri: Uri) -> str:
    if isinstance(uri, SipUri):
        return uri.user or ""
    return uri.digits if isinstance(uri, TelUri) else ""


def _host(uri: Uri) -> str:
    return uri.host.strip("[]") if isinstance(uri, SipUri) else ""


def _caller(request: Request, *, trusted: bool) -> tuple[NameAddr, str]:
    """Who calls and how far that may be believed: an identity asserted by our own trunk, else the bare From, which
    anybody may write (RFC 3325 section 5)."""
    if trusted:
        for text in request.headers.get_all("P-Asserted-Identity"):
            with suppress(RemoteProtocolError):  # one that cannot be read costs its trust, not the call
                for value in split_list(text):
                    return _bare(parse_name_addr(value)), "asserted"
    return _bare(request.from_), "from"


def _bare(address: NameAddr) -> NameAddr:
    return NameAddr(display=address.display, uri=address.uri)
