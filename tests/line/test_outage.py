"""The service is killed, or stopped, and comes back after a while: the book says from when to when it was away."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from duty.domain.times import utc_now
from duty.services.outages import TELEPHONY, Outages
from duty.store.database import Store
from duty.store.tables import HeartbeatRow
from tests.line.service import Line, Service

pytestmark = [pytest.mark.peer, pytest.mark.rule("4-a")]

NUMBER = "037122590031"
AGO = timedelta(minutes=7)


def _long_ago(store: Store, stopped: bool) -> None:
    """As if it had been away for seven minutes: the test has no time to wait."""
    with store.writing() as session:
        row = session.get_one(HeartbeatRow, TELEPHONY)
        assert (row.stopped_at is not None) == stopped
        row.beat_at -= AGO
        if row.stopped_at is not None:
            row.stopped_at -= AGO


def test_what_a_kill_and_a_stop_leave_in_the_book(tmp_path: Path) -> None:
    service = Service(tmp_path, (Line(number=NUMBER, phones=("3101",)),))
    began = utc_now()
    with service, closing(Store(service.settings.store_url)) as store:
        outages = Outages(store, utc_now)

        def beats() -> bool:
            with store.reading() as session:
                row = session.get(HeartbeatRow, TELEPHONY)
                return row is not None and row.stopped_at is None

        service.wait(beats, "no sign of life")
        assert outages.recent() == []
        service.kill()
        service.start()
        service.wait(beats, "no sign of life")
        assert outages.recent() == [], "it was back at once"
        service.kill()
        _long_ago(store, stopped=False)
        service.start()
        service.wait(lambda: len(outages.recent()) == 1, "the outage is not in the book")
        (lost,) = outages.recent()
        assert (lost.line_number, lost.stopped, lost.open) == (NUMBER, False, False)
        assert began - AGO < lost.began_at < lost.ended_at - AGO + timedelta(seconds=30)
        service.wait(beats, "no sign of life")
        assert service.stop() == 0
        _long_ago(store, stopped=True)
        service.start()
        service.wait(lambda: len(outages.recent()) == 2, "the stop is not in the book")
        assert outages.recent()[0].stopped
