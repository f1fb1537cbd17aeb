"""``dutyline evaluate``: a unit's list through a real engine, what is wrong with a list, and what the report holds."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.dutyline.service import Instance, prepare
from transcription import models
from transcription.errors import TranscriptionError
from transcription.evaluation.degrade import Degradation, degraded, parse_degradation
from transcription.evaluation.manifest import read_manifest

REPOSITORY = Path(__file__).resolve().parents[2]


def listed(folder: Path, *lines: str) -> Path:
    path = folder / "list.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Instance, Path, list[tuple[str, str]]]:
    """An installation with whisper-base and a list of two utterances with their words and fields."""
    speech = REPOSITORY.parent / "shared" / "speech" / "mandarin"
    if not speech.is_dir():
        pytest.skip("no test speech beside the checkout (it is not shipped with the project)")
    root = tmp_path_factory.mktemp("evaluate")
    instance = prepare(root)
    base = models.fetch("whisper-base", REPOSITORY / "build" / "models")
    shutil.copytree(base.path, instance.data / "models" / base.path.name)
    with (speech / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [(row["file"], row["text"]) for row in list(csv.DictReader(file, delimiter="\t"))[:2]]
    for name, _ in rows:
        shutil.copy(speech / name, root / name)
    return instance, root, rows


@pytest.mark.rule("6.1-d")
def test_a_list_is_measured_and_reported(measured: tuple[Instance, Path, list[tuple[str, str]]]) -> None:
    instance, root, rows = measured
    lines = [f"{name}\t{text}\tours\t3825501" for name, text in rows]
    manifest = listed(root, "file\ttext\tset\tphone", *lines)
    ran = instance.command(
        "evaluate", str(manifest), "--degrade", "telephone,noise:12dB", "--report", str(root / "report"), "--json"
    )
    assert ran.returncode == 0, ran.stderr
    [one] = json.loads(ran.stdout)
    assert (one["model"], one["condition"]) == ("whisper-base", "telephone,noise:12dB")
    [figures] = one["sets"]
    assert figures["characters"] == sum(len(text) for _, text in rows)
    assert 0 <= figures["low"] <= figures["cer"] <= figures["high"]
    assert figures["cer"] < 1
    assert one["rtf"] > 0
    assert one["peak_mib"] > 100
    assert one["fields"]["fields"]["phone"] == {"right": 0, "wrong": 0, "missed": 2}
    page = (root / "report" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http" not in page
    assert len((root / "report" / "recordings.csv").read_text(encoding="utf-8-sig").splitlines()) == 3


def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path) -> None:
    instance = prepare(tmp_path)
    manifest = listed(tmp_path, "file\ttext", "none.wav\t你好")
    for arguments, words in (
        ((str(manifest),), "第 2 行：没有文件 none.wav"),
        ((str(tmp_path / "absent.tsv"),), "清单无法读取"),
        ((str(manifest), "--degrade", "radio"), "不认识的降质方式 radio"),
    ):
        ran = instance.command("evaluate", *arguments)
        assert ran.returncode == 1
        assert words in ran.stderr.replace("\n", "")
        assert "Traceback" not in ran.stderr


def test_every_line_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    manifest = listed(
        tmp_path, "file\ttext\ttime", "a.wav\t", "a.wav\t你好\tyesterday", "b.wav\t你好\t", "a.wav\t你好\t"
    )
    with pytest.raises(TranscriptionError) as raised:
        read_manifest(manifest)
    assert [f"第 {number} 行" in str(raised.value) for number in (2, 3, 4, 5)] == [True, True, True, False]


def test_degradation_reads_back_and_the_noise_is_as_loud_as_said() -> None:
    import numpy as np

    for how in (Degradation(), Degradation(telephone=True), Degradation(telephone=True, noise_db=6.5)):
        assert parse_degradation(str(how).replace("original", "")) == how
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)).astype(np.int16)
    clean, rate = degraded(tone, 16000, Degradation(telephone=True))
    noisy, _ = degraded(tone, 16000, Degradation(telephone=True, noise_db=12))
    assert rate == 8000
    noise = noisy.astype(float) - clean
    assert 10 * np.log10(np.mean(clean.astype(float) ** 2) / np.mean(noise**2)) == pytest.approx(12, abs=1)
