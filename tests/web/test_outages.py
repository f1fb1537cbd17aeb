"""A time in which the line was not served, as officers see it: on the lines screen and among the alarms."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.web.conftest import SignIn
from tests.web.room import LINE, Room

MEANING = {
    "open": "来电可能已由交换机直通值班电话，未经本系统记录",
    "refuse": "期间来电无法接入",
}


@pytest.mark.rule("4-a")
@pytest.mark.parametrize("manner", ["open", "refuse"])
@pytest.mark.parametrize("stopped", [True, False])
def test_an_outage_is_on_the_lines_screen_and_an_alarm(sign_in: SignIn, room: Room, manner: str, stopped: bool) -> None:
    assert 'id="outages"' not in sign_in("officer1").get("/lines").text
    outages = room.services.outages
    outages.beat()
    if stopped:
        outages.stop()
    outages.note_return({LINE: manner}, at=room.clock() + timedelta(minutes=42))
    cause = "值班系统停止运行" if stopped else "值班系统异常中断"
    lines, desk = (sign_in("officer1").get(path).text for path in ("/lines", "/desk"))
    for page in (lines, desk):
        assert cause in page
        assert MEANING[manner] in page
        assert MEANING["refuse" if manner == "open" else "open"] not in page
    assert "专线曾中断" in desk
    assert "专线中断记录" in lines
