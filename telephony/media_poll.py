"""One wake-up for all media sockets: the event loop sees a single descriptor, however many calls there are.

A loop that wakes a callback for each socket spends more on that than on the packet. Here one ``epoll`` holds all
sockets and is itself watched by the loop (an epoll descriptor is readable when something in it is). After each turn
it is left alone for a millisecond, so that the next turn finds the packets of many calls: a turn of the loop costs
more than a packet. What can wait (``later``) is done when nothing is left to read, a little at a time, so that no
packet waits for it.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import OrderedDict
from collections.abc import Callable

Reader = Callable[[bool], bool]
"""Reads one datagram and says whether there was one. Told True, it must take the arrival from the kernel: the loop
stood still, and the datagram may be old."""

_PAUSE_S = 0.001
"""Delay that a packet may get so that many are taken at once; a phone plays out tens of ms later."""
_ROUNDS = 20
"""Datagrams of one socket in a turn: a burst is taken at once, a flood does not hold up the loop."""
_LATE_S = 0.05
"""A turn that comes this long after the last may find old datagrams."""
_BETWEEN = 4
"""Works of ``later`` between two looks at the sockets."""
_CATCH_UP = 50
"""Datagrams of one socket in a turn while catching up, so that the loop still turns."""


class MediaPoll:
    """All sockets of a media plane. ``clock`` gives s on a steady clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._later: OrderedDict[Callable[[], None], None] = OrderedDict()
        self._last_turn = clock()
        self._catching_up = False
        self._pause: asyncio.TimerHandle | None = None
        loop.add_reader(self._epoll.fileno(), self._wake)

    def add(self, sock: socket.socket, reader: Reader) -> None:
        """Calls ``reader`` whenever ``sock`` holds a datagram."""
        self._readers[sock.fileno()] = reader
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Forgets ``sock``; to be called before it is closed."""
        del self._readers[sock.fileno()]
        self._epoll.unregister(sock.fileno())

    def later(self, work: Callable[[], None]) -> None:
        """Does ``work`` within this turn or the next, after the packets; once, however often it was asked for until
        then, so that a flood which leaves no time for it does not pile it up."""
        self._later[work] = None

    def close(self) -> None:
        """Lets go of the loop and the descriptor."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _wake(self) -> None:
        """The first datagram after a time without any."""
        self._loop.remove_reader(self._epoll.fileno())
        self._turn()

    def _turn(self) -> None:
        """Takes what has arrived and pauses; without anything to take, asks the loop to wake it."""
        ready = self._epoll.poll(0)
        if not ready:
            self._pause = None
            self._last_turn = self._clock()
            self._loop.add_reader(self._epoll.fileno(), self._wake)
            return
        try:
            for _ in range(_ROUNDS):
                self._read(ready)
                ready = self._epoll.poll(0)
                while self._later and not ready:
                    self._work()
                    ready = self._epoll.poll(0)
                if not ready:
                    break
            self._work()
        finally:
            self._pause = self._loop.call_later(_PAUSE_S, self._turn)

    def _work(self) -> None:
        """A little of what could wait; in every turn, whatever else there is to do."""
        for _ in range(min(_BETWEEN, len(self._later))):
            work, _nothing = self._later.popitem(last=False)
            work()

    def _read(self, ready: list[tuple[int, int]]) -> None:
        late = self._catching_up or self._clock() - self._last_turn > _LATE_S
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
