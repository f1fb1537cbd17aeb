"""What the console refuses: strangers, other sites, too much, and whatever a role has no right to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from duty.domain.exceptions import ExceptionWay
from duty.domain.linechecks import CheckKind, Finding, Verdict
from duty.domain.rights import Right, Role
from duty.domain.roster import Duty, Pattern
from duty.domain.times import local
from duty.domain.vocabulary import Suggestion, WordClass
from duty.services.suggestions import keep_suggestions
from duty.services.words import NewWord
from tests.web.conftest import SignIn
from tests.web.room import LINE, PASSWORD, Room, missed_call, whole_call
from web.hardening import MAX_BODY_BYTES
from web.screens import ROUTERS
from web.sessions import CSRF_HEADER

CALL = "a" * 32
MISSED = "b" * 32
OPEN = {
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/api/v1/session"),
    ("GET", "/healthz"),
    ("GET", "/api/v1/openapi.json"),
}
ANYONE_SIGNED_IN = {
    "/",
    "/session",
    "/password",
    "/sign-out",
    "/events",
    "/lines/exceptions/banner",
    "/api/v1/session",
    "/api/v1/session/password",
}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path: the screens as their routers hold them, the API as OpenAPI documents it."""
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield from ((method, route.path) for method in route.methods)
    for path, methods in app.openapi()["paths"].items():
        yield from ((method.upper(), path) for method in methods)


def fill(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)


IDS = {
    "call_id": CALL,
    "entry_id": "1",
    "evidence_id": "1",
    "alarm_id": "1",
    "check_id": "1",
    "exception_id": "1",
    "hold_id": "1",
    "pending_id": "1",
    "shift_id": "1",
    "handover_id": "1",
    "contact_id": "2",
    "part": "calls",
    "version": "1",
    "transcript_id": "1",
    "word_id": "1",
    "suggestion_id": "1",
    "decision": "accepted",
    "login": "officer1",
}


def test_the_walk_sees_the_routes(app: FastAPI) -> None:
    found = set(routes(app))
    assert len(found) > 60
    assert ("POST", "/entries/{entry_id}/finalize") in found
    assert ("POST", "/api/v1/entries/{entry_id}/finalize") in found


def test_nothing_is_answered_without_a_session(app: FastAPI) -> None:
    client = TestClient(app, base_url="http://console.test", follow_redirects=False)
    for method, path in routes(app):
        if (method, path) in OPEN:
            continue
        answer = client.request(method, fill(path, IDS))
        assert answer.status_code in (303, 401), (method, path, answer.status_code)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/sign-in")
    client.close()


