"""The lines' PBXs: which there are, by which one a call leaves, and who may call which line.

A line may have several, by its settings or by what its domain resolves to (RFC 3263). We are registered at all of them
at once, so that calls arrive by any; a call leaves by the best that works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network

from telephony.actions import Action, ReportComponent, ReportTrunks
from telephony.admission import Admission
from telephony.leg import Credentials
from telephony.line import LineProfile, Network, within
from telephony.outbound import Route
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.locating import in_order
from telephony.sip.message import Response
from telephony.sip.uri import SipUri, parse_uri
from telephony.trunk_target import Target, TrunkRoute

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_Place = tuple[str, tuple[str, str, tuple[str, int]]]
"""A line's number and the key of one of its PBXs."""


class Trunks:
    """Every line's ways to its PBXs; ``routes`` are those known at the start. What changes is told by ``act``, and to
    ``admission`` where they are.

    Times are monotonic s.
    """

    def __init__(
        self,
        *,
        lines: Mapping[str, LineProfile],
        routes: Mapping[str, Sequence[TrunkRoute]],
        layer: TransactionLayer,
        admission: Admission,
        token: Callable[[], str],
        chance: Callable[[], float],
        act: Callable[[Action], None],
    ) -> None:
        self._lines, self._layer, self._admission = lines, layer, admission
        self._token, self._chance, self._act = token, chance, act
        self._peers = peers_of(lines.values())
        self._hosts: dict[str, set[int]] = {}
        self._targets: dict[_Place, Target] = {}
        self._asked: dict[str, tuple[_Place, str]] = {}
        for number, found in routes.items():
            self._take(number, found)
        self._note_hosts()

    # Who they are

    def speaks(self, flow: Flow) -> bool:
        """Whether a PBX of ours speaks. A desk phone may share its host, hence the port; a connection has any port."""
        ports = self._hosts.get(flow.remote[0])
        if ports is not None and (flow.reliable or flow.remote[1] in ports):
            return True
        return within(flow.remote[0], self._peers)

    def may_call(self, line: LineProfile, flow: Flow) -> bool:
        """Calls come from the line's own trunks; a line without one takes them from this machine only."""
        if line.trunk is None:
            return within(flow.remote[0], LOOPBACK)
        if any(target.route.flow.remote[0] == flow.remote[0] for target in self._of(line.number)):
            return True
        return within(flow.remote[0], line.trunk.peers)

    def line_of(self, flow: Flow) -> LineProfile | None:
        """The line whose PBX speaks."""
        trunks = (line for line in self._lines.values() if line.trunk is not None)
        return next((line for line in trunks if self.may_call(line, flow)), None)

    def ways(self, line: LineProfile, number: str, now: float) -> list[Route]:
        """The ways by which ``number`` can be called, the best first; empty where the line has none.

        In the order of the settings and of RFC 2782, but what works before what is not known to work.
        """
        known = self._of(line.number)
        targets = in_order(known, lambda target: (target.route.priority, target.route.weight), self._chance)
        targets.sort(key=lambda target: target.rank(now))
        ways = [self._way(line, target, number) for target in targets]
        return [way for way in ways if way is not None]

    def _way(self, line: LineProfile, target: Target, number: str) -> Route | None:
        domain = parse_uri(f"sip:{target.route.domain}")
        if line.trunk is None or not isinstance(domain, SipUri):
            return None
        credentials = None
        if line.trunk.username:
            credentials = Credentials(username=line.trunk.username, password=line.trunk.password)
        return Route(
            uri=str(SipUri(user=number, host=domain.host, port=domain.port)),
            flow=target.route.flow,
            domain=domain.host,
            contact=target.contact,
            credentials=credentials,
        )

    def _of(self, number: str) -> list[Target]:
        return [target for (line_number, _), target in self._targets.items() if line_number == number]

    # Begin, change, end

    def start(self, now: float) -> None:
        """Register where the PBX wants it, and ask the others whether they are there."""
        for number, line in self._lines.items():
            if line.trunk is not None and not line.trunk.registrar:
                self._report(number, number, ("unchecked", ""))
        for number in dict.fromkeys(number for number, _ in self._targets):
            for target in self._of(number):
                target.start(now)
            self._tell_all(number, now)

    def locate(self, number: str, routes: Sequence[TrunkRoute], now: float) -> None:
        """The PBXs of the line are these from now on; what is among them already stays as it is."""
        wanted = {route.key for route in routes}
        for place in [place for place in self._targets if place[0] == number and place[1] not in wanted]:
            self._targets[place].stop(now)
            self._send(place, now)
            del self._targets[place]
        for target in self._take(number, routes):
            target.start(now)
        self._note_hosts()
        self._tell_all(number, now)

    def _take(self, number: str, routes: Sequence[TrunkRoute]) -> list[Target]:
        """Keep the PBXs of the line; those that are new."""
        new: list[Target] = []
        trunk = self._lines[number].trunk
        for route in routes if trunk is not None else ():
            known = self._targets.get((number, route.key))
            if known is not None:
                known.route = route
            elif trunk is not None:
                target = Target(route, number=number, trunk=trunk, token=self._token, chance=self._chance)
                self._targets[number, route.key] = target
                new.append(target)
        return new

    def _tell_all(self, number: str, now: float) -> None:
        targets = self._of(number)
        names = tuple(self._name(number, target) for target in targets)
        self._act(ReportTrunks(line_number=number, names=names or (number,)))
        if not targets:
            self._report(number, number, ("failed", "unresolved"))
        for target in targets:
            target.told = None
            self._drive((number, target.route.key), now)

    def stop(self, now: float) -> None:
        """Leave every PBX."""
        for place, target in self._targets.items():
            target.stop(now)
            self._drive(place, now)

    # What is heard of them

    def responded(self, transaction_id: str, response: Response, flow: Flow, now: float) -> bool:
        """A response came, by which a PBX shows that it is there. False where it answers no request of ours from
        here."""
        place, method = self._asked.get(transaction_id, (None, ""))
        if place is None:
            for heard in self._at(flow):
                self._targets[heard].heard(now)
                if response.status == 503:
                    self._targets[heard].unavailable(response, now)
                self._drive(heard, now)
            return False
        target = self._targets.get(place)
        if target is not None and method == "OPTIONS":
            target.pinged(response, now)
        elif target is not None:
            target.registered(response, now)
        if response.status >= 200:
            self._asked.pop(transaction_id, None)
        self._drive(place, now)
        return True

    def failed(self, transaction_id: str, cause: str, now: float) -> bool:
        """A request of ours got no response; False where it was another's."""
        place, method = self._asked.pop(transaction_id, (None, ""))
        if place is None:
            return False
        target = self._targets.get(place)
        if target is not None and method == "OPTIONS":
            target.ping_failed(cause, now)
        elif target is not None:
            target.register_failed(cause, now)
        self._drive(place, now)
        return True

    def transport_failed(self, flow: Flow, now: float) -> None:
        """The network says that nobody listens there, or a connection is gone, which may be no fault."""
        for place in self._at(flow):
            target = self._targets[place]
            if flow.reliable:
                target.suspect(now)
            else:
                target.gone("transport")
                target.suspect(now)
            self._drive(place, now)

    def suspect(self, flow: Flow, now: float) -> None:
        """A call got no answer there."""
        for place in self._at(flow):
            self._targets[place].suspect(now)

    def _at(self, flow: Flow) -> list[_Place]:
        if flow.remote[0] not in self._hosts:
            return []
        return [
            place
            for place, target in self._targets.items()
            if (target.route.flow.transport, target.route.flow.remote) == (flow.transport, flow.remote)
        ]

    # Time

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called; None for never."""
        timers = (target.get_timer() for target in self._targets.values())
        return min((moment for moment in timers if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Renew and ask what is due."""
        for place, target in self._targets.items():
            due = target.get_timer()
            if due is not None and due <= now:
                target.handle_timer(now)
                self._drive(place, now)

    # What is told

    def _drive(self, place: _Place, now: float) -> None:
        target = self._targets.get(place)
        if target is None:
            return
        self._send(place, now)
        if target.state != target.told:
            target.told = target.state
            self._report(place[0], self._name(place[0], target), target.state)

    def _send(self, place: _Place, now: float) -> None:
        target = self._targets[place]
        for request in target.requests_to_send():
            transaction_id = self._layer.send_request(request, target.route.flow, now)
            self._asked[transaction_id] = (place, request.method)

    def _name(self, number: str, target: Target) -> str:
        """The only PBX of a line goes by the line's number."""
        return number if len(self._of(number)) == 1 else f"{number}@{target.route.address}"

    def _report(self, number: str, name: str, state: tuple[str, str]) -> None:
        self._act(ReportComponent(line_number=number, kind="trunk", name=name, state=state[0], reason=state[1]))

    def _note_hosts(self) -> None:
        self._hosts = {}
        for target in self._targets.values():
            host, port = target.route.flow.remote
            self._hosts.setdefault(host, set()).add(port)
        self._admission.trunks_at(ip_network(host.partition("%")[0]) for host in self._hosts)


def peers_of(lines: Iterable[LineProfile]) -> tuple[Network, ...]:
    """Where calls of the lines may come from besides their PBXs' own addresses."""
    return tuple({peer for line in lines if line.trunk is not None for peer in line.trunk.peers})
