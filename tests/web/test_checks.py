"""拨测与查岗 on the console: who sees what, evidence in words, an appeal from beginning to end, one's own PIN."""

from __future__ import annotations

from enum import StrEnum

import pytest
from fastapi.testclient import TestClient

from duty.domain.linechecks import Cause, CheckKind, CheckState, Finding, Verdict
from telephony.probe_evidence import Manner, OurSide, ProbeEvidence, ProbeRun, StatusSeen, conclude, judge
from tests.web.conftest import SignIn
from tests.web.room import LINE, PASSWORD, Room
from web import catalogue

T = catalogue.load()


def checked(room: Room, finding: Finding, kind: CheckKind = CheckKind.LINE) -> int:
    """A check that was ordered, made and judged."""
    checks = room.services.linechecks
    check_id = checks.order(room.actor("leader1"), LINE, kind)
    assert checks.claim() is not None
    checks.finish(check_id, finding)
    return check_id


def forwarded() -> Finding:
    """What telephony finds where the carrier forwards."""
    seen = ProbeEvidence(
        agent="softphone",
        dialled=LINE,
        statuses=(StatusSeen(status=181, at_s=0.2), StatusSeen(status=200, at_s=2.0)),
        answer_s=2.0,
        heard_s=10.0,
        level_dbfs=-21.5,
    )
    verdict, reason = judge(seen, OurSide(), token="48291573", manner=Manner.ANSWER)
    run = ProbeRun(manner=Manner.ANSWER, evidence=seen, ours=OurSide(), verdict=verdict, reason=reason)
    return conclude([run], through_carrier=True)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("check_kind", CheckKind),
        ("check_cause", Cause),
        ("check_state", CheckState),
        ("check_verdict", Verdict),
        ("manner", Manner),
    ],
)
def test_every_value_of_a_check_has_words(group: str, values: type[StrEnum]) -> None:
    assert {value.value for value in values} - set(T.under(group)) == set()


@pytest.mark.rule("4-a", "6.1-e")
def test_a_forwarded_line_is_told_with_its_evidence(room: Room, officer: TestClient) -> None:
    check_id = checked(room, forwarded())
    page = officer.get("/checks").text
    assert "呼叫被转移" in page
    assert "立即拨测" not in page, "an officer does not order checks"
    shown = officer.get(f"/checks/{check_id}").text
    for words in ("经运营商", "网络应答 SIP 181", "呼叫没有到达本系统", "181@0.20 200@2.00", "2.0 秒后接通", "王建军"):
        assert words in shown, words
    for path in ("/desk", "/desk/lines", "/lines"):
        assert "呼叫被转移" in officer.get(path).text, path
    alarm = officer.get("/desk/alarms").text
    assert "拨测未通过" in alarm
    assert f"/checks/{check_id}" in alarm


@pytest.mark.rule("6.6-b")
def test_a_leader_orders_and_one_of_a_kind_runs_at_a_time(room: Room, sign_in: SignIn) -> None:
    leader = sign_in("leader1")
    assert "立即查岗" in leader.get("/checks").text
    assert "已下达" in leader.post("/checks", data={"line": LINE, "kind": "line"}).text
    assert "待进行" in leader.get("/checks").text
    again = leader.post("/checks", data={"line": LINE, "kind": "line"}, headers={"hx-request": "true"})
    assert (again.status_code, "正在进行" in again.text) == (422, True)
    refused = leader.post("/checks", data={"line": LINE, "kind": "spot"}, headers={"hx-request": "true"})
    assert "还没有人设置查岗密码" in refused.text
    assert leader.post("/checks", data={"line": LINE, "kind": "?"}).status_code == 422
    assert leader.post("/checks", data={"line": "110", "kind": "line"}).status_code == 404
    assert sign_in("officer1").post("/checks", data={"line": LINE, "kind": "line"}).status_code == 403
    assert "037122595220" in sign_in("supervisor1").get("/checks").text


@pytest.mark.rule("6.6-b")
def test_an_officer_sets_a_pin_and_the_page_never_shows_it(room: Room, officer: TestClient) -> None:
    assert "尚未设置查岗密码" in officer.get("/checks").text
    wrong = {"pin": "482915", "again": "482915", "password": "wrong-password"}
    assert officer.post("/checks/pin", data=wrong).status_code == 401
    differs = {"pin": "482915", "again": "482916", "password": PASSWORD}
    assert "两次输入" in officer.post("/checks/pin", data=differs, headers={"hx-request": "true"}).text
    simple = {"pin": "1234", "again": "1234", "password": PASSWORD}
    assert "过于简单" in officer.post("/checks/pin", data=simple, headers={"hx-request": "true"}).text
    good = {"pin": "482915", "again": "482915", "password": PASSWORD}
    assert "查岗密码已设置" in officer.post("/checks/pin", data=good).text
    page = officer.get("/checks").text
    assert "您已设置查岗密码" in page
    assert "482915" not in page
    actor = room.actor("officer1")
    assert room.services.pins.whose(LINE, "482915") == actor.officer_id


@pytest.mark.rule("6.6-b")
def test_an_appeal_from_its_beginning_to_its_end(room: Room, officer: TestClient, sign_in: SignIn) -> None:
    room.services.pins.set(room.actor("officer1"), "482915", password=PASSWORD)
    evidence = {"rang": True, "ring_s": 30.0, "phones": "1001", "statuses": "", "answered_by": "", "tries": 0}
    absent = Finding(verdict=Verdict.NO_ANSWER, reason="no_answer", evidence=dict(evidence))
    check_id = checked(room, absent, CheckKind.SPOT)
    page = officer.get(f"/checks/{check_id}").text
    assert "话机振铃 30.0 秒" in page
    assert "提交申诉" in page
    assert sign_in("beijiao").get(f"/checks/{check_id}").status_code == 404
    done = officer.post(f"/checks/{check_id}/appeal", data={"words": "正在接待群众"})
    assert done.headers["hx-redirect"] == f"/checks/{check_id}"
    told = officer.get(f"/checks/{check_id}").text
    assert "正在接待群众" in told
    assert "申诉成立" not in told.replace("申诉成立</button>", "")
    supervisor = sign_in("supervisor1")
    assert "维持原结果" in supervisor.get(f"/checks/{check_id}").text
    assert supervisor.post(f"/checks/{check_id}/decide", data={"words": "监控属实", "upheld": "yes"}).status_code == 204
    decided = supervisor.get(f"/checks/{check_id}").text
    assert "申诉成立（赵敏）：监控属实" in decided
    assert "申诉成立" in officer.get("/checks").text
    assert officer.post(f"/checks/{check_id}/appeal", data={"words": "再诉"}).status_code == 422


def test_a_check_says_that_the_carrier_was_not_tried(room: Room, officer: TestClient) -> None:
    seen = ProbeEvidence(agent="softphone", dialled=LINE, answer_s=0.1, digits_voice="48291573")
    ours = OurSide(arrived=True, answered=True, call_id=None)
    run = ProbeRun(manner=Manner.ANSWER, evidence=seen, ours=ours, verdict=Verdict.PASSED, reason="token_heard")
    shown = officer.get(f"/checks/{checked(room, conclude([run], through_carrier=False))}").text
    assert "不能证明运营商侧没有设置呼叫转移" in shown
    assert officer.get("/checks/999").status_code == 404
