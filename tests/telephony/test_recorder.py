"""The recorder: what it was given is on the disk, whatever dies or refuses in between."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
import wave
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duty.domain.transcripts import Speaker
from telephony.media_errors import NotARecordingError
from telephony.recorder import MEMORY_LIMIT, Recorder
from telephony.rtp.g711 import Law, Samples
from telephony.sealing import SealedRecording, salvage
from telephony.sealing_process import SealingProcess

CALL = "0123456789abcdef0123456789abcdef"
START = datetime(2026, 5, 1, 17, 30, tzinfo=UTC)
NOISE = np.random.default_rng(7).integers(0, 256, 80_000, dtype=np.uint8).tobytes()


def recorder(root: Path) -> Recorder:
    return Recorder(root=root, call_id=CALL, started_at=START)


def speak(to: Recorder, speaker: Speaker, data: bytes, at: int = 0, law: Law = Law.PCMA) -> None:
    for offset in range(0, len(data), 160):
        to.write(speaker, position=at + offset, payload=data[offset : offset + 160], law=law)


def stereo(path: Path) -> Samples:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, 8000)
        return np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").reshape(-1, 2)


def events(directory: Path, name: str) -> list[dict[str, object]]:
    lines = (directory / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


@pytest.mark.rule("6.1-d")
def test_both_voices_are_kept_bit_for_bit(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:16_000])
    speak(running, Speaker.OFFICER, NOISE[16_000:24_000], at=4000)
    running.tick(0.0)
    sealed = running.seal(end=20_000)
    assert sealed.directory == tmp_path / "2026/05/02" / CALL
    assert (sealed.samples, sealed.seconds, sealed.damaged) == (20_000, 2.5, None)
    assert sealed.started_at == START
    sound = stereo(sealed.wav_path)
    assert np.array_equal(sound[:16_000, 0], Law.PCMA.decode(NOISE[:16_000]))
    assert np.array_equal(sound[4000:12_000, 1], Law.PCMA.decode(NOISE[16_000:24_000]))
    silence = Law.PCMA.decode(Law.PCMA.silence)[0]
    assert set(sound[16_000:, 0]) | set(sound[:4000, 1]) | set(sound[12_000:, 1]) == {silence}
    assert sealed.gaps == {Speaker.CALLER: ((16_000, 4000),), Speaker.OFFICER: ((0, 4000), (12_000, 8000))}
    assert sealed.wav_sha256 == hashlib.sha256(sealed.wav_path.read_bytes()).hexdigest()
    assert sealed.raw_sha256[Speaker.CALLER] == hashlib.sha256(NOISE[:16_000]).hexdigest()
    assert sealed.raw_samples == {Speaker.CALLER: 16_000, Speaker.OFFICER: 12_000}


def test_the_waveform_shows_the_extremes_of_each_20_ms(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:1000])
    sealed = running.seal()
    peaks = json.loads(sealed.peaks_path.read_text())
    shape = {key: peaks[key] for key in ("version", "channels", "sample_rate", "samples_per_pixel", "bits", "length")}
    assert shape == {
        "version": 2, "channels": 2, "sample_rate": 8000, "samples_per_pixel": 160, "bits": 8, "length": 7,
    }  # fmt: skip
    first = Law.PCMA.decode(NOISE[160:320])
    assert peaks["data"][4:8] == [first.min() >> 8, first.max() >> 8, 0, 0]
    assert len(peaks["data"]) == 4 * 7


def test_sealing_and_salvaging_again_give_the_same(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.OFFICER, NOISE[:8000])
    sealed = running.seal(end=9000)
    manifest = (sealed.directory / "sealed.json").read_bytes()
    assert running.seal() == salvage(sealed.directory) == salvage(sealed.directory) == sealed
    assert (sealed.directory / "sealed.json").read_bytes() == manifest
    assert json.loads(manifest)["wav_sha256"] == sealed.wav_sha256


def test_late_frames_fill_their_hole_and_a_lasting_hole_is_a_gap(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:1600])
    speak(running, Speaker.CALLER, NOISE[3200:4800], at=3200)
    running.tick(0.0)
    speak(running, Speaker.CALLER, NOISE[1600:2400], at=1600)
    running.tick(1.0)
    speak(running, Speaker.CALLER, NOISE[4800:80_000], at=4800)
    running.tick(2.0)
    (gap,) = events(running.directory, "gap")
    assert (gap["channel"], gap["start"], gap["samples"]) == ("caller", 2400, 800)
    sealed = running.seal()
    assert sealed.gaps[Speaker.CALLER] == ((2400, 800),)
    raw = (sealed.directory / "caller.alaw").read_bytes()
    assert raw == NOISE[:2400] + Law.PCMA.silence * 800 + NOISE[3200:]


def test_a_change_of_codec_stays_one_file_in_one_law(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:800], law=Law.PCMU)
    speak(running, Speaker.CALLER, NOISE[800:1600], at=800, law=Law.PCMA)
    sealed = running.seal()
    raw = (sealed.directory / "caller.ulaw").read_bytes()
    assert raw == NOISE[:800] + Law.PCMU.recode(NOISE[800:1600], Law.PCMA)
    assert [event["law"] for event in events(sealed.directory, "codec")] == ["PCMU", "PCMA"]


def test_a_call_in_which_nobody_spoke_is_silence(tmp_path: Path) -> None:
    sealed = recorder(tmp_path).seal(end=8000)
    assert not stereo(sealed.wav_path).any()
    assert sealed.gaps == dict.fromkeys(Speaker, ((0, 8000),))
    assert sealed.raw_sha256 == dict.fromkeys(Speaker)


@pytest.mark.parametrize("call_id", ["", "../../etc/passwd", CALL.upper(), CALL + "0"])
def test_only_a_call_id_names_a_directory(call_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 lower-case hex"):
        Recorder(root=tmp_path, call_id=call_id, started_at=START)


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    head = f"""
        import json, resource, sys, time
        from datetime import UTC, datetime
        from pathlib import Path
        from duty.domain.transcripts import Speaker
        from telephony.media_errors import RecordingNotSealedError
        from telephony.recorder import Recorder
        from telephony.rtp.g711 import Law
        root, noise = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
        recorder = Recorder(root=root, call_id="{CALL}", started_at=datetime(2026, 5, 1, 17, 30, tzinfo=UTC))
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def noise_file(tmp_path: Path) -> Path:
    path = tmp_path / "noise"
    path.write_bytes(NOISE)
    return path


