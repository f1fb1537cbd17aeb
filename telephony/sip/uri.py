"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966) as values, and their equality.

``SipUri.user`` and ``TelUri.number`` are in one normal form however the peer escaped them, so that a rule
about numbers cannot be evaded by writing ``%2A21%23`` for ``*21#``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.remembering import remembered

Params = tuple[tuple[str, str | None], ...]

_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
# Raw "#" and raw non-ASCII letters are not in the grammar, but phones and exchanges send both.
_USER = _UNRESERVED + r"&=+$,;?/%#\u0080-\ud7ff\ue000-\U0010ffff"
_PARAM = _UNRESERVED + r"\[\]/:&+$%"
HOST = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9_.\-]*+"
"""Pattern of a host: IPv6 reference, IPv4 address or name (underscores tolerated)."""

_SIP = re.compile(
    rf"(?:([{_USER}]*+)(?::([{_USER}]*+))?+@)?+"
    rf"({HOST})(?::([0-9]{{1,5}}))?+"
    rf"((?:;[{_PARAM}]++(?:=[{_PARAM}=]*+)?+)*+)"
    rf"(?:\?([{_PARAM}?=]++))?+"
)
_TEL_NUMBER = re.compile(r"\+?[0-9A-Fa-f*#\-.()]*[0-9A-Fa-f*#][\-.()]*")
_PARAMS = re.compile(rf"(?:;[{_PARAM}]++(?:=[{_PARAM}=]*+)?+)*+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+")
_OPAQUE = re.compile(r"[!#-;=?-\[\]_a-z~%]++")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STAYS_ESCAPED = re.compile(r"[;/?:@&=$,%\x00-\x20\x7f\udc80-\udcff]")
_NOT_USER = re.compile(rf"%(?![0-9A-F]{{2}})|[^{_UNRESERVED}&=+$,;?/%]")
_SEPARATORS = str.maketrans("", "", "-.()")
_EXTRA_COLON = re.compile(r":::(?=[0-9]{1,3}(?:\.[0-9]{1,3}){3}\]$)")
_MUST_MATCH = frozenset({"user", "ttl", "method", "maddr", "transport"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SipUri:
    """``sip:`` or ``sips:`` URI (RFC 3261 section 19.1.1).

    ``user`` and ``password`` have their escapes undone except those of reserved characters, blanks and
    controls (``%40`` stays). ``host`` keeps the brackets of an IPv6 reference. ``params`` and ``headers`` are
    as written.
    """

    scheme: str = "sip"
    user: str | None = None
    password: str | None = None
    host: str
    port: int | None = None
    params: Params = ()
    headers: tuple[tuple[str, str], ...] = ()

    def param(self, name: str) -> str | None:
        """The value of a parameter, "" for one without value, None where it is absent. Names ignore case."""
        return _param(self.params, name)

    def __str__(self) -> str:
        user = "" if self.user is None else _escaped(self.user)
        if self.password is not None:
            user = f"{user}:{_escaped(self.password)}"
        if user:
            user += "@"
        port = "" if self.port is None else f":{self.port}"
        headers = "?" + "&".join(f"{name}={value}" for name, value in self.headers) if self.headers else ""
        return f"{self.scheme}:{user}{self.host}{port}{_written(self.params)}{headers}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelUri:
    """``tel:`` URI (RFC 3966). ``number`` keeps its visual separators; see ``digits``."""

    number: str
    params: Params = ()

    @property
    def digits(self) -> str:
        """The number without visual separators."""
        return self.number.translate(_SEPARATORS)

    def param(self, name: str) -> str | None:
        """The value of a parameter, "" for one without value, None where it is absent. Names ignore case."""
        return _param(self.params, name)

    def __str__(self) -> str:
        return f"tel:{self.number.replace('#', '%23')}{_written(self.params)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueUri:
    """Any other absolute URI, kept as text. ``scheme`` is lower case."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri = SipUri | TelUri | OpaqueUri


@remembered
def parse_uri(text: str) -> Uri:
    """The URI in ``text``. Raises RemoteProtocolError (400) for anything that is none."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or _BAD_ESCAPE.search(rest):
        raise RemoteProtocolError(400, "Malformed URI")
    if scheme in ("sip", "sips"):
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        return _parse_tel(rest)
    if not _SCHEME.fullmatch(scheme) or not _OPAQUE.fullmatch(rest):
        raise RemoteProtocolError(400, "Malformed URI")
    return OpaqueUri(scheme=scheme, rest=rest)


def equivalent(a: Uri, b: Uri) -> bool:
    """Whether two URIs name the same resource (RFC 3261 section 19.1.4, RFC 3966 section 5)."""
    if isinstance(a, SipUri) and isinstance(b, SipUri):
        same = (a.scheme, a.user, a.password, a.port) == (b.scheme, b.user, b.password, b.port)
        return (
            same
            and a.host.lower() == b.host.lower()
            and _params_match(_folded(a.params), _folded(b.params), _MUST_MATCH)
            and sorted(_folded(a.headers).items()) == sorted(_folded(b.headers).items())
        )
    if isinstance(a, TelUri) and isinstance(b, TelUri):
        return a.digits.lower() == b.digits.lower() and _folded(a.params) == _folded(b.params)
    return a == b


def check_host(host: str) -> str:
    """``host`` itself. Raises RemoteProtocolError (400) where brackets hold no IPv6 address.

    The third colon that the grammar of RFC 3261 puts before an embedded IPv4 address is taken for the slip it is
    and left out (RFC 5118 section 4.10).
    """
    if host[0] == "[":
        if ":::" in host:
            host = _EXTRA_COLON.sub("::", host)
        try:
            IPv6Address(host[1:-1])
        except AddressValueError:
            raise RemoteProtocolError(400, "Malformed IPv6 reference") from None
    return host


def check_port(digits: str | None) -> int | None:
    """The port in ``digits``, None for none. Raises RemoteProtocolError (400) outside 1..65535."""
    if digits is None:
        return None
    port = int(digits)
    if not 1 <= port <= 65535:
        raise RemoteProtocolError(400, "Port out of range")
    return port


def _parse_sip(scheme: str, rest: str) -> SipUri:
    match = _SIP.fullmatch(rest)
    if match is None:
        raise RemoteProtocolError(400, "Malformed SIP URI")
    user, password, host, port, params, headers = match.groups()
    return SipUri(
        scheme=scheme,
        user=_unescaped(user) if user else None,
        password=_unescaped(password) if user and password is not None else None,
        host=check_host(host),
        port=check_port(port),
        params=_read_params(params),
        headers=_read_headers(headers) if headers else (),
    )


def _parse_tel(rest: str) -> TelUri:
    number, semicolon, params = rest.partition(";")
    number = _unescaped(number)
    if not _TEL_NUMBER.fullmatch(number) or not _PARAMS.fullmatch(semicolon + params):
        raise RemoteProtocolError(400, "Malformed tel URI")
    return TelUri(number=number, params=_read_params(semicolon + params))


def _read_params(text: str) -> Params:
    if not text:
        return ()
    pairs = (item.partition("=") for item in text[1:].split(";"))
    return tuple((name, value if equals else None) for name, equals, value in pairs)


def _read_headers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [item.partition("=") for item in text.split("&")]
    if not all(name and equals for name, equals, _ in pairs):
        raise RemoteProtocolError(400, "Malformed headers in URI")
    return tuple((name, value) for name, _, value in pairs)


def _written(params: Params) -> str:
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


def _param(params: Params, name: str) -> str | None:
    for key, value in params:
        if key == name or key.lower() == name:
            return value or ""
    return None


def _folded(params: Params) -> dict[str, str]:
    return {_unescaped(name).lower(): _unescaped(value or "").lower() for name, value in params}


def _params_match(a: dict[str, str], b: dict[str, str], must_match: frozenset[str]) -> bool:
    if any(a[name] != b[name] for name in a.keys() & b.keys()):
        return False
    return not (a.keys() ^ b.keys()) & must_match


def _unescaped(text: str) -> str:
    """Normal form: every escape undone but those of reserved characters, blanks, controls and non-UTF-8
    octets.
    """
    return _ESCAPES.sub(_undo, text) if "%" in text else text


def _undo(match: re.Match[str]) -> str:
    text = bytes.fromhex(match[0].replace("%", "")).decode(errors="surrogateescape")
    return _STAYS_ESCAPED.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def _escaped(text: str) -> str:
    return _NOT_USER.sub(lambda found: "".join(f"%{octet:02X}" for octet in found[0].encode()), text)
