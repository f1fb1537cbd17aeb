"""A caller of a few lines on a bare socket, for what no well-behaved peer can be made to send."""

from __future__ import annotations

import os
import socket
import time
from types import TracebackType

from tests.peers.ports import Address


class RawCaller:
    """One UDP socket on loopback; a context manager. ``media_port`` goes into the SDP."""

    def __init__(self, line: Address, *, dialled: str, caller: str, media_port: int = 9) -> None:
        self.line = line
        self._dialled, self._caller, self._media_port = dialled, caller, media_port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._unique = os.urandom(6).hex()
        self.received: list[bytes] = []

    def __enter__(self) -> RawCaller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def address(self) -> Address:
        """Where it sends from."""
        host, port = self._socket.getsockname()
        return host, port

    def invite(self, *, extra: str = "", sdp: str | None = None) -> bytes:
        """An INVITE; the same bytes every time."""
        port = self._socket.getsockname()[1]
        body = sdp or (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {self._media_port} RTP/AVP 8\r\n"
        )
        contact = f"Contact: <sip:{self._caller}@127.0.0.1:{port}>\r\n"
        return self._request("INVITE", f"{contact}Content-Type: application/sdp\r\n{extra}", body)

    def cancel(self) -> bytes:
        """The CANCEL of that INVITE."""
        return self._request("CANCEL", "", "")

    def _request(self, method: str, headers: str, body: str) -> bytes:
        port = self._socket.getsockname()[1]
        line = f"sip:{self._dialled}@{self.line[0]}:{self.line[1]}"
        return (
            f"{method} {line} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{self._unique};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{self._caller}@127.0.0.1:{port}>;tag={self._unique}\r\n"
            f"To: <{line}>\r\nCall-ID: {self._unique}@127.0.0.1\r\nCSeq: 1 {method}\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def send(self, datagram: bytes, to: Address | None = None) -> None:
        """One datagram, whatever it is, to the line or elsewhere."""
        self._socket.sendto(datagram, to or self.line)

    def listen(self, seconds: float) -> list[int]:
        """Everything that comes within ``seconds``; the status codes among it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self.received.append(self._socket.recv(65535))
            except TimeoutError:
                break
        return [int(one.split(b" ")[1]) for one in self.received if one.startswith(b"SIP/2.0 ")]
