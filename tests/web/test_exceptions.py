"""Exceptions to the ban on forwarding at the console: asked, approved by another, on every screen while they stand."""

from __future__ import annotations

import pytest

from tests.web.conftest import SignIn
from tests.web.room import LINE

pytestmark = pytest.mark.rule("6.1-e")

ASKED = {
    "line": LINE,
    "way": "feature_code",
    "target": "*57*13900139000#",
    "reason": "线路检修",
    "start": "2026-11-23T15:00",
    "end": "2026-11-23T18:00",
}
BANNER = "经批准的呼叫转移例外：值班专线"
SCREENS = ("/desk", "/calls", "/register", "/directory", "/review", "/lines", "/checks", "/password")


def test_from_asking_to_revoking(sign_in: SignIn) -> None:
    officer, leader = sign_in("officer1"), sign_in("leader1")
    assert officer.post("/lines/exceptions", data=ASKED).status_code == 204
    assert "待批准" in leader.get("/lines").text
    assert BANNER not in leader.get("/desk").text
    assert officer.post("/lines/exceptions/1/approve").status_code == 403
    assert leader.post("/lines/exceptions/1/approve").status_code == 204
    for path in SCREENS:
        page = leader.get(path).text
        assert BANNER in page, path
        assert "*57*13900139000#，自 2026-11-23 15:00 至 2026-11-23 18:00" in page
    assert BANNER in sign_in("administrator1").get("/officers").text
    assert BANNER in sign_in("auditor1").get("/register").text
    assert officer.post("/lines/exceptions/1/revoke").status_code == 204
    assert BANNER not in leader.get("/desk").text
    assert BANNER not in leader.get("/lines/exceptions/banner").text
    assert "已撤销" in leader.get("/lines").text


def test_nobody_approves_their_own(sign_in: SignIn) -> None:
    leader = sign_in("leader1")
    assert leader.post("/lines/exceptions", data=ASKED).status_code == 204
    refused = leader.post("/lines/exceptions/1/approve")
    assert refused.status_code == 422
    assert "不能批准自己申请的例外" in refused.text
    assert BANNER not in leader.get("/desk").text


@pytest.mark.parametrize(
    "change",
    [{"way": "refer"}, {"way": ""}, {"end": "2026-11-24T15:01"}, {"start": "soon"}, {"end": ""}, {"target": "x"}],
)
def test_what_makes_no_sense_is_refused(sign_in: SignIn, change: dict[str, str]) -> None:
    refused = sign_in("officer1").post("/lines/exceptions", data=ASKED | change)
    assert refused.status_code == 422
    assert "没有呼叫转移例外" in sign_in("officer1").get("/lines").text
