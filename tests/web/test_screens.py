"""The screens over a room with calls in it."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from duty.domain.calls import CallEventKind, LegQuality
from duty.store.tables import AuditRow, EvidenceRow
from tests.web.conftest import SignIn
from tests.web.room import (
    PASSWORD,
    Room,
    TestClock,
    answer,
    arrive,
    draft,
    hang_up,
    happen,
    missed_call,
    whole_call,
    write_recording,
)

CALL = "a" * 32
OTHER = "b" * 32


def form(page: str) -> dict[str, str]:
    """The draft form's fields as the browser would send them."""
    import html

    inputs = dict(re.findall(r'<input type="hidden" name="(base\.\w+)" value="([^"]*)"', page))
    fields = {name.removeprefix("base."): value for name, value in inputs.items()}
    return {name: html.unescape(value) for name, value in {**inputs, **fields}.items()}


def test_an_empty_room_says_what_to_do(officer: TestClient) -> None:
    page = officer.get("/desk").text
    assert "dutyline demo" in page
    for path in ("/calls", "/register", "/directory", "/lines"):
        assert officer.get(path).status_code == 200


@pytest.mark.rule("6.1-a")
def test_the_desk_shows_a_call_from_its_invite_on(room: Room, officer: TestClient) -> None:
    arrive(room, CALL)
    page = officer.get("/desk/calls").text
    assert "可能是 北郊乡党政办 张建国 值班员" in page
    assert "号码仅来自主叫显示，可伪造" in page
    assert "振铃" not in page
    answer(room, CALL)
    assert "通话中" in officer.get("/desk/calls").text
    for kind, by, shown in (
        (CallEventKind.HELD, "officer", "值班员已保持通话"),
        (CallEventKind.HELD, "caller", "对方已保持通话"),
        (CallEventKind.RESUMED, "officer", "对方已保持通话"),
        (CallEventKind.RESUMED, "caller", ""),
    ):
        happen(room, CALL, kind, by=by)
        page = officer.get("/desk/calls").text
        assert shown in page
    assert "已保持通话" not in page
    hang_up(room, CALL)
    assert CALL not in officer.get("/desk/calls").text
    assert "/entries/" in officer.get("/desk/drafts").text


@pytest.mark.rule("6.1-a")
def test_a_missed_call_is_pending_until_settled_and_can_be_returned(room: Room, officer: TestClient) -> None:
    missed_call(room, CALL)
    page = officer.get("/desk").text
    assert "未接来电待回拨" in page
    assert officer.post(f"/calls/{CALL}/return").status_code == 200
    command = room.services.commands.take()
    assert command is not None
    assert command.number == "037122334455"
    item = room.services.calls.pending(room.actor("officer1"))[0]
    assert "没有待办事项" in officer.post(f"/pending/{item.id}/settle", data={"words": "已回拨"}).text


def test_an_alarm_is_shown_until_acknowledged(room: Room, officer: TestClient) -> None:
    arrive(room, CALL)
    room.book.block_forward(
        CALL,
        at=room.clock(),
        way="refer",
        target="sip:13800000000@x",
        source="1001",
        raw=b"REFER",
        line_number="037122595110",
    )
    page = officer.get("/desk/alarms").text
    assert "话机请求转接（REFER）" in page
    alarm = re.search(r"/alarms/(\d+)/acknowledge", page)
    assert alarm is not None
    assert "没有未确认的告警" in officer.post(alarm[0]).text
    assert "呼叫转移被阻止" in officer.get(f"/calls/{CALL}").text


@pytest.mark.rule("6.1-d")
def test_the_call_page_shows_words_proposals_and_their_source(room: Room, officer: TestClient) -> None:
    whole_call(room, CALL)
    page = officer.get(f"/calls/{CALL}").text
    assert 'data-start="' in page
    assert "孙李唐村一处仓库" in page
    assert "把握高" in page
    assert "把握中" in page
    assert "把握低" in page
    assert "听原话 00:06" in page
    assert "转写完成" in page
    assert "来电人挂机" in page


