"""The form of sealed content: AES-256-GCM in chunks, so that a long recording is opened at any place without the rest.

A head of 52 bytes (magic, chunk size, length of the plaintext, salt), then the chunks, each with its tag of 16 bytes.
Every object has a key of its own, derived by HKDF-SHA256 from the call's data key and the object's random salt; hence
the nonce may be the chunk's number, and sealing anew never uses a pair of key and nonce twice. With each chunk are
authenticated the head, the context (whose object it is), its number, and whether it is the last: no chunk can be
altered, moved, left out or brought from elsewhere, and the end cannot be cut off.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from duty.vault.errors import NotAuthentic

MAGIC = b"DLVAULT1"
KEY_BYTES = 32
CHUNK_BYTES = 1 << 16
TAG_BYTES = 16
_HEAD = struct.Struct(">8sIQ32s")
HEAD_BYTES = _HEAD.size
_SALT_BYTES = 32
_NONCE = struct.Struct(">IQ")
_PLACE = struct.Struct(">IQB")
_LARGEST_CHUNK = 1 << 24
_LONGEST = 1 << 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first ``HEAD_BYTES`` of a sealed object. Sizes in bytes."""

    plain_bytes: int
    salt: bytes
    chunk_bytes: int = CHUNK_BYTES

    @property
    def chunks(self) -> int:
        """How many there are; an empty object has one, empty."""
        return max(1, -(-self.plain_bytes // self.chunk_bytes))

    @property
    def sealed_bytes(self) -> int:
        """How long the sealed object is."""
        return HEAD_BYTES + self.plain_bytes + self.chunks * TAG_BYTES

    def place(self, number: int) -> tuple[int, int]:
        """Where chunk ``number`` lies in the sealed object, and how long it is there."""
        start = number * self.chunk_bytes
        length = min(self.chunk_bytes, self.plain_bytes - start) + TAG_BYTES
        return HEAD_BYTES + number * (self.chunk_bytes + TAG_BYTES), length

    def packed(self) -> bytes:
        """As it stands in the object."""
        return _HEAD.pack(MAGIC, self.chunk_bytes, self.plain_bytes, self.salt)


def new_head(plain_bytes: int) -> Head:
    """The head of a new object of that length."""
    return Head(plain_bytes=plain_bytes, salt=os.urandom(_SALT_BYTES))


def read_head(data: bytes) -> Head:
    """The head at the beginning of ``data``. Raises NotAuthentic for what is none; what it says is proven only by the
    first chunk that opens."""
    if len(data) < HEAD_BYTES:
        raise NotAuthentic()
    magic, chunk_bytes, plain_bytes, salt = _HEAD.unpack_from(data)
    if magic != MAGIC or not 0 < chunk_bytes <= _LARGEST_CHUNK or plain_bytes > _LONGEST:
        raise NotAuthentic()
    return Head(plain_bytes=plain_bytes, salt=salt, chunk_bytes=chunk_bytes)


def context_of(call_id: str, name: str) -> bytes:
    """What binds an object to its place: the call, and which of its objects it is. Raises ValueError for a NUL."""
    if "\0" in call_id or "\0" in name:
        raise ValueError("a name holds no NUL")
    return f"{call_id}\0{name}".encode()


class ChunkCipher:
    """Seals and opens the chunks of one object."""

    def __init__(self, data_key: bytes, head: Head, context: bytes) -> None:
        self.head = head
        self._bound = head.packed() + context
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=head.salt, info=b"dutyline vault 1 object")
        self._cipher = AESGCM(derived.derive(data_key))

    def seal(self, number: int, plain: bytes) -> bytes:
        """Chunk ``number`` with its tag."""
        return self._cipher.encrypt(_NONCE.pack(0, number), plain, self._with(number))

    def open(self, number: int, sealed: bytes) -> bytes:
        """What chunk ``number`` holds. Raises NotAuthentic."""
        try:
            return self._cipher.decrypt(_NONCE.pack(0, number), sealed, self._with(number))
        except (InvalidTag, ValueError, OverflowError):
            raise NotAuthentic() from None

    def _with(self, number: int) -> bytes:
        return _PLACE.pack(len(self._bound), number, number == self.head.chunks - 1) + self._bound


@dataclass(frozen=True)
class SealedBytes:
    """A sealed object held in memory: a text, or the waveform."""

    data: bytes

    @cached_property
    def head(self) -> Head:
        """Its head. Raises NotAuthentic."""
        return read_head(self.data)

    def open(self, data_key: bytes, context: bytes) -> bytes:
        """The plaintext. Raises NotAuthentic."""
        if len(self.data) != self.head.sealed_bytes:
            raise NotAuthentic()
        cipher = ChunkCipher(data_key, self.head, context)
        places = map(self.head.place, range(self.head.chunks))
        return b"".join(cipher.open(number, self.data[at : at + size]) for number, (at, size) in enumerate(places))


def seal_bytes(data_key: bytes, context: bytes, plain: bytes) -> bytes:
    """``plain`` as a sealed object."""
    head = new_head(len(plain))
    cipher = ChunkCipher(data_key, head, context)
    step = head.chunk_bytes
    pieces = (cipher.seal(number, plain[number * step : (number + 1) * step]) for number in range(head.chunks))
    return head.packed() + b"".join(pieces)
