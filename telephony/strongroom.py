"""The keeper's work on calls under secrecy: their files into the strongroom, and back where the flag was false
(requirement 6.5-a).

Every file is sealed beside itself and proven; then the book is told; then the plain ones are overwritten and removed. A
process killed anywhere in between leaves either everything plain or everything sealed and proven, and the next one goes
on from there. ``secrecy.json`` beside the files holds the wrapped key and the hashes, so that a folder restored without
its database can still be opened by whoever has the master key.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from duty.domain.errors import BrokenState, DutyError, Refused
from duty.domain.secrecy import SecrecyState
from duty.durable import sync_directory
from duty.services.sealingacts import SealingActs, SealingKey, SealingWork
from duty.store.database import Store
from duty.vault.errors import NoMasterKey, NotAuthentic, VaultError
from duty.vault.files import (
    SUFFIX,
    SealedFile,
    prove_file,
    restore_file,
    seal_file,
    sealed_path,
    wipe,
)
from duty.vault.format import context_of
from duty.vault.keys import WrappedKey
from telephony.custody_files import SECRECY_NAME, sha256_of
from telephony.sealing import MANIFEST_NAME

_log = logging.getLogger(__name__)


class Strongroom:
    """One step after the other. Raises SQLAlchemyError, and may then go on; what fails for one call is told and tried
    again after the others."""

    def __init__(self, root: Path, store: Store, acts: SealingActs) -> None:
        self._root = root
        self._store = store
        self._acts = acts
        self._failed: set[str] = set()
        self._to_scrub = True

    def step(self) -> bool:
        """The next thing to do; whether something was done."""
        work = self._acts.next(self._failed)
        if work is None:
            self._failed.clear()
            if self._to_scrub:
                self._to_scrub = not self._store.scrub()
            return False
        try:
            self._advance(work)
        except (NoMasterKey, Refused, BrokenState) as error:
            # Told already; or it is being heard, or its flag was lifted, since one looked.
            _log.warning("call %s waits: %s", work.call_id, error)
            self._failed.add(work.call_id)
        except (OSError, DutyError) as error:
            _log.error("call %s is not sealed: %s", work.call_id, error)
            self._acts.failed(work.call_id, str(error))
            self._failed.add(work.call_id)
        return True

    def rewrapped(self, place: str, wrapped: WrappedKey) -> None:
        """A call's key is wrapped anew: so it lies beside its files too. Raises OSError."""
        path = self._root / place / SECRECY_NAME
        if place and path.exists():
            content = json.loads(path.read_bytes())
            _put(path, {**content, **_key(wrapped)})

    def _advance(self, work: SealingWork) -> None:
        directory = self._root / work.place if work.place else None
        match work.state:
            case SecrecyState.FLAGGED | SecrecyState.SEALING:
                key = self._acts.begin(work.call_id)
                files = _seal_all(directory, work.call_id, key) if directory is not None else []
                self._acts.book(work.call_id, files)
            case SecrecyState.WIPING:
                if directory is not None:
                    _wipe_all(directory, work.files, work.call_id, self._acts.key(work.call_id))
                self._to_scrub = True
                self._acts.wiped(work.call_id)
            case SecrecyState.LIFTING:
                if directory is not None and work.files:
                    _restore_all(directory, work.files, work.call_id, self._acts.key(work.call_id))
                self._acts.restored(work.call_id)


def _plain_names(directory: Path) -> list[str]:
    """Everything of a recording but its manifest, which says nothing that was spoken."""
    if not directory.is_dir():
        return []
    kept = {MANIFEST_NAME, SECRECY_NAME}
    return sorted(
        entry.name
        for entry in os.scandir(directory)
        if entry.is_file(follow_symlinks=False)
        and entry.name not in kept
        and not entry.name.startswith(".")
        and not entry.name.endswith(SUFFIX)
    )


def _seal_all(directory: Path, call_id: str, key: SealingKey) -> list[SealedFile]:
    names = _plain_names(directory)
    for left in directory.glob(f"*{SUFFIX}"):
        if left.name.removesuffix(SUFFIX) not in names:
            raise VaultError("vault_error", name=left.name)  # all there is of it; its key is in an older database
        left.unlink()  # of a killed process: its key or its file may be another by now
    files = [seal_file(directory, name, call_id=call_id, data_key=key.data_key) for name in names]
    if files:
        content = {"call": call_id, **_key(key.wrapped), "files": [asdict(file) for file in files]}
        _put(directory / SECRECY_NAME, content)
    return files


def _wipe_all(directory: Path, files: Sequence[SealedFile], call_id: str, key: SealingKey) -> None:
    """Once more proven as booked, then gone; what a killed process half made goes too."""
    for file in files:
        context = context_of(call_id, file.name)
        found = prove_file(sealed_path(directory, file.name), file.name, data_key=key.data_key, context=context)
        if found != file:
            raise NotAuthentic()
    booked = {file.name for file in files}
    for name in _plain_names(directory):
        if name not in booked:
            raise NotAuthentic("vault_error", name=name)
        wipe(directory / name)
    for partial in directory.glob(".*"):
        if partial.is_file():
            wipe(partial)
    if directory.is_dir():
        sync_directory(directory)


def _restore_all(directory: Path, files: Sequence[SealedFile], call_id: str, key: SealingKey) -> None:
    for file in files:
        if sha256_of(directory / file.name) != file.plain_sha256:
            restore_file(directory, file, call_id=call_id, data_key=key.data_key)
    for file in files:
        sealed_path(directory, file.name).unlink(missing_ok=True)
    (directory / SECRECY_NAME).unlink(missing_ok=True)
    sync_directory(directory)


def _key(wrapped: WrappedKey) -> dict[str, str]:
    return {"key_id": wrapped.key_id, "wrapped_key": base64.b64encode(wrapped.blob).decode()}


def _put(path: Path, content: Mapping[str, object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)
