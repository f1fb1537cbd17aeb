"""The sound of many calls at once: every frame says whose it is, so that each can be found in a recording, and every
recording searched for what is not its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.sip_text import HOST
from tests.peers.audio import FRAME_BYTES, FRAME_S
from tests.peers.ports import Address

_HEADER = struct.Struct("!BBHII")
_PCMA = 8


def frame(owner: str, number: int) -> bytes:
    """The 20 ms that ``owner`` says as its ``number``-th: quiet noise in A-law, unlike any other."""
    seed = f"{owner}:{number}".encode()
    noise = b"".join(hashlib.sha512(seed + bytes([part])).digest() for part in range(3))[:FRAME_BYTES]
    return bytes((byte & 0x0F) ^ 0xD5 for byte in noise)


@dataclass(slots=True, eq=False)
class Voice:
    """One side of one call; a socket of its own on loopback. ``said_at`` are the monotonic moments of its frames."""

    owner: str
    said_at: list[float] = field(default_factory=list, repr=False)
    heard: int = 0
    _socket: socket.socket = field(init=False)
    _to: Address | None = field(default=None, init=False)
    _due: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def talking(self) -> bool:
        """Whether it is sending now."""
        return self._to is not None

    def talk(self, to: Address) -> None:
        """Send to ``to`` from now on."""
        if self._to is None:
            self._to, self._due = to, time.monotonic()

    def hush(self) -> None:
        """Send no more."""
        self._to = None

    def close(self) -> None:
        """Be gone."""
        self.hush()
        self._socket.close()

    def tick(self, now: float) -> None:
        """Send what is due; take what has come."""
        while self._to is not None and self._due <= now:
            number = len(self.said_at)
            header = _HEADER.pack(0x80, _PCMA, number & 0xFFFF, number * FRAME_BYTES, 7)
            try:
                self._socket.sendto(header + self.frame(number), self._to)
            except OSError:  # the killed process's port is closed
                self._due += FRAME_S
                continue
            self.said_at.append(time.monotonic())
            self._due += FRAME_S
        try:
            while self._socket.fileno() >= 0 and (datagram := self._socket.recv(2048)):
                self.hear(datagram)
        except OSError:
            return

    def frame(self, number: int) -> bytes:
        """What it says as its ``number``-th 20 ms."""
        return frame(self.owner, number)

    def hear(self, datagram: bytes) -> None:
        """Something came."""
        self.heard += 1

    def said_until(self, moment: float) -> list[bytes]:
        """The frames sent before the monotonic ``moment``."""
        return [self.frame(number) for number, at in enumerate(self.said_at) if at < moment]


@dataclass(slots=True)
class Choir:
    """All voices, moved every 10 ms. ``make`` gives one for its owner's name."""

    make: Callable[[str], Voice] = Voice
    _voices: set[Voice] = field(default_factory=set)

    def new(self, owner: str) -> Voice:
        """A voice of ``owner``."""
        voice = self.make(owner)
        self._voices.add(voice)
        return voice

    def dismiss(self, voice: Voice) -> None:
        """This voice's call is over."""
        voice.close()
        self._voices.discard(voice)

    def close(self) -> None:
        """All calls are over."""
        for voice in tuple(self._voices):
            self.dismiss(voice)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now = time.monotonic()
            for voice in tuple(self._voices):
                voice.tick(now)
            await asyncio.sleep(0.01)
