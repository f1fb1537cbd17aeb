"""Who sends a request: digest authentication of our own phones (RFC 3261 section 22, RFC 8760).

Unknown users, wrong passwords and missing credentials are challenged alike and take alike long, so that
nobody can learn from the answers which users exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from telephony.sip.digest import ALGORITHMS, Authorization, Nonces, challenge, parse_authorization, verify
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.message import Request
from telephony.sip.uri import equivalent, parse_uri

PUZZLED_AFTER = 2
"""Unanswered challenges in a row after which a sender is taken for one that only knows MD5."""
REMEMBERED_SENDERS = 1024
_FOR_THE_PUZZLED = "MD5"
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user who may register.

    ``ha1`` holds, by algorithm, what ``telephony.sip.digest.ha1`` made of the password. Empty ``networks``
    allow any address. A registration beyond ``max_contacts`` replaces the binding that was refreshed
    longest ago.
    """

    user: str
    ha1: Mapping[str, str] = field(repr=False)
    max_contacts: int = 4
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


class Doubt(StrEnum):
    """Why a sender is not believed; for our log, never for the sender."""

    NO_CREDENTIALS = "no credentials"
    UNKNOWN_USER = "unknown user"
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - a reason, no secret
    OTHER_TARGET = "credentials for another target"
    OLD_NONCE = "old nonce"
    FOREIGN_NONCE = "nonce is not ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """The sender has to prove itself: answer ``status`` (401, or 407 where we asked as a proxy would) with
    ``headers``. ``user`` is whom it claims to be, if anyone."""

    doubt: Doubt
    user: str | None
    headers: tuple[tuple[str, str], ...]
    status: int = 401


class Authenticator:
    """Checks the credentials in requests against ``accounts`` (by user), which may change meanwhile.

    ``algorithms`` are offered in this order, one header each (RFC 8760 section 2.4): a phone answers the first
    that it has. Some old ones give up at the sight of any algorithm but MD5, wherever it stands: a sender that comes
    back without credentials after ``PUZZLED_AFTER`` such challenges is offered MD5 alone, where MD5 is offered at all.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        realm: str,
        nonces: Nonces,
        *,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
    ) -> None:
        unknown = [algorithm for algorithm in algorithms if algorithm not in ALGORITHMS]
        if unknown or not algorithms:
            raise LocalProtocolError(f"no such digest algorithm: {', '.join(unknown) or 'none given'}")
        self._accounts = accounts
        self._realm = realm
        self._nonces = nonces
        self._algorithms = algorithms
        self._bare: dict[tuple[str, str], int] = {}

    def authenticate(self, request: Request, now: float, *, as_proxy: bool = False) -> Account | Challenged:
        """The account that sent ``request``, or what to ask of the sender. ``now`` is Unix time in s.

        ``as_proxy``: by Proxy-Authenticate and 407 (RFC 3261 section 22.3), which some phones expect for calls
        through the server they are registered at. Raises RemoteProtocolError (400) for malformed credentials.
        """
        found = self._identify(request, now, "Proxy-Authorization" if as_proxy else "Authorization")
        if isinstance(found, Account):
            self._offered(request, bare=False)
            return found
        doubt, user = found
        algorithms = self._offered(request, bare=doubt is Doubt.NO_CREDENTIALS)
        nonce = self._nonces.issue(now)
        stale = doubt in (Doubt.OLD_NONCE, Doubt.FOREIGN_NONCE)  # the password was right: try again unasked
        name = "Proxy-Authenticate" if as_proxy else "WWW-Authenticate"
        headers = tuple((name, challenge(self._realm, nonce, algorithm, stale)) for algorithm in algorithms)
        return Challenged(doubt=doubt, user=user, headers=headers, status=407 if as_proxy else 401)

    def _offered(self, request: Request, *, bare: bool) -> tuple[str, ...]:
        """What to ask this sender for; it is known by its address and the name it gives itself."""
        if _FOR_THE_PUZZLED not in self._algorithms or len(self._algorithms) == 1:
            return self._algorithms
        sender = (request.via.received or request.via.host, str(request.from_.uri))
        seen = self._bare.get(sender, 0) + bare
        if not bare and seen <= PUZZLED_AFTER:
            self._bare.pop(sender, None)  # it answers what it was offered
            return self._algorithms
        if len(self._bare) >= REMEMBERED_SENDERS:
            self._bare.clear()
        self._bare[sender] = seen
        return (_FOR_THE_PUZZLED,) if seen > PUZZLED_AFTER else self._algorithms

    def _identify(self, request: Request, now: float, header: str) -> Account | tuple[Doubt, str | None]:
        auth = self._credentials(request, header)
        if auth is None:
            return Doubt.NO_CREDENTIALS, None
        account = self._accounts.get(auth.username)
        secret = None if account is None else account.ha1.get(auth.algorithm)
        proven = verify(auth, request.method, secret or _NOBODY)
        if account is None:
            return Doubt.UNKNOWN_USER, auth.username
        if secret is None or not proven:
            return Doubt.WRONG_PASSWORD, auth.username
        if not _same_target(auth.uri, request):
            return Doubt.OTHER_TARGET, auth.username
        verdict = self._nonces.check(auth.nonce, now, auth.nc)
        if verdict == "ok":
            return account
        return (Doubt.OLD_NONCE if verdict == "stale" else Doubt.FOREIGN_NONCE), auth.username

    def _credentials(self, request: Request, header: str) -> Authorization | None:
        for value in request.headers.get_all(header):
            if value[:7].lower() != "digest ":
                continue
            auth = parse_authorization(value)
            if auth.realm == self._realm and auth.algorithm in self._algorithms:
                return auth
        return None


def _same_target(uri: str, request: Request) -> bool:
    """RFC 7616 section 3.4.6; compared as URIs, since proxies and phones rewrite the spelling."""
    if uri == request.uri:
        return True
    try:
        return equivalent(parse_uri(uri), request.target)
    except RemoteProtocolError:
        return False
