"""The stream framer: however the bytes are cut, the same messages come out, and the buffer stays bounded."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, must, run
from tests.fuzz.seeds import STARTS, TORTURE

with instrumented():
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.framing import StreamFramer
    from telephony.sip.message import MAX_MESSAGE_BYTES

SEEDS = tuple(
    bytes([size]) + data for size, data in ((1, b"".join(STARTS)), (7, b"\r\n\r\n".join(STARTS)), (40, TORTURE[0]))
)


def check(data: bytes) -> None:
    size = (data[0] if data else 0) + 1
    stream = data[1:]
    whole = _messages(stream, len(stream) or 1)
    pieces = _messages(stream, size)
    assert whole == pieces


def _messages(stream: bytes, size: int) -> tuple[list[bytes], int, bool]:
    framer, messages = StreamFramer(), []
    for start in range(0, len(stream), size):
        try:
            messages += framer.feed(stream[start : start + size])
        except RemoteProtocolError as error:
            must(error.status in (400, 513))
            break
        assert len(framer._buffer) <= MAX_MESSAGE_BYTES + size
    assert all(len(message) <= MAX_MESSAGE_BYTES for message in messages)
    return messages, framer.pings, framer.fault is not None


if __name__ == "__main__":
    run(check, SEEDS)
