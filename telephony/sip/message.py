"""SIP requests and responses (RFC 3261 section 7): bytes in, values out, and back.

``parse`` is the one door for what a peer sends. It accepts any bytes and either returns a message whose typed
fields can all be read without a further error, or raises RemoteProtocolError. Typed fields are read once and
kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Generic, Self, TypeVar

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.fields import CANONICAL, NUL, SINGLE, SPLIT, Headers, Item, canonical
from telephony.sip.headers import (
    TOKEN,
    CSeq,
    NameAddr,
    Via,
    parse_cseq,
    parse_expires,
    parse_name_addr,
    parse_number,
    parse_via,
    split_list,
)
from telephony.sip.reasons import REASONS
from telephony.sip.uri import SipUri, Uri, parse_uri

__all__ = ["Headers", "Message", "Request", "Response", "error_response_for", "make_response", "parse"]

MAX_MESSAGE_BYTES = 65_535
MAX_HEADERS = 256
MAX_HEADER_CHARS = 8_192

_DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})

_FOLD = re.compile(r"\r\n[ \t]++")
_VERSION = re.compile(r"SIP/[0-9]{1,9}\.[0-9]{1,9}", re.IGNORECASE)
_OTHER_VERSION = re.compile(r"\ASIP/[0-9]{1,9}\.[0-9]{1,9}", re.IGNORECASE)
_STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.IGNORECASE | re.DOTALL)

T = TypeVar("T")


class _Lazy(Generic[T]):
    """A typed field of a message, read from its headers at the first access and then kept."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self._read = read
        self._key = read.__name__
        self.__doc__ = read.__doc__

    def __get__(self, message: Any, owner: type | None = None) -> T:
        if message is None:
            return self  # type: ignore[return-value]
        cache: dict[str, T] = message._cache
        if self._key not in cache:
            cache[self._key] = self._read(message)
        return cache[self._key]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """What requests and responses share. A typed field raises RemoteProtocolError where the header is
    malformed and LocalProtocolError where a mandatory one is missing; neither happens in a message that
    ``parse`` returned.
    """

    headers: Headers
    body: bytes = b""
    _cache: dict[str, Any] = field(init=False, default_factory=dict, compare=False, repr=False)

    @_Lazy
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the top one first."""
        return tuple(map(parse_via, self.headers.get_all("Via")))

    @property
    def via(self) -> Via:
        """The top Via."""
        if not self.vias:
            raise LocalProtocolError("message without Via")
        return self.vias[0]

    @_Lazy
    def from_(self) -> NameAddr:
        """Who sent the request."""
        return parse_name_addr(self._mandatory("From"))

    @_Lazy
    def to(self) -> NameAddr:
        """Whom the request is for."""
        return parse_name_addr(self._mandatory("To"))

    @property
    def call_id(self) -> str:
        """The Call-ID, compared octet by octet."""
        return self._mandatory("Call-ID")

    @_Lazy
    def cseq(self) -> CSeq:
        """Sequence number and method."""
        return parse_cseq(self._mandatory("CSeq"))

    @_Lazy
    def contacts(self) -> tuple[NameAddr, ...]:
        """The contacts; empty for none and for ``*``."""
        values = self.headers.get_all("Contact")
        return () if values == ("*",) else tuple(map(parse_name_addr, values))

    @property
    def contact_is_star(self) -> bool:
        """Whether the one contact is ``*`` (RFC 3261 section 10.2.2)."""
        return self.headers.get_all("Contact") == ("*",)

    @_Lazy
    def record_routes(self) -> tuple[NameAddr, ...]:
        """The Record-Route values in order."""
        return tuple(map(parse_name_addr, self.headers.get_all("Record-Route")))

    @_Lazy
    def routes(self) -> tuple[NameAddr, ...]:
        """The Route values in order."""
        return tuple(map(parse_name_addr, self.headers.get_all("Route")))

    @property
    def max_forwards(self) -> int | None:
        """Hops left, 0..255; None where the header is absent."""
        text = self.headers.get("Max-Forwards")
        if text is None:
            return None
        hops = parse_number(text, 255)
        if hops is None:
            raise RemoteProtocolError(400, "Malformed Max-Forwards")
        return hops

    @property
    def expires(self) -> int | None:
        """The Expires header in s; None where it is absent, 3600 where it is malformed (RFC 3261 section
        10.2.1.1).
        """
        text = self.headers.get("Expires")
        return None if text is None else parse_expires(text)

    @property
    def content_type(self) -> str | None:
        """The media type in lower case without parameters; None where the header is absent."""
        text = self.headers.get("Content-Type")
        return None if text is None else text.partition(";")[0].strip(" \t").lower()

    def replace(self, *, headers: Headers | None = None, body: bytes | None = None) -> Self:
        """The same message with other headers or another body."""
        return replace(
            self,
            headers=self.headers if headers is None else headers,
            body=self.body if body is None else body,
        )

    def _mandatory(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise LocalProtocolError(f"message without {name}")
        return value

    def _serialized(self, start_line: str) -> bytes:
        if "\r" in start_line or "\n" in start_line:
            raise LocalProtocolError("start line with a line break")
        lines = [start_line]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode(errors="replace") + self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(_Message):
    """A request. ``uri`` is the Request-URI as text; ``target`` the same as a value."""

    method: str
    uri: str

    @_Lazy
    def target(self) -> Uri:
        """The Request-URI (an OpaqueUri is to be answered 416)."""
        return parse_uri(self.uri)

    def serialize(self) -> bytes:
        """Bytes of one message; Content-Length is always written.

        Raises LocalProtocolError for a malformed start line.
        """
        if not TOKEN.fullmatch(self.method) or not self.uri or " " in self.uri:
            raise LocalProtocolError("malformed request line")
        return self._serialized(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(_Message):
    """A response. ``status`` is 100..699."""

    status: int
    reason: str

    def serialize(self) -> bytes:
        """Bytes of one message; Content-Length is always written.

        Raises LocalProtocolError for a malformed start line.
        """
        if not 100 <= self.status <= 699:
            raise LocalProtocolError("status out of range")
        return self._serialized(f"SIP/2.0 {self.status} {self.reason}")


Message = Request | Response


def parse(data: bytes) -> Message:
    """The message in one datagram (or one framed message of a stream).

    Empty lines before it are skipped (RFC 3261 section 7.5) and bytes after Content-Length dropped (section
    18.3). Content-Length itself is not kept among the headers: the body says it. Text that is not UTF-8 is
    taken for GB 18030, else for Latin-1. Raises RemoteProtocolError, and nothing else for any bytes: 400, 505
    for another SIP version, 513 beyond a limit.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(513, "Message longer than 65535 bytes")
    start_line, lines, body = _split_message(data)
    message = _start(start_line)
    items = tuple(_read_items(lines))
    headers = Headers.of_normalised(items)
    _refuse_duplicates(headers)
    length = headers.get("Content-Length")
    if length is not None:
        body = _cut(body, length)
        headers = Headers.of_normalised(tuple(item for item in items if item[0] != "Content-Length"))
    message = message.replace(headers=headers, body=body)
    _check_typed_fields(message)
    return message


