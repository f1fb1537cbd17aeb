"""The archive's copy: it says what the recording says, or there is none."""

import hashlib
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from telephony import archive
from telephony.archive import ArchiveError, archive_copy, check_archive
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
    decoded = np.concatenate(list(archive._decode(copy.path)))
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

        def spoiled(
            pieces: Iterator[Samples], path: Path, rate: int, spoil: Callable[[Samples], Samples] = spoil
        ) -> None:
            encode(iter([spoil(np.concatenate(list(pieces)))]), path, rate)

        monkeypatch.setattr(archive, "_encode", spoiled)
        with pytest.raises(ArchiveError):
            archive_copy(recording, tmp_path / "a.opus")
        assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def silenced(sound: Samples) -> Samples:
    spoiled = sound.copy()
    spoiled[2 * 8000 : 10 * 8000] = 0
    return spoiled


def test_a_wrong_stretch_of_a_long_call_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole call it is too little to count; of its stretch it is not."""
    voice = np.tile(conversation()[0], 6)
    recording = write(tmp_path / "a.wav", voice, np.roll(voice, 8000))
    encode = archive._encode

    def spoiled(pieces: Iterator[Samples], path: Path, rate: int) -> None:
        encode(iter([silenced(np.concatenate(list(pieces)))]), path, rate)

    monkeypatch.setattr(archive, "_encode", spoiled)
    with pytest.raises(ArchiveError, match="like the recording"):
        archive_copy(recording, tmp_path / "a.opus")


@pytest.mark.parametrize("level", [60, 1000])
def test_noise_on_both_sides_takes_more_bits_and_has_its_copy(tmp_path: Path, level: int) -> None:
    noise = np.random.default_rng(level).normal(0, level, (2, 40_000)).astype(np.int16)
    recording = write(tmp_path / "a.wav", noise[0], noise[1])
    copy = archive_copy(recording, tmp_path / "a.opus")
    assert copy.similarity > 0.95
    assert copy.bytes < recording.stat().st_size / 3


def test_only_the_sealed_file_is_copied_and_only_its_copy_stands_for_it(tmp_path: Path) -> None:
    recording = write(tmp_path / "a.wav", *conversation())
    sha256 = hashlib.sha256(recording.read_bytes()).hexdigest()
    with pytest.raises(ArchiveError, match="not the file that was sealed"):
        archive_copy(recording, tmp_path / "a.opus", sha256="0" * 64)
    copy = archive_copy(recording, tmp_path / "a.opus", sha256=sha256)
    check_archive(recording, copy.path, sha256=sha256, archive_sha256=copy.sha256)
    with pytest.raises(ArchiveError):
        check_archive(recording, copy.path, sha256=sha256, archive_sha256="0" * 64)
    other = archive_copy(write(tmp_path / "b.wav", *reversed(conversation())), tmp_path / "b.opus")
    with pytest.raises(ArchiveError):
        check_archive(recording, other.path, sha256=sha256, archive_sha256=other.sha256)


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
