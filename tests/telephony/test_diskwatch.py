"""The disk watch: told before it is full, once, and once when it has passed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.happenings import AlarmKind, Severity
from telephony.diskwatch import DiskWatch, Forecast

GB = 1_000_000_000


class Told:
    """What the alarms were told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def report(self, kind: AlarmKind, _severity: Severity, *, subject: str, **data: float) -> None:
        self.said.append(f"{kind.value} {data.get('hours', '')}".strip())

    def settle(self, kind: AlarmKind, *, subject: str) -> None:
        self.said.append(f"-{kind.value}")


@pytest.mark.rule("6.4-a")
@given(st.integers(10, 5000), st.floats(0.1, 50.0))
def test_a_steady_filling_is_foretold(free_gb: int, gb_per_hour: float) -> None:
    forecast = Forecast()
    free = float(free_gb * GB)
    for minute in range(121):
        forecast.add(minute * 60.0, max(0, int(free - gb_per_hour * GB * minute / 60)))
    left = max(0.0, free_gb - gb_per_hour * 2)
    hours = forecast.hours_left()
    if left > 0:
        assert hours == pytest.approx(left / gb_per_hour, rel=0.01)
    else:
        assert hours == 0


def test_too_short_a_look_and_a_disk_that_is_tidied_foretell_nothing() -> None:
    forecast = Forecast()
    assert forecast.hours_left() is None
    for minute in range(29):
        forecast.add(minute * 60.0, (100 - minute) * GB)
    assert forecast.hours_left() is None
    forecast.add(1800.0, 70 * GB)
    assert forecast.hours_left() == pytest.approx(70 / 60, rel=0.05)
    forecast.add(1860.0, 90 * GB)
    assert forecast.hours_left() is None


@pytest.mark.rule("6.4-a")
def test_each_alarm_is_told_once_and_settled_once(tmp_path: Path) -> None:
    told = Told()
    watch = DiskWatch(tmp_path, told, low_mb=2000, fill_hours=24)  # type: ignore[arg-type]
    for minute in range(181):  # one GB an hour, from 20 GB
        watch.look(20 * GB - minute * GB // 60, minute * 60.0)
    assert told.said == ["-disk_low", "-disk_filling", "disk_filling 19.5"]
    for minute in range(181, 1200):
        watch.look(20 * GB - minute * GB // 60, minute * 60.0)
    assert told.said[3:] == ["disk_low"]
    watch.look(50 * GB, 72_060.0)
    assert told.said[4:] == ["-disk_low", "-disk_filling"]
