"""Who sends a request: digest authentication of our own phones (RFC 3261 section 22, RFC 8760).

Unknown users, wrong passwords and missing credentials are challenged alike and take alike long, so that
nobody can learn from the answers which users exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from telephony.sip.digest import Authorization, Nonces, challenge, parse_authorization, verify
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.message import Request
from telephony.sip.uri import equivalent, parse_uri

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
    """The sender has to prove itself: answer 401 with ``headers``. ``user`` is whom it claims to be, if
    anyone."""

    doubt: Doubt
    user: str | None
    headers: tuple[tuple[str, str], ...]


class Authenticator:
    """Checks the credentials in requests against ``accounts`` (by user), which may change meanwhile.

    ``algorithms`` are offered in this order; the first is what modern phones take, the last what all can.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        realm: str,
        nonces: Nonces,
        *,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
    ) -> None:
        self._accounts = accounts
        self._realm = realm
        self._nonces = nonces
        self._algorithms = algorithms

    def authenticate(self, request: Request, now: float) -> Account | Challenged:
        """The account that sent ``request``, or what to ask of the sender. ``now`` is Unix time in s.

        Raises RemoteProtocolError (400) for malformed credentials.
        """
        auth = self._credentials(request)
        if auth is None:
            return self._challenge(Doubt.NO_CREDENTIALS, None, now)
        account = self._accounts.get(auth.username)
        secret = None if account is None else account.ha1.get(auth.algorithm)
        proven = verify(auth, request.method, secret or _NOBODY)
        if account is None:
            return self._challenge(Doubt.UNKNOWN_USER, auth.username, now)
        if secret is None or not proven:
            return self._challenge(Doubt.WRONG_PASSWORD, auth.username, now)
        if not _same_target(auth.uri, request):
            return self._challenge(Doubt.OTHER_TARGET, auth.username, now)
        verdict = self._nonces.check(auth.nonce, now, auth.nc)
        if verdict == "ok":
            return account
        doubt = Doubt.OLD_NONCE if verdict == "stale" else Doubt.FOREIGN_NONCE
        return self._challenge(doubt, auth.username, now)

    def _credentials(self, request: Request) -> Authorization | None:
        for value in request.headers.get_all("Authorization"):
            if value[:7].lower() != "digest ":
                continue
            auth = parse_authorization(value)
            if auth.realm == self._realm and auth.algorithm in self._algorithms:
                return auth
        return None

    def _challenge(self, doubt: Doubt, user: str | None, now: float) -> Challenged:
        nonce = self._nonces.issue(now)
        stale = doubt in (Doubt.OLD_NONCE, Doubt.FOREIGN_NONCE)  # the password was right: try again unasked
        values = [challenge(self._realm, nonce, algorithm, stale) for algorithm in self._algorithms]
        headers = tuple(("WWW-Authenticate", value) for value in values)
        return Challenged(doubt=doubt, user=user, headers=headers)


def _same_target(uri: str, request: Request) -> bool:
    """RFC 7616 section 3.4.6; compared as URIs, since proxies and phones rewrite the spelling."""
    if uri == request.uri:
        return True
    try:
        return equivalent(parse_uri(uri), request.target)
    except RemoteProtocolError:
        return False
