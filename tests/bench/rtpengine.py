"""rtpengine as the media bench's peer: user-space forwarding, each call recorded into a capture file, driven by its ng
protocol as Kamailio's rtpengine module drives it.

Its recording daemon takes packets from a kernel module, which a container has not; so it records by itself (method
``pcap``), as it does where there is none.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.bench.rtp_load import MAGIC, STAMP
from tests.peers.ports import free_port

HOST = "127.0.0.1"
PORTS = (30_000, 39_998)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
_START_LIMIT_S = 10.0
_PCAP_HEADER, _RECORD = 24, struct.Struct("<IIII")
_IP_UDP, _RTP = 28, 12

Bencoded = str | int | list["Bencoded"] | dict[str, "Bencoded"]


class Rtpengine:
    """One daemon in ``work``; a context manager."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._port = free_port()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(2.0)
        self._cookie = 0
        (work / "recordings").mkdir(parents=True)
        with (work / "rtpengine.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("rtpengine", "--foreground", "--log-stderr", "--log-level=3", "--table=-1"),
                    *(f"--interface={HOST}", f"--listen-ng={HOST}:{self._port}"),
                    *(f"--port-min={PORTS[0]}", f"--port-max={PORTS[1]}", "--endpoint-learning=immediate"),
                    *("--recording-method=pcap", f"--recording-dir={work / 'recordings'}", "--recording-format=raw"),
                    *("--delete-delay=0", f"--pidfile={work / 'pid'}"),
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Rtpengine:
        limit = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                self._ask({"command": "ping"})
                return self
            except OSError:
                log = (self._work / "rtpengine.log").read_text("utf-8", "replace")
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(f"rtpengine does not start: {log[-2000:]}") from None
                time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10.0)
        self._socket.close()

    def open(self, call: int, caller_port: int, phone_port: int) -> tuple[int, int]:
        """A recorded call between two ports; the ports that each of them sends to."""
        head: dict[str, Bencoded] = {"call-id": f"bench{call}", "from-tag": "caller"}
        flags: dict[str, Bencoded] = {"record call": "yes", "ICE": "remove"}
        offered = self._ask({"command": "offer", "sdp": _sdp(caller_port), **head, **flags})
        answered = self._ask({"command": "answer", "sdp": _sdp(phone_port), "to-tag": "phone", **head, **flags})
        return _media_port(answered), _media_port(offered)

    def close(self, call: int) -> None:
        """The call is over and its recording whole."""
        self._ask({"command": "delete", "call-id": f"bench{call}", "from-tag": "caller"})

    def cpu_s(self) -> float:
        """Processor time until now."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / _TICKS

    def resident_kib(self) -> float:
        """Resident memory now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_KIB

    def recorded(self) -> set[tuple[int, int]]:
        """Leg and number of every frame in the recordings."""
        found: set[tuple[int, int]] = set()
        for path in (self._work / "recordings").rglob("*.pcap"):
            found.update(_frames(path.read_bytes()))
        return found

    def _ask(self, request: dict[str, Bencoded]) -> dict[str, Bencoded]:
        self._cookie += 1
        cookie = f"{os.getpid()}_{self._cookie}".encode()
        self._socket.sendto(cookie + b" " + _encode(request), (HOST, self._port))
        while True:
            data = self._socket.recv(65535)
            if data.startswith(cookie + b" "):
                answer, _ = _decode(data, len(cookie) + 1)
                assert isinstance(answer, dict)
                if answer["result"] not in ("ok", "pong"):
                    raise RuntimeError(f"rtpengine refuses {request['command']}: {answer}")
                return answer


def _sdp(port: int) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )


def _media_port(answer: dict[str, Bencoded]) -> int:
    sdp = answer["sdp"]
    assert isinstance(sdp, str)
    return int(sdp.partition("m=audio ")[2].split(" ", 1)[0])


def _frames(capture: bytes) -> Iterator[tuple[int, int]]:
    at = _PCAP_HEADER
    while at + _RECORD.size <= len(capture):
        length = _RECORD.unpack_from(capture, at)[2]
        at += _RECORD.size
        if length >= _IP_UDP + _RTP + STAMP.size:
            magic, leg, number, _ = STAMP.unpack_from(capture, at + _IP_UDP + _RTP)
            if magic == MAGIC:
                yield leg, number
        at += length


def _encode(value: Bencoded) -> bytes:
    match value:
        case str():
            data = value.encode()
            return b"%d:%b" % (len(data), data)
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(_encode, value)) + b"e"
        case dict():
            return b"d" + b"".join(_encode(key) + _encode(of) for key, of in sorted(value.items())) + b"e"


def _decode(data: bytes, at: int) -> tuple[Bencoded, int]:
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items: list[Bencoded] = []
        at += 1
        while data[at : at + 1] != b"e":
            item, at = _decode(data, at)
            items.append(item)
        if kind == b"l":
            return items, at + 1
        return {str(key): of for key, of in zip(items[::2], items[1::2], strict=True)}, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode("utf-8", "replace"), end
