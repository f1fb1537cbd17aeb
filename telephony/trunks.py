"""The lines' PBXs: our registrations there, the ways calls leave by, and who may call which line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from telephony.actions import Action, ReportComponent
from telephony.leg import Credentials
from telephony.line import LineProfile, Network, within
from telephony.outbound import Route
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Response
from telephony.sip.registration import Registration, RegistrationChanged
from telephony.sip.target import contact_uri
from telephony.sip.uri import SipUri, parse_uri

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRoute:
    """The resolved way to a line's PBX. ``domain`` is its host, with the port where the settings name one; ``name``
    whom its certificate has to speak for."""

    flow: Flow
    domain: str
    name: str = ""


class Trunks:
    """Every line's way to its PBX. ``routes`` are the resolved ones by line number; what changes is told by ``act``.

    Times are monotonic s.
    """

    def __init__(
        self,
        *,
        lines: Mapping[str, LineProfile],
        routes: Mapping[str, TrunkRoute],
        layer: TransactionLayer,
        token: Callable[[], str],
        chance: Callable[[], float],
        act: Callable[[Action], None],
    ) -> None:
        self._lines, self._routes = lines, routes
        self._layer, self._token, self._chance, self._act = layer, token, chance, act
        self._peers = tuple({peer for line in lines.values() if line.trunk is not None for peer in line.trunk.peers})
        self._hosts: dict[str, set[int]] = {}
        for route in routes.values():
            self._hosts.setdefault(route.flow.remote[0], set()).add(route.flow.remote[1])
        self._registrations: dict[str, Registration] = {}
        self._register_of: dict[str, str] = {}

    # Who they are

    def networks(self) -> set[Network]:
        """Where PBXs of ours speak from."""
        return {*self._peers, *(ip_network(host.partition("%")[0]) for host in self._hosts)}

    def speaks(self, flow: Flow) -> bool:
        """Whether a PBX of ours speaks. A desk phone may share its host, hence the port; a connection has any port."""
        ports = self._hosts.get(flow.remote[0])
        if ports is not None and (flow.reliable or flow.remote[1] in ports):
            return True
        return within(flow.remote[0], self._peers)

    def may_call(self, line: LineProfile, flow: Flow) -> bool:
        """Calls come from the line's own trunk; a line without one takes them from this machine only."""
        if line.trunk is None:
            return within(flow.remote[0], LOOPBACK)
        route = self._routes.get(line.number)
        if route is not None and route.flow.remote[0] == flow.remote[0]:
            return True
        return within(flow.remote[0], line.trunk.peers)

    def line_of(self, flow: Flow) -> LineProfile | None:
        """The line whose PBX speaks."""
        trunks = (line for line in self._lines.values() if line.trunk is not None)
        return next((line for line in trunks if self.may_call(line, flow)), None)

    def route(self, line: LineProfile, number: str) -> Route | None:
        """The way by which ``number`` is called; None where the line has none."""
        route = self._routes.get(line.number)
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

    # Registrations

    def start(self, now: float) -> None:
        """Register where the PBX wants it."""
        for number, route in self._routes.items():
            self._start(self._lines[number], route, now)

    def stop(self, now: float) -> None:
        """Leave every PBX."""
        for number, registration in self._registrations.items():
            registration.stop(now)
            self._drive(number, now)

    def responded(self, transaction_id: str, response: Response, now: float) -> bool:
        """Take a response to a request of ours; False where it answers another's."""
        number = self._register_of.get(transaction_id)
        if number is None:
            return False
        self._registrations[number].receive_response(response, now)
        self._drive(number, now)
        return True

    def failed(self, transaction_id: str, cause: str, now: float) -> bool:
        """A request of ours got no response; False where it was another's."""
        number = self._register_of.pop(transaction_id, None)
        if number is None:
            return False
        self._registrations[number].transaction_failed(cause, now)
        self._drive(number, now)
        return True

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; None for never."""
        timers = (registration.get_timer() for registration in self._registrations.values())
        return min((moment for moment in timers if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Renew what is due."""
        for number, registration in self._registrations.items():
            due = registration.get_timer()
            if due is not None and due <= now:
                registration.handle_timer(now)
                self._drive(number, now)

    def _start(self, line: LineProfile, route: TrunkRoute, now: float) -> None:
        trunk = line.trunk
        if trunk is None or not trunk.username:
            self._report(line.number, "unchecked")
            return
        registration = Registration(
            aor=f"sip:{trunk.username}@{route.domain}",
            registrar=f"sip:{route.domain}",
            username=trunk.username,
            password=trunk.password,
            contact=f"<{contact_uri(line.number, route.flow)}>",
            token=self._token,
            chance=self._chance,
        )
        self._registrations[line.number] = registration
        registration.start(now)
        self._drive(line.number, now)

    def _drive(self, number: str, now: float) -> None:
        registration, route = self._registrations[number], self._routes[number]
        for request in registration.requests_to_send():
            transaction_id = self._layer.send_request(request, route.flow, now)
            self._register_of = {transaction_id: number} | {
                key: other for key, other in self._register_of.items() if other != number
            }
        while (event := registration.next_event()) is not None:
            if isinstance(event, RegistrationChanged):
                self._report(number, event.state.value, event.reason)

    def _report(self, number: str, state: str, reason: str = "") -> None:
        self._act(ReportComponent(line_number=number, kind="trunk", name=number, state=state, reason=reason))
