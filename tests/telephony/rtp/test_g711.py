"""G.711 against the recommendation's own figures and against sox, over all codes and all samples."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from telephony.rtp.g711 import Law

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize(
    ("law", "code", "value"),
    [
        (Law.PCMA, 0xD5, 8),
        (Law.PCMA, 0x55, -8),
        (Law.PCMA, 0xAA, 32256),
        (Law.PCMA, 0x2A, -32256),
        (Law.PCMA, 0x80, 5504),
        (Law.PCMU, 0xFF, 0),
        (Law.PCMU, 0x80, 32124),
        (Law.PCMU, 0x00, -32124),
        (Law.PCMU, 0xF0, 120),
    ],
)
def test_codes_have_the_values_of_the_recommendation(law: Law, code: int, value: int) -> None:
    assert law.decode(bytes([code]))[0] == value


def test_every_code_survives_a_round_trip() -> None:
    assert Law.PCMA.encode(Law.PCMA.decode(ALL_CODES)) == ALL_CODES
    # µ-law has two codes for zero; negative zero (0x7F) comes back as the positive one.
    assert Law.PCMU.encode(Law.PCMU.decode(ALL_CODES)) == ALL_CODES.replace(b"\x7f", b"\xff")


@pytest.mark.parametrize("law", Law)
def test_every_sample_gets_a_code_within_half_a_step(law: Law) -> None:
    values = np.unique(law.decode(ALL_CODES).astype(np.int32))
    steps = np.diff(values)
    samples = ALL_SAMPLES[(values[0] <= ALL_SAMPLES) & (values[-1] >= ALL_SAMPLES)].astype(np.int32)
    chosen = np.searchsorted(values, law.decode(law.encode(samples.astype(np.int16))))
    # The wider of the steps to either neighbour, for a decision value between segments is no midpoint.
    widest = np.maximum(np.append(steps, 0), np.insert(steps, 0, 0))[chosen]
    assert np.all(np.abs(values[chosen] - samples) <= widest / 2)
    assert np.all(np.diff(chosen) >= 0)


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
@pytest.mark.parametrize(("law", "kind"), [(Law.PCMA, "al"), (Law.PCMU, "ul")])
def test_sox_agrees(law: Law, kind: str, tmp_path: Path) -> None:
    (tmp_path / f"codes.{kind}").write_bytes(ALL_CODES)
    form = ["-r", "8000", "-c", "1"]
    subprocess.run(["sox", *form, f"codes.{kind}", "-t", "s16", "out"], cwd=tmp_path, check=True)
    assert np.array_equal(np.fromfile(tmp_path / "out", dtype="<i2"), law.decode(ALL_CODES))
    (tmp_path / "samples.s16").write_bytes(ALL_SAMPLES.tobytes())
    sox = ["sox", "-D", *form, "-t", "s16", "samples.s16", "-t", kind, "coded"]
    subprocess.run(sox, cwd=tmp_path, check=True)
    theirs = np.frombuffer((tmp_path / "coded").read_bytes(), dtype=np.uint8)
    ours = np.frombuffer(law.encode(ALL_SAMPLES), dtype=np.uint8)
    # sox rounds to 13 or 14 bits first, we cut as the recommendation does: they part only at the decision values.
    differing = theirs != ours
    steps = np.abs(
        np.argsort(np.argsort(law.decode(ALL_CODES), kind="stable"), kind="stable")[theirs]
        - np.argsort(np.argsort(law.decode(ALL_CODES), kind="stable"), kind="stable")[ours]
    )
    assert differing.mean() < 0.04
    assert steps.max() <= 1


@pytest.mark.parametrize("target", Law)
def test_recoding_is_what_decoding_and_encoding_give(target: Law) -> None:
    source = Law.PCMU if target is Law.PCMA else Law.PCMA
    assert target.recode(ALL_CODES, source) == target.encode(source.decode(ALL_CODES))
    assert target.recode(ALL_CODES, target) is ALL_CODES


def test_silence_stays_silence_in_either_law() -> None:
    assert Law.PCMU.recode(Law.PCMA.silence, Law.PCMA) in (b"\xfe", b"\xff")
    assert Law.PCMA.recode(Law.PCMU.silence, Law.PCMU) == Law.PCMA.silence
