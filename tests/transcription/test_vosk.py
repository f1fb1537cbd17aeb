"""Vosk with a real model: loading, streaming at 8 kHz, word times, partials, several calls at once."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker
from tests.transcription.telephone import telephone
from transcription.choose import choose, choose_streaming, load
from transcription.engine import Caption, Samples, StreamingEngine
from transcription.errors import EngineError
from transcription.g711 import encode_alaw
from transcription.live import LiveCaption, LiveCaptions, LiveLimits, serve
from transcription.model_registry import EngineName
from transcription.model_store import InstalledModel, describe
from transcription.vosk_engine import VoskEngine


@pytest.fixture(scope="module")
def utterances(speech: Path) -> list[Samples]:
    names = ("aishell1a_audio_8", "aishell1a_audio_3")
    return [telephone(speech / "mandarin" / f"{name}.wav") for name in names]


def stream_all(engine: VoskEngine, samples: Samples) -> list[Caption]:
    stream = engine.open(8000)
    heard = [stream.feed(samples[at : at + 800]) for at in range(0, len(samples), 800)]
    return [caption for caption in (*heard, stream.finish()) if caption is not None]


def final_text(engine: VoskEngine, samples: Samples) -> str:
    return " ".join(caption.text for caption in stream_all(engine, samples) if caption.final)


def nearest(text: str, candidates: list[str]) -> int:
    """Which candidate ``text`` is nearest to; Kaldi dithers its features, so no two runs agree to the letter."""
    alike = [SequenceMatcher(None, text, candidate).ratio() for candidate in candidates]
    assert max(alike) > min(alike) + 0.1
    return alike.index(max(alike))


def check(captions: list[Caption], seconds: float) -> None:
    finals = [caption for caption in captions if caption.final]
    assert finals
    words = [word for caption in finals for word in caption.words]
    assert all(0 <= word.start_s <= word.end_s <= seconds + 0.5 for word in words)
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    assert all(0 <= word.confidence <= 1 for word in words)
    assert all(caption.text == " ".join(word.text for word in caption.words) for caption in captions)


def test_a_stream_shows_partials_then_the_same_words_finally(vosk: VoskEngine, utterances: list[Samples]) -> None:
    samples = utterances[0]
    captions = stream_all(vosk, samples)
    check(captions, len(samples) / 8000)
    partials = [caption for caption in captions if not caption.final]
    assert len(partials) >= 3
    assert len({caption.text for caption in partials}) == len(partials)
    assert partials[0].end_s < captions[-1].end_s
    assert isinstance(vosk, StreamingEngine)
    assert vosk.capabilities.streaming


def test_two_calls_at_once_hear_what_each_hears_alone(vosk: VoskEngine, utterances: list[Samples]) -> None:
    alone = [final_text(vosk, samples) for samples in utterances]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda samples: final_text(vosk, samples), utterances))
    assert [nearest(text, alone) for text in together] == [0, 1]


def test_a_recording_gives_pieces_where_the_speech_is(vosk: VoskEngine, utterances: list[Samples]) -> None:
    gap = np.zeros(3 * 8000, np.int16)
    pieces = vosk.transcribe(np.concatenate([gap, utterances[1], gap]), 8000)
    assert pieces
    assert 2.5 < pieces[0].start_s < 5.0
    assert pieces[-1].end_s < 3.5 + len(utterances[1]) / 8000
    assert all(piece.words and piece.start_s == piece.words[0].start_s for piece in pieces)


def test_silence_and_tones_have_no_text(vosk: VoskEngine) -> None:
    ring = (8000 * np.sin(2 * np.pi * 450 * np.arange(4 * 8000) / 8000)).astype(np.int16)
    for sound in (np.zeros(32000, np.int16), ring):
        assert vosk.transcribe(sound, 8000) == []
    assert [c for c in stream_all(vosk, np.zeros(32000, np.int16)) if c.text.strip()] == []


def test_what_is_no_model_and_what_rate_is_none_are_engine_errors(vosk: VoskEngine, tmp_path: Path) -> None:
    (tmp_path / "am").mkdir()
    (tmp_path / "am" / "final.mdl").write_bytes(b"broken")
    broken = describe(tmp_path, name="broken", engine=EngineName.VOSK, language="zh")
    with pytest.raises(EngineError, match="broken"):
        load(broken)
    with pytest.raises(EngineError, match="44100"):
        vosk.open(44100)


def test_auto_prefers_vosk_chinese_then_whisper_then_waits(vosk_korean: InstalledModel, tmp_path: Path) -> None:
    def model(name: str, engine: EngineName, language: str) -> InstalledModel:
        (tmp_path / name).mkdir()
        return describe(tmp_path / name, name=name, engine=engine, language=language)

    whisper = model("whisper-base", EngineName.WHISPER, "mul")
    chinese = model("vosk-small-cn", EngineName.VOSK, "zh")
    assert choose("auto", [vosk_korean, whisper, chinese]).model == chinese
    assert choose("auto", [vosk_korean, whisper]).model == whisper
    assert choose("auto", [vosk_korean]).model is None
    assert "未安装" in choose("auto", []).reason
    assert choose("vosk-ko", [vosk_korean, whisper]).model == vosk_korean
    assert choose("absent", [whisper]).model is None
    assert choose_streaming("auto", [whisper, chinese]).model == chinese
    assert choose_streaming("auto", [whisper, vosk_korean]).model is None
    assert choose_streaming("whisper-base", [whisper]).model is None


CALL = "0123456789abcdef0123456789abcdef"


def frames(samples: Samples, speaker: Speaker, start: int = 0, call: str = CALL) -> list[bytes]:
    coded = encode_alaw(samples)
    sent = [
        LiveFrame(call_id=call, speaker=speaker, codec=8, position=start + at, payload=coded[at : at + 160]).pack()
        for at in range(0, len(coded), 160)
    ]
    return [*sent, LiveFrame(call_id=call, speaker=speaker, codec=None, position=0, payload=b"").pack()]


def test_both_sides_of_a_call_are_captioned_over_the_socket(
    vosk: VoskEngine, utterances: list[Samples], tmp_path: Path
) -> None:
    shown: list[LiveCaption] = []
    captions = LiveCaptions(vosk, shown.append, LiveLimits(backlog_s=60, threads=2))
    stop, path = threading.Event(), tmp_path / "live.sock"
    server = threading.Thread(target=serve, args=(path, captions, stop))
    server.start()
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
            sender.send(b"noise on the socket")
            streams = (frames(utterances[0], Speaker.CALLER, 8000), frames(utterances[1], Speaker.OFFICER))
            for pair in zip(*streams, strict=False):
                for datagram in pair:
                    sender.send(datagram)
            for datagram in (*streams[0][len(streams[1]) :], *streams[1][len(streams[0]) :]):
                sender.send(datagram)
            while captions.open_channels:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        stop.set()
        server.join(20)
    assert captions.refused_frames == 1
    assert captions.dropped_frames == 0
    alone = [final_text(vosk, samples) for samples in utterances]
    for number, speaker, base in ((0, Speaker.CALLER, 1.0), (1, Speaker.OFFICER, 0.0)):
        samples = utterances[number]
        mine = [caption for caption in shown if caption.speaker is speaker]
        assert any(not caption.final for caption in mine)
        assert mine[-1].final
        assert all(base <= c.start_s <= c.end_s <= base + len(samples) / 8000 + 0.5 for c in mine)
        assert nearest(" ".join(c.text for c in mine if c.final), alone) == number
    assert not path.exists()


def test_a_decoder_too_slow_drops_sound_and_stays_bounded(vosk: VoskEngine, utterances: list[Samples]) -> None:
    captions = LiveCaptions(vosk, lambda _caption: None, LiveLimits(backlog_s=1.0, streams=1))
    for datagram in frames(utterances[0], Speaker.CALLER):
        captions.receive(datagram)  # nobody decodes yet
    sent = (len(utterances[0]) + 159) // 160
    assert captions.dropped_frames == sent - 50
    captions.receive(frames(utterances[1], Speaker.OFFICER)[0])
    assert captions.dropped_frames == sent - 49
    captions.start()
    captions.stop(timeout_s=30)
    assert captions.open_channels == 0


def test_a_lost_stretch_keeps_the_times_right_and_a_lost_end_is_found(
    vosk: VoskEngine, utterances: list[Samples]
) -> None:
    now = 0.0
    shown: list[LiveCaption] = []
    captions = LiveCaptions(vosk, shown.append, LiveLimits(backlog_s=60, idle_s=30), clock=lambda: now)
    captions.start()
    late = 60 * 8000
    for datagram in (*frames(utterances[0], Speaker.CALLER)[:-1], *frames(utterances[1], Speaker.CALLER, late)[:-1]):
        captions.receive(datagram)
    captions.receive(frames(utterances[0], Speaker.CALLER)[0])  # came twice
    assert captions.dropped_frames == 1
    now = 31.0
    captions.sweep()
    deadline = time.monotonic() + 60
    while captions.open_channels:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    captions.stop()
    first = [c for c in shown if c.final and c.end_s < 10]
    second = [c for c in shown if c.final and c.start_s >= 60]
    assert first
    assert second
    assert len(first) + len(second) == sum(c.final for c in shown)


def test_a_broken_engine_and_a_broken_listener_do_not_end_the_captions(
    vosk: VoskEngine, utterances: list[Samples], caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        capabilities = vosk.capabilities
        opened = 0

        def open(self, sample_rate_hz: int) -> object:
            self.opened += 1
            if self.opened == 1:
                raise EngineError("模型损坏")
            return vosk.open(sample_rate_hz)

    def broken_listener(_caption: LiveCaption) -> None:
        raise RuntimeError("listener")

    captions = LiveCaptions(Failing(), broken_listener, LiveLimits(backlog_s=60))
    captions.start()
    for call in (CALL, CALL[::-1]):
        for datagram in frames(utterances[1], Speaker.CALLER, call=call):
            captions.receive(datagram)
        deadline = time.monotonic() + 60
        while captions.open_channels:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    captions.stop()
    assert "given up" in caplog.text
    assert "could not be passed on" in caplog.text
