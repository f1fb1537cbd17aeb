"""A whole line in memory: the switchboard, an edge that opens media and keeps the book, peers made of the pure SIP
core, a network that may lose and repeat, and one clock that only we move."""

from __future__ import annotations

import heapq
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import count

from duty.domain.calls import CallEventKind, CallState, Outcome, next_state
from telephony.actions import (
    Action,
    Announce,
    FinishCommand,
    MediaAddresses,
    OpenCall,
    Record,
    ReleaseMedia,
    ReportComponent,
    ReportForward,
    SetRemote,
)
from telephony.layerwire import Instant
from telephony.line import LineProfile
from telephony.sip import sdp
from telephony.sip.authentication import Account
from telephony.sip.dialog import Dialog, dialog_key
from telephony.sip.digest import authorize, ha1, parse_challenge
from telephony.sip.events import CancelReceived, Event, RequestReceived, ResponseReceived
from telephony.sip.flow import Address, Flow, Transport
from telephony.sip.layer import TransactionLayer
from telephony.sip.matching import client_key
from telephony.sip.message import Headers, Message, Request, Response, make_response, parse
from telephony.switchboard import Switchboard
from telephony.trunk_target import TrunkRoute
from tests.telephony.sip.peers import tokens

LINE_HOST = "192.0.2.1"
LOCAL: Address = (LINE_HOST, 5060)
UNIX_AT_ZERO = 1_800_000_000.0
REALM = "dutyline"
PASSWORD = "secret"
DESK, TOWN = "037122595110", "037122595220"
FORWARDING_CODES = tuple(
    tomllib.loads(resources.files("config").joinpath("forwarding_codes.toml").read_text("utf-8"))["codes"]
)
ONCE = (0.01,)
"""The delays (s) at which copies of a packet arrive; the empty tuple loses it."""

Fate = Callable[[Message], tuple[float, ...]]


def audio(host: str, port: int = 40_000, *, direction: sdp.Direction = "sendrecv") -> bytes:
    """A plain offer or answer of a peer at ``host``, in PCMA."""
    return sdp.offer(host=host, port=port, codecs=(8,), session_id=7, version=1, direction=direction).serialize()