@pytest.mark.rule("6.1-d")
def test_after_a_kill_all_but_the_last_second_is_there(tmp_path: Path, noise_file: Path) -> None:
    code = """
        begin = time.monotonic()
        for number in range(500):
            for speaker in Speaker:
                payload = noise[number * 160 : number * 160 + 160]
                recorder.write(speaker, position=number * 160, payload=payload, law=Law.PCMA)
            if number % 12 == 0:
                recorder.tick(time.monotonic())
            print(number, flush=True)
            time.sleep(max(0, begin + number * 0.02 - time.monotonic()))
    """
    process = child(code, str(tmp_path / "root"), str(noise_file))
    time.sleep(2.5)
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=30)
    given = int(out.split()[-1]) + 1
    assert process.returncode == -signal.SIGKILL
    assert given > 60
    directory = tmp_path / "root/2026/05/02" / CALL
    sealed = salvage(directory)
    assert given * 160 - 8000 <= sealed.samples <= given * 160
    assert sealed.damaged == "interrupted: the recording was never closed"
    assert sealed.started_at == START
    expected = Law.PCMA.decode(NOISE[: sealed.samples])
    assert np.array_equal(stereo(sealed.wav_path), np.stack([expected, expected], axis=1))
    with (directory / "events.jsonl").open("a") as sidecar:
        sidecar.write('{"event": "gap", "chan')
    assert salvage(directory) == sealed