def _split_message(data: bytes) -> tuple[str, list[str], bytes]:
    """Start line, unfolded header lines and all bytes after the empty line."""
    head, separator, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not separator:
        raise RemoteProtocolError(400, "No empty line after the headers")
    text = _decoded(head)
    breaks = text.count("\r\n")
    if text.count("\n") != breaks or text.count("\r") != breaks:
        raise RemoteProtocolError(400, "Bare CR or LF")
    if "\x00" in text and NUL.search(text):
        raise RemoteProtocolError(400, "NUL outside a quoted pair")
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    start_line, *lines = text.split("\r\n")
    if len(lines) > MAX_HEADERS:
        raise RemoteProtocolError(513, "Too many header fields")
    return start_line, lines, body


def _decoded(head: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        try:
            return head.decode(encoding)
        except UnicodeDecodeError:
            continue
    return head.decode("latin-1")


def _start(line: str) -> Message:
    """A message of the start line alone."""
    if line[:4].upper() == "SIP/":
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError(*_version_fault(line.partition(" ")[0]))
        return Response(status=int(match[1]), reason=match[2] or "", headers=_NONE)
    parts = line.split(" ")
    version = parts[-1].upper()
    if version != "SIP/2.0":
        raise RemoteProtocolError(*_version_fault(version))
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]):
        raise RemoteProtocolError(400, "Malformed request line")
    return Request(method=parts[0], uri=parts[1], headers=_NONE)


_NONE = Headers()


def _version_fault(version: str) -> tuple[int, str]:
    if _VERSION.fullmatch(version) and version.upper() != "SIP/2.0":
        return 505, "Version Not Supported"
    return 400, "Malformed start line"


