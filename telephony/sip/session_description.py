"""Session descriptions (RFC 8866, before it RFC 4566) as values: bytes in, values out, and back.

Read leniently where a fault does not concern us (an odd attribute stays text, the order of lines is free),
strictly where it would decide whom we send audio to. What offers and answers mean is in
``telephony.sip.sdp``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, cast

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.headers import TOKEN, parse_number

MAX_SDP_BYTES = 65_535
MAX_LINES = 1_000
MAX_MEDIA = 32

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Attribute = tuple[str, str | None]
Line = tuple[str, str]

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_LINE = re.compile(r"([a-z])=([^\r\n\x00]*+)")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:\-_/]*+")
_RTPMAP = re.compile(rf"([0-9]{{1,3}})[ \t]++({TOKEN.pattern})/([0-9]{{1,7}})(?:/([0-9]{{1,3}}))?[ \t]*+")
_FMTP = re.compile(r"([0-9]{1,3})[ \t]++(.++)")
_MEDIA = re.compile(r"([^ ]++) ++([0-9]{1,5})(?:/([0-9]{1,3}))? ++([^ ]++)((?: ++[^ ]++)++) *+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The o= line. ``session_id`` and ``version`` are kept as text: some phones exceed 64 bits."""

    username: str = "-"
    session_id: str
    version: str
    connection: Connection

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {self.connection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The c= line.

    ``host`` is an IP address or a name, with TTL or count after ``/`` where it is a multicast group.
    """

    host: str
    address_type: str = "IP4"

    def __str__(self) -> str:
        return f"IN {self.address_type} {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtpmap:
    """The encoding behind a payload type: name, clock rate in Hz, channels."""

    name: str
    clock: int
    channels: int = 1

    def __str__(self) -> str:
        channels = "" if self.channels == 1 else f"/{self.channels}"
        return f"{self.name}/{self.clock}{channels}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription:
    """One m= section. ``formats`` are payload types as int, others as text; ``ptime`` is in ms.

    ``direction`` has the session's default applied. ``attributes`` are all those that have no field of their
    own, ``extra`` the i=, b= and k= lines.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[int | str, ...]
    port_count: int = 1
    connection: Connection | None = None
    rtpmap: Mapping[int, Rtpmap] = field(default_factory=dict)
    fmtp: Mapping[int, str] = field(default_factory=dict)
    direction: Direction = "sendrecv"
    ptime: int | None = None
    attributes: tuple[Attribute, ...] = ()
    extra: tuple[Line, ...] = ()

    def lines(self) -> Iterator[Line]:
        """The lines of the section in the order of RFC 8866 section 9."""
        ports = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        yield "m", " ".join((self.kind, ports, self.protocol, *map(str, self.formats)))
        yield from ((letter, text) for letter, text in self.extra if letter == "i")
        if self.connection is not None:
            yield "c", str(self.connection)
        yield from ((letter, text) for letter, text in self.extra if letter != "i")
        for payload_type, rtpmap in self.rtpmap.items():
            yield "a", f"rtpmap:{payload_type} {rtpmap}"
        for payload_type, parameters in self.fmtp.items():
            yield "a", f"fmtp:{payload_type} {parameters}"
        if self.ptime is not None:
            yield "a", f"ptime:{self.ptime}"
        yield from _attribute_lines(self.attributes)
        yield "a", self.direction


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """A whole description. ``extra`` are the session's i=, u=, e=, p=, b=, r=, z= and k= lines."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    times: tuple[str, ...] = ("0 0",)
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    extra: tuple[Line, ...] = ()

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """The connection that holds for ``media``: its own, else the session's."""
        return media.connection if media.connection is not None else self.connection

    def serialize(self) -> bytes:
        """Bytes of the description. Raises LocalProtocolError for a value that would break its line."""
        lines = list(self._lines())
        if any("\r" in text or "\n" in text or "\x00" in text for _, text in lines):
            raise LocalProtocolError("session description with a line break or NUL in a value")
        return "".join(f"{letter}={text}\r\n" for letter, text in lines).encode(errors="replace")

    def _lines(self) -> Iterator[Line]:
        yield from (("v", "0"), ("o", str(self.origin)), ("s", self.name))
        yield from (line for line in self.extra if line[0] in "iuep")
        if self.connection is not None:
            yield "c", str(self.connection)
        yield from (line for line in self.extra if line[0] == "b")
        yield from (("t", times) for times in self.times)
        yield from (line for line in self.extra if line[0] in "rzk")
        yield from _attribute_lines(self.attributes)
        for media in self.media:
            yield from media.lines()


def parse_sdp(data: bytes) -> SessionDescription:
    """The description in ``data``. Raises RemoteProtocolError (400), and nothing else for any bytes."""
    lines = _split_lines(data)
    starts = [place for place, (letter, _) in enumerate(lines) if letter == "m"]
    if len(starts) > MAX_MEDIA:
        raise _malformed("too many media")
    session = lines[: starts[0]] if starts else lines
    attributes = [_attribute(text) for letter, text in session if letter == "a"]
    default = next((name for name, value in attributes if _is_direction(name, value)), "sendrecv")
    sections = (lines[start:end] for start, end in pairwise([*starts, len(lines)]))
    return SessionDescription(
        origin=_origin(_one(session, "o")),
        name=dict(session).get("s", "-"),
        connection=_optional_connection(session),
        times=tuple(text for letter, text in session if letter == "t"),
        attributes=tuple(item for item in attributes if not _is_direction(*item)),
        media=tuple(_media(section, cast("Direction", default)) for section in sections),
        extra=_extra(session, "iuepbrzk"),
    )


def _malformed(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(400, f"Malformed session description: {what}")


def _split_lines(data: bytes) -> list[Line]:
    if len(data) > MAX_SDP_BYTES:
        raise _malformed("too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    rows = text.removesuffix("\n").split("\n")
    if len(rows) > MAX_LINES:
        raise _malformed("too many lines")
    matches = [_LINE.fullmatch(row.removesuffix("\r")) for row in rows]
    lines = [(match[1], match[2]) for match in matches if match is not None]
    if len(lines) != len(rows):
        raise _malformed("no type=value line")
    if lines[0] != ("v", "0"):
        raise _malformed("version")
    return lines


def _one(lines: list[Line], letter: str) -> str:
    found = [text for kind, text in lines if kind == letter]
    if len(found) != 1:
        raise _malformed(f"{letter}= line missing or repeated")
    return found[0]


def _origin(text: str) -> Origin:
    parts = text.split()
    if len(parts) != 6:
        raise _malformed("origin")
    connection = _connection(" ".join(parts[3:]))
    return Origin(username=parts[0], session_id=parts[1], version=parts[2], connection=connection)


def _connection(text: str) -> Connection:
    parts = text.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or not _HOST.fullmatch(parts[2]):
        raise _malformed("connection")
    if (address_type := parts[1].upper()) not in ("IP4", "IP6"):
        raise _malformed("address type")
    return Connection(host=parts[2], address_type=address_type)


def _optional_connection(lines: list[Line]) -> Connection | None:
    text = next((text for letter, text in lines if letter == "c"), None)
    return None if text is None else _connection(text)


def _extra(lines: list[Line], letters: str) -> tuple[Line, ...]:
    """The lines of the kinds in ``letters``, in the order in which they are written again."""
    return tuple(sorted((line for line in lines if line[0] in letters), key=lambda line: letters.index(line[0])))


def _attribute(text: str) -> Attribute:
    name, colon, value = text.partition(":")
    return (name, value) if colon else (name, None)


def _attribute_lines(attributes: tuple[Attribute, ...]) -> Iterator[Line]:
    return (("a", name if value is None else f"{name}:{value}") for name, value in attributes)


def _is_direction(name: str, value: str | None) -> bool:
    return value is None and name in _DIRECTIONS


def _media(lines: list[Line], default: Direction) -> MediaDescription:
    match = _MEDIA.fullmatch(lines[0][1])
    if match is None or (port := int(match[2])) > 65535:
        raise _malformed("media")
    attributes = _MediaAttributes(default)
    for letter, text in lines[1:]:
        if letter == "a":
            attributes.read(*_attribute(text))
    return MediaDescription(
        kind=match[1],
        port=port,
        port_count=int(match[3] or 1),
        protocol=match[4],
        formats=tuple(_format(text) for text in match[5].split()),
        connection=_optional_connection(lines),
        rtpmap=attributes.rtpmap,
        fmtp=attributes.fmtp,
        direction=attributes.direction,
        ptime=attributes.ptime,
        attributes=tuple(attributes.others),
        extra=_extra(lines, "ibk"),
    )


def _format(text: str) -> int | str:
    number = parse_number(text, 127)
    return text if number is None or str(number) != text else number


class _MediaAttributes:
    """Collects the a= lines of one section.

    One that cannot be read, or comes again, stays among ``others`` as text.
    """

    def __init__(self, default: Direction) -> None:
        self.direction: Direction = default
        self.ptime: int | None = None
        self.rtpmap: dict[int, Rtpmap] = {}
        self.fmtp: dict[int, str] = {}
        self.others: list[Attribute] = []

    def read(self, name: str, value: str | None) -> None:
        if _is_direction(name, value):
            self.direction = cast("Direction", name)
        elif value is None or not self._take(name, value):
            self.others.append((name, value))

    def _take(self, name: str, value: str) -> bool:
        if name == "rtpmap" and (match := _RTPMAP.fullmatch(value)) and int(match[1]) not in self.rtpmap:
            channels = int(match[4] or 1)
            self.rtpmap[int(match[1])] = Rtpmap(name=match[2], clock=int(match[3]), channels=channels)
        elif name == "fmtp" and (match := _FMTP.fullmatch(value)) and int(match[1]) not in self.fmtp:
            self.fmtp[int(match[1])] = match[2]
        elif name == "ptime" and self.ptime is None and (number := parse_number(value.strip(), 1000)):
            self.ptime = number
        else:
            return False
        return True
