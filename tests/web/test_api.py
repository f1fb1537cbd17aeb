"""The JSON API: documented, with the screens' rights, and refusing in one form."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.web.room import PASSWORD, Room, missed_call, whole_call

CALL = "a" * 32


def test_openapi_documents_every_operation(officer: TestClient) -> None:
    document = officer.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.")
    operations = [
        (path, method, found) for path, methods in document["paths"].items() for method, found in methods.items()
    ]
    assert len(operations) > 25
    assert all(path.startswith("/api/v1/") for path, _, _ in operations), "screens are no part of the API"
    for path, method, found in operations:
        assert found.get("description"), (method, path)
        assert {"401", "403"} <= set(found["responses"]), (method, path)
        success = next(code for code in found["responses"] if code.startswith("2"))
        if success not in ("204",) and not path.endswith(("/audio", "/print.pdf")):
            assert "$ref" in str(found["responses"][success]["content"]), (method, path)
    assert len({found["operationId"] for _, _, found in operations}) == len(operations)


@pytest.mark.rule("6.1-d")
def test_from_call_to_numbered_entry(room: Room, officer: TestClient) -> None:
    entry_id = whole_call(room, CALL)
    listed = officer.get("/api/v1/calls", params={"words": "张建国"}).json()
    assert listed["total"] == 1
    assert listed["calls"][0]["maybe"] == "北郊乡党政办 张建国 值班员"
    found = officer.get(f"/api/v1/calls/{CALL}").json()
    assert found["transcripts"][0]["segments"][0]["words"][0]["start_s"] == pytest.approx(0.2)
    assert found["draft"]["fields"]
    assert "path" not in found["recording"]
    entry = officer.get(f"/api/v1/entries/{entry_id}").json()
    assert [obstacle["code"] for obstacle in entry["obstacles"]] == ["identity_unchecked"]
    version = entry["entry"]["version"]
    edited = officer.patch(
        f"/api/v1/entries/{entry_id}", json={"version": version, "changes": {"remarks": "续报"}}
    ).json()
    stale = officer.patch(f"/api/v1/entries/{entry_id}", json={"version": version, "changes": {"remarks": "别的"}})
    assert (stale.status_code, stale.json()["code"]) == (409, "entry_changed_meanwhile")
    officer.post(
        f"/api/v1/entries/{entry_id}/checks", json={"method": "reason", "verdict": "impossible", "note": "断线"}
    )
    body = {"version": edited["entry"]["version"], "password": "nonsense"}
    assert officer.post(f"/api/v1/entries/{entry_id}/finalize", json=body).json()["code"] == "password_wrong"
    done = officer.post(f"/api/v1/entries/{entry_id}/finalize", json={**body, "password": PASSWORD}).json()
    assert done["entry"]["number"] == "龙亭值〔2026〕1号"
    assert len(done["hashes"][0]) == 64


def test_refusals_have_one_form(room: Room, officer: TestClient) -> None:
    for answer, code in (
        (officer.get("/api/v1/calls/none"), "call_not_found"),
        (officer.get("/api/v1/calls?limit=x"), "request_malformed"),
        (officer.get("/api/v1/nothing"), "page_not_found"),
        (officer.put("/api/v1/calls"), "method_not_allowed"),
        (officer.patch("/api/v1/entries/1", json={"version": 1, "changes": {}, "odd": 1}), "request_malformed"),
        (officer.post("/api/v1/contacts", json={"organisation": "x", "numbers": ["abc"]}), "forbidden"),
    ):
        problem = answer.json()
        assert set(problem) == {"code", "message", "details"}
        assert problem["code"] == code
        assert problem["message"]


def test_the_desk_by_program(room: Room, officer: TestClient) -> None:
    missed_call(room, CALL)
    pending = officer.get("/api/v1/pending").json()
    assert [item["kind"] for item in pending] == ["missed_call"]
    assert officer.post(f"/api/v1/calls/{CALL}/return").status_code == 202
    assert officer.post(f"/api/v1/pending/{pending[0]['pending_id']}/settle", json={"words": "已回"}).status_code == 204
    alarm = officer.get("/api/v1/alarms").json()[0]
    assert officer.post(f"/api/v1/alarms/{alarm['alarm_id']}/acknowledge").status_code == 204
    assert {part["name"] for part in officer.get("/api/v1/lines").json()} >= {"1001", "1002"}
    contacts = officer.get("/api/v1/contacts").json()
    restricted = next(contact for contact in contacts if contact["restricted"])
    assert restricted["numbers"] == ["**********88"]
    assert officer.post(f"/api/v1/contacts/{restricted['contact_id']}/reveal").json()["numbers"] == ["037166668888"]