def test_every_write_needs_the_token_and_our_own_origin(app: FastAPI, sign_in: SignIn) -> None:
    client = sign_in("officer1")
    writes = [(m, p) for m, p in routes(app) if m not in ("GET", "HEAD") and (m, p) not in OPEN]
    assert len(writes) > 30
    for method, path in writes:
        token = client.headers.pop(CSRF_HEADER)
        assert client.request(method, fill(path, IDS)).status_code == 403, (method, path)
        assert client.request(method, fill(path, IDS), headers={CSRF_HEADER: "x"}).status_code == 403
        client.headers[CSRF_HEADER] = token
        foreign = client.request(method, fill(path, IDS), headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403, (method, path)
        crossed = client.request(method, fill(path, IDS), headers={"Sec-Fetch-Site": "cross-site"})
        assert crossed.status_code == 403, (method, path)
    assert client.get("/api/v1/session").status_code == 200, "none of them ended the session"
    ours = client.post("/entries", headers={"Origin": "http://console.test", "Sec-Fetch-Site": "same-origin"})
    assert ours.status_code == 303


NEEDS: dict[tuple[str, str], Right] = {
    ("GET", "/desk"): Right.SEE_DESK,
    ("GET", "/desk/{part}"): Right.SEE_DESK,
    ("POST", "/alarms/{alarm_id}/acknowledge"): Right.ACKNOWLEDGE_ALARM,
    ("POST", "/pending/{pending_id}/settle"): Right.EDIT_DRAFT,
    ("POST", "/calls/{call_id}/return"): Right.EDIT_DRAFT,
    ("GET", "/duty"): Right.SEE_DUTY,
    ("POST", "/duty/sign-on"): Right.TAKE_DUTY,
    ("POST", "/duty/sign-off"): Right.TAKE_DUTY,
    ("POST", "/duty/permits"): Right.ALLOW_DUTY,
    ("POST", "/duty/handovers"): Right.TAKE_DUTY,
    ("GET", "/duty/handovers/{handover_id}"): Right.SEE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/notes"): Right.TAKE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/excuse"): Right.TAKE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/give"): Right.TAKE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/return"): Right.TAKE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/take"): Right.TAKE_DUTY,
    ("POST", "/duty/handovers/{handover_id}/cancel"): Right.TAKE_DUTY,
    ("GET", "/duty/handovers/{handover_id}/print.pdf"): Right.PRINT,
    ("GET", "/duty/roster"): Right.SEE_DUTY,
    ("POST", "/duty/roster"): Right.PLAN_DUTY,
    ("POST", "/duty/roster/{shift_id}/withdraw"): Right.PLAN_DUTY,
    ("POST", "/duty/days"): Right.EDIT_CALENDAR,
    ("GET", "/calls"): Right.SEE_CALLS,
    ("GET", "/calls/{call_id}"): Right.SEE_CALLS,
    ("GET", "/calls/{call_id}/part/{part}"): Right.SEE_CALLS,
    ("GET", "/calls/{call_id}/audio"): Right.LISTEN,
    ("GET", "/calls/{call_id}/peaks"): Right.LISTEN,
    ("POST", "/calls/{call_id}/transcribe-again"): Right.EDIT_DRAFT,
    ("POST", "/suggestions/{suggestion_id}/{decision}"): Right.EDIT_DRAFT,
    ("POST", "/calls/{call_id}/entries"): Right.EDIT_DRAFT,
    ("POST", "/calls/{call_id}/versions/{version}/choose"): Right.EDIT_DRAFT,
    ("POST", "/entries/{entry_id}/save"): Right.EDIT_DRAFT,
    ("POST", "/entries/{entry_id}/repeat-back"): Right.EDIT_DRAFT,
    ("GET", "/entries/{entry_id}/obstacles"): Right.SEE_LOGBOOK,
    ("POST", "/entries/{entry_id}/finalize"): Right.FINALIZE,
    ("GET", "/entries/{entry_id}/identity"): Right.CHECK_IDENTITY,
    ("GET", "/entries/{entry_id}/contacts"): Right.CHECK_IDENTITY,
    ("GET", "/entries/{entry_id}/call-backs"): Right.CHECK_IDENTITY,
    ("POST", "/entries/{entry_id}/call-back"): Right.CHECK_IDENTITY,
    ("POST", "/entries/{entry_id}/checks"): Right.CHECK_IDENTITY,
    ("GET", "/entries/{entry_id}"): Right.SEE_LOGBOOK,
    ("POST", "/entries/{entry_id}/amend"): Right.AMEND,
    ("POST", "/entries/{entry_id}/void"): Right.AMEND,
    ("GET", "/entries/{entry_id}/print.pdf"): Right.PRINT,
    ("GET", "/register"): Right.SEE_LOGBOOK,
    ("POST", "/entries"): Right.EDIT_DRAFT,
    ("GET", "/directory"): Right.SEE_DIRECTORY,
    ("POST", "/directory"): Right.EDIT_DIRECTORY,
    ("POST", "/directory/{contact_id}/reveal"): Right.SEE_RESTRICTED,
    ("GET", "/review"): Right.REVIEW_CALLS,
    ("GET", "/lines"): Right.SEE_DESK,
    ("POST", "/lines/exceptions"): Right.ASK_EXCEPTION,
    ("POST", "/lines/exceptions/{exception_id}/approve"): Right.APPROVE_EXCEPTION,
    ("POST", "/lines/exceptions/{exception_id}/revoke"): Right.ASK_EXCEPTION,
    ("GET", "/officers"): Right.MANAGE_PEOPLE,
    ("POST", "/officers"): Right.MANAGE_PEOPLE,
    ("POST", "/officers/{login}/reset"): Right.MANAGE_PEOPLE,
    ("GET", "/checks"): Right.SEE_CALLS,
    ("POST", "/checks"): Right.ORDER_CHECK,
    ("POST", "/checks/pin"): Right.SEE_DESK,
    ("GET", "/checks/{check_id}"): Right.SEE_CALLS,
    ("POST", "/checks/{check_id}/appeal"): Right.SEE_DESK,
    ("POST", "/checks/{check_id}/decide"): Right.ORDER_CHECK,
    ("GET", "/recordings"): Right.SEE_DESK,
    ("GET", "/evidence"): Right.SEE_EVIDENCE,
    ("GET", "/evidence/{evidence_id}"): Right.SEE_EVIDENCE,
    ("GET", "/evidence/{evidence_id}/message"): Right.SEE_EVIDENCE,
    ("GET", "/vocabulary"): Right.SEE_WORDS,
    ("GET", "/vocabulary/pinyin"): Right.SEE_WORDS,
    ("GET", "/vocabulary/export.csv"): Right.SEE_WORDS,
    ("GET", "/vocabulary/{word_id}/edit"): Right.SEE_WORDS,
    ("POST", "/vocabulary"): Right.EDIT_WORDS,
    ("POST", "/vocabulary/import"): Right.EDIT_WORDS,
    ("POST", "/vocabulary/{word_id}"): Right.EDIT_WORDS,
    ("POST", "/vocabulary/{word_id}/withdraw"): Right.EDIT_WORDS,
    ("POST", "/vocabulary/{word_id}/restore"): Right.EDIT_WORDS,
    ("POST", "/calls/{call_id}/holds"): Right.REVIEW_CALLS,
    ("POST", "/calls/{call_id}/holds/{hold_id}/lift"): Right.REVIEW_CALLS,
    ("GET", "/api/v1/desk/calls"): Right.SEE_DESK,
    ("GET", "/api/v1/pending"): Right.SEE_DESK,
    ("POST", "/api/v1/pending/{pending_id}/settle"): Right.EDIT_DRAFT,
    ("POST", "/api/v1/calls/{call_id}/return"): Right.EDIT_DRAFT,
    ("GET", "/api/v1/alarms"): Right.SEE_DESK,
    ("POST", "/api/v1/alarms/{alarm_id}/acknowledge"): Right.ACKNOWLEDGE_ALARM,
    ("GET", "/api/v1/lines"): Right.SEE_DESK,
    ("GET", "/api/v1/officers"): Right.MANAGE_PEOPLE,
    ("GET", "/api/v1/calls"): Right.SEE_CALLS,
    ("GET", "/api/v1/calls/{call_id}"): Right.SEE_CALLS,
    ("GET", "/api/v1/calls/{call_id}/audio"): Right.LISTEN,
    ("POST", "/api/v1/calls/{call_id}/transcribe-again"): Right.EDIT_DRAFT,
    ("POST", "/api/v1/calls/{call_id}/entries"): Right.EDIT_DRAFT,
    ("POST", "/api/v1/calls/{call_id}/transcripts/{transcript_id}/choose"): Right.EDIT_DRAFT,
    ("GET", "/api/v1/entries"): Right.SEE_LOGBOOK,
    ("POST", "/api/v1/entries"): Right.EDIT_DRAFT,
    ("GET", "/api/v1/entries/{entry_id}"): Right.SEE_LOGBOOK,
    ("PATCH", "/api/v1/entries/{entry_id}"): Right.EDIT_DRAFT,
    ("POST", "/api/v1/entries/{entry_id}/repeat-back"): Right.EDIT_DRAFT,
    ("POST", "/api/v1/entries/{entry_id}/checks"): Right.CHECK_IDENTITY,
    ("POST", "/api/v1/entries/{entry_id}/call-backs"): Right.CHECK_IDENTITY,
    ("GET", "/api/v1/entries/{entry_id}/call-backs"): Right.CHECK_IDENTITY,
    ("POST", "/api/v1/entries/{entry_id}/finalize"): Right.FINALIZE,
    ("POST", "/api/v1/entries/{entry_id}/amend"): Right.AMEND,
    ("POST", "/api/v1/entries/{entry_id}/void"): Right.AMEND,
    ("GET", "/api/v1/entries/{entry_id}/print.pdf"): Right.PRINT,
    ("GET", "/api/v1/contacts"): Right.SEE_DIRECTORY,
    ("POST", "/api/v1/contacts"): Right.EDIT_DIRECTORY,
    ("POST", "/api/v1/contacts/{contact_id}/reveal"): Right.SEE_RESTRICTED,
    ("POST", "/calls/{call_id}/secrecy/mark"): Right.MARK_SECRECY,
    ("POST", "/calls/{call_id}/secrecy/open"): Right.OPEN_SECRECY,
    ("POST", "/calls/{call_id}/secrecy/close"): Right.SEE_CALLS,
    ("POST", "/calls/{call_id}/secrecy/lift"): Right.LIFT_SECRECY,
}
BODIES: dict[str, object] = {
    "save": {"place": "某处"},
    "finalize": {"password": PASSWORD, "version": 1},
    "amend": {"changes": {"place": "某处"}, "reason": "更正"},
    "void": {"reason": "作废", "password": PASSWORD},
    "checks": {"method": "reason", "verdict": "impossible", "note": "无法核实"},
    "call-back": {"number_id": 1},
    "call-backs": {"number_id": 1},
    "settle": {"words": "已办"},
    "holds": {"reason": "信访调查"},
    "lift": {"reason": "结案"},
    "open": {"reason": "核实来电内容"},
    "contacts": {"organisation": "某单位"},
    "directory": {"organisation": "某单位"},
    "vocabulary": {"word": "后退巷", "class": "road"},
    "sign-on": {"password": PASSWORD},
    "sign-off": {"password": PASSWORD},
    "excuse": {"login": "leader1", "password": PASSWORD, "reason": "轮换处置力量"},
    "give": {"login": "officer1", "password": PASSWORD},
    "take": {"login": "leader1", "password": PASSWORD},
    "permits": {"officer": "1", "reason": "替班", "hours": "8"},
    "roster": {"officer": "1", "duty": "officer", "pattern": "whole_day", "day": "2026-12-01"},
    "days": {"day": "2027-01-01", "kind": "holiday", "words": "国办发明电"},
    "officers": {"unit": "LT", "login": "x", "name": "x", "role.officer": "on"},
}


