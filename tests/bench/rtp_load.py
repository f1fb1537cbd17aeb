"""The other end of the media benchmark, in a process of its own: every phone and every caller of N calls.

It sends one G.711 packet per leg and 20 ms, at moments spread over the 20 ms, and takes the time of arrival from the
kernel, so that neither its own delays nor Python's are charged to the relay. It speaks lines of JSON: its ports out,
the relay's ports in, the result out.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import sys
import time
from typing import Any

FRAME_NS = 20_000_000
STAMP = struct.Struct("!4sHIQ")
MAGIC = b"DLB!"
_HEADER = struct.Struct("!BBHII")
_TIMESPEC = struct.Struct("@qq")
_FILL = random.Random(1).randbytes(160 - STAMP.size)
_SO_TIMESTAMPNS = 35
_PATIENCE_S = 5.0
"""How long a packet may be on its way before it counts as lost rather than late."""


class Load:
    """All legs; leg 2n is the caller of call n, leg 2n + 1 its phone."""

    def __init__(self, legs: int) -> None:
        self.sockets = [self._bound() for _ in range(legs)]
        self.by_descriptor = {sock.fileno(): number for number, sock in enumerate(self.sockets)}
        self.epoll = select.epoll()
        for sock in self.sockets:
            self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.sent = [0] * legs
        self.received = [0] * legs
        self.disordered = 0
        self.delays_us: list[int] = []

    @staticmethod
    def _bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        return sock

    def talk(self, relay_ports: list[int], seconds: float) -> None:
        """Sends for ``seconds``, each leg in its own phase, and listens until all has come back."""
        legs = len(self.sockets)
        begin = time.monotonic_ns() + 100_000_000
        frames = int(seconds * 50)
        phases = [leg * FRAME_NS // legs for leg in range(legs)]
        targets = [("127.0.0.1", port) for port in relay_ports]
        for frame in range(frames):
            for leg in range(legs):
                due = begin + frame * FRAME_NS + phases[leg]
                while (wait := due - time.monotonic_ns()) > 0:
                    self._drain(wait / 1e9)
                self._send(leg, frame, targets[leg])
            self._drain(0.0)
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and sum(self.received) < sum(self.sent):
            self._drain(0.05)

    def _send(self, leg: int, frame: int, target: tuple[str, int]) -> None:
        header = _HEADER.pack(0x80, 8, frame & 0xFFFF, frame * 160 & 0xFFFFFFFF, leg + 1)
        stamp = STAMP.pack(MAGIC, leg, frame, time.time_ns())
        try:
            self.sockets[leg].sendto(header + stamp + _FILL, target)
        except BlockingIOError:
            return
        self.sent[leg] += 1

    def _drain(self, wait_s: float) -> None:
        for descriptor, _ in self.epoll.poll(wait_s):
            leg = self.by_descriptor[descriptor]
            data, ancillary, _, _ = self.sockets[leg].recvmsg(2048, 64)
            if len(data) != 172:  # a report to the port above another leg's media
                continue
            seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
            _, origin, frame, sent_at = STAMP.unpack_from(data, 12)
            self.disordered += origin != leg ^ 1 or frame < self.received[leg]
            self.received[leg] += 1
            self.delays_us.append((seconds * 1_000_000_000 + nanoseconds - sent_at) // 1000)

    def result(self) -> dict[str, Any]:
        """The figures, with the delay's quantiles in ms."""
        delays = sorted(self.delays_us)

        def quantile(share: float) -> float:
            return delays[min(len(delays) - 1, int(share * len(delays)))] / 1000 if delays else -1.0

        return {
            "sent": self.sent,
            "received": self.received,
            "disordered": self.disordered,
            "within_5_ms": sum(delay <= 5000 for delay in delays) / max(1, len(delays)),
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "p999_ms": quantile(0.999),
            "max_ms": quantile(1.0),
            "cpu_s": time.process_time(),
        }


def main() -> None:
    """``rtp_load.py LEGS SECONDS``."""
    load = Load(int(sys.argv[1]))
    print(json.dumps([sock.getsockname()[1] for sock in load.sockets]), flush=True)
    load.talk(json.loads(sys.stdin.readline()), float(sys.argv[2]))
    print(json.dumps(load.result()), flush=True)


if __name__ == "__main__":
    main()
