"""The file that holds the master key: outside the data folder, readable by the service's user alone, written whole or
not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from duty.durable import sync_directory
from duty.vault.errors import NoMasterKey
from duty.vault.keys import KeyRing, parse_ring

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST = 1 << 16


class MasterKeys:
    """The keys of one installation. The file is read anew each time: a key made or changed while the service runs is
    used at once, and no key waits in memory for long."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def ring(self) -> KeyRing:
        """The keys at hand. Raises NoMasterKey, saying why there is none."""
        if self.path is None:
            raise NoMasterKey("vault_no_key")
        return read_ring(self.path)

    def problem(self) -> str | None:
        """Why there is no key, as a code, or None where there is one."""
        try:
            self.ring()
        except NoMasterKey as error:
            return error.code
        return None


def read_ring(path: Path) -> KeyRing:
    """The key ring at ``path``. Raises NoMasterKey for a file that is missing, damaged, or open to others."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoMasterKey("vault_key_file_unreadable", path=str(path), reason=error.strerror or "") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NoMasterKey("vault_key_file_unreadable", path=str(path), reason="")
        if status.st_mode & _OTHERS:
            raise NoMasterKey("vault_key_file_open", path=str(path), mode=f"{stat.S_IMODE(status.st_mode):04o}")
        if status.st_uid not in (0, os.geteuid()):
            raise NoMasterKey("vault_key_file_foreign", path=str(path))
        data = os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
    try:
        return parse_ring(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise NoMasterKey("vault_key_file_damaged", line=0) from None


def create_ring(path: Path, ring: KeyRing) -> None:
    """Write a new key file. Raises FileExistsError: a key file is never overwritten; OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    _write(descriptor, ring)
    sync_directory(path.parent)


def replace_ring(path: Path, ring: KeyRing) -> None:
    """Put another key ring in the file's place, whole or not at all. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    _write(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), ring)
    fresh.replace(path)
    sync_directory(path.parent)


def _write(descriptor: int, ring: KeyRing) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(ring.text())
        file.flush()
        os.fsync(file.fileno())