def test_a_transcript_without_word_times_is_clicked_by_segment(room: Room, officer: TestClient) -> None:
    whole_call(room, CALL, with_words=False)
    assert len(re.findall(r'class="word" data-start="', officer.get(f"/calls/{CALL}").text)) == 8


def test_saving_writes_only_what_changed(room: Room, officer: TestClient) -> None:
    entry_id = whole_call(room, CALL)
    fields = form(officer.get(f"/calls/{CALL}").text)
    saved = officer.post(f"/entries/{entry_id}/save", data={**fields, "remarks": "已电告区领导\r\n"})
    assert saved.status_code == 200
    assert "已保存" in saved.text
    row = room.services.logbook.entry(room.actor("officer1"), entry_id)
    assert row.remarks == "已电告区领导"
    version = row.version
    officer.post(f"/entries/{entry_id}/save", data={**fields, "remarks": "已电告区领导"})
    assert room.services.logbook.entry(room.actor("officer1"), entry_id).version == version


@pytest.mark.rule("6.2-b")
def test_a_draft_that_arrives_while_the_officer_types_costs_no_word(room: Room, officer: TestClient) -> None:
    arrive(room, CALL)
    answer(room, CALL)
    page = officer.get(f"/calls/{CALL}").text
    entry_id = int(re.search(r"/entries/(\d+)/save", page)[1])  # type: ignore[index]
    fields = form(page)
    hang_up(room, CALL)
    write_recording(room, CALL)
    room.services.recordings.claim()
    from tests.web.room import transcript

    room.services.recordings.complete(CALL, transcript(), draft())
    saved = officer.post(f"/entries/{entry_id}/save", data={**fields, "event": "我听到的：仓库失火"})
    row = room.services.logbook.entry(room.actor("officer1"), entry_id)
    assert saved.status_code == 409, "both wrote the event"
    assert "我听到的：仓库失火" in saved.text
    assert row.event == "孙李唐村一处仓库发生火灾，过火面积约200平方米。"
    kept = {**fields, "event": "我听到的：仓库失火", "accept.event": row.event}
    saved = officer.post(f"/entries/{entry_id}/save", data=kept)
    assert saved.status_code == 200
    assert 'id="field-place"' in saved.text, "what came from the transcript is put into the form"
    row = room.services.logbook.entry(room.actor("officer1"), entry_id)
    assert (row.event, row.place) == ("我听到的：仓库失火", "孙李唐村一处仓库")


def test_two_officers_conflict_only_where_both_wrote(room: Room, sign_in: SignIn) -> None:
    entry_id = whole_call(room, CALL)
    one, two = sign_in("officer1"), sign_in("leader1")
    fields = form(one.get(f"/calls/{CALL}").text)
    assert (
        two.post(f"/entries/{entry_id}/save", data={**fields, "place": "孙李唐村东仓库", "remarks": "甲"}).status_code
        == 200
    )
    answered = one.post(f"/entries/{entry_id}/save", data={**fields, "place": "孙李唐村西仓库", "request": "请求支援"})
    assert answered.status_code == 409
    assert "孙李唐村东仓库" in answered.text
    assert "孙李唐村西仓库" in answered.text
    assert 'name="accept.remarks"' not in answered.text


def test_a_call_that_was_forked_to_us_says_so(room: Room, officer: TestClient) -> None:
    first, second, plain = "1" * 32, "2" * 32, "3" * 32
    arrive(room, first, recording_session="uuid-1")
    arrive(room, second, recording_session="uuid-1")
    arrive(room, plain)
    happen(room, second, CallEventKind.PARTIES, parties="张三 <sip:13800138000@pbx>")
    happen(room, second, CallEventKind.FORWARD_MARKED, way="recorded_transfer", target="sip:1@pbx")
    page = officer.get(f"/calls/{second}").text
    assert "旁路录音（SIPREC）" in page
    assert f'<a href="/calls/{first}">查看另一段</a>' in page
    assert "旁路录音信息：通话各方（张三 &lt;sip:13800138000@pbx&gt;）" in page
    assert "旁路录音显示通话已离开值班话机" in page
    assert f'<a href="/calls/{second}">查看另一段</a>' in officer.get(f"/calls/{first}").text
    assert "旁路录音" not in officer.get(f"/calls/{plain}").text