def test_every_route_is_in_the_table_of_rights(app: FastAPI) -> None:
    listed = set(NEEDS) | OPEN
    assert {(m, p) for m, p in routes(app) if (m, p) not in listed and p not in ANYONE_SIGNED_IN} == set()


@pytest.mark.parametrize("role", list(Role))
def test_a_role_reaches_what_it_has_a_right_to_and_nothing_else(role: Role, room: Room, sign_in: SignIn) -> None:
    whole_call(room, CALL)
    missed_call(room, MISSED)
    failed_check(room)
    asked_exception(room)
    blocked_forward(room)
    own_word(room)
    rostered(room, "officer1")
    client = sign_in(f"{role.value}1")
    rights = room.actor(f"{role.value}1").rights()
    for (method, path), right in NEEDS.items():
        ids = {**IDS, "part": "head" if "/part/" in path else "calls"}
        last = path.rsplit("/", 1)[-1]
        body = BODIES.get(last) if method == "POST" else None
        if method == "PATCH":
            body = {"version": 1, "changes": {"place": "某处"}}
        as_json = path.startswith("/api/")
        answer = client.request(method, fill(path, ids), json=body if as_json else None, data=None if as_json else body)
        allowed = right in rights
        refused = answer.status_code in (403, 404)
        assert refused != allowed, (role, method, path, answer.status_code, answer.text[-300:])
        assert answer.status_code < 500, (role, method, path, answer.text)


