"""The master key and what it wraps: each call's data key. The master key is never in the database nor beside the
recordings, so that both, stolen together, say nothing.

A key ring is text, one key a line, the current one first; older ones stay for what was wrapped under them. A key's id
is a part of its SHA-256: it tells a wrong key from damaged content, and finds a slip of the pen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from duty.vault.errors import NoMasterKey, NotAuthentic
from duty.vault.format import KEY_BYTES

_MARK = "dutyline-master-key-1"
_NONCE_BYTES = 12
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKey:
    """One master key of 32 bytes; its secret is never shown."""

    secret: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """By which wrapped keys name it: 16 hex digits."""
        return hashlib.sha256(b"dutyline master key id\0" + self.secret).hexdigest()[:_ID_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A call's data key under the master key that ``key_id`` names."""

    key_id: str
    blob: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The master keys at hand, the current one first."""

    keys: tuple[MasterKey, ...]

    @property
    def current(self) -> MasterKey:
        """Under which new data keys are wrapped."""
        return self.keys[0]

    def wrap(self, call_id: str, data_key: bytes) -> WrappedKey:
        """The data key of a call under the current master key."""
        master, nonce = self.current, os.urandom(_NONCE_BYTES)
        sealed = AESGCM(master.secret).encrypt(nonce, data_key, _bound(master.key_id, call_id))
        return WrappedKey(key_id=master.key_id, blob=nonce + sealed)

    def unwrap(self, call_id: str, wrapped: WrappedKey) -> bytes:
        """The data key again. Raises NoMasterKey where its master key is not at hand, NotAuthentic."""
        master = next((key for key in self.keys if key.key_id == wrapped.key_id), None)
        if master is None:
            raise NoMasterKey("vault_key_unknown", key_id=wrapped.key_id)
        nonce, sealed = wrapped.blob[:_NONCE_BYTES], wrapped.blob[_NONCE_BYTES:]
        try:
            return AESGCM(master.secret).decrypt(nonce, sealed, _bound(master.key_id, call_id))
        except (InvalidTag, ValueError):
            raise NotAuthentic() from None

    def rotated(self) -> KeyRing:
        """With a new current key before those there are."""
        return KeyRing(keys=(new_master_key(), *self.keys))

    def only_current(self) -> KeyRing:
        """Without the older ones, once nothing is wrapped under them."""
        return KeyRing(keys=self.keys[:1])

    def text(self) -> str:
        """As the key file holds it."""
        lines = [f"{_MARK} {key.key_id} {base64.b64encode(key.secret).decode()}" for key in self.keys]
        return "\n".join(("# 值班专线涉密封存主密钥，丢失后已封存的录音和文字无法恢复，泄露后须立即更换", *lines, ""))


def new_master_key() -> MasterKey:
    """32 bytes of chance."""
    return MasterKey(secret=os.urandom(KEY_BYTES))


def new_data_key() -> bytes:
    """A key for one call."""
    return os.urandom(KEY_BYTES)


def parse_ring(text: str) -> KeyRing:
    """The key ring in a key file's text. Raises NoMasterKey where it holds none or a line is damaged."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise NoMasterKey("vault_key_file_damaged", line=0)
    keys = []
    for number, words in enumerate(lines, start=1):
        try:
            mark, key_id, encoded = words
            key = MasterKey(secret=base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error):
            raise NoMasterKey("vault_key_file_damaged", line=number) from None
        if mark != _MARK or len(key.secret) != KEY_BYTES or key.key_id != key_id:
            raise NoMasterKey("vault_key_file_damaged", line=number)
        keys.append(key)
    return KeyRing(keys=tuple(keys))


def _bound(key_id: str, call_id: str) -> bytes:
    return f"dutyline wrapped key 1\0{key_id}\0{call_id}".encode()