@pytest.mark.rule("6.1-c")
def test_identity_by_directory_by_call_back_and_by_reason(room: Room, clock: TestClock, officer: TestClient) -> None:
    entry_id = whole_call(room, CALL)
    page = officer.get(f"/entries/{entry_id}/identity").text
    assert "按来电号码匹配，不等于身份已核实" in page
    contact = re.search(r'name="contact_id" value="(\d+)"', page)[1]  # type: ignore[index]
    number = re.search(r'name="number_id" value="(\d+)"', page)[1]  # type: ignore[index]
    check = {"method": "call_back", "verdict": "verified", "contact_id": contact}
    refused = officer.post(f"/entries/{entry_id}/checks", data=check, headers={"HX-Request": "true"})
    assert refused.status_code == 422
    assert "没有查到来电之后拨打该联系人" in refused.text
    assert "等待值班电话" in officer.post(f"/entries/{entry_id}/call-back", data={"number_id": number}).text
    done = officer.post(
        f"/entries/{entry_id}/checks", data={"method": "directory", "verdict": "verified", "contact_id": contact}
    )
    assert "通讯录比对：核实无误" in done.text
    assert "身份，或书面说明" not in done.text
    assert (
        officer.post(f"/entries/{entry_id}/checks", data={"method": "nonsense", "verdict": "verified"}).status_code
        == 422
    )


@pytest.mark.rule("6.2-c")
@pytest.mark.rule("6.1-c")
def test_from_draft_to_number_amendment_and_void(room: Room, officer: TestClient) -> None:
    entry_id = whole_call(room, CALL)
    fields = form(officer.get(f"/calls/{CALL}").text)
    fragment = {"HX-Request": "true"}
    early = officer.post(f"/entries/{entry_id}/finalize", data={**fields, "password": PASSWORD}, headers=fragment)
    assert early.status_code == 422
    assert "须核实来电人身份" in early.text
    officer.post(f"/entries/{entry_id}/checks", data={"method": "reason", "verdict": "impossible", "note": "电话已断"})
    assert "已复述确认" in officer.post(f"/entries/{entry_id}/repeat-back").text
    wrong = officer.post(
        f"/entries/{entry_id}/finalize", data={**fields, "remarks": "待续报", "password": "nonsense"}, headers=fragment
    )
    assert wrong.status_code == 401
    assert room.services.logbook.entry(room.actor("officer1"), entry_id).remarks == "待续报", "typed words are kept"
    done = officer.post(f"/entries/{entry_id}/finalize", data={**fields, "remarks": "待续报", "password": PASSWORD})
    assert "龙亭值〔2026〕1号" in done.text
    page = officer.get(f"/entries/{entry_id}").text
    assert "待续报" in page
    again = officer.post(f"/entries/{entry_id}/save", data={**fields, "place": "别处"}, headers=fragment)
    assert "已经定稿" in again.text
    amended = officer.post(
        f"/entries/{entry_id}/amend", data={**fields, "remarks": "待续报", "place": "孙李唐村东仓库", "reason": "听错"}
    )
    assert amended.headers["HX-Redirect"] == f"/entries/{entry_id}"
    page = officer.get(f"/entries/{entry_id}").text
    assert "<del>孙李唐村一处仓库</del> <ins>孙李唐村东仓库</ins>" in page
    officer.post(f"/entries/{entry_id}/void", data={"reason": "重复登记", "password": PASSWORD})
    assert "作废：重复登记" in officer.get(f"/entries/{entry_id}").text
    assert "龙亭值〔2026〕1号" in officer.get("/register?words=仓库").text


def test_an_entry_without_a_call(officer: TestClient) -> None:
    started = officer.post("/entries")
    assert started.status_code == 303
    page = officer.get(started.headers["location"])
    assert page.status_code == 200
    assert "draft-form" in page.text


