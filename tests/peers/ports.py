"""Free ports on loopback, below the range the kernel gives out by itself, so that no outgoing socket takes them."""

from __future__ import annotations

import os
import random
import socket

_FIRST, _LAST = 20_000, 32_000
_random = random.Random(os.getpid())
_given: set[int] = set()

Address = tuple[str, int]


def free_port(host: str = "127.0.0.1") -> int:
    """An even port, free for UDP and TCP, whose odd neighbour is free too (RTCP, or SIP over TLS)."""
    return free_block(2, host)


def free_block(size: int, host: str = "127.0.0.1") -> int:
    """The first of ``size`` consecutive ports, the first one even, each free for UDP and TCP on ``host`` and, as long
    as there are such, never given before by this process. Raises RuntimeError when 400 tries find none."""
    for attempt in range(400):
        first = _random.randrange(_FIRST, _LAST - size, 2)
        block = range(first, first + size)
        fresh = attempt >= 200 or _given.isdisjoint(block)
        if fresh and all(_is_free(host, port) for port in block):
            _given.update(block)
            return first
    raise RuntimeError(f"no {size} consecutive free ports on {host}")


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
