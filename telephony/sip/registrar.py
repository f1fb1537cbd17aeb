"""The registrar of the desk phones (RFC 3261 section 10.3): authenticated bindings with an expiry.

Pure: requests and Unix time in, responses and changes out. Either every contact of a request takes effect
or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from hashlib import sha256
from ipaddress import ip_address

from telephony.sip.authentication import Account, Authenticator, Challenged, Doubt
from telephony.sip.bindings import Binding, Change, ChangeKind
from telephony.sip.digest import Nonces
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import DEFAULT_EXPIRES_S, NameAddr
from telephony.sip.message import Request, Response, make_response
from telephony.sip.uri import SipUri


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterOutcome:
    """What to answer and what has changed. ``user`` is whom the sender is or claims to be; ``doubt`` is for
    the log; ``foreign``: the proof was good, but the sender is outside the user's networks."""

    response: Response
    changes: tuple[Change, ...] = ()
    user: str | None = None
    doubt: Doubt | None = None
    foreign: bool = False


_FOREIGN = "Not from this network"


class Registrar:
    """Bindings of the users in ``accounts``, which may change meanwhile.

    ``min_expires`` and ``max_expires`` bound a binding's life in s: shorter wishes are refused (423),
    longer ones cut.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        realm: str,
        nonces: Nonces,
        *,
        min_expires: int = 60,
        max_expires: int = 3600,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
    ) -> None:
        if not 0 < min_expires <= max_expires:
            raise LocalProtocolError("the shortest expiry exceeds the longest")
        self.authenticator = Authenticator(accounts, realm, nonces, algorithms=algorithms)
        self._accounts = accounts
        self._min_expires = min_expires
        self._max_expires = max_expires
        self._bindings: dict[str, tuple[Binding, ...]] = {}

    def receive(self, request: Request, flow: Flow, now: float) -> RegisterOutcome:
        """Answer a REGISTER that came by ``flow`` at ``now`` (Unix time in s). Never raises for what a peer
        sends."""
        try:
            return self._receive(request, flow, now)
        except RemoteProtocolError as error:
            return RegisterOutcome(response=_response(request, error.status, error.reason))

    def bindings(self, user: str, now: float) -> tuple[Binding, ...]:
        """Where ``user`` can be reached, the latest refreshed first."""
        live = [binding for binding in self._bindings.get(user, ()) if binding.expires_at > now]
        return tuple(sorted(live, key=lambda binding: -binding.refreshed_at))

    def user_on(self, flow: Flow, now: float) -> str | None:
        """Whose phone is registered by ``flow``; None for nobody's."""
        everything = (binding for bindings in self._bindings.values() for binding in bindings)
        return next((b.user for b in everything if b.flow == flow and b.expires_at > now), None)

    def next_expiry(self) -> float | None:
        """When ``expire`` has something to do, in Unix time; None for never."""
        return min((b.expires_at for bindings in self._bindings.values() for b in bindings), default=None)

    def expire(self, now: float) -> tuple[Change, ...]:
        """Remove what has run out, and the bindings of users without account."""
        return self._drop(ChangeKind.EXPIRED, lambda b: b.expires_at <= now or b.user not in self._accounts)

    def flow_lost(self, flow: Flow) -> tuple[Change, ...]:
        """Remove the bindings of a connection that has closed: nothing leads to them any more."""
        return self._drop(ChangeKind.LOST, lambda binding: binding.flow == flow)

    def export(self) -> list[dict[str, str | int | float]]:
        """All bindings as plain values."""
        return [binding.export() for bindings in self._bindings.values() for binding in bindings]

    def restore(self, values: Iterable[Mapping[str, str | int | float]], now: float) -> None:
        """Take up what ``export`` gave before a restart, but what has run out meanwhile or lost its account.

        Raises KeyError or ValueError for anything else.
        """
        for binding in map(Binding.of, values):
            if binding.expires_at > now and binding.user in self._accounts:
                self._bindings[binding.user] = (*self._bindings.get(binding.user, ()), binding)

    def _receive(self, request: Request, flow: Flow, now: float) -> RegisterOutcome:
        required = request.headers.get_all("Require")
        if required:
            unsupported = [("Unsupported", value) for value in required]
            return RegisterOutcome(response=_response(request, 420, extra=unsupported))
        account = self.authenticator.authenticate(request, now)
        if isinstance(account, Challenged):
            response = _response(request, 401, extra=account.headers)
            return RegisterOutcome(response=response, user=account.user, doubt=account.doubt)
        reason = _forbidden(request, account, flow)
        if reason is not None:
            response = _response(request, 403, reason)
            return RegisterOutcome(response=response, user=account.user, foreign=reason == _FOREIGN)
        return self._update(request, account, flow, now)

    def _update(self, request: Request, account: Account, flow: Flow, now: float) -> RegisterOutcome:
        before = self.bindings(account.user, now)
        if request.contact_is_star:
            changes = _remove_all(request, before)
        else:
            wishes = [(contact, self._lifetime(request, contact)) for contact in request.contacts]
            too_brief = any(0 < lifetime < self._min_expires for _, lifetime in wishes)
            if too_brief:
                extra = [("Min-Expires", str(self._min_expires))]
                return RegisterOutcome(response=_response(request, 423, extra=extra), user=account.user)
            changes = _apply(request, account, flow, now, before, wishes)
        self._commit(account.user, changes)
        response = _response(request, 200, extra=self._success(account.user, now))
        return RegisterOutcome(response=response, changes=tuple(changes), user=account.user)

    def _lifetime(self, request: Request, contact: NameAddr) -> int:
        if not isinstance(contact.uri, SipUri):
            raise RemoteProtocolError(400, "SIP contact expected")
        wishes = (contact.expires, request.expires, DEFAULT_EXPIRES_S)
        return min(next(wish for wish in wishes if wish is not None), self._max_expires)

    def _commit(self, user: str, changes: Iterable[Change]) -> None:
        kept = list(self._bindings.get(user, ()))
        for change in changes:
            kept = [binding for binding in kept if not binding.is_for(change.binding.address)]
            if change.kind in (ChangeKind.ADDED, ChangeKind.REFRESHED):
                kept.append(change.binding)
        self._keep(user, kept)

    def _drop(self, kind: ChangeKind, doomed: Callable[[Binding], bool]) -> tuple[Change, ...]:
        changes = []
        for user, bindings in list(self._bindings.items()):
            gone = [binding for binding in bindings if doomed(binding)]
            if gone:
                self._keep(user, [binding for binding in bindings if binding not in gone])
                changes += [Change(kind=kind, binding=binding) for binding in gone]
        return tuple(changes)

    def _keep(self, user: str, bindings: list[Binding]) -> None:
        if bindings:
            self._bindings[user] = tuple(bindings)
        else:
            self._bindings.pop(user, None)

    def _success(self, user: str, now: float) -> list[tuple[str, str]]:
        contacts = [
            ("Contact", str(binding.address.with_param("expires", str(int(binding.expires_at - now)))))
            for binding in self.bindings(user, now)
        ]
        return [*contacts, ("Date", formatdate(now, usegmt=True))]