@pytest.mark.rule("6.1-d")
def test_the_recording_is_served_in_ranges_and_each_listening_is_noted_once(
    room: Room, clock: TestClock, officer: TestClient
) -> None:
    whole_call(room, CALL)
    whole = officer.get(f"/calls/{CALL}/audio")
    assert whole.headers["content-type"] == "audio/wav"
    part = officer.get(f"/calls/{CALL}/audio", headers={"Range": "bytes=44-1043"})
    assert part.status_code == 206
    assert part.content == whole.content[44:1044]
    assert listenings(room) == 1
    clock.move(11 * 60)
    officer.get(f"/calls/{CALL}/audio")
    assert listenings(room) == 2
    peaks = officer.get(f"/calls/{CALL}/peaks").json()
    assert max(peaks["caller"]) > 0.1
    assert set(peaks) == {"caller", "officer"}
    (room.settings.data.recordings / CALL / "peaks.json").write_text("[", "utf-8")
    assert officer.get(f"/calls/{CALL}/peaks").status_code == 204
    (room.settings.data.recordings / CALL / "recording.wav").unlink()
    assert officer.get(f"/calls/{CALL}/audio", headers={"HX-Request": "true"}).status_code == 404


def listenings(room: Room) -> int:
    from sqlalchemy import func, select

    from duty.store.tables import AuditRow

    with room.services.store.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.action == "listen")) or 0


@pytest.mark.rule("6.1-b")
def test_a_restricted_number_is_masked_until_looked_at(room: Room, officer: TestClient) -> None:
    page = officer.get("/directory").text
    assert "037166668888" not in page
    contact = re.search(r"/directory/(\d+)/reveal", page)
    assert contact is not None
    assert "037166668888" in officer.post(contact[0]).text


def test_another_unit_sees_nothing_of_this_one(room: Room, sign_in: SignIn) -> None:
    entry_id = whole_call(room, CALL)
    missed_call(room, OTHER)
    stranger = sign_in("beijiao")
    assert CALL not in stranger.get("/calls").text
    for path in (
        f"/calls/{CALL}",
        f"/calls/{CALL}/audio",
        f"/entries/{entry_id}",
        f"/entries/{entry_id}/print.pdf",
        f"/api/v1/calls/{CALL}",
    ):
        assert stranger.get(path).status_code == 404, path
    assert stranger.post(f"/calls/{OTHER}/return").status_code == 404


@pytest.mark.rule("6.1-a")
def test_the_supervisor_filters_every_units_calls(room: Room, sign_in: SignIn) -> None:
    whole_call(room, CALL)
    missed_call(room, OTHER)
    client = sign_in("supervisor1")
    page = client.get("/review").text
    assert CALL in page
    assert OTHER in page
    only = client.get("/review?outcome=missed&since=2026-11-23&until=2026-11-23&direction=inbound").text
    assert OTHER in only
    assert CALL not in only
    assert client.get("/review?outcome=nonsense&since=x&page=-3&unit=y").status_code == 200
    assert OTHER not in client.get("/review?words=张建国").text


def test_accounts_are_made_with_a_password_that_must_be_changed(room: Room, sign_in: SignIn) -> None:
    admin = sign_in("administrator1")
    made = admin.post("/officers", data={"unit": "LT", "login": "new.one", "name": "新人", "role.officer": "on"})
    password = re.search(r'class="one-time">([^<]+)<', made.text)[1]  # type: ignore[index]
    fresh = TestClient(admin.app, base_url="http://console.test", follow_redirects=False)
    entered = fresh.post("/sign-in", data={"login": "new.one", "password": password})
    assert entered.headers["location"] == "/password"
    assert fresh.get("/desk").headers["location"] == "/password"
    assert fresh.get("/api/v1/calls").status_code == 403
    page = fresh.get("/password").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]  # type: ignore[index]
    chosen = {"csrf_token": token, "old": password, "new": "brand-new-words-9", "again": "brand-new-words-9"}
    assert fresh.post("/password", data={**chosen, "again": "x"}).status_code == 422
    assert fresh.post("/password", data=chosen).status_code == 303
    assert fresh.get("/desk").status_code == 200
    fresh.close()
    assert "new.one" in admin.get("/officers").text
    assert admin.post("/officers/new.one/reset").status_code == 200


