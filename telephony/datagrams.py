"""One UDP socket for SIP on the event loop: many datagrams a turn, and the network's word that a peer is not there.

The socket is read and written directly because the loop's own datagram transport neither tells whom an ICMP error
is about nor sends again what that error swallowed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable

from telephony.sip.flow import Address

_log = logging.getLogger(__name__)

LARGEST_UDP_BYTES = 65_507
DATAGRAMS_A_TURN = 4
"""Few, because audio waits on the same loop while each of them is worked on."""
ERRORS_A_TURN = 64
WAITING_DATAGRAMS = 2_048
"""Datagrams kept while the socket's buffer is full; beyond them the oldest is dropped, as the network would."""
_BUFFER_BYTES = 4 * 1024 * 1024
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_FROM_NETWORK = frozenset({2, 3})  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
_NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
# Linux, <linux/in.h> and <linux/in6.h>; Python's socket module does not name them in 3.11.
_IP_RECVERR, _IPV6_RECVERR = 11, 25


class DatagramSocket:
    """Reads a bound socket from ``bind_datagrams``. ``received`` takes each datagram and its source, ``unreachable``
    an address that the network says nobody listens at."""

    def __init__(
        self,
        bound: socket.socket,
        *,
        received: Callable[[bytes, Address], None],
        unreachable: Callable[[Address], None],
    ) -> None:
        self._received, self._unreachable = received, unreachable
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, Address]] = deque(maxlen=WAITING_DATAGRAMS)
        self._socket = bound
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, data: bytes, remote: Address) -> None:
        """Send one datagram. What cannot be sent at all is reported as unreachable, in the next turn of the loop."""
        if len(data) > LARGEST_UDP_BYTES:
            self._loop.call_soon(self._unreachable, remote)
        elif self._waiting:
            self._waiting.append((data, remote))
        elif not self._sent(data, remote):
            self._waiting.append((data, remote))
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def close(self) -> None:
        """Stop reading and let go of the address."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, source = self._socket.recvfrom(65_536)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                break  # an error about something we sent: the error queue says what
            self._received(data, (source[0], source[1]))
            if self._socket.fileno() < 0:
                return
        self._read_errors()

    def _writable(self) -> None:
        while self._waiting and self._sent(*self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._loop.remove_writer(self._socket.fileno())

    def _sent(self, data: bytes, remote: Address) -> bool:
        """False where the socket has no room. An error that an earlier datagram left is cleared by the first try."""
        for attempt in (1, 2):
            try:
                self._socket.sendto(data, remote)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if attempt == 2 or error.errno not in _NOBODY_THERE:
                    _log.info("no datagram to %s: %s", remote, error)
                    self._loop.call_soon(self._unreachable, remote)
                    return True
            else:
                return True
        return True

    def _read_errors(self) -> None:
        for _ in range(ERRORS_A_TURN):
            try:
                _, notes, _, remote = self._socket.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            if remote and any(_says_nobody(level, kind, data) for level, kind, data in notes):
                self._unreachable((remote[0], remote[1]))


def bind_datagrams(address: Address) -> socket.socket:
    """A socket for ``address``; IPv6 ones take no IPv4. Raises OSError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


def _says_nobody(level: int, kind: int, data: bytes) -> bool:
    if (level, kind) not in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
        return False
    if len(data) < _EXTENDED_ERROR.size:
        return False
    number, origin, *_ = _EXTENDED_ERROR.unpack_from(data)
    return origin in _FROM_NETWORK and number in _NOBODY_THERE
