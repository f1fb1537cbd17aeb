"""Archives brought by hand or fetched are foreign matter: looked through before anything is written, and bounded."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from transcription.errors import ModelRefusedError
from transcription.model_registry import EngineName
from transcription.sherpa_files import looks_like_sherpa, sherpa_files

MAX_UNPACKED_BYTES = 6 << 30
_MAX_MEMBERS = 5000
_MAX_RATIO = 200
_SAMPLES = "test_wavs"
_VOSK_NEEDS = ("am/final.mdl", "conf/mfcc.conf")
_VOSK_GRAPHS = ("graph/HCLG.fst", "graph/HCLr.fst", "graph/Gr.fst")
_WHISPER_NEEDS = ("model.bin", "config.json", "tokenizer.json")


def unpack(archive: Path, target: Path) -> Path:
    """Unpack ``archive`` under ``target`` and return the model's own folder (a single top folder is stepped into).

    Raises ModelRefusedError for what is no ZIP, names members outside ``target``, links, or is implausibly large.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            _refuse_unsafe(members, archive.stat().st_size)
            for member in members:
                _write_member(source, member, target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelRefusedError(f"不是完好的 ZIP 文件：{archive.name}（{error}）") from error
    entries = list(target.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target


def copy_folder(source: Path, target: Path) -> Path:
    """Copy the files of the model in the folder ``source`` under ``target``; the samples that models come with are
    left out. Raises ModelRefusedError for links, and for what is implausibly large."""
    paths = [path for path in sorted(source.rglob("*")) if _SAMPLES not in path.relative_to(source).parts]
    if any(path.is_symlink() for path in paths):
        raise ModelRefusedError("模型目录含有链接，拒绝安装")
    files = [path for path in paths if path.is_file()]
    if len(files) > _MAX_MEMBERS or sum(path.stat().st_size for path in files) > MAX_UNPACKED_BYTES:
        raise ModelRefusedError("模型目录过大，拒绝安装")
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target


def recognise(folder: Path) -> EngineName:
    """Which engine the model in ``folder`` is for, by its files. Raises ModelRefusedError when it is no model."""
    has_graph = any((folder / name).is_file() for name in _VOSK_GRAPHS)
    if has_graph and all((folder / name).is_file() for name in _VOSK_NEEDS):
        return EngineName.VOSK
    if all((folder / name).is_file() for name in _WHISPER_NEEDS):
        return EngineName.WHISPER
    if looks_like_sherpa(folder):
        sherpa_files(folder)
        return EngineName.SHERPA
    raise ModelRefusedError(
        "文件中没有可用的模型（需有 am/、conf/、graph/ 的 Vosk 模型，或有 tokens.txt 和 ONNX 文件的 sherpa-onnx 模型）"
    )


def _refuse_unsafe(members: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    total = sum(member.file_size for member in members)
    if len(members) > _MAX_MEMBERS or total > MAX_UNPACKED_BYTES or total > _MAX_RATIO * max(packed_bytes, 1):
        raise ModelRefusedError("压缩包展开后过大，拒绝安装")
    for member in members:
        path = PurePosixPath(member.filename)
        outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise ModelRefusedError(f"压缩包含有不安全的路径：{member.filename}")


def _write_member(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    path = target / member.filename
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open(member) as reader, path.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
