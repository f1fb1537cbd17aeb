"""Digest access authentication, both sides (RFC 7616, RFC 2617, for SIP RFC 8760): MD5, SHA-256 and
SHA-512-256 with qop=auth.

A server needs no table of the nonces it gave out: each carries its time and a keyed hash. Only the nonces
that were used are remembered, a bounded number of them, so that no credentials count twice.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5, new, sha256
from typing import Literal

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import TOKEN_CHARS, quote, unquote

NONCE_LIFETIME_S = 300.0
REMEMBERED_NONCES = 4096
_WINDOW = 64
_PARAMETER = re.compile(
    rf'(?s:[ \t,]*+([{TOKEN_CHARS}]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^ \t,"]++)[ \t]*+(?:,|\Z))'
)
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: sha256(data).hexdigest(),
    "SHA-512-256": lambda data: new("sha512_256", data).hexdigest(),
}
ALGORITHMS = tuple(_HASHES)
"""The algorithms that both sides here have, weakest first: what a server stores an ``ha1`` for."""
_NONCE = struct.Struct("!QI")

Verdict = Literal["ok", "stale", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a server asks for.

    ``qop`` holds the offered qualities of protection in lower case, empty for RFC 2069.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ("auth",)
    opaque: str | None = None
    stale: bool = False

    @property
    def supported(self) -> bool:
        """Whether ``authorize`` can answer it.

        Of several challenges the first supported one is taken (RFC 8760).
        """
        return self.algorithm in _HASHES and (not self.qop or "auth" in self.qop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a client answers.

    ``nonce_count`` is eight hex digits as sent; None, as ``qop`` and ``cnonce``, for RFC 2069.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    qop: str | None = None
    cnonce: str | None = None
    nonce_count: str | None = None

    @property
    def nc(self) -> int:
        """The nonce count; 1 for a client of RFC 2069, which may use each nonce once."""
        return 1 if self.nonce_count is None else int(self.nonce_count, 16)


class Nonces:
    """Nonces that prove themselves: time and serial number under a keyed hash.

    ``secret`` keys the hash; with another secret (a restart) earlier nonces are "bad" and clients are
    challenged anew.
    """

    def __init__(self, secret: bytes, *, lifetime_s: float = NONCE_LIFETIME_S) -> None:
        self._secret = secret
        self._lifetime_s = lifetime_s
        self._serial = 0
        self._used: dict[bytes, tuple[int, int]] = {}
        self._forgotten_until = b""

    def issue(self, now: float) -> str:
        """A new nonce. ``now`` is in s of a clock that does not go back over restarts."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        stamp = _NONCE.pack(max(0, int(now * 1000)), self._serial)
        return urlsafe_b64encode(stamp + self._seal(stamp)).decode()

    def check(self, nonce: str, now: float, nc: int) -> Verdict:
        """Whether credentials with this nonce and nonce count may count.

        "bad": not ours. "stale": ours but too old, or this count was already used; a new challenge with
        stale=true lets the client try again without asking its user (RFC 7616 section 3.3). Call it only once
        the response was verified: it uses up the count.
        """
        stamp = self._opened(nonce)
        if stamp is None:
            return "bad"
        milliseconds, _ = _NONCE.unpack(stamp)
        age_s = now - milliseconds / 1000
        if not -1.0 <= age_s <= self._lifetime_s or (stamp <= self._forgotten_until and stamp not in self._used):
            return "stale"
        return "ok" if self._use(stamp, nc) else "stale"

    def _use(self, stamp: bytes, nc: int) -> bool:
        """Mark ``nc`` as used, False if it was. Counts may arrive out of order within a window of 64."""
        highest, seen = self._used.get(stamp, (0, 0))
        if nc > highest:
            seen = (seen << min(nc - highest, _WINDOW) | 1) & (1 << _WINDOW) - 1
            highest = nc
        else:
            bit = 1 << (highest - nc) if highest - nc < _WINDOW else 0
            if nc < 1 or not bit or seen & bit:
                return False
            seen |= bit
        self._used[stamp] = highest, seen
        if len(self._used) > REMEMBERED_NONCES:
            self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        """Forget the older half.

        What is forgotten is stale from then on, so that forgetting never allows a replay.
        """
        oldest = sorted(self._used)[: REMEMBERED_NONCES // 2]
        for stamp in oldest:
            del self._used[stamp]
        self._forgotten_until = max(self._forgotten_until, oldest[-1])

    def _opened(self, nonce: str) -> bytes | None:
        if len(nonce) > 64 or not nonce.isascii():
            return None
        try:
            raw = urlsafe_b64decode(nonce)
        except ValueError:
            return None
        stamp, seal = raw[: _NONCE.size], raw[_NONCE.size :]
        return stamp if len(stamp) == _NONCE.size and hmac.compare_digest(seal, self._seal(stamp)) else None

    def _seal(self, stamp: bytes) -> bytes:
        return hmac.digest(self._secret, stamp, "sha256")[:15]


def ha1(username: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """The hash that a server stores instead of the password.

    Raises RemoteProtocolError for an unknown algorithm.
    """
    return _hash(algorithm, f"{username}:{realm}:{password}")


def challenge(realm: str, nonce: str, algorithm: str = "MD5", stale: bool = False) -> str:
    """The value of a WWW-Authenticate or Proxy-Authenticate header."""
    ending = ", stale=true" if stale else ""
    return f'Digest realm={quote(realm)}, nonce={quote(nonce)}, algorithm={algorithm}, qop="auth"{ending}'


def parse_challenge(value: str) -> Challenge:
    """The challenge in a header value.

    Raises RemoteProtocolError (400; 401 for a scheme other than Digest).
    """
    fields = _fields(value)
    _require(fields, "realm", "nonce")
    return Challenge(
        realm=fields["realm"],
        nonce=fields["nonce"],
        algorithm=_algorithm(fields),
        qop=tuple(item for part in fields.get("qop", "").lower().split(",") if (item := part.strip())),
        opaque=fields.get("opaque"),
        stale=fields.get("stale", "").lower() == "true",
    )


def parse_authorization(value: str) -> Authorization:
    """The credentials in a header value.

    Raises RemoteProtocolError (400; 401 for a scheme other than Digest).
    """
    fields = _fields(value)
    _require(fields, "username", "realm", "nonce", "uri", "response")
    qop = fields.get("qop")
    if qop is not None:
        _require(fields, "cnonce", "nc")
        if qop.lower() != "auth" or not re.fullmatch("[0-9A-Fa-f]{8}", fields["nc"]):
            raise RemoteProtocolError(400, "Malformed digest credentials")
    return Authorization(
        username=fields["username"],
        realm=fields["realm"],
        nonce=fields["nonce"],
        uri=fields["uri"],
        response=fields["response"],
        algorithm=_algorithm(fields),
        qop=qop,
        cnonce=None if qop is None else fields["cnonce"],
        nonce_count=None if qop is None else fields["nc"],
    )


def verify(auth: Authorization, method: str, ha1: str) -> bool:
    """Whether ``auth`` was made by someone who knows the password behind ``ha1``, in constant time.

    That ``auth.uri`` names the resource of the request is for the caller to compare (RFC 7616 section 3.4.6).
    """
    if auth.algorithm not in _HASHES:
        return False
    counted = None if auth.qop is None else f"{auth.nonce_count}:{auth.cnonce}:{auth.qop}"
    expected = _response(auth.algorithm, ha1, _joined(auth.nonce, counted), f"{method}:{auth.uri}")
    return hmac.compare_digest(expected.encode(), auth.response.lower().encode())


def authorize(challenge: Challenge, method: str, uri: str, username: str, password: str, cnonce: str, nc: int) -> str:
    """The value of an Authorization or Proxy-Authorization header that answers ``challenge``.

    ``cnonce`` is fresh random text, ``nc`` counts the requests made with this nonce from 1. Raises
    RemoteProtocolError (401) where the server asks for an algorithm or a quality of protection that we do not
    have.
    """
    if not challenge.supported:
        raise RemoteProtocolError(401, "Unsupported digest algorithm or qop")
    secret = ha1(username, challenge.realm, password, challenge.algorithm)
    counted = f"{nc:08x}:{cnonce}:auth" if challenge.qop else None
    response = _response(challenge.algorithm, secret, _joined(challenge.nonce, counted), f"{method}:{uri}")
    fields = [
        f"username={quote(username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{response}"',
        f"algorithm={challenge.algorithm}",
    ]
    if challenge.qop:
        fields += [f"cnonce={quote(cnonce)}", "qop=auth", f"nc={nc:08x}"]
    if challenge.opaque is not None:
        fields.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(fields)


def _hash(algorithm: str, text: str) -> str:
    if algorithm not in _HASHES:
        raise RemoteProtocolError(401, "Unsupported digest algorithm")
    return _HASHES[algorithm](text.encode(errors="replace"))


def _response(algorithm: str, ha1: str, nonce_part: str, a2: str) -> str:
    """KD(H(A1), nonce part ":" H(A2)) of RFC 7616 section 3.4.1."""
    return _hash(algorithm, f"{ha1}:{nonce_part}:{_hash(algorithm, a2)}")


def _joined(nonce: str, counted: str | None) -> str:
    return nonce if counted is None else f"{nonce}:{counted}"


def _fields(value: str) -> dict[str, str]:
    scheme, _, rest = value.strip(" \t").partition(" ")
    if scheme.lower() != "digest":
        raise RemoteProtocolError(401, "Unsupported authentication scheme")
    fields: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        if match is None or (name := match[1].lower()) in fields:
            raise RemoteProtocolError(400, "Malformed digest parameters")
        fields[name] = unquote(match[2])
        position = match.end()
    return fields


def _require(fields: dict[str, str], *names: str) -> None:
    if not all(name in fields for name in names):
        raise RemoteProtocolError(400, "Missing digest parameter")


def _algorithm(fields: dict[str, str]) -> str:
    return fields.get("algorithm", "MD5").upper()
