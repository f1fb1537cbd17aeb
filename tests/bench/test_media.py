"""The media plane carries a hundred recorded calls whole, also while transcription computes.

How many more, and what rtpengine does in the same run, is in docs/benchmarks.md.
"""

import os
from pathlib import Path

import pytest

from tests.bench.bench_media import MediaFigures, measure, run, table
from tests.peers.programs import require

pytestmark = pytest.mark.slow


def _whole(figures: MediaFigures) -> None:
    assert (figures.lost_relay, figures.lost_file, figures.gaps, figures.disordered) == (0, 0, 0, 0)


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("calls", [100, 200])
def test_no_frame_is_lost_in_relay_or_file(tmp_path: Path, calls: int) -> None:
    figures = run(measure(calls, 10.0, tmp_path), uvloop=False)
    print(figures)
    _whole(figures)
    assert figures.frames == calls * 1000


@pytest.mark.rule("6.1-d")
def test_no_frame_is_lost_while_transcription_saturates_every_core(tmp_path: Path) -> None:
    figures = run(measure(100, 10.0, tmp_path, busy=os.cpu_count() or 1), uvloop=False)
    print(figures)
    _whole(figures)


@pytest.mark.peer
def test_beside_rtpengine(tmp_path: Path) -> None:
    """Not who is faster, which depends on the day, but that both were given the same and kept all of it."""
    require("rtpengine")
    ours = run(measure(100, 10.0, tmp_path), uvloop=False)
    theirs = run(measure(100, 10.0, tmp_path, peer=True), uvloop=False)
    print(table([ours, theirs]))
    for figures in (ours, theirs):
        _whole(figures)
