"""The RTCP socket of one leg: who may report to it, where our reports go, and when (RFC 3550 section 6).

The remote's reports come from the host of its media; they are answered to where they come from, and go to the port
that was negotiated, the one above the media's or the media's own, until one has come.
"""

from __future__ import annotations

import random
import secrets
import socket
import time
from collections.abc import Callable

from telephony.media_cipher import MediaCipher, UnauthenticError
from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.reports import Received, RemoteView, ReportExchange, Sent

_LARGEST = 2048


class LegReports:
    """``clock`` gives s on the media clock, ``unix`` the wall clock in s."""

    def __init__(
        self, sock: socket.socket, *, clock: Callable[[], float], unix: Callable[[], float] = time.time
    ) -> None:
        self.taken = 0
        self.refused = 0
        self._socket = sock
        self._cipher: MediaCipher | None = None
        self._shared: Callable[[bytes], None] | None = None
        self._clock = clock
        self._unix = unix
        self._own = secrets.randbits(32)
        self._exchange = ReportExchange(cname=secrets.token_urlsafe(12), chance=random.random)
        self._host: str | None = None
        self._destination: tuple[str, int] | None = None
        self._ssrc: int | None = None

    def set_remote(self, host: str, port: int) -> None:
        """Where the remote takes reports, first or again; ``port`` 0 for nowhere."""
        self._host = host
        self._destination = (host, port) if port else None

    def share(self, send: Callable[[bytes], None] | None) -> None:
        """Sends reports by ``send`` from the media's own socket (RFC 5761), which protects them as its media are;
        None: from theirs."""
        self._shared = send

    def encrypt(self, cipher: MediaCipher | None) -> None:
        """Sends and takes nothing from now on that ``cipher`` does not protect; None: all is plain."""
        self._cipher = cipher

    def read_one(self, _late: bool = False) -> bool:
        """Takes one datagram from the socket; whether there was one."""
        try:
            datagram, source = self._socket.recvfrom(_LARGEST)
        except OSError:
            return False
        if source[0] != self._host:
            self.refused += 1
            return True
        try:
            opened = datagram if self._cipher is None else self._cipher.open_report(datagram)
        except UnauthenticError:
            self.refused += 1
            return True
        if self.take(opened) and self._shared is None:
            self._destination = source[:2]
        return True

    def take(self, datagram: bytes) -> bool:
        """One compound of the remote in clear, also where it came on the media's port (RFC 5761); whether it was
        one."""
        try:
            self._exchange.receive(datagram, own=self._ssrc, now=self._clock(), unix=self._unix())
        except MalformedPacketError:
            self.refused += 1
            return False
        self.taken += 1
        return True

    def due(self, now: float) -> bool:
        """Whether a report should go out."""
        return self._destination is not None and self._exchange.due(now)

    def send(self, *, sent: Sent | None, received: Received | None, now: float, last: bool = False) -> None:
        """Sends our report, as the ``last`` one with a goodbye. A network that refuses it is left alone."""
        self._ssrc = sent.ssrc if sent is not None else self._ssrc
        make = self._exchange.goodbye if last else self._exchange.report
        compound = make(sent=sent, received=received, own=self._own, now=now, unix=self._unix())
        if not compound or self._destination is None:
            return
        try:
            if self._shared is not None:
                self._shared(compound)
            else:
                sealed = compound if self._cipher is None else self._cipher.seal(compound)
                self._socket.sendto(sealed, self._destination)
        except OSError:
            self.refused += 1

    def view(self) -> RemoteView:
        """What the remote told up to now."""
        return self._exchange.view()
