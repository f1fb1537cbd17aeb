"""An RTP party of the tests' own (RFC 3550, 3551): sends audio at exact times and keeps every packet it gets.

Used where SIPp only signals. It shares no code with the telephony under test, so that a mistake in one is not
cancelled by the same mistake in the other. Sending and receiving run in threads of their own: the pace does not
depend on the test's event loop.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from tests.peers.audio import FRAME_BYTES, FRAME_S
from tests.peers.ports import Address, free_port

PCMU, PCMA = 0, 8
_HEADER = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One packet. ``arrival_s`` is the monotonic clock in seconds (0.0 for a packet not received)."""

    sequence: int
    timestamp: int
    ssrc: int
    payload_type: int
    payload: bytes
    marker: bool = False
    arrival_s: float = 0.0
    source: Address = ("", 0)

    def pack(self) -> bytes:
        """Version 2, no padding, no extension, no CSRC."""
        second = self.payload_type | (0x80 if self.marker else 0)
        return _HEADER.pack(0x80, second, self.sequence, self.timestamp, self.ssrc) + self.payload

    @classmethod
    def unpack(cls, datagram: bytes, *, arrival_s: float = 0.0, source: Address = ("", 0)) -> RtpPacket:
        """Raises ValueError for anything that is not RTP version 2 or whose extension or padding is cut off."""
        if len(datagram) < _HEADER.size or datagram[0] >> 6 != 2:
            raise ValueError("not RTP")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
        start, end = _HEADER.size + 4 * (first & 0x0F), len(datagram)
        if first & 0x10:
            if start + 4 > end:
                raise ValueError("RTP extension is cut off")
            start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        if first & 0x20:
            end -= datagram[-1]
        if start > end:
            raise ValueError("RTP header or padding is longer than the packet")
        return cls(
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            payload_type=second & 0x7F,
            payload=datagram[start:end],
            marker=bool(second & 0x80),
            arrival_s=arrival_s,
            source=source,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAccount:
    """What arrived of one RTP stream. ``lost`` counts sequence numbers missing between the first and the last;
    ``timestamp_steps`` are the differences (samples) of neighbours in sequence, without repetition; intervals are
    between arrivals, in seconds."""

    packets: int
    lost: int
    duplicated: int
    reordered: int
    ssrcs: frozenset[int]
    payload_types: frozenset[int]
    timestamp_steps: frozenset[int]
    median_interval_s: float
    longest_interval_s: float


def account_stream(packets: Iterable[RtpPacket]) -> StreamAccount:
    """Sequence accounting over packets in the order of arrival (RFC 3550 A.1, with wrap-around of the sequence)."""
    arrived = list(packets)
    extended = _extended_sequences([packet.sequence for packet in arrived])
    unique = sorted(dict(zip(extended, arrived, strict=True)).items())
    gaps = sorted(b.arrival_s - a.arrival_s for a, b in pairwise(arrived))
    return StreamAccount(
        packets=len(arrived),
        lost=unique[-1][0] - unique[0][0] + 1 - len(unique) if unique else 0,
        duplicated=len(extended) - len(unique),
        reordered=sum(1 for a, b in pairwise(extended) if b < a),
        ssrcs=frozenset(packet.ssrc for packet in arrived),
        payload_types=frozenset(packet.payload_type for packet in arrived),
        timestamp_steps=frozenset((b.timestamp - a.timestamp) & 0xFFFFFFFF for (_, a), (_, b) in pairwise(unique)),
        median_interval_s=gaps[len(gaps) // 2] if gaps else 0.0,
        longest_interval_s=gaps[-1] if gaps else 0.0,
    )


def _extended_sequences(sequences: list[int]) -> list[int]:
    extended: list[int] = []
    for sequence in sequences:
        last = extended[-1] if extended else sequence
        extended.append(last + ((sequence - last + 0x8000) & 0xFFFF) - 0x8000)
    return extended


def packetize(
    alaw: bytes,
    *,
    payload_type: int = PCMA,
    sequence: int | None = None,
    timestamp: int | None = None,
    ssrc: int | None = None,
) -> list[RtpPacket]:
    """20 ms packets of G.711 bytes, the first marked (RFC 3551 4.1); random start values where none are given
    (RFC 3550 5.1). A last partial frame stays partial."""
    first = random.getrandbits(16) if sequence is None else sequence
    base = random.getrandbits(32) if timestamp is None else timestamp
    source = random.getrandbits(32) if ssrc is None else ssrc
    return [
        RtpPacket(
            sequence=(first + index) & 0xFFFF,
            timestamp=(base + start) & 0xFFFFFFFF,
            ssrc=source,
            payload_type=payload_type,
            payload=alaw[start : start + FRAME_BYTES],
            marker=start == 0,
        )
        for index, start in enumerate(range(0, len(alaw), FRAME_BYTES))
    ]


@dataclass(slots=True)
class RtpPeer:
    """One UDP socket on ``host``:``port``; a context manager. ``echo=True`` sends every packet back as it came.

    Datagrams that are no RTP are kept in ``foreign``."""

    host: str = "127.0.0.1"
    port: int = 0
    echo: bool = False
    received: list[RtpPacket] = field(default_factory=list)
    foreign: list[bytes] = field(default_factory=list)
    _socket: socket.socket = field(init=False, repr=False)
    _receiver: threading.Thread = field(init=False, repr=False)
    _sender: threading.Thread | None = field(default=None, init=False, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __enter__(self) -> RtpPeer:
        self.port = self.port or free_port(self.host)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.host, self.port))
        self._socket.settimeout(0.05)
        self._receiver = threading.Thread(target=self._receive, name=f"rtp-{self.port}", daemon=True)
        self._receiver.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._receiver.join()
        if self._sender is not None:
            self._sender.join()
        self._socket.close()

    def send(self, alaw: bytes, to: Address, *, payload_type: int = PCMA) -> None:
        """Starts to send ``alaw`` to ``to`` in 20 ms packets and returns at once; see ``finish_sending``."""
        self.send_packets(packetize(alaw, payload_type=payload_type), to)

    def send_packets(self, packets: list[RtpPacket], to: Address) -> None:
        """Starts to send ``packets`` 20 ms apart, in the order given (leave out, repeat or swap some to play a bad
        network), and returns at once. Raises RuntimeError while an earlier sending goes on."""
        if self._sender is not None and self._sender.is_alive():
            raise RuntimeError("still sending")
        datagrams = [packet.pack() for packet in packets]
        self._sender = threading.Thread(target=self._pace, args=(datagrams, to), daemon=True)
        self._sender.start()

    def send_datagram(self, datagram: bytes, to: Address) -> None:
        """One datagram now, whatever it is."""
        self._socket.sendto(datagram, to)

    def finish_sending(self, timeout_s: float = 60.0) -> None:
        """Waits for the last packet. Raises TimeoutError."""
        if self._sender is not None:
            self._sender.join(timeout_s)
            if self._sender.is_alive():
                raise TimeoutError(f"still sending after {timeout_s} s")

    def wait_for_packets(self, count: int, timeout_s: float) -> None:
        """Waits until ``count`` packets arrived. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while len(self.received) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.received)} of {count} RTP packets after {timeout_s} s")
            time.sleep(0.01)

    def account(self) -> StreamAccount:
        """Sequence accounting over all that arrived."""
        return account_stream(self.received)

    def heard(self, payload_type: int = PCMA) -> bytes:
        """The payloads of ``payload_type`` in the order of arrival."""
        return b"".join(packet.payload for packet in self.received if packet.payload_type == payload_type)

    def _pace(self, datagrams: list[bytes], to: Address) -> None:
        start = time.monotonic()
        for index, datagram in enumerate(datagrams):
            if self._stop.wait(max(0.0, start + index * FRAME_S - time.monotonic())):
                return
            self._socket.sendto(datagram, to)

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                datagram, source = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # the other side's port closed while we sent
                continue
            self._keep(datagram, (source[0], source[1]))

    def _keep(self, datagram: bytes, source: Address) -> None:
        try:
            self.received.append(RtpPacket.unpack(datagram, arrival_s=time.monotonic(), source=source))
        except ValueError:
            self.foreign.append(datagram)
            return
        if self.echo:
            self._socket.sendto(datagram, source)


_PCAP_GLOBAL = struct.Struct("<IHHiIII")
_PCAP_RECORD = struct.Struct("<IIII")


def write_pcap(path: Path, packets: Iterable[RtpPacket]) -> Path:
    """A libpcap capture (Ethernet, IPv4, UDP) of ``packets`` 20 ms apart, for SIPp's play_pcap_audio.

    SIPp takes addresses from the call, so those in the file are only placeholders."""
    records = [_PCAP_GLOBAL.pack(0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for index, packet in enumerate(packets):
        frame = _ethernet(packet.pack(), index)
        micros = round(index * FRAME_S * 1e6)
        records.append(_PCAP_RECORD.pack(micros // 1_000_000, micros % 1_000_000, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(records))
    return path


def _ethernet(payload: bytes, identification: int) -> bytes:
    udp = struct.pack("!HHHH", 4000, 4000, 8 + len(payload), 0) + payload
    loopback = socket.inet_aton("127.0.0.1")
    fields = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), identification & 0xFFFF, 0, 64, 17, 0) + loopback * 2
    checksum = struct.pack("!H", _checksum(fields))
    return bytes(12) + b"\x08\x00" + fields[:10] + checksum + fields[12:] + udp


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
