"""The service and its peers take the same calls in the same minute; docs/benchmarks.md says how many more.

``python -m tests.bench.bench_signalling`` looks for each system's limit and prints the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_signalling import measure
from tests.bench.invite_capture import InviteCapture
from tests.bench.systems import SYSTEMS, install_peers

RATE, SECONDS = 50, 5.0


@pytest.fixture(scope="module")
def _peers() -> None:
    install_peers()
    try:
        InviteCapture().close()
    except PermissionError:
        pytest.skip("capturing on loopback needs root")


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.usefixtures("_peers")
@pytest.mark.rule("6.1-a")
@pytest.mark.parametrize("name", SYSTEMS)
def test_no_call_fails_and_ours_are_all_in_the_book(tmp_path: Path, name: str) -> None:
    figures = measure(SYSTEMS[name], rate=RATE, seconds=SECONDS, work=tmp_path / name)
    print(figures)
    assert figures.whole, figures
    assert figures.p99_ms == figures.p99_ms, "no INVITE was seen to go out"
