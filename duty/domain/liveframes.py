"""The wire form of live audio between telephony and transcription: one datagram per RTP frame on a local socket.

Losing datagrams costs captions, never the recording, hence no acknowledgement and no order beyond ``position``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from duty.domain.transcripts import Speaker

_HEADER = struct.Struct("!2sBB16sQ")
_MAGIC = b"DL"
_END = 0xFF
_CHANNELS = {Speaker.CALLER: 0, Speaker.OFFICER: 1}
_SPEAKERS = {number: speaker for speaker, number in _CHANNELS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFrame:
    """One frame of G.711 of one channel, or the end of the call (``codec`` None, empty payload).

    ``codec`` is the static RTP payload type (0 PCMU, 8 PCMA; RFC 3551); ``position`` counts samples at 8 kHz from the
    recording's first sample.
    """

    call_id: str
    speaker: Speaker
    codec: int | None
    position: int
    payload: bytes

    def pack(self) -> bytes:
        """Bytes of one datagram. Raises ValueError when ``call_id`` is not 32 hex digits."""
        codec = _END if self.codec is None else self.codec
        channel = _CHANNELS[self.speaker] << 4
        return _HEADER.pack(_MAGIC, 1 | channel, codec, bytes.fromhex(self.call_id), self.position) + self.payload

    @classmethod
    def unpack(cls, datagram: bytes) -> LiveFrame:
        """The frame in ``datagram``. Raises ValueError for anything that ``pack`` did not make."""
        if len(datagram) < _HEADER.size:
            raise ValueError("live frame is shorter than its header")
        magic, version, codec, call_id, position = _HEADER.unpack_from(datagram)
        speaker = _SPEAKERS.get(version >> 4)
        if magic != _MAGIC or version & 0x0F != 1 or speaker is None or codec not in (0, 8, _END):
            raise ValueError("not a live frame")
        return cls(
            call_id=call_id.hex(),
            speaker=speaker,
            codec=None if codec == _END else codec,
            position=position,
            payload=datagram[_HEADER.size :],
        )
