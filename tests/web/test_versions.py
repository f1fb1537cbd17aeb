"""A transcript's versions at the call page, and a recording that was set aside."""

from __future__ import annotations

import pytest

from duty.services.versions import SpeechModel
from tests.web.conftest import SignIn
from tests.web.room import Room, draft, transcript, whole_call

CALL = "0123456789abcdef0123456789abcdef"


@pytest.mark.rule("6.2-b")
def test_another_model_hears_the_call_and_the_officer_chooses(room: Room, sign_in: SignIn) -> None:
    officer = sign_in("officer1")
    whole_call(room, CALL)
    models = [
        SpeechModel(name=name, engine="whisper", language="zh", sha256="ab" * 32, current=name == "base")
        for name in ("base", "large")
    ]
    room.services.versions.tell_models(models)
    page = officer.get(f"/calls/{CALL}").text
    assert '<option value="large">large</option>' in page
    assert "转写版本" not in page
    asked = officer.post(f"/calls/{CALL}/transcribe-again", data={"model": "large"})
    assert "排队等待转写" in asked.text
    job = room.services.recordings.claim()
    assert job is not None
    assert job.wanted_model == "large"
    room.services.recordings.complete(CALL, transcript(with_words=False), draft())
    page = officer.get(f"/calls/{CALL}").text
    assert "第2版 base" in page
    second = room.services.calls.dossier(room.actor("officer1"), CALL).transcripts[1].id
    assert "采用此版本" not in page
    assert "采用此版本" in officer.get(f"/calls/{CALL}/part/transcript?version={second}").text
    assert sign_in("supervisor1").post(f"/calls/{CALL}/versions/{second}/choose").status_code == 403
    chosen = officer.post(f"/calls/{CALL}/versions/{second}/choose")
    assert (chosen.status_code, chosen.headers["hx-refresh"]) == (204, "true")
    shown = officer.get(f"/api/v1/calls/{CALL}").json()["transcripts"]
    assert [version["chosen"] for version in shown] == [False, True]
    assert officer.post(f"/api/v1/calls/{CALL}/transcripts/{shown[0]['id']}/choose").status_code == 204
    assert officer.post(f"/api/v1/calls/{CALL}/transcripts/999/choose").status_code == 404
    assert officer.post(f"/calls/{CALL}/transcribe-again", data={"model": "gone"}).status_code == 422


@pytest.mark.rule("6.1-d")
def test_what_failed_says_why_and_when_next_and_what_was_set_aside_can_be_tried_again(
    room: Room, sign_in: SignIn
) -> None:
    officer = sign_in("officer1")
    whole_call(room, CALL)
    room.services.versions.ask(room.actor("officer1"), CALL)
    room.services.recordings.claim()
    room.services.recordings.fail(CALL, "语音识别失败")
    page = officer.get(f"/calls/{CALL}").text
    assert "转写未成功：语音识别失败" in page
    assert "已试 1 次，15:20:15 再试。" in page
    room.clock.move(60)  # type: ignore[attr-defined]
    room.services.recordings.claim()
    room.services.recordings.fail(CALL, "录音没有声音数据", final=True)
    page = officer.get(f"/calls/{CALL}").text
    assert "转写搁置" in page
    assert "录音没有声音数据" in page
    assert "再试一次" in page
    assert "录音转写失败" in officer.get("/desk").text
    assert "排队等待转写" in officer.post(f"/calls/{CALL}/transcribe-again").text