def test_a_wrong_credential_keeps_the_login_and_says_so(app: object, room: Room) -> None:
    client = TestClient(app, base_url="http://console.test", follow_redirects=False)  # type: ignore[arg-type]
    answered = client.post("/sign-in", data={"login": "officer1", "password": "x", "next": "/calls"})
    assert answered.status_code == 401
    assert "账号或密码不正确" in answered.text
    assert 'value="officer1"' in answered.text
    assert client.get("/calls?x=1").headers["location"] == "/sign-in?next=/calls"
    entered = client.post("/sign-in", data={"login": "officer1", "password": PASSWORD, "next": "//evil.example/"})
    assert entered.headers["location"] == "/"
    client.close()


def test_the_desk_offers_nobody_an_act_they_have_no_right_to(room: Room, sign_in: SignIn) -> None:
    missed_call(room, OTHER)
    arrive(room, CALL)
    page = sign_in("administrator1").get("/desk").text
    assert "振铃" in page or "呼入" in page
    for act in ("/calls/", "/return", "/settle", "desk-drafts"):
        assert act not in page


@pytest.mark.rule("6.1-e", "7.4-a")
def test_the_evidence_of_a_refusal_is_shown_to_who_may_see_it_and_each_look_is_written_down(
    room: Room, officer: TestClient, sign_in: SignIn
) -> None:
    arrive(room, CALL)
    raw = b"REFER sip:1001 SIP/2.0\r\nRefer-To: <sip:13900139000@carrier>\r\n\r\n\xff"
    room.book.block_forward(
        CALL,
        at=room.clock(),
        way="refer",
        target="sip:13900139000@carrier",
        source="1001",
        raw=raw,
        line_number="037122595110",
    )
    leader = sign_in("leader1")
    assert "/evidence/1" not in officer.get(f"/calls/{CALL}").text
    assert 'href="/evidence/1"' in leader.get(f"/calls/{CALL}").text
    assert "话机请求转接（REFER）" in leader.get("/evidence").text
    page = leader.get("/evidence/1").text
    assert "Refer-To: &lt;sip:13900139000@carrier&gt;\n\n\\xff</pre>" in page
    assert "与存证链一致" in page
    taken = leader.get("/evidence/1/message")
    assert taken.content == raw
    assert "attachment" in taken.headers["content-disposition"]
    with room.services.store.writing() as session:
        actions = list(session.scalars(select(AuditRow.action).where(AuditRow.subject == "evidence:1")))
        session.execute(update(EvidenceRow).values(raw=b"REFER"))
    assert actions == ["see_evidence", "take_evidence"]
    assert "与存证链不一致" in leader.get("/evidence/1").text


@pytest.mark.rule("6.1-d")
def test_how_each_side_of_a_call_was_protected_is_shown(room: Room, officer: TestClient) -> None:
    whole_call(room, CALL)
    assert "两侧线路与加密" not in officer.get(f"/calls/{CALL}").text, "nothing is known of the media"
    common = {"call_id": CALL, "packets": 1500, "round_trip_ms": None, "strays": 0, "one_way": False}
    suite = "AES_CM_128_HMAC_SHA1_80"
    rate = room.book.rate_leg
    rate(LegQuality(**common, speaker="caller", codec="PCMA", lost=3, jitter_ms=4.6, signalling="UDP"))
    protected = {"encryption": suite, "undeciphered": 2, "signalling": "TLS"}
    rate(LegQuality(**common, speaker="officer", codec="G722", lost=0, jitter_ms=1.0, **protected))
    for path in (f"/calls/{CALL}", f"/calls/{CALL}/part/timeline"):
        page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", officer.get(path).text))
        assert "来电人 未加密 RTP 未加密 UDP PCMA 3 / 1500 5 毫秒 —" in page
        assert f"值班员 已加密 SRTP {suite} 另有 2 个包无法解密，已丢弃 已加密 TLS G722 0 / 1500 1 毫秒 —" in page
