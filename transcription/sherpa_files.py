"""Which sherpa-onnx model a folder holds, told by its files and by what they say of themselves, before they load."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from transcription.errors import ModelRefusedError
from transcription.onnx_metadata import read_metadata

TOKENS = "tokens.txt"


class SherpaKind(StrEnum):
    """The families that are known how to be called."""

    SENSE_VOICE = "sense-voice"
    PARAFORMER = "paraformer"
    ZIPFORMER_CTC = "streaming-zipformer-ctc"
    ZIPFORMER_TRANSDUCER = "streaming-zipformer-transducer"

    @property
    def streaming(self) -> bool:
        """Whether it hears while people speak."""
        return self in (SherpaKind.ZIPFORMER_CTC, SherpaKind.ZIPFORMER_TRANSDUCER)


@dataclass(frozen=True, slots=True, kw_only=True)
class SherpaFiles:
    """The files of one model; ``networks`` is one file, or encoder, decoder and joiner."""

    kind: SherpaKind
    tokens: Path
    networks: tuple[Path, ...]


_FRONT = ("vocab_size", "lfr_window_size", "lfr_window_shift", "neg_mean", "inv_stddev")
_ZIPFORMER = (
    *("encoder_dims", "query_head_dims", "value_head_dims", "num_heads", "num_encoder_layers"),
    *("cnn_module_kernels", "left_context_len", "T", "decode_chunk_len"),
)
_LANGUAGES = ("lang_auto", "lang_zh", "lang_en", "lang_ja", "lang_ko", "lang_yue")
_ASKED = {
    SherpaKind.SENSE_VOICE: (*_FRONT, "normalize_samples", "with_itn", "without_itn", *_LANGUAGES),
    SherpaKind.PARAFORMER: _FRONT,
    SherpaKind.ZIPFORMER_CTC: _ZIPFORMER,
    SherpaKind.ZIPFORMER_TRANSDUCER: _ZIPFORMER,
}
_PARTS = ("encoder", "decoder", "joiner")
_PART_ASKED = {"decoder": ("vocab_size", "context_size"), "joiner": ("joiner_dim",)}


def looks_like_sherpa(folder: Path) -> bool:
    """Whether ``folder`` has a list of tokens and a network."""
    return (folder / TOKENS).is_file() and any(folder.glob("*.onnx"))


def sherpa_files(folder: Path) -> SherpaFiles:
    """The model in ``folder``; of a network in two precisions the one in int8.

    Raises ModelRefusedError with what is missing, or when the kind is none of ``SherpaKind``.
    """
    if not (folder / TOKENS).is_file():
        raise ModelRefusedError(f"sherpa-onnx 模型缺少 {TOKENS}")
    parts = [_network(folder, f"{part}*.onnx") for part in _PARTS]
    found = _transducer(folder, parts) if any(parts) else _single(folder)
    _check_tokens(found)
    return found


def _transducer(folder: Path, parts: list[Path | None]) -> SherpaFiles:
    networks = tuple(part for part in parts if part is not None)
    if len(networks) < len(_PARTS):
        absent = [name for name, part in zip(_PARTS, parts, strict=True) if part is None]
        raise ModelRefusedError(f"sherpa-onnx 模型缺少 {'、'.join(absent)} 的 ONNX 文件")
    kind = SherpaKind.ZIPFORMER_TRANSDUCER
    _ask(networks[0], _metadata(networks[0]), _ASKED[kind])
    for name, network in zip(_PARTS[1:], networks[1:], strict=True):
        _ask(network, _metadata(network), _PART_ASKED[name])
    return SherpaFiles(kind=kind, tokens=folder / TOKENS, networks=networks)


def _single(folder: Path) -> SherpaFiles:
    network = _network(folder, "*.onnx")
    if network is None:
        raise ModelRefusedError("sherpa-onnx 模型缺少 ONNX 文件")
    said = _metadata(network)
    if "lang_zh" in said:
        kind = SherpaKind.SENSE_VOICE
    elif "decode_chunk_len" in said:
        kind = SherpaKind.ZIPFORMER_CTC
    elif "lfr_window_size" in said:
        kind = SherpaKind.PARAFORMER
    else:
        raise ModelRefusedError(f"无法识别的模型：{network.name}（应为 SenseVoice、Paraformer 或流式 Zipformer）")
    _ask(network, said, _ASKED[kind])
    return SherpaFiles(kind=kind, tokens=folder / TOKENS, networks=(network,))


def _network(folder: Path, pattern: str) -> Path | None:
    return min(folder.glob(pattern), key=lambda path: (".int8" not in path.name, path.name), default=None)


def _metadata(network: Path) -> dict[str, str]:
    try:
        return read_metadata(network)
    except (ValueError, OSError) as error:
        raise ModelRefusedError(f"不是完好的 ONNX 文件：{network.name}") from error


def _ask(network: Path, said: dict[str, str], asked: tuple[str, ...]) -> None:
    absent = [name for name in asked if not said.get(name)]
    if absent:
        raise ModelRefusedError(f"{network.name} 缺少元数据 {'、'.join(absent)}，不能由 sherpa-onnx 使用")


def _check_tokens(found: SherpaFiles) -> None:
    """Each line is a token and its number; a list that is not the network's would write other words."""
    try:
        lines = found.tokens.read_text(encoding="utf-8").splitlines()
        numbers = {int(line.rsplit(maxsplit=1)[-1]) for line in lines if line.strip()}
    except (ValueError, OSError) as error:
        raise ModelRefusedError(f"{TOKENS} 的格式不对") from error
    saying = found.networks[1] if len(found.networks) > 1 else found.networks[0]
    said = _metadata(saying).get("vocab_size", "")
    if not numbers or (said.isdigit() and int(said) != len(numbers)):
        raise ModelRefusedError(f"{TOKENS} 有 {len(numbers)} 个词元，模型有 {said or '若干'} 个，二者不配套")
