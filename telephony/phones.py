"""The desk phones: which are registered and where, what the book is told of that, and whose password is used from
where its phone may not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from telephony import guard
from telephony.actions import Action, ReportComponent, ReportForward
from telephony.admission import Admission
from telephony.layerwire import Instant
from telephony.line import LineProfile, Network, PhoneTarget, within
from telephony.sip.authentication import Account
from telephony.sip.bindings import Binding
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response
from telephony.sip.registrar import Registrar
from telephony.sip.target import same_host
from telephony.sip.uri import SipUri, Uri

FOREIGN_AGAIN_S = 3600.0
MAX_FOREIGN = 256
"""Sources of foreign registrations that are told of within an hour."""


class Phones:
    """Every line's desk phones. ``accounts`` are theirs by extension; what changes is told by ``act``."""

    def __init__(
        self,
        *,
        lines: Sequence[LineProfile],
        accounts: Mapping[str, Account],
        registrar: Registrar,
        admission: Admission,
        act: Callable[[Action], None],
    ) -> None:
        self._line_of = {extension: line for line in lines for extension in line.extensions}
        self._accounts, self._registrar, self._admission, self._act = accounts, registrar, admission, act
        self._hosts_of: dict[str, set[str]] = {}
        self._foreign: dict[tuple[str, str], float] = {}

    # Who they are

    def has_account(self, extension: str | None) -> bool:
        """Whether it is one of ours."""
        return extension in self._accounts

    def line_of(self, account: Account, host: str) -> LineProfile | None:
        """The line that ``account`` may dial by from ``host``."""
        line = self._line_of.get(account.user)
        return line if line is not None and _allowed(account, host) else None

    def line_at(self, host: str, now: Instant) -> LineProfile | None:
        """The line that has a phone registered from ``host``."""
        for extension, line in self._line_of.items():
            if any(known.flow.remote[0] == host for known in self._registrar.bindings(extension, now.unix)):
                return line
        return None

    def targets(self, line: LineProfile, now: Instant) -> list[PhoneTarget]:
        """The phones of the line that can be rung."""
        return [
            PhoneTarget(
                extension=extension,
                uri=binding.uri,
                flow=_way_to(binding),
                hosts=tuple({binding.flow.remote[0], _host(binding.address.uri)}),
            )
            for extension in line.extensions
            for binding in self._registrar.bindings(extension, now.unix)
        ]

    # Registrations

    def start(self, bindings: Iterable[Mapping[str, str | int | float]], now: Instant) -> None:
        """Take up the bindings from before a restart."""
        self._registrar.restore(bindings, now.unix)
        for extension in self._line_of:
            self._report(extension, "", now)

    def register(self, request: Request, flow: Flow, now: Instant) -> Response:
        """Take a REGISTER; its answer."""
        outcome = self._registrar.receive(request, flow, now.unix)
        if outcome.foreign and outcome.user is not None:
            self._report_foreign(outcome.user, request, flow, now)
        for user in {change.binding.user for change in outcome.changes}:
            self._report(user, "", now)
        return outcome.response

    def flow_lost(self, flow: Flow, now: Instant) -> None:
        """A connection is gone, and with it the phones that were reached by it."""
        for change in self._registrar.flow_lost(flow):
            self._report(change.binding.user, "connection_lost", now)

    def get_timer(self, now: Instant) -> float | None:
        """When ``handle_timer`` wants to be called (monotonic s); None for never."""
        expiry = self._registrar.next_expiry()
        return None if expiry is None else now.monotonic + max(0.0, expiry - now.unix)

    def handle_timer(self, now: Instant) -> None:
        """Let expire what was not renewed."""
        for change in self._registrar.expire(now.unix):
            self._report(change.binding.user, "expired", now)

    def _report(self, extension: str, reason: str, now: Instant) -> None:
        line = self._line_of.get(extension)
        if line is None:
            return
        bindings = self._registrar.bindings(extension, now.unix)
        self._hosts_of[extension] = {binding.flow.remote[0] for binding in bindings}
        self._admission.phones_at(host for hosts in self._hosts_of.values() for host in hosts)
        self._act(
            ReportComponent(
                line_number=line.number,
                kind="phone",
                name=extension,
                state="registered" if bindings else "unregistered",
                reason=reason if not bindings else "",
                bindings=tuple(dict(binding.export()) for binding in bindings),
            )
        )

    def _report_foreign(self, extension: str, request: Request, flow: Flow, now: Instant) -> None:
        """A phone's password is used where the phone may not be: told once an hour for each source."""
        line, source, at = self._line_of.get(extension), flow.remote[0], now.monotonic
        self._foreign = {key: told for key, told in self._foreign.items() if at - told < FOREIGN_AGAIN_S}
        if line is None or (extension, source) in self._foreign or len(self._foreign) >= MAX_FOREIGN:
            return
        self._foreign[extension, source] = at
        target = ", ".join(str(contact.uri) for contact in request.contacts)[:200]
        self._act(outside(guard.attempt(guard.Way.FOREIGN_REGISTRATION, target or extension), line, request, flow))


def networks_of(accounts: Mapping[str, Account]) -> set[Network]:
    """Where phones of ours may be."""
    return {network for account in accounts.values() for network in account.networks}


def outside(attempt: guard.Attempt, line: LineProfile, request: Request, flow: Flow) -> ReportForward:
    """The report of an attempt to forward outside any call."""
    return ReportForward(
        call_id=None,
        line_number=line.number,
        way=attempt.way,
        target=attempt.target,
        source=flow.remote[0],
        raw=request.serialize(),
    )


def _way_to(binding: Binding) -> Flow:
    """How a phone is reached: at the port of its contact where that names the address the registration came from, else
    back through the flow itself, since a NAT stands between (RFC 5626 section 3)."""
    uri = binding.address.uri
    if binding.flow.reliable or not isinstance(uri, SipUri) or not same_host(uri.host, binding.flow.remote[0]):
        return binding.flow
    return replace(binding.flow, remote=(binding.flow.remote[0], uri.port or 5060))


def _allowed(account: Account, host: str) -> bool:
    return not account.networks or within(host, account.networks)


def _host(uri: Uri) -> str:
    return uri.host.strip("[]") if isinstance(uri, SipUri) else ""
