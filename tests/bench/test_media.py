"""The media plane carries a hundred recorded calls whole; docs/benchmarks.md says how many more."""

from pathlib import Path

import pytest

from tests.bench.bench_media import measure, run


@pytest.mark.slow
@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("calls", [100, 200])
def test_no_frame_is_lost_in_relay_or_file(tmp_path: Path, calls: int) -> None:
    figures = run(measure(calls, 10.0, tmp_path), uvloop=False)
    print(figures)
    assert (figures.lost_relay, figures.lost_file, figures.gaps, figures.disordered) == (0, 0, 0, 0)
    assert figures.frames == calls * 1000
