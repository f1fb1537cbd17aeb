"""Ports for RTP and RTCP: an even one and the odd one above it (RFC 3550 section 11), lent and taken back.

A port rests for some seconds after a call, so that the last packets of one call can never be heard in the
next. After a crash the peers of the broken calls talk on; hence a new process begins where its forerunner has
not been lately.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from telephony.media_errors import NoFreePortError

_RECEIVE_BUFFER = 512 * 1024
_EXPEDITED_FORWARDING = 46 << 2
"""DSCP EF for voice (RFC 4594)."""
_SO_TIMESTAMPNS = 35
"""Linux asm-generic/socket.h; the socket module does not name it."""
_TIMESPEC = struct.Struct("@qq")
_OLDEST_S = 60.0
_PAIRS_PER_S = 20
"""How fast the place moves at which a new process enters the ring: faster than calls use it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPair:
    """Two bound, non-blocking datagram sockets; ``port`` is the even one."""

    port: int
    rtp: socket.socket
    rtcp: socket.socket

    def close(self) -> None:
        """Closes both."""
        self.rtp.close()
        self.rtcp.close()


class PortPool:
    """The pairs of the configured range, used in turn."""

    def __init__(self, *, host: str, first: int, last: int, rest_s: float) -> None:
        """``host`` is the local address to bind; ``first`` and ``last`` are inclusive. Raises ValueError."""
        self._host = host
        self._family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        self._rest_s = rest_s
        self._free = deque(range(first + first % 2, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        if not self._free or not 1024 <= first <= last <= 65535:
            raise ValueError("the port range holds no pair of an even and the next odd port from 1024 to 65535")
        self._free.rotate(-(int(time.time() * _PAIRS_PER_S) % len(self._free)))

    @property
    def free(self) -> int:
        """Pairs that can be lent, as far as no other program holds them."""
        return len(self._free)

    def lend(self, now: float) -> SocketPair:
        """The next pair that can be bound; where all others are lent, the one that has rested longest, since a call
        without media would be worse than a late packet. Raises NoFreePortError."""
        while self._resting and (self._resting[0][0] <= now or not self._free):
            self._free.append(self._resting.popleft()[1])
        for _ in range(len(self._free)):
            port = self._free.popleft()
            pair = self._bind(port)
            if pair is not None:
                return pair
            self._free.append(port)
        raise NoFreePortError(f"no free RTP port on {self._host}")

    def take_back(self, pair: SocketPair, now: float) -> None:
        """Closes ``pair`` and lets its ports rest."""
        pair.close()
        self._resting.append((now + self._rest_s, pair.port))

    def _bind(self, port: int) -> SocketPair | None:
        opened: list[socket.socket] = []
        try:
            for number in (port, port + 1):
                opened.append(socket.socket(self._family, socket.SOCK_DGRAM))
                opened[-1].setblocking(False)
                opened[-1].bind((self._host, number))
        except OSError:
            for candidate in opened:
                candidate.close()
            return None
        _prepare(opened[0], self._family)
        return SocketPair(port=port, rtp=opened[0], rtcp=opened[1])


Source = tuple[str, int]
"""Host and port; over IPv6 the socket adds flow and scope behind them."""


class Datagram:
    """The datagrams of one socket with the moment of their arrival, in s on ``clock``. Both ways raise what the
    socket raises, BlockingIOError where there is none."""

    def __init__(self, sock: socket.socket, *, clock: Callable[[], float], largest: int) -> None:
        self._recvfrom = sock.recvfrom
        self._recvmsg = sock.recvmsg
        self._clock = clock
        self._largest = largest

    def next(self) -> tuple[bytes, Source, float]:
        """One that arrived just now."""
        datagram, source = self._recvfrom(self._largest)
        return datagram, source, self._clock()

    def dated(self) -> tuple[bytes, Source, float]:
        """One that may have waited, up to a minute: by the kernel's date."""
        datagram, ancillary, _, source = self._recvmsg(self._largest, 64)
        age = 0.0
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                age = time.time() - seconds - nanoseconds / 1e9
        return datagram, source, self._clock() - min(max(age, 0.0), _OLDEST_S)


def _prepare(rtp: socket.socket, family: socket.AddressFamily) -> None:
    """Room for seconds of packets while the process is busy, and precedence on the network where it is
    granted."""
    rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    rtp.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    with contextlib.suppress(OSError):
        if family is socket.AF_INET6:
            rtp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED_FORWARDING)
        else:
            rtp.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED_FORWARDING)