def _apply(
    request: Request,
    account: Account,
    flow: Flow,
    now: float,
    before: tuple[Binding, ...],
    wishes: list[tuple[NameAddr, int]],
) -> list[Change]:
    """The changes that the contacts of ``request`` ask for. Raises RemoteProtocolError where one cannot
    be."""
    changes = []
    for contact, lifetime in wishes:
        old = next((binding for binding in before if binding.is_for(contact)), None)
        if old is not None:
            _check_order(request, old)
        if lifetime == 0:
            changes += [Change(kind=ChangeKind.REMOVED, binding=old)] if old is not None else []
            continue
        kept = replace(contact, params=tuple(item for item in contact.params if item[0] != "expires"))
        binding = Binding(
            user=account.user,
            contact=str(kept),
            flow=flow,
            call_id=request.call_id,
            cseq=request.cseq.number,
            refreshed_at=now,
            expires_at=now + lifetime,
        )
        changes.append(Change(kind=ChangeKind.ADDED if old is None else ChangeKind.REFRESHED, binding=binding))
    return _surplus(account, before, changes) + changes


def _surplus(account: Account, before: tuple[Binding, ...], changes: list[Change]) -> list[Change]:
    """The bindings that have to give way. A phone that comes back under a new address is never locked out."""
    wanted = [change.binding for change in changes if change.kind is not ChangeKind.REMOVED]
    if len(wanted) > account.max_contacts:
        raise RemoteProtocolError(403, "Too many contacts")
    touched = [change.binding.address for change in changes]
    others = [binding for binding in before if not any(binding.is_for(address) for address in touched)]
    room = account.max_contacts - len(wanted)
    return [Change(kind=ChangeKind.REPLACED, binding=binding) for binding in others[room:]]


def _remove_all(request: Request, before: tuple[Binding, ...]) -> list[Change]:
    if request.expires != 0:
        raise RemoteProtocolError(400, "Contact * needs Expires 0")
    for binding in before:
        _check_order(request, binding)
    return [Change(kind=ChangeKind.REMOVED, binding=binding) for binding in before]


def _check_order(request: Request, binding: Binding) -> None:
    if request.call_id == binding.call_id and request.cseq.number <= binding.cseq:
        raise RemoteProtocolError(500, "CSeq out of order")


def _forbidden(request: Request, account: Account, flow: Flow) -> str | None:
    """Why an authenticated user may not do this; None where it may."""
    uri = request.to.uri
    if not isinstance(uri, SipUri) or uri.user != account.user:
        return "Not your address of record"
    source = ip_address(flow.remote[0])
    source = getattr(source, "ipv4_mapped", None) or source  # what a dual-stack socket makes of IPv4
    if account.networks and not any(source in network for network in account.networks):
        return _FOREIGN
    return None


def _response(
    request: Request, status: int, reason: str | None = None, extra: Iterable[tuple[str, str]] = ()
) -> Response:
    tag = sha256(f"{request.call_id} {request.cseq}".encode(errors="replace")).hexdigest()[:16]
    return make_response(request, status, reason, to_tag=tag, extra=extra)
