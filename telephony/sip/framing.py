"""Messages out of a byte stream: TCP and TLS keep no message boundaries, Content-Length does (RFC 3261
section 18.3).
"""

from __future__ import annotations

import re

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.message import MAX_MESSAGE_BYTES

_END = b"\r\n\r\n"
_FOLD = re.compile(rb"\r\n[ \t]++")


class StreamFramer:
    """Cuts one connection's bytes into whole messages.

    ``pings`` counts the CRLF CRLF keep-alives seen so far (RFC 5626 section 4.4.1), each to be answered with
    CRLF. ``fault`` is what ended the framing: after it, message boundaries are lost and the connection can
    only be closed.
    """

    def __init__(self) -> None:
        self.pings = 0
        self.fault: RemoteProtocolError | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._length: int | None = None
        self._line_ends = 0

    @property
    def pending(self) -> bool:
        """Whether a message has begun and is not whole yet."""
        return bool(self._buffer.strip(b"\r\n"))

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, each with its body.

        Raises RemoteProtocolError (400 for a missing or malformed Content-Length, 513 beyond 65,535 bytes).
        Messages that were whole before the fault are returned first; the fault is then set and raised by the
        next call.
        """
        messages: list[bytes] = []
        if self.fault is None:
            self._buffer += data
            try:
                while (message := self._next()) is not None:
                    messages.append(message)
            except RemoteProtocolError as fault:
                self.fault = fault
        if self.fault is not None and not messages:
            raise self.fault
        return messages

    def _next(self) -> bytes | None:
        if self._length is None:
            self._skip_line_ends()
            self._length = self._find_length()
        if self._length is None or len(self._buffer) < self._length:
            return None
        message = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._searched, self._length = 0, None
        return message

    def _skip_line_ends(self) -> None:
        if self._searched:
            return
        skipped = 0
        while self._buffer.startswith(b"\r\n", skipped):
            skipped += 2
            self._line_ends += 1
            if self._line_ends == 2:
                self.pings += 1
                self._line_ends = 0
        del self._buffer[:skipped]
        if self._buffer and self._buffer != b"\r":
            self._line_ends = 0

    def _find_length(self) -> int | None:
        """Bytes of the message at the buffer's start, None while its headers are incomplete."""
        if self._buffer == b"\r":
            return None
        end = self._buffer.find(_END, self._searched)
        if end < 0:
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise RemoteProtocolError(513, "Header fields longer than 65535 bytes")
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return None
        length = end + len(_END) + _content_length(bytes(self._buffer[:end]))
        if length > MAX_MESSAGE_BYTES:
            raise RemoteProtocolError(513, "Message longer than 65535 bytes")
        return length


def _content_length(head: bytes) -> int:
    values = []
    for line in _FOLD.sub(b" ", head).split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.rstrip(b" \t").lower() in (b"content-length", b"l"):
            values.append(value.strip(b" \t"))
    if len(values) != 1:
        raise RemoteProtocolError(400, "Stream message needs one Content-Length")
    if not values[0].isdigit() or len(values[0]) > 16:
        raise RemoteProtocolError(400, "Malformed Content-Length")
    return int(values[0])
