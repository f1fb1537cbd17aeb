"""A small carrier between the probe and the line: a stateless SIP proxy on loopback that takes registrations and, where
it is told to, does with a call what a carrier does that has forwarding set.

Media go directly between the parties; so does what follows the 2xx, as nothing asks for a Record-Route.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Literal

from tests.peers.ports import Address

HOST = "127.0.0.1"
Way = Literal["through", "elsewhere", "announced", "redirects", "silent", "refuses", "busy", "on_no_answer", "on_busy"]
_STEP_S = 0.1


@dataclass(slots=True)
class Carrier:
    """Routes calls to the line at ``line``; in the ways that forward, to ``elsewhere`` instead. ``numbers`` dialled is
    kept in ``dialled``. ``no_answer_s`` is its patience before it forwards on no answer."""

    line: Address
    elsewhere: Address | None = None
    way: Way = "through"
    no_answer_s: float = 1.5
    asserted: str = ""
    dialled: list[str] = field(default_factory=list)
    _socket: socket.socket = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)
    _invites: dict[str, bytes] = field(default_factory=dict, init=False)
    _answered: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(_STEP_S)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return host, port

    def close(self) -> None:
        """Be gone."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data, source = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            if data.startswith(b"SIP/2.0"):
                self._back(data)
            elif len(data) > 8:
                self._requested(data, source)

    # Requests

    def _requested(self, data: bytes, source: Address) -> None:
        method = data.split(b" ", 1)[0]
        if method in (b"REGISTER", b"OPTIONS"):
            contact = _header(data, b"Contact")
            extra = b"Contact: " + contact + b";expires=120\r\n" if contact else b""
            self._socket.sendto(_response(data, 200, b"OK", extra), source)
        elif method == b"INVITE":
            self._invited(data, source)
        elif method == b"ACK" and self._own_answer(data):
            return
        else:
            self._on(data, source, self.line)
            if method in (b"ACK", b"CANCEL") and self.elsewhere is not None:
                self._on(data, source, self.elsewhere)

    def _own_answer(self, data: bytes) -> bool:
        return self.way in ("redirects", "refuses", "busy")

    def _invited(self, data: bytes, source: Address) -> None:
        self.dialled.append(data.split(b" ")[1].decode())
        final = {"redirects": (302, b"Moved"), "refuses": (404, b"Not Found"), "busy": (486, b"Busy Here")}
        if self.way in final:
            status, reason = final[self.way]
            extra = b"Contact: <sip:13800000000@127.0.0.1>\r\n" if status == 302 else b""
            self._socket.sendto(_response(data, status, reason, extra), source)
        elif self.way == "silent":
            self._socket.sendto(_response(data, 100, b"Trying", b"", tag=b""), source)
        elif self.way in ("elsewhere", "announced"):
            if self.way == "announced":
                self._socket.sendto(_response(data, 181, b"Call Is Being Forwarded", b""), source)
            self._on(data, source, self.elsewhere or self.line)
        else:
            self._invites[_call_id(data)] = data
            self._on(data, source, self.line)
            if self.way == "on_no_answer":
                timer = threading.Timer(self.no_answer_s, self._nobody_answered, (data, source))
                timer.daemon = True
                timer.start()

    def _nobody_answered(self, data: bytes, source: Address) -> None:
        """Take the call away from the line and give it to somebody else, without a word to the caller."""
        if _call_id(data) in self._answered or self._stop.is_set():
            return
        branch = self._branch(data)
        cancel = re.sub(rb"(?m)^(CSeq: *\d+) INVITE", rb"\1 CANCEL", data.split(b"\r\n\r\n")[0])
        cancel = re.sub(rb"^INVITE", b"CANCEL", cancel)
        cancel = re.sub(rb"(?mi)^(Content-Type|Via): [^\r]*\r\n", b"", cancel)
        cancel = re.sub(rb"(?mi)^Content-Length: *\d+", b"Content-Length: 0", cancel)
        cancel = self._with_via(cancel, branch) + b"\r\n\r\n"
        self._socket.sendto(self._towards(cancel, self.line), self.line)
        if self.elsewhere is not None:
            self._on(data, source, self.elsewhere)

    def _on(self, data: bytes, source: Address, to: Address) -> None:
        """Forward as a stateless proxy: the same branch for the same request (RFC 3261 16.11)."""
        head, _, body = data.partition(b"\r\n\r\n")
        via = f"Via: SIP/2.0/UDP {source[0]}:{source[1]};".encode()
        head = re.sub(rb"(?m)^Via: SIP/2.0/UDP [^;\r]+;", via, head, count=1)
        if self.asserted and data.startswith(b"INVITE"):
            head += f"\r\nP-Asserted-Identity: <sip:{self.asserted}@{HOST}>".encode()
        head = self._with_via(head, self._branch(data))
        self._socket.sendto(self._towards(head, to) + b"\r\n\r\n" + body, to)

    def _towards(self, head: bytes, to: Address) -> bytes:
        target = f"@{to[0]}:{to[1]} ".encode()
        return re.sub(rb"@[^ ;]+(;[^ ]*)? ", target, head, count=1)

    def _with_via(self, head: bytes, branch: bytes) -> bytes:
        first, rest = head.split(b"\r\n", 1)
        mine = f"Via: SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch=".encode() + branch
        return first + b"\r\n" + mine + b"\r\n" + rest

    def _branch(self, data: bytes) -> bytes:
        found = re.search(rb"branch=([^;\r]+)", _header(data, b"Via"))
        received = found[1] if found else data
        return b"z9hG4bK" + hashlib.sha256(received).hexdigest()[:24].encode()

    # Responses

    def _back(self, data: bytes) -> None:
        status = int(data[8:11])
        if b"CANCEL" in _header(data, b"CSeq"):
            return
        invite = self._invites.get(_call_id(data))
        if status == 487 and self.way == "on_no_answer":
            return
        if status == 486 and self.way == "on_busy" and invite is not None and self.elsewhere is not None:
            vias = re.findall(rb"(?m)^Via: SIP/2.0/UDP ([^:;]+):(\d+)", data)
            self._on(invite, (vias[1][0].decode(), int(vias[1][1])), self.elsewhere)
            return
        if status >= 200:
            self._answered.add(_call_id(data))
        head, _, body = data.partition(b"\r\n\r\n")
        head = re.sub(rb"(?m)^Via: [^\r]*\r\n", b"", head, count=1)
        next_hop = re.search(rb"(?m)^Via: SIP/2.0/UDP ([^:;]+):(\d+)", head)
        if next_hop is not None:
            self._socket.sendto(head + b"\r\n\r\n" + body, (next_hop[1].decode(), int(next_hop[2])))


def _header(data: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?mi)^" + name + rb": *([^\r]*)", data)
    return found[1] if found else b""


def _call_id(data: bytes) -> str:
    return _header(data, b"Call-ID").decode()


def _response(request: bytes, status: int, reason: bytes, extra: bytes, *, tag: bytes = b";tag=carrier") -> bytes:
    copied = b"".join(
        line + (tag if line.lower().startswith(b"to:") and b"tag=" not in line else b"") + b"\r\n"
        for line in request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        if line.split(b":")[0].lower() in (b"via", b"from", b"to", b"call-id", b"cseq")
    )
    return f"SIP/2.0 {status} ".encode() + reason + b"\r\n" + copied + extra + b"Content-Length: 0\r\n\r\n"
