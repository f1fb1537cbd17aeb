"""The archive's copy: it says what the recording says, or there is none."""

import hashlib
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from telephony import archive
from telephony.archive import ArchiveError, archive_copy
from telephony.demo.script import CONVERSATION
from telephony.rtp.g711 import Law, Samples


def write(path: Path, left: Samples, right: Samples, rate: int = 8000) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(np.stack([left, right], axis=1).astype("<i2").tobytes())
    return path


def conversation() -> tuple[Samples, Samples]:
    """Both voices at once, as a line gives them."""
    voice = Law.PCMA.decode(Law.PCMA.encode(np.concatenate([line.samples() for line in CONVERSATION])))
    return voice, np.roll(voice, voice.size // 2)


@pytest.mark.rule("6.1-d")
def test_a_copy_is_small_as_long_and_says_the_same(tmp_path: Path) -> None:
    left, right = conversation()
    recording = write(tmp_path / "recording.wav", left, right)
    before = recording.read_bytes()
    copy = archive_copy(recording, tmp_path / "copy.opus")
    assert copy.similarity > 0.98
    assert copy.seconds == pytest.approx(left.size / 8000, abs=0.02)
    assert copy.bytes == copy.path.stat().st_size < len(before) / 5
    assert copy.bytes * 8 / copy.seconds > 16_000
    assert copy.sha256 == hashlib.sha256(copy.path.read_bytes()).hexdigest()
    assert recording.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"recording.wav", "copy.opus"}
    with av.open(str(copy.path)) as container:
        assert (container.format.name, container.streams.audio[0].codec_context.name) == ("ogg", "opus")
        assert container.streams.audio[0].layout.nb_channels == 2


def test_the_channels_stay_apart(tmp_path: Path) -> None:
    left, _ = conversation()
    copy = archive_copy(write(tmp_path / "a.wav", left, np.zeros_like(left)), tmp_path / "a.opus")
    decoded = archive._decode(copy.path)
    assert np.sqrt(np.mean(decoded[:, 1].astype(float) ** 2)) < 20
    assert copy.similarity > 0.98


@pytest.mark.parametrize("samples", [1, 79, 8001])
def test_short_and_silent_recordings_have_a_copy(tmp_path: Path, samples: int) -> None:
    nothing = np.zeros(samples, dtype=np.int16)
    copy = archive_copy(write(tmp_path / "a.wav", nothing, nothing), tmp_path / "a.opus")
    assert copy.seconds == pytest.approx(samples / 8000, abs=0.02)


def test_a_copy_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = conversation()
    recording = write(tmp_path / "a.wav", left, right)
    encode = archive._encode
    for spoil in (lambda sound: np.roll(sound, 40, axis=0), lambda sound: sound[:-8000], lambda sound: sound[:, ::-1]):
        monkeypatch.setattr(archive, "_encode", lambda sound, path, spoil=spoil: encode(spoil(sound), path))
        with pytest.raises(ArchiveError):
            archive_copy(recording, tmp_path / "a.opus")
        assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"nothing of the kind")
    empty = np.zeros(0, dtype=np.int16)
    for path in (
        tmp_path / "a.wav",
        tmp_path / "b.wav",
        write(tmp_path / "c.wav", *conversation(), rate=16_000),
        write(tmp_path / "d.wav", empty, empty),
    ):
        with pytest.raises(ArchiveError):
            archive_copy(path, tmp_path / "a.opus")
