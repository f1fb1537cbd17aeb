"""The structured header fields that SIP itself acts on: Via, name-addr fields, CSeq (RFC 3261 sections 20 and
25).

Every parser here takes one unfolded value and either returns a value or raises RemoteProtocolError (400).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.remembering import remembered
from telephony.sip.uri import HOST, Params, Uri, check_host, check_port, parse_uri

TOKEN_CHARS = r"A-Za-z0-9\-.!%*_+`'~"  # noqa: S105 - a grammar term
TOKEN = re.compile(rf"[{TOKEN_CHARS}]++")
MAX_SEQUENCE = 2**31 - 1
DEFAULT_EXPIRES_S = 3600
"""What a malformed expiry is taken for, in s (RFC 3261 section 10.2.1.1)."""

_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_LIST_PIECE = re.compile(rf"(?s:{_QUOTED}|<[^<>]*+>|[^,\"<]++)")
_PARAMETER = re.compile(
    rf"(?s:[ \t]*+;[ \t]*+([{TOKEN_CHARS}]++)[ \t]*+"
    rf"(?:=[ \t]*+(?:({_QUOTED})|([^ \t;,\"<>=\x00-\x1f\x7f][^ \t;,\"<>\x00-\x1f\x7f]*+))[ \t]*+)?+)"
)
_VIA = re.compile(
    rf"SIP[ \t]*+/[ \t]*+2\.0[ \t]*+/[ \t]*+([{TOKEN_CHARS}]++)[ \t]++"
    rf"({HOST})[ \t]*+(?::[ \t]*+([0-9]{{1,5}}))?+[ \t]*+",
    re.IGNORECASE,
)
_NAME_ADDR = re.compile(rf"(?s:(?:({_QUOTED})|([^<>\"]*+))[ \t]*+<([^<>]*+)>)")
_CSEQ = re.compile(rf"([0-9]{{1,16}})[ \t]++([{TOKEN_CHARS}]++)")
_QUOTED_PAIR = re.compile(r"(?s)\\(.)")
_CONTROLS = dict.fromkeys((*range(32), 127))
_UNQUOTED = re.compile(rf"[{TOKEN_CHARS}\[\]:/@]++")


def split_list(value: str) -> tuple[str, ...]:
    """The elements of a comma-separated list, stripped, empty ones left out.

    Commas inside quoted strings and angle brackets do not separate (RFC 3261 section 7.3.1). Raises
    RemoteProtocolError for an unbalanced quote or bracket.
    """
    if '"' not in value and "<" not in value:
        items = value.split(",") if "," in value else [value]
    else:
        items = _split_quoted(value)
    return tuple(stripped for item in items if (stripped := item.strip(" \t")))


def _split_quoted(value: str) -> list[str]:
    items, start, position = [], 0, 0
    while position < len(value):
        if value[position] == ",":
            items.append(value[start:position])
            start = position = position + 1
            continue
        match = _LIST_PIECE.match(value, position)
        if match is None:
            raise RemoteProtocolError(400, "Unbalanced quote or bracket")
        position = match.end()
    items.append(value[start:])
    return items


def unquote(text: str) -> str:
    """The content of a quoted string (with its quotes), quoted pairs undone; any other text unchanged."""
    if len(text) < 2 or text[0] != '"':
        return text
    inner = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner


def quote(text: str) -> str:
    """``text`` as a quoted string. Control characters, which no header field can carry, are left out."""
    return '"' + text.translate(_CONTROLS).replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_params(text: str, position: int = 0) -> Params:
    """The ``;name=value`` parameters that ``text`` holds from ``position`` to its end; names lower case,
    values unquoted.

    Raises RemoteProtocolError for anything else and for a name that comes twice (RFC 3261 section 7.3.1).
    """
    params: dict[str, str | None] = {}
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or (name := match[1].lower()) in params:
            raise RemoteProtocolError(400, "Malformed header parameter")
        params[name] = unquote(match[2]).translate(_CONTROLS) if match[2] else match[3]
        position = match.end()
    return tuple(params.items())


def write_params(params: Params) -> str:
    """``params`` as text, values quoted where they are no token or host."""
    return "".join(f";{name}" if value is None else f";{name}={_value(value)}" for name, value in params)


def _value(value: str) -> str:
    return value if _UNQUOTED.fullmatch(value) else quote(value)


def parse_expires(text: str) -> int:
    """Delta seconds (s, RFC 3261 section 20.19).

    What is no number below 2**32 counts as 3600 s (section 10.2.1.1).
    """
    number = parse_number(text, 2**32 - 1)
    return DEFAULT_EXPIRES_S if number is None else number


def parse_number(text: str, limit: int) -> int | None:
    """The decimal number in ``text``, or None where it is none or exceeds ``limit``."""
    if not (text.isascii() and text.isdigit()) or len(text) > 32:
        return None
    number = int(text)
    return number if number <= limit else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """One Via value (RFC 3261 section 20.42). ``transport`` is upper case."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()

    def param(self, name: str) -> str | None:
        """The value of a parameter, "" for one without value, None where it is absent."""
        return _lookup(self.params, name)

    @property
    def branch(self) -> str | None:
        """The branch; None for a peer of RFC 2543."""
        return self.param("branch") or None

    @property
    def received(self) -> str | None:
        """The source address the receiver saw, as text."""
        return self.param("received") or None

    @property
    def rport(self) -> int | None:
        """The source port the receiver saw (RFC 3581); None as long as nobody filled it in."""
        digits = self.param("rport")
        return int(digits) if digits else None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asked for symmetric responses (RFC 3581 section 3)."""
        return self.param("rport") is not None

    def with_param(self, name: str, value: str | None) -> Via:
        """The same Via with one parameter set in place or added."""
        params = {**dict(self.params), name: value}
        return replace(self, params=tuple(params.items()))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{write_params(self.params)}"


@remembered
def parse_via(text: str) -> Via:
    """One Via value. Raises RemoteProtocolError."""
    text = text.strip(" \t")
    match = _VIA.match(text)
    if match is None:
        raise RemoteProtocolError(400, "Malformed Via")
    params = parse_params(text, match.end())
    rport = _lookup(params, "rport")
    if rport:
        check_port(rport if rport.isascii() and rport.isdigit() and len(rport) <= 5 else "0")
    return Via(transport=match[1].upper(), host=check_host(match[2]), port=check_port(match[3]), params=params)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddr:
    """The value of From, To, Contact, Route, Record-Route, Refer-To… (RFC 3261 section 20.10).

    ``display`` is unquoted text without control characters; None where it is absent or empty.
    """

    display: str | None = None
    uri: Uri
    params: Params = ()

    def param(self, name: str) -> str | None:
        """The value of a header parameter, "" for one without value, None where it is absent."""
        return _lookup(self.params, name)

    @property
    def tag(self) -> str | None:
        """The dialog tag; None where there is none yet."""
        return self.param("tag") or None

    @property
    def expires(self) -> int | None:
        """The expires parameter of a contact in s (RFC 3261 section 10.2.1.1); None where it is absent."""
        text = self.param("expires")
        return None if text is None else parse_expires(text)

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """The same address with one header parameter set in place or added."""
        params = {**dict(self.params), name: value}
        return replace(self, params=tuple(params.items()))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{write_params(self.params)}"


@remembered
def parse_name_addr(text: str) -> NameAddr:
    """One name-addr or addr-spec with its header parameters. Raises RemoteProtocolError.

    Without angle brackets, parameters belong to the header field and the URI may hold no ``?`` or ``,`` (RFC
    3261 section 20.10). A display name with characters that should have been quoted is tolerated: it is never
    interpreted.
    """
    text = text.strip(" \t")
    if "<" not in text:
        spec, semicolon, rest = text.partition(";")
        if "?" in spec or "," in spec:
            raise RemoteProtocolError(400, "URI needs angle brackets")
        return NameAddr(uri=parse_uri(spec.rstrip(" \t")), params=parse_params(semicolon + rest))
    match = _NAME_ADDR.match(text)
    if match is None:
        raise RemoteProtocolError(400, "Malformed address")
    quoted, plain, uri = match.groups()
    display = unquote(quoted) if quoted else " ".join(plain.split())
    return NameAddr(
        display=display.translate(_CONTROLS) or None,
        uri=parse_uri(uri),
        params=parse_params(text, match.end()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CSeq:
    """Sequence number (0..2**31-1) and method (RFC 3261 section 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@remembered
def parse_cseq(text: str) -> CSeq:
    """A CSeq value. Raises RemoteProtocolError."""
    match = _CSEQ.fullmatch(text.strip(" \t"))
    if match is None or int(match[1]) > MAX_SEQUENCE:
        raise RemoteProtocolError(400, "Malformed CSeq")
    return CSeq(number=int(match[1]), method=match[2])


def _lookup(params: Params, name: str) -> str | None:
    for key, value in params:
        if key == name:
            return value or ""
    return None