def _read_items(lines: list[str]) -> Iterator[Item]:
    count = 0
    for line in lines:
        spelling, colon, value = line.partition(":")
        if not colon or len(line) > MAX_HEADER_CHARS:
            raise RemoteProtocolError(400 if not colon else 513, "Malformed or too long header field")
        name = CANONICAL.get(spelling) or canonical(spelling.rstrip(" \t"))
        value = value.strip(" \t")
        if name in SPLIT and "," in value:
            for element in split_list(value):
                count += 1
                yield name, element
        else:
            count += 1
            yield name, value
        if count > MAX_HEADERS:
            raise RemoteProtocolError(513, "Too many header fields")


def _refuse_duplicates(headers: Headers) -> None:
    for name in SINGLE:
        if len(headers.get_all(name)) > 1:
            raise RemoteProtocolError(400, f"More than one {name}")


def _cut(body: bytes, text: str) -> bytes:
    length = parse_number(text, MAX_MESSAGE_BYTES)
    if length is None:
        raise RemoteProtocolError(400, "Malformed Content-Length")
    if length > len(body):
        raise RemoteProtocolError(400, "Content-Length exceeds the message")
    return body[:length]


def _check_typed_fields(message: Message) -> None:
    """Read every typed field once, so that nothing raises later."""
    headers = message.headers
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        if not headers.get(name):
            raise RemoteProtocolError(400, f"Missing {name}")
    _ = message.vias, message.from_, message.to, message.max_forwards
    if headers.get("Contact") is not None:
        _ = message.contacts
    if headers.get("Record-Route") is not None:
        _ = message.record_routes
    if headers.get("Route") is not None:
        _ = message.routes
    method = message.cseq.method
    if isinstance(message, Request):
        if method != message.method:
            raise RemoteProtocolError(400, "CSeq method differs from the request's")
        if isinstance(message.target, SipUri) and message.target.headers:
            raise RemoteProtocolError(400, "Headers in the Request-URI")


def make_response(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    extra: Iterable[Item] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> Response:
    """The response to ``request`` (RFC 3261 section 8.2.6.2): its Via values, From, To, Call-ID and CSeq as
    they came.

    ``to_tag`` is added to a To that has no tag yet. Record-Route is copied into what may form a dialog
    (section 12.1.1), Timestamp into a 100 (section 8.2.6.1). ``reason`` defaults to the registered phrase.
    """
    items = [item for item in request.headers.items() if item[0] in _COPIED]
    if 100 < status < 300 and request.method in _DIALOG_FORMING:
        items += [("Record-Route", value) for value in request.headers.get_all("Record-Route")]
    if to_tag is not None and request.to.tag is None:
        items = [(name, f"{value};tag={to_tag}" if name == "To" else value) for name, value in items]
    if status == 100:
        items += [("Timestamp", value) for value in request.headers.get_all("Timestamp")]
    items += extra
    if content_type is not None:
        items.append(("Content-Type", content_type))
    if reason is None:
        reason = REASONS.get(status, "")
    return Response(status=status, reason=reason, headers=Headers(items), body=body)


_COPIED = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})


def error_response_for(data: bytes, error: RemoteProtocolError) -> Response | None:
    """What to answer to bytes that ``parse`` refused with ``error``, or None where nothing can be answered.

    Best effort: the first Via must be readable and the other copied headers present. An ACK and a response
    are never answered. The To tag follows from the bytes, so that a retransmission gets the same answer (RFC
    3261 section 8.2.7).
    """
    try:
        start_line, lines, _ = _split_message(data[:MAX_MESSAGE_BYTES])
        items = _readable_items(lines)
        method = start_line.partition(" ")[0]
        if method.upper() in ("", "ACK") or method.upper().startswith("SIP/") or not TOKEN.fullmatch(method):
            return None
        firsts = {name: value for name, value in reversed(items) if name in _COPIED and value}
        if len(firsts) < len(_COPIED) or _cseq_method(firsts["CSeq"]) == "ACK":
            return None
        parse_via(_OTHER_VERSION.sub("SIP/2.0", firsts["Via"]))  # a 505 answers a Via of another version too
        vias = [item for item in items if item[0] == "Via"]
        if ";tag=" not in firsts["To"].lower():
            firsts["To"] += f";tag={sha256(data).hexdigest()[:16]}"
        rest = [(name, firsts[name]) for name in ("From", "To", "Call-ID", "CSeq")]
        return Response(status=error.status, reason=error.reason, headers=Headers(vias + rest))
    except (RemoteProtocolError, LocalProtocolError):
        return None


def _cseq_method(text: str) -> str:
    """The method of a CSeq value whose number may be malformed."""
    return text.rpartition(" ")[2]


def _readable_items(lines: list[str]) -> list[Item]:
    items: list[Item] = []
    for line in lines:
        try:
            items += _read_items([line])
        except RemoteProtocolError:
            continue
    return items[:MAX_HEADERS]
