"""sherpa-onnx for real, on networks small enough to be made here: what loads, what is heard when, and every refusal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transcription import tiny_sherpa
from tests.transcription.telephone import telephone
from transcription import models
from transcription.choose import choose, choose_streaming, load
from transcription.engine import Caption, Samples, StreamingEngine
from transcription.errors import EngineError, ModelRefusedError
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel, describe
from transcription.onnx_metadata import read_metadata
from transcription.sherpa_engine import SherpaEngine
from transcription.sherpa_files import SherpaKind, sherpa_files

SPOKEN = Path(__file__).resolve().parents[2] / "telephony" / "demo" / "audio" / "02_caller.wav"
MAKERS: dict[SherpaKind, Callable[[Path], Path]] = {
    SherpaKind.SENSE_VOICE: tiny_sherpa.sense_voice,
    SherpaKind.PARAFORMER: tiny_sherpa.paraformer,
    SherpaKind.ZIPFORMER_CTC: tiny_sherpa.zipformer_ctc,
    SherpaKind.ZIPFORMER_TRANSDUCER: tiny_sherpa.zipformer_transducer,
}
STREAMING = [kind for kind in SherpaKind if kind.streaming]


def installed(folder: Path, name: str = "tiny", language: str = "zh") -> InstalledModel:
    return describe(folder, name=name, engine=EngineName.SHERPA, language=language)


def tone(hertz: float, seconds: float) -> Samples:
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 8000)) / 8000)).astype(np.int16)


@pytest.mark.parametrize("kind", SherpaKind)
def test_each_kind_is_known_by_its_files_and_hears_a_recording(kind: SherpaKind, tmp_path: Path) -> None:
    folder = MAKERS[kind](tmp_path / "model")
    assert sherpa_files(folder).kind is kind
    engine = load(installed(folder), threads=1)
    assert engine.capabilities.streaming is kind.streaming
    assert engine.settings["kind"] == kind.value
    speech = telephone(SPOKEN)
    progress: list[int] = []
    pieces = engine.transcribe(speech, 8000, heard=progress.append)
    assert pieces
    assert set("".join(piece.text for piece in pieces)) == {"低", "高"}
    assert progress == sorted(progress)
    for piece in pieces:
        assert 0 <= piece.start_s <= piece.end_s <= len(speech) / 8000
        assert 0 < piece.confidence <= 1
        assert bool(piece.words) is engine.capabilities.word_times
        if piece.words:
            assert "".join(word.text for word in piece.words) == piece.text
            starts = [word.start_s for word in piece.words]
            assert starts == sorted(starts)
    assert engine.transcribe(np.zeros(16000, np.int16), 8000) == []


@pytest.mark.parametrize("kind", STREAMING)
def test_a_stream_says_low_and_high_when_they_are_heard(kind: SherpaKind, tmp_path: Path) -> None:
    engine = load(installed(MAKERS[kind](tmp_path / "model")))
    assert isinstance(engine, StreamingEngine)
    rest = np.zeros(6000, np.int16)
    song = np.concatenate([rest, tone(400, 0.6), rest, tone(2600, 0.6), rest])
    stream, shown = engine.open(8000), []
    for at in range(0, len(song), 1600):
        if (caption := stream.feed(song[at : at + 1600])) is not None:
            shown.append((at / 8000, caption))
    last = stream.finish()
    assert isinstance(last, Caption)
    assert last.final
    assert last.text == "低高"
    assert [caption.text for _, caption in shown][:2] == ["低", "低高"]
    assert last.words[0].start_s == pytest.approx(0.75, abs=0.15)
    assert last.words[1].start_s == pytest.approx(2.1, abs=0.15)
    for fed_s, caption in shown:
        assert fed_s - caption.words[-1].start_s < 0.6


@pytest.mark.parametrize("kind", STREAMING)
def test_a_long_pause_makes_a_caption_final_and_times_go_on(kind: SherpaKind, tmp_path: Path) -> None:
    engine = SherpaEngine(installed(MAKERS[kind](tmp_path / "model")))
    stream = engine.open(8000)
    song = np.concatenate([tone(400, 0.5), np.zeros(8000 * 4, np.int16), tone(2600, 0.5), np.zeros(4000, np.int16)])
    found = [stream.feed(song[at : at + 1600]) for at in range(0, len(song), 1600)]
    finals = [caption for caption in [*found, stream.finish()] if caption is not None and caption.final]
    assert [caption.text[0] for caption in finals] == ["低", "高"]
    assert finals[1].words[0].start_s == pytest.approx(4.5, abs=0.3)


def test_what_hears_whole_recordings_opens_no_stream(tmp_path: Path) -> None:
    engine = SherpaEngine(installed(tiny_sherpa.sense_voice(tmp_path / "model")))
    with pytest.raises(EngineError, match="不支持边听边写"):
        engine.open(8000)


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


@pytest.mark.parametrize(
    ("maker", "spoil", "said"),
    [
        (tiny_sherpa.sense_voice, without("tokens.txt"), "tokens.txt"),
        (tiny_sherpa.sense_voice, without("model.onnx"), "缺少 ONNX"),
        (tiny_sherpa.zipformer_transducer, without("joiner-epoch-1.onnx"), "joiner"),
        (tiny_sherpa.sense_voice, lambda folder: tiny_sherpa.sense_voice(folder, neg_mean=None), "neg_mean"),
        (tiny_sherpa.sense_voice, lambda folder: tiny_sherpa.sense_voice(folder, lang_yue=None), "lang_yue"),
        (tiny_sherpa.sense_voice, lambda folder: (folder / "model.onnx").write_bytes(b"\xff" * 500), "ONNX"),
        (tiny_sherpa.sense_voice, lambda folder: cut(folder / "model.onnx"), "ONNX"),
        (tiny_sherpa.sense_voice, lambda folder: (folder / "tokens.txt").write_text("低 0\n高 1\n"), "不配套"),
        (tiny_sherpa.sense_voice, lambda folder: (folder / "tokens.txt").write_text("低\n高\n"), "格式"),
        (tiny_sherpa.zipformer_ctc, lambda folder: silent(folder / "ctc-epoch-1.onnx"), "无法识别"),
    ],
)
def test_a_folder_at_fault_is_refused_with_the_reason_before_anything_loads(
    maker: Callable[[Path], Path], spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    folder = maker(tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelRefusedError, match=said):
        sherpa_files(folder)
    with pytest.raises(EngineError, match=said):
        SherpaEngine(installed(folder))


def test_weights_that_are_none_are_an_engine_error(tmp_path: Path) -> None:
    """The metadata are right, the network is not one: the library is asked, and says so."""
    folder = tiny_sherpa.paraformer(tmp_path / "model")
    path = folder / "model.int8.onnx"
    model = onnx.load(path)
    model.graph.node[0].op_type = "NoSuchOperator"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match="无法加载"):
        SherpaEngine(installed(folder))


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    with pytest.raises(EngineError, match="未安装 sherpa-onnx"):
        SherpaEngine(installed(tiny_sherpa.sense_voice(tmp_path / "model")))


def test_a_folder_is_installed_without_its_samples_and_verified(tmp_path: Path) -> None:
    folder = tiny_sherpa.sense_voice(tmp_path / "SenseVoice-Tiny")
    (folder / "test_wavs").mkdir()
    (folder / "test_wavs" / "zh.wav").write_bytes(b"RIFF")
    root = tmp_path / "models"
    model = models.add(folder, root)
    assert (model.name, model.engine, model.known) == ("sensevoice-tiny", EngineName.SHERPA, False)
    assert set(model.files) == {"model.onnx", "tokens.txt"}
    assert models.verify(root) == {"sensevoice-tiny": []}
    assert load(model).model_sha256 == model.sha256
    (folder / "more.txt").symlink_to("/etc/hostname")
    with pytest.raises(ModelRefusedError, match="链接"):
        models.add(folder, root, name="other")
    (folder / "more.txt").unlink()
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelRefusedError, match="没有可用的模型"):
        models.add(folder, root, name="other")
    assert [installed.name for installed in models.installed(root)] == ["sensevoice-tiny"]


def test_the_most_accurate_hears_recordings_and_what_streams_makes_captions(tmp_path: Path) -> None:
    whole = installed(tiny_sherpa.sense_voice(tmp_path / "whole"), "whole")
    stream = installed(tiny_sherpa.zipformer_ctc(tmp_path / "stream"), "stream")
    broken = installed(shutil.copytree(stream.path, tmp_path / "broken"), "broken")
    (broken.path / "tokens.txt").unlink()
    (tmp_path / "vosk").mkdir()
    vosk = describe(tmp_path / "vosk", name="vosk", engine=EngineName.VOSK, language="zh")
    assert choose("auto", [vosk, stream, whole]).model == whole
    assert choose("auto", [vosk, stream]).model == stream
    assert choose("vosk", [vosk, stream, whole]).model == vosk
    assert choose("whisper", [vosk, whole]).model is None
    assert choose_streaming("auto", [vosk, stream, whole]).model == stream
    assert choose_streaming("whole", [whole, vosk]).model == vosk
    assert choose_streaming("vosk", [vosk, stream]).model == vosk
    assert choose_streaming("auto", [whole, broken]).model is None


@given(st.binary(max_size=200))
def test_any_file_has_metadata_or_is_no_network(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(raw)
    try:
        found = read_metadata(path)
    except ValueError:
        return
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in found.items())


def test_metadata_are_those_that_were_written(tmp_path: Path) -> None:
    path = tiny_sherpa.zipformer_ctc(tmp_path / "model") / "ctc-epoch-1.onnx"
    assert read_metadata(path) == {prop.key: prop.value for prop in onnx.load(path).metadata_props}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def silent(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