def test_a_full_disk_stops_nothing_and_loses_nothing_once_there_is_room(tmp_path: Path, noise_file: Path) -> None:
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        for number in range(250):
            payload = noise[number * 160 : number * 160 + 160]
            recorder.write(Speaker.CALLER, position=number * 160, payload=payload, law=Law.PCMA)
            if number % 25 == 0:
                recorder.tick(number * 0.02)
        full = recorder.disk_state()
        damaged = recorder.damaged
        try:
            recorder.seal()
            refused = False
        except RecordingNotSealedError:
            refused = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sealed = recorder.seal()
        print(json.dumps([full.failing, full.errors, full.waiting_samples, full.lost_samples, damaged, refused,
                          sealed.damaged, sealed.samples, recorder.disk_state().waiting_samples]))
    """
    process = child(code, str(tmp_path / "root"), str(noise_file))
    out, _ = process.communicate(timeout=30)
    failing, errors, waiting, lost, damaged, refused, sealed_damaged, samples, left = json.loads(out)
    assert "File too large" in failing
    assert errors > 1
    assert waiting > 40_000 - 20_000 - 1
    assert damaged.startswith("disk_error: ")
    assert refused
    assert (lost, sealed_damaged, samples, left) == (0, None, 40_000, 0)
    directory = tmp_path / "root/2026/05/02" / CALL
    assert (directory / "caller.alaw").read_bytes() == NOISE[:40_000]
    assert len(events(directory, "write_error")) >= 1
    assert len(events(directory, "write_recovered")) >= 1


def test_what_finds_no_room_even_in_memory_is_counted_and_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    running = recorder(tmp_path / "file")
    second = NOISE[:8000]
    for number in range(MEMORY_LIMIT // 8000 + 3):
        running.write(Speaker.CALLER, position=number * 8000, payload=second, law=Law.PCMA)
        running.tick(float(number))
    state = running.disk_state()
    assert (state.waiting_samples, state.lost_samples) == (MEMORY_LIMIT, 3 * 8000)
    (tmp_path / "file").unlink()
    sealed = running.seal(end=MEMORY_LIMIT + 24_000)
    assert sealed.damaged is not None
    assert sealed.damaged.startswith("disk_error: 24000 samples lost")
    assert sealed.gaps[Speaker.CALLER] == ((MEMORY_LIMIT, 24_000),)
    assert sealed == salvage(sealed.directory)


@pytest.mark.rule("6.1-d")
def test_a_long_sealing_holds_up_neither_writing_nor_syncing(tmp_path: Path) -> None:
    """One thread writes all recordings: were it to wait here, the others would have their sound in memory only."""
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:8000])
    begun, end = threading.Event(), threading.Event()

    def slowly(directory: Path) -> SealedRecording:
        begun.set()
        assert end.wait(10.0)
        return salvage(directory)

    with ThreadPoolExecutor(1) as pool:
        sealing = pool.submit(lambda: running.seal(by=slowly))
        assert begun.wait(10.0)
        with ThreadPoolExecutor(1) as other:
            other.submit(running.tick, 1.0).result(5.0)
            other.submit(running.sync).result(5.0)
        assert not sealing.done()
        end.set()
        assert sealing.result(10.0).raw_samples[Speaker.CALLER] == 8000


def test_syncing_before_during_and_after_is_harmless(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    running.sync()
    speak(running, Speaker.CALLER, NOISE[:800])
    running.tick(0.0)
    running.sync()
    running.seal()
    running.sync()
    running.tick(9.0)
    assert running.disk_state().errors == 0


def test_salvage_tells_what_it_cannot_make_whole(tmp_path: Path) -> None:
    with pytest.raises(NotARecordingError):
        salvage(tmp_path)
    (tmp_path / "officer.ulaw").write_bytes(NOISE[:500])
    sealed = salvage(tmp_path)
    assert sealed.started_at is None
    assert sealed.damaged is not None
    assert np.array_equal(stereo(sealed.wav_path)[:, 1], Law.PCMU.decode(NOISE[:500]))


def test_an_unreadable_line_within_the_sidecar_is_told(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    speak(running, Speaker.CALLER, NOISE[:800])
    sealed = running.seal()
    sidecar = sealed.directory / "events.jsonl"
    sidecar.write_text("\0\0\0\n" + sidecar.read_text())
    told = salvage(sealed.directory)
    assert told.damaged == "sidecar_unreadable: 1 lines; altered: events line 1 to 3"
    assert told.chain == sealed.chain


def chained(root: Path, seconds: int = 20) -> SealedRecording:
    running = recorder(root)
    for second in range(seconds):
        speak(running, Speaker.CALLER, NOISE[:8000], at=second * 8000)
        speak(running, Speaker.OFFICER, NOISE[8000:16_000], at=second * 8000)
        running.tick(float(second))
    return running.seal()


@pytest.mark.rule("6.1-d")
def test_each_second_is_hashed_while_the_call_runs(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    for second in range(20):
        speak(running, Speaker.CALLER, NOISE[:8000], at=second * 8000)
        running.tick(float(second))
    early = events(running.directory, "segment")
    assert sum(int(str(event["samples"])) for event in early) >= 12 * 8000
    sealed = running.seal()
    segments = events(running.directory, "segment")
    assert segments[: len(early)] == early
    edges = [(int(str(event["start"])), int(str(event["samples"]))) for event in segments]
    assert all(b[0] == sum(a) for a, b in pairwise(edges))
    assert (edges[0][0], sum(edges[-1])) == (0, 160_000)
    raw = (sealed.directory / "caller.alaw").read_bytes()
    for (start, samples), event in zip(edges, segments, strict=True):
        assert event["sha256"] == hashlib.sha256(raw[start : start + samples]).hexdigest()
    last = (sealed.directory / "events.jsonl").read_bytes().splitlines(keepends=True)[-1]
    assert sealed.chain == hashlib.sha256(last).hexdigest()


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("place", [0, 12_345, 100_000, 159_999])
def test_an_altered_sample_is_named_by_its_second(tmp_path: Path, place: int) -> None:
    sealed = chained(tmp_path)
    raw = sealed.directory / "officer.alaw"
    data = bytearray(raw.read_bytes())
    data[place] ^= 1
    raw.write_bytes(data)
    damaged = salvage(sealed.directory).damaged
    told = re.fullmatch(r"altered: officer sample (\d+) to (\d+)", damaged or "")
    assert told is not None
    assert int(told[1]) <= place <= int(told[2])
    if place < 100_000:
        assert int(told[2]) - int(told[1]) <= 2 * 8000


@pytest.mark.rule("6.1-d")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_line_can_be_changed_taken_out_or_put_in(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / str(uuid.uuid4())
    sealed = chained(root, seconds=10)
    sidecar = sealed.directory / "events.jsonl"
    lines = sidecar.read_bytes().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["change", "take out", "put in"])):
        case "change":
            lines[at] = lines[at].replace(b"r", b"q", 1)
        case "take out":
            del lines[at]
        case _:
            lines.insert(at, b'{"event": "gap", "channel": "caller", "start": 0, "samples": 800}\n')
    sidecar.write_bytes(b"".join(lines))
    assert "altered: " in (salvage(sealed.directory).damaged or "")


@pytest.mark.rule("6.1-d")
def test_a_cut_file_is_found_out(tmp_path: Path) -> None:
    sealed = chained(tmp_path)
    with (sealed.directory / "caller.alaw").open("r+b") as raw:
        raw.truncate(50_000)
    assert "altered: caller sample" in (salvage(sealed.directory).damaged or "")


def test_sealing_elsewhere_gives_the_same_and_survives_the_death_of_the_process(tmp_path: Path) -> None:
    sealed = chained(tmp_path)
    elsewhere = SealingProcess()
    try:
        assert elsewhere.salvage(sealed.directory) == sealed
        first = elsewhere._process.pid
        elsewhere._process.kill()
        assert elsewhere.salvage(sealed.directory) == sealed
        assert elsewhere.salvage(sealed.directory) == sealed
        assert elsewhere._process.pid not in (None, first)
        with pytest.raises(NotARecordingError):
            elsewhere.salvage(tmp_path / "nothing")
    finally:
        elsewhere.close()


def test_a_remote_cannot_flood_the_sidecar(tmp_path: Path) -> None:
    running = recorder(tmp_path)
    for number in range(10_000):
        running.write(Speaker.CALLER, position=number, payload=b"\xd5", law=list(Law)[number % 2])
    running.tick(0.0)
    assert len((running.directory / "events.jsonl").read_text().splitlines()) < 600
