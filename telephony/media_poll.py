"""One wake-up for all media sockets: the event loop sees a single descriptor, however many calls there are.

A loop that wakes a callback for each socket spends more on that than on the packet. Here one ``epoll`` holds all
sockets and is itself watched by the loop (an epoll descriptor is readable when something in it is), so that a turn of
the loop takes everything that has arrived.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

Reader = Callable[[bool], bool]
"""Reads one datagram and says whether there was one. Told True, it must take the arrival from the kernel: the loop
stood still, and the datagram may be old."""

_LATE_S = 0.05
"""A turn that comes this long after the last may find old datagrams."""
_CATCH_UP = 50
"""Datagrams of one socket in a turn while catching up, so that the loop still turns."""


class MediaPoll:
    """All sockets of a media plane. ``clock`` gives s on a steady clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._last_turn = clock()
        self._catching_up = False
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, sock: socket.socket, reader: Reader) -> None:
        """Calls ``reader`` whenever ``sock`` holds a datagram."""
        self._readers[sock.fileno()] = reader
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Forgets ``sock``; to be called before it is closed."""
        del self._readers[sock.fileno()]
        self._epoll.unregister(sock.fileno())

    def close(self) -> None:
        """Lets go of the loop and the descriptor."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        now = self._clock()
        late = self._catching_up or now - self._last_turn > _LATE_S
        ready = self._epoll.poll(0)
        if late:
            self._catching_up = self._catch_up([descriptor for descriptor, _ in ready])
        else:
            readers = self._readers
            for descriptor, _ in ready:
                reader = readers.get(descriptor)
                if reader is not None:  # a packet before this one may have ended its call
                    reader(False)
        self._last_turn = self._clock()

    def _catch_up(self, descriptors: list[int]) -> bool:
        """Empties the sockets in turn; whether more remains."""
        for _ in range(_CATCH_UP):
            descriptors = [of for of in descriptors if of in self._readers and self._readers[of](True)]
        return bool(descriptors)
