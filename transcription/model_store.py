"""Installed models on disk: a folder each with a manifest of hashes; it appears whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transcription.errors import ModelError, ModelRefusedError, UnknownModelError
from transcription.model_registry import EngineName

MANIFEST = "manifest.json"
_INCOMING = ".incoming-"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """A model in the store. ``sha256`` pins its weights; ``files`` maps relative names to hex SHA-256.

    ``known`` is False for a model the operator brought that is not in the registry.
    """

    name: str
    engine: EngineName
    language: str
    path: Path
    sha256: str
    size_bytes: int
    known: bool
    files: dict[str, str]


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of the file at ``path``."""
    digest = hashlib.sha256()
    with path.open("rb") as reader:
        while block := reader.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def describe(
    path: Path, *, name: str, engine: EngineName, language: str, sha256: str = "", known: bool = False
) -> InstalledModel:
    """The model in folder ``path``, hashed now. Without ``sha256`` the hash is taken over the list of file hashes."""
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and p.name != MANIFEST)
    files = {relative: file_sha256(path / relative) for relative in names}
    listing = "".join(f"{digest}  {relative}\n" for relative, digest in files.items())
    return InstalledModel(
        name=name,
        engine=engine,
        language=language,
        path=path,
        sha256=sha256 or hashlib.sha256(listing.encode()).hexdigest(),
        size_bytes=sum((path / relative).stat().st_size for relative in names),
        known=known,
        files=files,
    )


def installed(root: Path) -> list[InstalledModel]:
    """Every model under ``root`` by name; folders without a readable manifest are not models."""
    if not root.is_dir():
        return []
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [model for path in folders if (model := _read_manifest(path)) is not None]


def find(name: str, root: Path) -> InstalledModel:
    """The installed model ``name``. Raises UnknownModelError when there is none."""
    for model in installed(root):
        if model.name == name:
            return model
    raise UnknownModelError(f"模型未安装：{name}")


def verify(root: Path) -> dict[str, list[str]]:
    """Per installed model, the files that are missing, changed or extra since installation (empty: intact)."""
    return {model.name: _differences(model) for model in installed(root)}


def check_name(name: str) -> str:
    """``name`` if it may name a model folder; raises ModelError otherwise."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"模型名称只能用小写字母、数字、点、横线和下划线：{name}")
    return name


@contextmanager
def incoming(root: Path) -> Iterator[Path]:
    """A scratch folder under ``root``, removed at the end whatever happens.

    One installation at a time (file lock, released by the system when the process dies), so leftovers of a killed
    one are swept here. Raises ModelError when another is running or ``root`` cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            _take(lock.fileno())
            for left in root.glob(f"{_INCOMING}*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=root) as scratch:
                yield Path(scratch)
    except OSError as error:
        raise ModelError(f"模型目录无法写入：{root}（{error}）") from error


def place(model: InstalledModel, root: Path) -> InstalledModel:
    """Move the checked folder of ``model`` to ``root/name`` by one rename; an older one of that name is replaced.

    Raises ModelRefusedError when the name is taken by a folder that is no model.
    """
    target = root / check_name(model.name)
    if target.exists() and _read_manifest(target) is None:
        raise ModelRefusedError(f"目录已存在且不是模型：{target.name}")
    _write_manifest(model)
    if target.exists():
        target.rename(model.path.parent / "replaced")
    model.path.rename(target)
    _sync_folder(root)
    return find(model.name, root)


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ModelError("另一个模型安装正在进行，请稍后再试") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_manifest(model: InstalledModel) -> None:
    record = {
        "name": model.name,
        "engine": model.engine.value,
        "language": model.language,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "known": model.known,
        "files": model.files,
    }
    with (model.path / MANIFEST).open("w", encoding="utf-8") as writer:
        json.dump(record, writer, ensure_ascii=False, indent=1)
        writer.flush()
        os.fsync(writer.fileno())


def _read_manifest(path: Path) -> InstalledModel | None:
    try:
        record = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        return InstalledModel(
            name=path.name,
            engine=EngineName(record["engine"]),
            language=str(record["language"]),
            path=path,
            sha256=str(record["sha256"]),
            size_bytes=int(record["size_bytes"]),
            known=bool(record["known"]),
            files={str(name): str(digest) for name, digest in record["files"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _differences(model: InstalledModel) -> list[str]:
    now = describe(model.path, name=model.name, engine=model.engine, language=model.language).files
    return sorted(name for name in now.keys() | model.files.keys() if now.get(name) != model.files.get(name))
