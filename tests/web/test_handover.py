"""Signing on, handing over and printing it, through the screens (requirements 6.2-d, 6.6-b)."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pypdf
import pytest
from fastapi.testclient import TestClient

from duty.domain.roster import Duty, Pattern
from duty.domain.times import local
from tests.web.conftest import SignIn
from tests.web.room import PASSWORD, Room, missed_call

SHEET = "/duty/handovers/1"


def plan(room: Room, login: str, *, days: int) -> None:
    day = local(room.clock()).date() + timedelta(days=days)
    room.services.rosters.plan(
        room.actor("leader1"),
        officer_id=room.actor(login).officer_id,
        duty=Duty.OFFICER,
        pattern=Pattern.WHOLE_DAY,
        day=day,
    )


@pytest.mark.rule("6.2-d", "6.6-b")
def test_both_sign_on_one_screen_and_the_record_is_printed(room: Room, officer: TestClient, sign_in: SignIn) -> None:
    assert "不在本班次的排班表上" in officer.post("/duty/sign-on", data={"password": PASSWORD}).text
    plan(room, "officer1", days=0)
    plan(room, "leader1", days=1)
    assert officer.post("/duty/sign-on", data={"password": "wrong"}).status_code == 401
    assert officer.post("/duty/sign-on", data={"password": PASSWORD}).status_code == 204
    assert "李晓明" in officer.get("/desk/duty").text
    missed_call(room, "b" * 32)
    room.clock.move(16 * 3600)  # type: ignore[attr-defined]
    officer = sign_in("officer1")
    assert officer.post("/duty/handovers").headers["hx-redirect"] == SHEET
    first = {"login": "officer1", "password": PASSWORD, "notes": "请继续回拨\n未接来电", "documents": "明电 3 份"}
    assert officer.post(f"{SHEET}/give", data={**first, "password": "wrong"}).status_code == 401
    assert officer.post(f"{SHEET}/give", data=first).status_code == 204
    assert officer.get(f"{SHEET}/print.pdf").status_code == 422
    same = officer.post(f"{SHEET}/take", data={"login": "officer1", "password": PASSWORD})
    assert (same.status_code, "不能是同一人" in same.text) == (422, True)
    assert officer.post(f"{SHEET}/take", data={"login": "leader1", "password": PASSWORD}).status_code == 204
    page = officer.get(SHEET).text
    assert re.search(r"交接班链第 1 环", page)
    assert "王建军" in officer.get("/desk/duty").text
    pdf = officer.get(f"{SHEET}/print.pdf")
    text = re.sub(r"\s+", "", "".join(p.extract_text() for p in pypdf.PdfReader(io.BytesIO(pdf.content)).pages))
    for said in (
        "龙亭区政府值班室交接班记录",
        "李晓明2026年11月24日7时20分",
        "王建军",
        "请继续回拨未接来电",
        "明电3份",
        "037122334455",
        room.services.handovers.see(room.actor("auditor1"), 1).hash,
    ):
        assert said in text, said
