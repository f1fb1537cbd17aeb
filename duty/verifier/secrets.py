"""Recordings of calls under secrecy: what lies sealed on the disk against what the custody chain tells, without a key;
and with the master key what it holds. Written from the description of the form alone.

A sealed object is a head of 52 bytes (``DLVAULT1``, chunk size as 4 bytes, plain length as 8, salt of 32, big-endian)
and chunks of AES-256-GCM with their tags of 16 bytes. The object's key is HKDF-SHA256 of the call's data key with that
salt and the info ``dutyline vault 1 object``; a chunk's nonce is 4 zero bytes and its number as 8; with it are
authenticated the length of head and context as 4 bytes, the number as 8, 1 for the last chunk and 0 for others, the
head, and the context: call id, NUL, file name. The data key is wrapped by AES-256-GCM under the master key: nonce of 12
bytes, then the rest, authenticated with ``dutyline wrapped key 1``, NUL, key id, NUL, call id.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from duty.verifier.report import CannotVerify
from duty.verifier.source import Row, Source

Problem = tuple[str, str]
MasterKeys = Mapping[str, bytes]
"""Master keys by their ids."""

ACTS = frozenset(
    {
        "secret_mark",
        "secret_seal",
        "secret_open",
        "secret_look",
        "secret_close",
        "secret_refuse",
        "secret_lift",
        "secret_restore",
    }
)
FORM = {"act", "call", "at", "by", "detail"}
_LOCKED = ("wiping", "sealed", "lifting")
_HEAD = struct.Struct(">8sIQ32s")
_TAG = 16
_WAV = "recording.wav"


def read_master_keys(path: Path) -> dict[str, bytes]:
    """The keys in a key file, by their ids. Raises CannotVerify."""
    found = {}
    try:
        for line in path.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                _, key_id, encoded = line.split()
                found[key_id] = base64.b64decode(encoded, validate=True)
    except (OSError, ValueError) as error:
        raise CannotVerify(f"{path}: {error}") from None
    return found


class Secrets:
    """What the custody chain tells of each call under secrecy, and the tables' word on it."""

    def __init__(self, source: Source, keys: MasterKeys) -> None:
        self._keys = keys
        self.told: dict[str, str | None] = {}
        self.opened = 0
        self._rows = {row["call_id"]: row for page in source.pages("SELECT * FROM call_secrecy") for row in page}
        self._files: dict[str, list[Row]] = {}
        for page in source.pages("SELECT * FROM sealed_files ORDER BY call_id, name"):
            for row in page:
                self._files.setdefault(row["call_id"], []).append(row)

    def tell(self, record: Mapping[str, Any]) -> None:
        """A link of the chain, in its order."""
        if record["act"] == "secret_seal":
            self.told[record["call"]] = record["detail"]
        elif record["act"] == "secret_restore":
            self.told[record["call"]] = None

    def is_locked(self, call_id: str) -> bool:
        """Whether the call's files lie sealed."""
        row = self._rows.get(call_id)
        return row is not None and row["state"] in _LOCKED

    def problem(self, root: Path | None, recording: Row) -> Problem | None:
        """What is wrong with a recording that the chain or the tables say to be sealed."""
        call_id, told = recording["call_id"], self.told.get(recording["call_id"])
        files = self._files.get(call_id, [])
        listed = " ".join(f"{file['name']}:{file['plain_sha256']}:{file['sealed_sha256']}" for file in files)
        if self.is_locked(call_id) != (told is not None) or (told or "") != listed:
            return "custody_row_differs", "sealed_files"
        if root is None or told is None or recording["removed_at"] is not None:
            return None
        if self._rows[call_id]["state"] == "lifting":
            return None  # the files are on their way back
        directory = (root / str(recording["path"])).parent
        return next(filter(None, (self._file_problem(directory, file, recording) for file in files)), None)

    def _file_problem(self, directory: Path, file: Row, recording: Row) -> Problem | None:
        try:
            sealed = (directory / f"{file['name']}.sealed").read_bytes()
        except OSError as error:
            return "sealed_missing", f"{file['name']} {error.strerror or type(error).__name__}"
        if hashlib.sha256(sealed).hexdigest() != file["sealed_sha256"]:
            return "sealed_altered", str(file["name"])
        if file["name"] == _WAV and file["plain_sha256"] != recording["sha256"]:
            return "recording_altered", ""
        data_key = self._data_key(self._rows[file["call_id"]])
        if data_key is None:
            return None
        plain = opened(data_key, f"{file['call_id']}\0{file['name']}".encode(), sealed)
        if plain is None or hashlib.sha256(plain).hexdigest() != file["plain_sha256"]:
            return "sealed_not_opened", str(file["name"])
        self.opened += 1
        return None

    def _data_key(self, row: Row) -> bytes | None:
        """None where the master key is not at hand; a key that does not open gives a key that opens nothing."""
        master, blob = self._keys.get(row["key_id"]), bytes(row["wrapped_key"] or b"")
        if master is None:
            return None
        bound = f"dutyline wrapped key 1\0{row['key_id']}\0{row['call_id']}".encode()
        try:
            return AESGCM(master).decrypt(blob[:12], blob[12:], bound)
        except (InvalidTag, ValueError):
            return bytes(32)


def opened(data_key: bytes, context: bytes, sealed: bytes) -> bytes | None:
    """What a sealed object holds, None for what does not open."""
    if len(sealed) < _HEAD.size:
        return None
    magic, size, length, salt = _HEAD.unpack_from(sealed)
    if magic != b"DLVAULT1" or not size:
        return None
    key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"dutyline vault 1 object").derive(data_key)
    bound, cipher = sealed[: _HEAD.size] + context, AESGCM(key)
    count = max(1, -(-length // size))
    pieces, at = [], _HEAD.size
    for number in range(count):
        end = at + min(size, length - number * size) + _TAG
        place = struct.pack(">IQB", len(bound), number, number == count - 1)
        try:
            pieces.append(cipher.decrypt(struct.pack(">IQ", 0, number), sealed[at:end], place + bound))
        except (InvalidTag, ValueError):
            return None
        at = end
    return b"".join(pieces) if at == len(sealed) else None
