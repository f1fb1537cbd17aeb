"""When each INVITE reached a system and when its own INVITE left it, by the kernel's clock, on loopback.

The kernel filters: only datagrams that begin with INVITE are copied, and they wait in the socket's buffer until the run
is over, so that measuring takes no processor time from what is measured. Needs the right to capture (root).
"""

from __future__ import annotations

import ctypes
import re
import socket
import struct

_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_ETH_P_IP = 0x0800
_BUFFER_BYTES = 512 << 20
_KEPT_BYTES = 512
# IPv4, UDP, payload begins with "INVI": ldb [9]; jeq #17; ldxb 4*([0]&0xf); ld [x+8]; jeq #"INVI"; ret
_FILTER = (
    (0x30, 0, 0, 9),
    (0x15, 0, 4, 17),
    (0xB1, 0, 0, 0),
    (0x40, 0, 0, 8),
    (0x15, 0, 1, 0x494E5649),
    (0x06, 0, 0, _KEPT_BYTES),
    (0x06, 0, 0, 0),
)
_TIME = struct.Struct("qq")
_CALLER = re.compile(rb"\r\n(?:From|f)[ \t]*:[^\r\n]*?sips?:([^@;>\r\n]+)@", re.IGNORECASE)


class CaptureError(RuntimeError):
    """The kernel dropped what should have been captured."""


class InviteCapture:
    """Captures from its making on. Raises PermissionError without the right to."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        code = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
        self._code = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HxxxxxxP", len(_FILTER), ctypes.addressof(self._code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.setblocking(False)

    def delays_ms(self, system_port: int, phone_port: int) -> dict[str, float]:
        """By caller: ms from the first INVITE to the system until the first to the phone; closes the capture.

        Raises CaptureError where the kernel had no room for one."""
        reached: dict[str, float] = {}
        left: dict[str, float] = {}
        for at, port, caller in self._invites():
            seen = reached if port == system_port else left if port == phone_port else None
            if seen is not None:
                seen.setdefault(caller, at)
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        if dropped:
            raise CaptureError(f"{dropped} INVITEs were not captured")
        return {caller: (left[caller] - at) * 1000 for caller, at in reached.items() if caller in left}

    def close(self) -> None:
        """Stop without a result."""
        self._socket.close()

    def _invites(self) -> list[tuple[float, int, str]]:
        found = []
        while True:
            try:
                data, notes, _, source = self._socket.recvmsg(_KEPT_BYTES, 64)
            except BlockingIOError:
                return found
            if source[2] == socket.PACKET_OUTGOING:  # loopback shows each packet twice
                continue
            seconds, nanoseconds = next(_TIME.unpack(value[:16]) for _, kind, value in notes if kind == _SO_TIMESTAMPNS)
            start = 4 * (data[0] & 15)
            caller = _CALLER.search(data, start + 8)
            if caller is not None:
                port = int.from_bytes(data[start + 2 : start + 4], "big")
                found.append((seconds + nanoseconds / 1e9, port, caller[1].decode("ascii", "replace")))