@dataclass(eq=False)
class Session:
    """One INVITE of a peer's, sent or received, and what became of it."""

    peer: Peer
    request: Request
    transaction_id: str
    sent: bool
    responses: list[Response] = field(default_factory=list)
    dialog: Dialog | None = None
    cancelled: bool = False
    ended: bool = False
    pracked: list[str] = field(default_factory=list)

    @property
    def final(self) -> int | None:
        return next((each.status for each in reversed(self.responses) if each.status >= 200), None)

    @property
    def statuses(self) -> list[int]:
        return [each.status for each in self.responses]

    @property
    def up(self) -> bool:
        return self.dialog is not None and self.final is not None and self.final < 300 and not self.ended

    # What a called party does

    def respond(
        self, status: int, body: bytes = b"", *, tag: str = "", headers: Mapping[str, str] | None = None
    ) -> Response | None:
        """Answer a received INVITE; None where it has its final response already."""
        if self.sent or self.final is not None:
            return None
        response = make_response(
            self.request,
            status,
            to_tag=(tag or f"tag{self.transaction_id}") if status > 100 else None,
            extra=[] if headers and "Contact" in headers else [("Contact", self.peer.contact)],
            body=body,
            content_type="application/sdp" if body else None,
        )
        for name, value in (headers or {}).items():
            response = response.replace(headers=response.headers.appended(name, value))
        self.responses.append(response)
        if 100 < status < 300:
            if self.dialog is None:
                self.dialog = Dialog.as_uas(self.request, response)
            self.dialog.confirmed = status >= 200
        self.peer.layer.respond(self.transaction_id, response, self.peer.world.now)
        return response

    def ring(self) -> None:
        self.respond(180)

    def answer(self, body: bytes | None = None) -> None:
        self.respond(200, audio(self.peer.address[0]) if body is None else body)

    def fork(self, tag: str, body: bytes | None = None) -> None:
        """Somebody else behind the same address answers the same INVITE too."""
        response = make_response(
            self.request,
            200,
            to_tag=tag,
            extra=[("Contact", self.peer.contact)],
            body=audio(self.peer.address[0]) if body is None else body,
            content_type="application/sdp",
        )
        self.peer.world.to_line(response.serialize(), self.peer)

    # What a calling party does

    def cancel(self) -> None:
        if self.sent and self.final is None:
            self.cancelled = True
            self.peer.layer.cancel(self.transaction_id, self.peer.world.now)

    # What either does in the dialog

    def send(
        self,
        method: str,
        body: bytes = b"",
        *,
        kind: str = "application/sdp",
        cseq: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A request within the dialog; the id of its transaction, "" where there is no dialog."""
        if self.dialog is None:
            return ""
        content_type = kind if body else None
        extra = tuple((headers or {}).items())
        request = self.dialog.request(method, body=body, content_type=content_type, extra=extra)
        if cseq is not None:
            request = request.replace(headers=request.headers.with_value("CSeq", f"{cseq} {method}"))
        return self.peer.send(request)

    def bye(self) -> str:
        self.ended = True
        return self.send("BYE")


class Peer:
    """A party on the network: a caller, a desk phone, the PBX. It keeps to the RFC unless told otherwise."""

    def __init__(self, world: World, host: str, port: int, user: str, *, transport: Transport = "UDP") -> None:
        self.world, self.address, self.user = world, (host, port), user
        self.layer = TransactionLayer(rng=tokens(f"x{host}-{port}-"), largest_datagram=None)
        self.flow = Flow(transport=transport, remote=LOCAL, local=self.address)
        self.sessions: list[Session] = []
        self.answers: dict[str, list[Response]] = defaultdict(list)
        self.acks_withheld = False
        self.pracks_withheld = False
        self.prack_body = b""
        self.ack_body = b""
        self.deaf = False
        self.on_invite: Callable[[Session], object] = lambda _session: None
        self._of: dict[str, Session] = {}
        self._token = tokens(f"t{host}-{port}-")
        self._cseq = count(1)

    @property
    def contact(self) -> str:
        return f"<sip:{self.user}@{self.host}:{self.address[1]}>"

    @property
    def host(self) -> str:
        """As a URI writes it."""
        return f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]

    @property
    def last(self) -> Session:
        return self.sessions[-1]

    @property
    def up(self) -> list[Session]:
        return [session for session in self.sessions if session.up]

    def send(self, request: Request) -> str:
        return self.layer.send_request(request, self.flow, self.world.now)

    def request(self, method: str, to: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Request:
        """A request outside any dialog."""
        fields = {
            "Max-Forwards": "70",
            "From": f"<sip:{self.user}@{self.host}>;tag={self._token()}",
            "To": f"<sip:{to}@{LINE_HOST}>",
            "Call-ID": self._token(),
            "CSeq": f"{next(self._cseq)} {method}",
            "Contact": self.contact,
            **({"Content-Type": "application/sdp"} if body else {}),
            **(headers or {}),
        }
        return Request(method=method, uri=f"sip:{to}@{LINE_HOST}", headers=Headers(fields.items()), body=body)

    def ask(self, method: str, to: str, headers: Mapping[str, str] | None = None) -> list[Response]:
        """Send a request outside any dialog and wait a second for what is answered."""
        transaction_id = self.send(self.request(method, to, headers=headers))
        self.world.run(1.0)
        return self.answers[transaction_id]

    def invite(self, to: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Session:
        """Call ``to``; with proof of who we are as soon as it is asked for."""
        request = self.request("INVITE", to, body=audio(self.address[0]) if body is None else body, headers=headers)
        session = Session(self, request, "", True)
        self.sessions.append(session)
        self._start(session)
        return session

    def register(self, *, expires: int = 600, password: str = PASSWORD) -> list[Response]:
        request = self.request("REGISTER", self.user, headers={"Expires": str(expires)})
        transaction_id = self.send(request)
        self.world.run(0.1)
        (challenged,) = self.answers[transaction_id]
        assert challenged.status == 401
        again = self.send(self._proven(request, challenged, password))
        self.world.run(0.1)
        return [challenged, *self.answers[again]]

    # Inner life

    def handle(self, event: Event) -> None:
        if self.deaf:
            return
        if isinstance(event, RequestReceived):
            self._requested(event)
        elif isinstance(event, CancelReceived):
            session = self._of[event.transaction_id]
            session.cancelled = True
            session.respond(487)
        elif isinstance(event, ResponseReceived):
            self._responded(event)

    def _requested(self, event: RequestReceived) -> None:
        request = event.request
        if request.method == "INVITE" and request.to.tag is None:
            session = Session(self, request, event.transaction_id, False)
            self.sessions.append(session)
            self._of[event.transaction_id] = session
            self.on_invite(session)
            return
        if request.method == "BYE":
            for session in self.sessions:
                if session.dialog is not None and session.dialog.key == dialog_key(request):
                    session.ended = True
        self.layer.respond(event.transaction_id, make_response(request, 200, to_tag="x"), self.world.now)

    def _responded(self, event: ResponseReceived) -> None:
        response = event.response
        self.answers[event.transaction_id].append(response)
        session = self._of.get(event.transaction_id)
        if response.cseq.method == "INVITE" and session is None and 200 <= response.status < 300:
            self._ack_in_dialog(response)
        if session is None:
            return
        if response.status == 401 and "Authorization" not in dict(session.request.headers.items()):
            session.request = self._proven(session.request, response, PASSWORD)
            self._start(session)
            return
        session.responses.append(response)
        if 100 < response.status < 300 and response.to.tag:
            session.dialog = session.dialog or Dialog.as_uac(session.request, response)
            session.dialog.receive_response(response)
            if response.status >= 200 and not self.acks_withheld:
                self._acknowledge(session.dialog, session.request.cseq.number)
            self._acknowledge_early(session, response)

    def _acknowledge_early(self, session: Session, response: Response) -> None:
        """PRACK each reliable response once (RFC 3262 section 4)."""
        number = response.headers.get("RSeq")
        if number is None or number in session.pracked or self.pracks_withheld:
            return
        session.pracked.append(number)
        rack = {"RAck": f"{number} {session.request.cseq.number} INVITE"}
        session.send("PRACK", self.prack_body, headers=rack)

    def _ack_in_dialog(self, response: Response) -> None:
        for session in self.sessions:
            if session.dialog is not None and session.dialog.key == dialog_key(response):
                self._acknowledge(session.dialog, response.cseq.number)

    def _acknowledge(self, dialog: Dialog, cseq: int) -> None:
        body = self.ack_body
        ack = dialog.ack(cseq, body=body, content_type="application/sdp" if body else None)
        self.layer.send_ack(ack, self.flow, self.world.now)

    def _start(self, session: Session) -> None:
        session.transaction_id = self.send(session.request)
        self._of[session.transaction_id] = session

    def _proven(self, request: Request, response: Response, password: str) -> Request:
        challenge = next(
            each for each in map(parse_challenge, response.headers.get_all("WWW-Authenticate")) if each.supported
        )
        proof = authorize(challenge, request.method, request.uri, self.user, password, "c", 1)
        headers = request.headers.with_value("CSeq", f"{next(self._cseq) + 100} {request.method}")
        return request.replace(headers=headers.appended("Authorization", proof))


class World:
    """The line under test and everybody around it. ``opens`` says how the edge opens the next call's media: after so
    many seconds, or not at all (None)."""

    def __init__(
        self,
        *lines: LineProfile,
        trunks: Mapping[str, TrunkRoute | Sequence[TrunkRoute]] | None = None,
        accounts: Mapping[str, Account] | None = None,
    ) -> None:
        self.now = 1000.0
        self.lines = lines or (line(),)
        extensions = [extension for each in self.lines for extension in each.extensions]
        self.switchboard = Switchboard(
            lines=self.lines,
            accounts=accounts if accounts is not None else {name: account(name) for name in extensions},
            trunks={
                number: (found,) if isinstance(found, TrunkRoute) else found for number, found in (trunks or {}).items()
            },
            realm=REALM,
            secret=b"key",
            token=tokens("f"),
            chance=lambda: 0.5,
        )
        self.peers: dict[Address, Peer] = {}
        self.fate: Fate = lambda _message: ONCE
        self.opens: Callable[[OpenCall], float | None] = lambda _action: 0.001
        self.keep_s: float | None = None
        """How long the disk takes to keep a call's line after it was written; None: it was kept at once."""
        self.announcement_s: float | None = 4.0
        self.actions: list[Action] = []
        self.sent: list[tuple[float, Address, Message]] = []
        self.received: list[tuple[float, Address, Message]] = []
        self.in_time: set[int] = set()  # responses to an INVITE of the line's that still waited for one
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._ports = count(50_000, 4)

    @property
    def instant(self) -> Instant:
        return Instant(monotonic=self.now, unix=UNIX_AT_ZERO + self.now)

    # Who is there

    def peer(self, host: str, port: int = 5060, user: str = "13800138000", transport: Transport = "UDP") -> Peer:
        peer = Peer(self, host, port, user, transport=transport)
        self.peers[peer.address] = peer
        return peer

    def phone(self, extension: str, host: str = "", *, registered: bool = True) -> Peer:
        """A desk phone; registered by what was known before a restart."""
        phone = self.peer(host or f"192.0.2.{20 + len(self.peers)}", 5062, extension)
        if registered:
            self.switchboard.start([self.binding(phone)], self.instant)
            self.drain()
        return phone

    def binding(self, phone: Peer, expires_s: float = 3600.0) -> dict[str, str | int | float]:
        at = UNIX_AT_ZERO + self.now
        return {
            "user": phone.user,
            "contact": phone.contact,
            "transport": phone.flow.transport,
            "remote_host": phone.address[0],
            "remote_port": phone.address[1],
            "local_host": LOCAL[0],
            "local_port": LOCAL[1],
            "call_id": "boot",
            "cseq": 1,
            "refreshed_at": at,
            "expires_at": at + expires_s,
        }

    # Time

    def run(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        end = self.now + seconds
        self.drain()
        while (moment := self._next_moment()) is not None and moment <= end:
            self.now = max(self.now, moment)
            while self._later and self._later[0][0] <= self.now:
                heapq.heappop(self._later)[2]()
                self.drain()
            due = self.switchboard.get_timer()
            if due is not None and due <= self.now:
                self.switchboard.handle_timer(self.instant)
            for peer in self.peers.values():
                peer.layer.handle_timer(self.now)
            self.drain()
        self.now = end

    def _next_moment(self) -> float | None:
        moments = [self._later[0][0]] if self._later else []
        timers = [self.switchboard.get_timer(), *(peer.layer.get_timer() for peer in self.peers.values())]
        return min((moment for moment in [*moments, *timers] if moment is not None), default=None)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._order), what))

    # The edge and the network

    def drain(self) -> None:
        """As the edge does it: send and perform until nothing more is wanted."""
        for peer in self.peers.values():
            while (event := peer.layer.next_event()) is not None:
                peer.handle(event)
            for data, _ in peer.layer.packets_to_send():
                self._carry(data, lambda data, peer=peer: self.to_line_now(data, peer))  # type: ignore[misc]
        while True:
            self._send()
            actions = self.switchboard.actions_to_perform()
            if not actions:
                return
            for action in actions:
                self.actions.append(action)
                self._perform(action)

    def _send(self) -> None:
        for data, flow in self.switchboard.packets_to_send():
            self.sent.append((self.now, flow.remote, parse(data)))
            assert flow.remote in self.peers, f"sent to a stranger: {flow.remote} {data[:200]!r}"
            peer = self.peers[flow.remote]
            self._carry(data, lambda data, peer=peer: peer.layer.receive(data, peer.flow, self.now))  # type: ignore[misc]

    def _carry(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        for delay in self.fate(parse(data)):
            self.later(delay, lambda: deliver(data))

    def to_line(self, data: bytes, peer: Peer) -> None:
        """Carry bytes of ``peer`` to the line, past its layer."""
        self._carry(data, lambda data: self.to_line_now(data, peer))

    def to_line_now(self, data: bytes, peer: Peer) -> None:
        """These bytes arrive."""
        message = parse(data)
        self.received.append((self.now, peer.address, message))
        if isinstance(message, Response) and client_key(message.via, "INVITE") in self.switchboard.layer._live.clients:
            self.in_time.add(id(message))
        flow = Flow(transport=peer.flow.transport, remote=peer.address, local=LOCAL)
        self.switchboard.receive(data, flow, self.instant)

    def _perform(self, action: Action) -> None:
        if isinstance(action, OpenCall):
            delay = self.opens(action)
            if delay is None:
                self.later(0.001, lambda: self.switchboard.call_not_opened(action.call_id, "no_media", self.instant))
            else:
                self.later(delay, lambda: self._open(action.call_id))
        elif isinstance(action, Announce) and self.announcement_s is not None:
            self.later(self.announcement_s, lambda: self.switchboard.announcement_ended(action.call_id, self.instant))

    def _open(self, call_id: str) -> None:
        port = next(self._ports)
        addresses = MediaAddresses(caller=(LINE_HOST, port), officer=(LINE_HOST, port + 2))
        self.switchboard.call_opened(call_id, addresses, self.instant, kept=self.keep_s is None)
        if self.keep_s is not None:
            self.later(self.keep_s, lambda: self.switchboard.call_kept(call_id, self.instant))

    # What the book says

    def opened(self) -> list[OpenCall]:
        return [action for action in self.actions if isinstance(action, OpenCall)]

    def records(self, call_id: str | None = None) -> list[Record]:
        wanted = call_id or self.opened()[-1].call_id
        return [action for action in self.actions if isinstance(action, Record) and action.call_id == wanted]

    def kinds(self, call_id: str | None = None) -> list[str]:
        return [record.kind.value for record in self.records(call_id)]

    def outcome(self, call_id: str | None = None) -> tuple[Outcome | None, object]:
        """Outcome and reason of a call that has ended, the last one's by default."""
        (ended,) = [record for record in self.records(call_id) if record.kind is CallEventKind.ENDED]
        return ended.outcome, ended.data["reason"]

    def forwards(self) -> list[ReportForward]:
        return [action for action in self.actions if isinstance(action, ReportForward)]

    def components(self) -> list[ReportComponent]:
        return [action for action in self.actions if isinstance(action, ReportComponent)]

    def commands(self) -> list[FinishCommand]:
        return [action for action in self.actions if isinstance(action, FinishCommand)]

    def remotes(self) -> list[tuple[str, str]]:
        return [(action.speaker.value, action.target.host) for action in self.actions if isinstance(action, SetRemote)]

    def sent_to(self, peer: Peer, start: str) -> list[Message]:
        first = start.encode()
        return [message for _, to, message in self.sent if to == peer.address and message.serialize().startswith(first)]

    # What must hold whatever happened

    def check(self) -> None:
        """Hang up, let every timer run out, and look whether the line kept its promises.

        Twice, for an answer may still be under way at the first: whoever it reaches hangs up too.
        """
        self.fate = lambda _message: ONCE
        for _ in range(2):
            for peer in self.peers.values():
                for session in peer.up:
                    session.bye()
            self.run(200.0)
        self._check_book()
        self._check_finals()
        self._check_answers()
        self.run(4000.0)
        self._check_memory()

    def _check_book(self) -> None:
        for opened in self.opened():
            records = self.records(opened.call_id)
            assert [record.kind for record in records].count(CallEventKind.ENDED) == 1, self.kinds(opened.call_id)
            assert records[-1].kind is CallEventKind.ENDED, f"something after the end: {self.kinds(opened.call_id)}"
            state = CallState.ARRIVED
            for record in records:
                state = next_state(state, record.kind)  # raises where the book would refuse it
            answered = any(record.kind is CallEventKind.ANSWERED for record in records)
            assert answered == (records[-1].outcome is Outcome.ANSWERED), self.kinds(opened.call_id)
            released = [a for a in self.actions if isinstance(a, ReleaseMedia) and a.call_id == opened.call_id]
            assert len(released) == (0 if self.opens(opened) is None else 1)

    def _check_finals(self) -> None:
        """Every INVITE that reached us got exactly one final response, and every 2xx of it a life after."""
        finals: dict[tuple[str, str], set[bytes]] = defaultdict(set)
        for _, _, message in self.sent:
            if isinstance(message, Response) and message.cseq.method == "INVITE" and message.status >= 200:
                finals[message.via.branch or "", message.call_id].add(message.serialize())
        for _, _, message in self.received:
            if isinstance(message, Request) and message.method == "INVITE":
                answers = finals[message.via.branch or "", message.call_id]
                assert len(answers) == 1, f"{len(answers)} final responses to {message.serialize()!r}"

    def _check_answers(self) -> None:
        """Each of our INVITEs is over at the phone, and each 2xx that came in time is acknowledged and hung up. (One
        that comes after the INVITE has timed out is nobody's any more, RFC 6026 section 7.2.)"""
        ours = [message for _, _, message in self.sent if isinstance(message, Request)]
        theirs = [message for _, _, message in self.received if isinstance(message, Request)]
        acked = {(message.call_id, message.to.tag) for message in ours if message.method == "ACK"}
        left = {(message.call_id, message.to.tag) for message in ours if message.method == "BYE"}
        left |= {(message.call_id, message.from_.tag) for message in theirs if message.method == "BYE"}
        over = {message.call_id for message in ours if message.method == "CANCEL"}
        rang: set[str] = set()
        for _, _, message in self.received:
            if not isinstance(message, Response) or message.cseq.method != "INVITE":
                continue
            if 200 <= message.status < 300 and id(message) in self.in_time:
                assert (message.call_id, message.to.tag) in acked, f"no ACK to {message.serialize()!r}"
                assert (message.call_id, message.to.tag) in left, f"nobody hung up {message.serialize()!r}"
            if message.status >= 200:
                over.add(message.call_id)
            elif id(message) in self.in_time:
                rang.add(message.call_id)
        assert rang <= over, "a phone was left ringing"

    def _check_memory(self) -> None:
        line = self.switchboard
        assert line.get_timer() is None
        assert (len(line.calls), len(line.layer), line.registrar.export()) == (0, 0, [])
        for name, kept in vars(line.calls).items():
            content = [each for each in kept.values() if each] if name in ("_occupying", "_waiting") else kept
            assert not content, f"{name} still holds {content}"


def line(number: str = DESK, extensions: tuple[str, ...] = ("1001", "1002"), **more: object) -> LineProfile:
    """A line with the shipped manners."""
    values: dict[str, object] = {"forwarding_codes": FORWARDING_CODES, **more}
    return LineProfile(number=number, name="值班专线", extensions=extensions, **values)  # type: ignore[arg-type]


def account(user: str, password: str = PASSWORD) -> Account:
    return Account(user=user, ha1={name: ha1(user, REALM, password, name) for name in ("MD5", "SHA-256")})
