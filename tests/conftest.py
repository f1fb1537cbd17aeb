"""What holds for every test of the suite."""

from __future__ import annotations

import pytest

_REAL_TIME = (
    "tests/browser/",
    "tests/dutyline/",
    "tests/faults/",
    "tests/line/",
    "tests/peers/",
    "tests/telephony/test_",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests against foreign programs and the real clock are tried once more when they fail: a shared machine that
    stands still for a second is no fault of the line. The report counts such reruns; a fault of ours fails twice."""
    for item in items:
        if item.get_closest_marker("peer") or item.nodeid.startswith(_REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))
