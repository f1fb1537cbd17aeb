"""Bodies in several parts (RFC 2046 section 5.1, for SIP RFC 5621): carriers wrap the session description together
with call data of their own, and the description has to be found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.headers import TOKEN, parse_params
from telephony.sip.message import Request, Response

SDP_TYPE = "application/sdp"
MAX_PARTS = 32
MAX_DEPTH = 4
"""multipart in multipart; deeper nesting is nobody's session description."""

_MEDIA_TYPE = re.compile(rf"[ \t]*+({TOKEN.pattern}/{TOKEN.pattern})[ \t]*+")
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,\-./:=? ]{0,69}[A-Za-z0-9'()+_,\-./:=?]")
_READ_PARTS = frozenset({"multipart/mixed", "multipart/alternative", "multipart/related", "multipart/signed"})
_IDENTITY = frozenset({"", "7bit", "8bit", "binary", "identity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One body part. ``media_type`` is in lower case; ``disposition`` the Content-Disposition without parameters,
    "" where there is none."""

    media_type: str
    disposition: str
    body: bytes


def session_description(message: Request | Response) -> bytes:
    """The SDP in ``message``, empty where it has no body.

    In a multipart body it is the first ``application/sdp`` part that is meant as session (of alternatives the last
    that we read, RFC 2046 section 5.1.4, is the same: we read nothing else). Raises RemoteProtocolError: 415 where a
    body holds none, 400 for a malformed multipart. A body that its sender declared optional (RFC 3261 section
    20.11) and that holds none counts as no body.
    """
    if not message.body:
        return b""
    for part in parts(message):
        if part.media_type == SDP_TYPE and part.disposition in ("", "session"):
            return part.body
    if is_optional(message):
        return b""
    raise RemoteProtocolError(415, "No session description in the body")


def body_types(message: Request | Response) -> frozenset[str]:
    """The media types of the leaf parts of ``message``, of a plain body its own; empty for a malformed multipart."""
    try:
        return frozenset(part.media_type for part in parts(message))
    except RemoteProtocolError:
        return frozenset()


def is_optional(message: Request | Response) -> bool:
    """Whether the sender lets us ignore a body that we cannot read (``handling=optional``)."""
    disposition = message.headers.get("Content-Disposition") or ""
    _, semicolon, rest = disposition.partition(";")
    try:
        params = dict(parse_params(semicolon + rest))
    except RemoteProtocolError:
        return False
    return (params.get("handling") or "").lower() == "optional"


def parts(message: Request | Response) -> tuple[Part, ...]:
    """The leaf parts of the body in order; one for a plain body, none for an empty one.

    Raises RemoteProtocolError (400).
    """
    if not message.body:
        return ()
    found = _leaves(
        message.headers.get("Content-Type") or SDP_TYPE,
        message.headers.get("Content-Disposition") or "",
        message.body,
        MAX_DEPTH,
    )
    if len(found) > MAX_PARTS:
        raise RemoteProtocolError(400, "Too many body parts")
    return tuple(found)


def _leaves(content_type: str, disposition: str, body: bytes, depth: int) -> list[Part]:
    match = _MEDIA_TYPE.match(content_type)
    if match is None:
        raise RemoteProtocolError(400, "Malformed Content-Type")
    media_type = match[1].lower()
    if media_type not in _READ_PARTS:
        return [Part(media_type=media_type, disposition=disposition.partition(";")[0].strip(" \t").lower(), body=body)]
    if depth == 0:
        raise RemoteProtocolError(400, "Body parts nested too deeply")
    boundary = dict(parse_params(content_type, match.end())).get("boundary") or ""
    if not _BOUNDARY.fullmatch(boundary):
        raise RemoteProtocolError(400, "multipart without boundary")
    leaves: list[Part] = []
    for piece in _pieces(body, boundary.encode()):
        fields, content = _split_part(piece)
        if fields.get("content-transfer-encoding", "").lower() in _IDENTITY:
            leaves += _leaves(
                fields.get("content-type", "text/plain"), fields.get("content-disposition", ""), content, depth - 1
            )
    return leaves


def _pieces(body: bytes, boundary: bytes) -> list[bytes]:
    """What stands between the delimiter lines; a missing close delimiter is taken for the body's end."""
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    marks = list(delimiter.finditer(body))
    if not marks or len(marks) > MAX_PARTS + 1:
        raise RemoteProtocolError(400, "multipart without its delimiter, or with too many parts")
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    return [body[mark.end() : end] for mark, end in zip(marks, ends, strict=True) if mark[1] is None]


def _split_part(piece: bytes) -> tuple[dict[str, str], bytes]:
    """Header fields by lower-case name, and the content."""
    piece = piece.removeprefix(b"\r\n")
    if piece.startswith(b"\r\n"):
        return {}, piece[2:]
    head, _, content = piece.partition(b"\r\n\r\n")
    lines = re.sub(rb"\r\n[ \t]+", b" ", head).decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines)
    return {name.strip(" \t").lower(): value.strip(" \t") for name, _, value in named}, content