def own_word(room: Room) -> None:
    """A word that an officer added, and a suggestion for the call's transcript."""
    room.services.words.add(room.actor("officer1"), NewWord(word="前进巷", word_class="road"))
    place = Suggestion(segment=1, start_char=0, end_char=3, word="北郊乡", word_class=WordClass.AREA, distance=0.0)
    with room.services.store.writing() as session:
        keep_suggestions(session, 1, [place])


def rostered(room: Room, login: str) -> None:
    """A place on today's roster, signed on to, and the handover begun."""
    leader, actor = room.actor("leader1"), room.actor(login)
    day = local(room.clock()).date()
    room.services.rosters.plan(
        leader, officer_id=actor.officer_id, duty=Duty.OFFICER, pattern=Pattern.WHOLE_DAY, day=day
    )
    room.services.watches.sign_on(actor)
    room.services.handovers.begin(actor)


def asked_exception(room: Room) -> None:
    """An exception to the ban on forwarding that waits for approval."""
    now = room.clock()
    room.services.exceptions.ask(
        room.actor("officer1"),
        LINE,
        way=ExceptionWay.FEATURE_CODE,
        target="*57*13900139000#",
        reason="线路检修",
        start=now,
        end=now + timedelta(hours=1),
    )


def blocked_forward(room: Room) -> None:
    """A transfer that was refused, with its message."""
    room.book.block_forward(
        CALL,
        at=room.clock(),
        way="refer",
        target="sip:13900139000@carrier",
        source="127.0.0.1",
        raw=b"REFER sip:1 SIP/2.0\r\n\r\n",
        line_number=LINE,
    )


