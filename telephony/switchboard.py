"""The whole endpoint without its sockets: which message belongs to which call, phone or trunk, and what is to be done.

Shaped like the transaction layer below it: the edge hands over datagrams, instants and the outcomes of what it was
asked to do, then sends ``packets_to_send`` and performs ``actions_to_perform``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from duty.domain.exceptions import ForwardException
from duty.domain.transcripts import Speaker
from telephony import admission, guard
from telephony.actions import Action, FinishCommand, MediaAddresses, ReportAttack
from telephony.arrival import Arrival, user_of
from telephony.callindex import CallIndex
from telephony.callroom import CallRoom
from telephony.checkcalls import CheckCalls
from telephony.dutycalls import DutyCalls
from telephony.inbound import InboundCall
from telephony.keys import How
from telephony.layerwire import Instant, LayerWire
from telephony.leg import ALLOW, EXTENSIONS
from telephony.line import LineProfile, Network
from telephony.phones import Phones, networks_of, outside
from telephony.probe_call import ExpectedProbe
from telephony.sip.authentication import Account, Challenged
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
from telephony.sip.inspection import inspect
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import make_response
from telephony.sip.registrar import Registrar
from telephony.sip.session_timer import refused_interval
from telephony.sip.target import contact_uri
from telephony.sip.transaction import Timers
from telephony.sip.uri import SipUri
from telephony.siprec.calls import RecordedCalls
from telephony.siprec.intake import client_networks, is_recording_session
from telephony.siprec.leg import OPTION as SIPREC
from telephony.spot_check import SpotCheckCall
from telephony.trunk_target import TrunkRoute
from telephony.trunks import Trunks, peers_of

SERVED = frozenset(ALLOW.split(", ")) | {"REGISTER", "REFER"}
"""Methods that somebody here answers; REFER belongs to the guard."""
CAPABILITIES = (
    ("Allow", ALLOW),
    ("Accept", "application/sdp"),
    ("Supported", ", ".join(sorted(EXTENSIONS | {SIPREC}))),
)
"""What an OPTIONS is told (RFC 3261 11.2)."""


class Switchboard:
    """Lines, phones, trunks and the calls between them.

    ``accounts`` are the desk phones by extension. ``token`` gives 32 hex digits of chance, ``chance`` a number 0..1.
    ``trunks`` are the ways to each line's PBXs as far as they are resolved at the start; ``session_s`` is how often a
    session is refreshed. ``allowed_networks`` and ``scanners`` are admission's.
    """

    def __init__(
        self,
        *,
        lines: Sequence[LineProfile],
        accounts: Mapping[str, Account],
        trunks: Mapping[str, Sequence[TrunkRoute]],
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
        self._actions: list[Action] = []
        act = self._actions.append
        self.layer = TransactionLayer(timers=timers, rng=token)
        self.registrar = Registrar(accounts, realm, Nonces(secret), algorithms=algorithms)
        self.calls = CallIndex()
        self._lines = {line.number: line for line in lines}
        self._wire = LayerWire(self.layer, token, session_s)
        known = (*peers_of(lines), *networks_of(accounts), *client_networks(lines))
        self.admission = admission.Admission(allowed=allowed_networks, known=known, scanners=scanners)
        self._trunks = Trunks(
            lines=self._lines,
            routes=trunks,
            layer=self.layer,
            admission=self.admission,
            token=token,
            chance=chance,
            act=act,
        )
        self._phones = Phones(
            lines=lines, accounts=accounts, registrar=self.registrar, admission=self.admission, act=act
        )
        self._room = CallRoom(index=self.calls, phones=self._phones, wire=self._wire, act=act)
        self._checks = CheckCalls(
            index=self.calls, room=self._room, wire=self._wire, phones=self._phones, trunks=self._trunks
        )
        self._duty = DutyCalls(
            room=self._room, checks=self._checks, wire=self._wire, phones=self._phones, trunks=self._trunks
        )
        self._recorded = RecordedCalls(lines=lines, index=self.calls, room=self._room, wire=self._wire)
        self._unkept: dict[str, str] = {}
        self._closing = False
        self._now = Instant(monotonic=0.0, unix=0.0)

    # Begin and end

    def start(self, bindings: Iterable[Mapping[str, str | int | float]], now: Instant) -> None:
        """Take up the phones' bindings from before a restart and register the trunks."""
        self._at(now)
        self._phones.start(bindings, now)
        self._trunks.start(now.monotonic)

    def shut_down(self, now: Instant) -> None:
        """End every call decently and leave the PBX."""
        self._at(now)
        self._closing = True
        for call in self.calls.live():
            call.hang_up(reason="service_stopped")
            self._room.settle(call)
        self._trunks.stop(now.monotonic)

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
        self._trunks.transport_failed(flow, now.monotonic)
        if flow.reliable:
            self._phones.flow_lost(flow, now)
        self._pump()

    def trunks_located(self, line_number: str, routes: Sequence[TrunkRoute], now: Instant) -> None:
        """The line's PBXs are these from now on."""
        self._at(now)
        self._trunks.locate(line_number, routes, now.monotonic)
        self._pump()

    def call_opened(self, call_id: str, addresses: MediaAddresses, now: Instant, *, kept: bool = True) -> None:
        """The edge has written the call and opened its media. Where the line of the book is not yet ``kept``, that is
        safe from a power cut, the phones ring, and whoever dialled is answered only after ``call_kept``."""
        self._at(now)
        call = self.calls.get(call_id)
        if not kept and call is not None and call.transaction_id:
            self._unkept[call_id] = call.transaction_id
            self.layer.hold(call.transaction_id)
        self._room.opened(call_id, addresses)
        self._pump()

    def call_kept(self, call_id: str, now: Instant) -> None:
        """The line of the book that an unkept call was opened with is on disk."""
        self._at(now)
        transaction_id = self._unkept.pop(call_id, None)
        if transaction_id is not None:
            self.layer.release(transaction_id)

    def call_not_opened(self, call_id: str, reason: str, now: Instant) -> None:
        """The edge could not open the call's media: refuse it; the book says why."""
        self._at(now)
        self._room.not_opened(call_id, reason)
        self._pump()

    def announcement_ended(self, call_id: str, now: Instant) -> None:
        """The edge has played the announcement to its end."""
        self._at(now)
        call = self.calls.get(call_id)
        if isinstance(call, InboundCall):
            call.announcement_ended()
            self._room.settle(call)
        elif isinstance(call, SpotCheckCall):
            call.announcement_ended(now.monotonic)
            self._room.settle(call)

    def voice_heard(self, call_id: str, speaker: Speaker, now: Instant) -> None:
        """The first voice has come from one side of a call."""
        self._at(now)
        self._recorded.heard(call_id, speaker)
        self._pump()

    def dial(self, *, command_id: int, line_number: str, number: str, now: Instant) -> None:
        """The console asks for a call from the desk to ``number``."""
        self._at(now)
        line = self._lines.get(line_number)
        if line is None or self._closing or self.forbidden_number(line, number):
            self._actions.append(FinishCommand(command_id=command_id, result="refused"))
            return
        self._duty.call_back(line, number=number, command_id=command_id, now=now)

    def forbidden_number(self, line: LineProfile, number: str) -> bool:
        """Whether the console was asked to dial a forwarding code."""
        return guard.examine_dialled(number, line.forwarding_codes) is not None

    def allow(self, exceptions: Iterable[ForwardException]) -> None:
        """The approved exceptions from now on, instead of those before; each begins and ends by our own clock."""
        self._room.allow(exceptions)

    # Checks

    def expect_probe(self, expected: ExpectedProbe, now: Instant) -> None:
        """A probe of ours will call: its call is taken by us, and ``ProbeEnded`` tells of it."""
        self._at(now)
        self._checks.expect(expected)

    def forget_probe(self, check_id: int, now: Instant) -> None:
        """The probe has ended; where its call still stands, end it and tell of it."""
        self._at(now)
        self._checks.forget(check_id)

    def spot_check(self, *, check_id: int, line_number: str, ring_s: float, now: Instant) -> bool:
        """Call the desk and ask for a PIN; ``SpotCheckEnded`` tells of it. False where the line is in use now."""
        self._at(now)
        line = self._lines.get(line_number)
        if line is None or self._closing:
            return False
        return self._checks.call_desk(line, check_id=check_id, ring_s=ring_s, now=now)

    def key_pressed(self, call_id: str, key: str, now: Instant) -> None:
        """The officer pressed a key in a spot check."""
        self._at(now)
        self._checks.key_pressed(call_id, key, now.monotonic)

    def key_told(self, call_id: str, speaker: Speaker, key: str, how: How, now: Instant) -> bool:
        """A key was pressed within a call, as an RTP event or a tone; whether the other side may learn of it."""
        self._at(now)
        call = self.calls.get(call_id)
        if call is None or not call.live:
            return True
        passes = call.key_told(speaker, key, how)
        self._room.settle(call)
        return passes

    def pin_checked(self, call_id: str, officer_id: int | None, now: Instant, *, fault: bool = False) -> None:
        """Whose PIN it was, None for nobody's; ``fault`` where it could not be found out."""
        self._at(now)
        self._checks.pin_checked(call_id, officer_id, now.monotonic, fault=fault)

    # Time

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called (monotonic s); None for never."""
        candidates = [
            self.layer.get_timer(),
            self.calls.next_deadline(),
            self._phones.get_timer(self._now),
            self._trunks.get_timer(),
        ]
        return min((moment for moment in candidates if moment is not None), default=None)

    def handle_timer(self, now: Instant) -> None:
        """Do what is due."""
        self._at(now)
        self.layer.handle_timer(now.monotonic)
        self._room.handle_timer()
        self._phones.handle_timer(now)
        self._trunks.handle_timer(now.monotonic)
        self._pump()

    # What is to be done

    def packets_to_send(self) -> list[tuple[bytes, Flow]]:
        """Datagrams to send now, in order; none to who is shut out, not even what is due to be repeated."""
        now = self._now.monotonic
        packets = self.layer.packets_to_send()
        return [packet for packet in packets if not self.admission.is_shut_out(packet[1].remote[0], now)]

    def actions_to_perform(self) -> list[Action]:
        """What the edge shall do now, in order."""
        actions = self._actions.copy()
        self._actions.clear()
        return actions

    def live_calls(self) -> int:
        """How many calls have not ended."""
        return len(self.calls.live())

    # Dispatch

    def _at(self, now: Instant) -> None:
        self._now = now
        self._wire.now = now.monotonic
        self._room.at(now)

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
        elif (refusal := inspect(request, methods=SERVED, extensions=EXTENSIONS | {SIPREC})) is not None:
            self._refuse(event, refusal.status, extra=refusal.headers)
        elif request.method == "INVITE":
            self._invited(event)
        elif request.method == "REGISTER":
            self._registered(event)
        elif request.method == "OPTIONS":
            self._refuse(event, 200, extra=CAPABILITIES)
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
        self._room.settle(call)

    def _responded(self, event: ResponseReceived) -> None:
        if self._trunks.responded(event.transaction_id, event.response, event.flow, self._now.monotonic):
            return
        asked = self.calls.by_inquiry(event.transaction_id)
        if asked is not None:
            asked[0].inquiry_answered(asked[1], event.response)
            self._room.settle(asked[0])
            return
        ran = self.calls.by_errand(event.transaction_id)
        if ran is not None:
            ran[1].errand_answered(self._wire, event.transaction_id, event.response)
            self._room.settle(ran[0])
            return
        found = self.calls.by_client(event.transaction_id)
        if found is None:
            return
        call, leg = found
        if leg.attend(self._wire, event.response):
            self._room.settle(call)
            return
        if leg.is_surplus(event.response):
            leg.turn_away(self._wire, event.response)
            return
        try:
            call.leg_responded(leg, event.response, event.flow, self._now.monotonic)
        except RemoteProtocolError:
            call.leg_failed(leg, self._now.monotonic)
        self._room.settle(call)

    def _gave_up(self, transaction_id: str, reasons: tuple[str, ...] = ()) -> None:
        found = self.calls.by_server(transaction_id)
        if found is not None and transaction_id == found[0].transaction_id:
            found[0].note_cancel(reasons)
            found[0].cancelled(self._now.monotonic)
            self._room.settle(found[0])

    def _acknowledged(self, event: AckReceived) -> None:
        found = self.calls.by_server(event.transaction_id)
        if found is not None and found[1] is not None:
            found[0].acknowledged(found[1], event.request)
            self._room.settle(found[0])

    def _unacknowledged(self, event: AckMissing) -> None:
        found = self.calls.by_server(event.transaction_id)
        if found is not None and found[1] is not None:
            found[0].acknowledgement_missing(found[1])
            self._room.settle(found[0])

    def _transaction_failed(self, event: TransactionFailed) -> None:
        if self._trunks.failed(event.transaction_id, event.cause, self._now.monotonic):
            return
        asked = self.calls.by_inquiry(event.transaction_id)
        if asked is not None:
            asked[0].inquiry_failed(asked[1])
            self._room.settle(asked[0])
            return
        found = self.calls.by_client(event.transaction_id)
        if found is None:
            self._gave_up(event.transaction_id)  # the connection of a caller that waited is gone, and so is the caller
            return
        call, leg = found
        call.leg_failed(leg, self._now.monotonic)
        self._room.settle(call)

    # Calls begin

    def _invited(self, event: RequestReceived) -> None:
        if len(event.request.contacts) != 1:
            raise RemoteProtocolError(400, "Exactly one Contact expected")
        if self._closing:
            raise RemoteProtocolError(503, "Service Unavailable")
        if too_small := refused_interval(event.request):
            self._refuse(event, 422, extra=too_small)
            return
        if is_recording_session(event.request):
            self._recorded.take(event.transaction_id, event.request, event.flow)
            return
        sender = event.request.from_.uri
        user = sender.user if isinstance(sender, SipUri) else None
        dialled = user_of(event.request.target)
        if self._phones.has_account(user) and not self._trunks.speaks(event.flow):
            self._dialled(event, dialled)
            return
        line = self._lines.get(dialled)
        expected = self._checks.expected(line, event.request, event.flow, self._now.monotonic)
        if line is not None and expected is not None:
            self._checks.take(_arrival(event, line), line, expected)
        elif line is not None and self._trunks.may_call(line, event.flow):
            self._duty.arrive(_arrival(event, line), line, self._now)
        else:
            self._turn_away(event, dialled)

    def _turn_away(self, event: RequestReceived, dialled: str) -> None:
        """A stranger is asked who it is, like one that calls itself by an extension of ours: it shall not learn which
        extensions and lines there are."""
        if self.admission.knows(event.flow.remote[0]):
            self._refuse(event, 404)
        else:
            self._dialled(event, dialled)

    def _dialled(self, event: RequestReceived, number: str) -> None:
        account = self.registrar.authenticator.authenticate(event.request, self._now.unix)
        if isinstance(account, Challenged):
            self._refuse(event, account.status, extra=account.headers)
            return
        self.admission.succeeded(event.flow.remote[0])
        line = self._phones.line_of(account, event.flow.remote[0])
        if line is None:
            self._refuse(event, 403)
            return
        if not number:
            self._refuse(event, 484)
            return
        self._duty.dial_out(_arrival(event, line), line, extension=account.user, number=number, now=self._now)

    # Small answers

    def _registered(self, event: RequestReceived) -> None:
        response = self._phones.register(event.request, event.flow, self._now)
        self._wire.respond(event.transaction_id, response)
        if response.status in (400, 401, 403):
            self._count_failure(event.flow)
        elif response.status == 200:
            self.admission.succeeded(event.flow.remote[0])

    def _refuse(
        self,
        event: RequestReceived,
        status: int,
        reason: str | None = None,
        *,
        extra: Iterable[tuple[str, str]] = (),
    ) -> None:
        response = make_response(event.request, status, reason, to_tag=self._wire.token(), extra=extra)
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
        line = self._phones.line_at(event.flow.remote[0], self._now) or self._trunks.line_of(event.flow)
        if line is not None:
            self._actions.append(outside(attempt, line, event.request, event.flow))


def _arrival(event: RequestReceived, line: LineProfile) -> Arrival:
    return Arrival(
        transaction_id=event.transaction_id,
        request=event.request,
        flow=event.flow,
        contact=f"<{contact_uri(line.number, event.flow)}>",
    )
