"""SIP as text, for parties that a test plays itself by the hundred: enough of RFC 3261 to be understood, and nothing
shared with the telephony under test.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tests.peers.ports import Address

HOST = "127.0.0.1"
_COPIED = ("via", "from", "to", "call-id", "cseq")
_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


@dataclass(frozen=True, slots=True)
class Heard:
    """One message as it came: the first line, the headers in order (names in lower case), the body."""

    first: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def status(self) -> int:
        """Of a response; 0 of a request."""
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """Of a request, or of the request that a response answers."""
        return self["cseq"].split(" ")[1]

    def __getitem__(self, name: str) -> str:
        return next((value for known, value in self.headers if known == name), "")

    @property
    def media(self) -> Address | None:
        """Where the body says that audio is taken."""
        host = re.search(r"^c=IN IP4 (\S+)", self.body, re.M)
        port = re.search(r"^m=audio (\d+)", self.body, re.M)
        return (host[1], int(port[1])) if host and port else None

    @property
    def caller(self) -> str:
        """The user of From."""
        found = re.search(r"sip:([^@>]+)@", self["from"])
        return found[1] if found else ""


def read(data: bytes) -> Heard:
    """One whole message."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    named = [(name.strip().lower(), value.strip()) for name, value in pairs]
    return Heard(first, tuple((_SHORT.get(name, name), value) for name, value in named), body)


def cut(stream: bytearray) -> list[bytes]:
    """The whole messages at the beginning of a TCP stream, taken out of it."""
    found = []
    while stream.startswith(b"\r\n"):  # the answer to a keep-alive (RFC 5626 3.5.1)
        del stream[:2]
    while (end := stream.find(b"\r\n\r\n")) >= 0:
        length = re.search(rb"(?mi)^(?:Content-Length|l) *: *(\d+)", stream[:end])
        size = end + 4 + (int(length[1]) if length else 0)
        if len(stream) < size:
            break
        found.append(bytes(stream[:size]))
        del stream[:size]
    return found


def write(first: str, headers: list[tuple[str, str]], body: str = "") -> bytes:
    """A message."""
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answer(request: Heard, status: int, *, tag: str, contact: str = "", media_port: int = 0) -> bytes:
    """A response to ``request``; with ``media_port`` an answer in it."""
    copied = [(name.title(), value) for name, value in request.headers if name in _COPIED]
    headers = [
        (name, f"{value};tag={tag}" if name == "To" and "tag=" not in value else value) for name, value in copied
    ]
    if contact:
        headers.append(("Contact", f"<{contact}>"))
    if media_port:
        headers.append(("Content-Type", "application/sdp"))
    return write(f"SIP/2.0 {status} Said", headers, description(media_port) if media_port else "")


def description(port: int) -> str:
    """Audio as A-law at ``port``."""
    return (
        f"v=0\r\no=- {port} {port} IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
    )


def contact_of(heard: Heard) -> str:
    """The URI of Contact."""
    found = re.search(r"<([^>]+)>", heard["contact"])
    return found[1] if found else heard["contact"].split(";")[0]


def place(uri: str) -> Address:
    """Host and port of a URI whose host is an address."""
    found = re.search(r"@?([\d.]+):(\d+)", uri)
    assert found is not None, uri
    return found[1], int(found[2])


def authorization(challenge: str, *, user: str, password: str, method: str, uri: str) -> str:
    """The answer to a challenge, by MD5 (RFC 7616 with qop auth)."""
    value = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))

    def digest(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    first = digest(f"{user}:{value['realm']}:{password}")
    second = digest(f"{method}:{uri}")
    response = digest(f"{first}:{value['nonce']}:00000001:77:auth:{second}")
    opaque = f', opaque="{value["opaque"]}"' if "opaque" in value else ""
    return (
        f'Digest username="{user}", realm="{value["realm"]}", nonce="{value["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm=MD5, qop=auth, cnonce="77", nc=00000001{opaque}'
    )