def failed_check(room: Room) -> None:
    """A line check that found the line dead."""
    checks = room.services.linechecks
    check_id = checks.order(room.actor("leader1"), LINE, CheckKind.LINE)
    assert checks.claim() is not None
    checks.finish(check_id, Finding(verdict=Verdict.DEAD, reason="sip_404"))


def test_headers_on_every_answer(officer: TestClient) -> None:
    for path in ("/desk", "/static/app.css", "/api/v1/calls", "/nothing"):
        headers = officer.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert officer.get("/desk").headers["cache-control"] == "no-store"
    first, second = (officer.get("/desk").headers["content-security-policy"] for _ in range(2))
    assert first != second, "the nonce is fresh each time"


def test_the_cookie_is_for_this_site_and_no_script(app: FastAPI, room: Room) -> None:
    client = TestClient(app, base_url="http://console.test")
    cookie = client.post("/api/v1/session", json={"login": "officer1", "password": PASSWORD}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    client.close()


def test_signing_in_is_limited_per_address(app: FastAPI) -> None:
    client = TestClient(app, base_url="http://console.test", follow_redirects=False)
    codes = [client.post("/sign-in", data={"login": f"x{n}", "password": "y"}).status_code for n in range(22)]
    assert codes == [401] * 20 + [429] * 2
    assert client.post("/api/v1/session", json={"login": "officer1", "password": PASSWORD}).status_code == 429
    client.close()


def test_a_foreign_site_cannot_sign_one_in(app: FastAPI) -> None:
    client = TestClient(app, base_url="http://console.test", follow_redirects=False)
    foreign = {"Origin": "http://evil.example"}
    assert client.post("/sign-in", data={"login": "officer1", "password": PASSWORD}, headers=foreign).status_code == 403
    client.close()


def test_a_body_larger_than_any_form_is_refused(officer: TestClient) -> None:
    large = "x" * (MAX_BODY_BYTES + 1)
    assert officer.post("/entries/1/save", data={"event": large}).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(12):
            yield b"x" * 100_000

    unannounced = officer.post("/api/v1/contacts", content=pieces(), headers={"content-type": "application/json"})
    assert unannounced.status_code == 413


def test_an_unexpected_fault_shows_a_number_and_no_traceback(
    room: Room, officer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(room.services.calls), "page", broken)
    for path in ("/calls", "/api/v1/calls"):
        answer = officer.get(path)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        assert re.search(r"[0-9A-F]{8}", answer.text)


def test_text_of_a_call_is_never_markup(room: Room, officer: TestClient) -> None:
    started = officer.post("/entries").headers["location"]
    evil = "<script>alert(1)</script>{{7*7}}"
    officer.post(f"{started}/save", data={"event": evil})
    for path in (started, "/register", "/desk"):
        page = officer.get(path).text
        assert "<script>alert" not in page
        assert "49" not in re.sub(r"\d\d:\d\d|data-\S+|value=\S+", "", page) or "{{7*7}}" in page


def test_no_page_holds_inline_script_style_or_handler(room: Room, sign_in: SignIn) -> None:
    entry_id = whole_call(room, CALL)
    missed_call(room, MISSED)
    rostered(room, "officer1")
    pages = [
        "/desk",
        "/calls",
        f"/calls/{CALL}",
        f"/calls/{MISSED}",
        "/register",
        "/directory",
        "/review",
        "/lines",
        "/duty",
        "/duty/roster",
        "/duty/handovers/1",
        "/password",
    ]
    client = sign_in("hub1")
    texts = [client.get(path).text for path in pages]
    room.services.logbook.edit(room.actor("hub1"), entry_id, {"category": "routine"}, version=_version(room, entry_id))
    room.services.logbook.finalize(room.actor("hub1"), entry_id, version=_version(room, entry_id))
    texts += [client.get(f"/entries/{entry_id}").text, sign_in("administrator1").get("/officers").text]
    for text in texts:
        assert re.search(r"<script(?![^>]*\bsrc=)", text) is None
        assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\shx-on|hx-vals=.js:", text) is None
        assert re.search(r"(src|href)=\"https?:", text) is None


def _version(room: Room, entry_id: int) -> int:
    return room.services.logbook.entry(room.actor("hub1"), entry_id).version
