"""``dutyline demo``: the guided first call through the running service, told step by step, or unattended as JSON."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from rich.console import Console
from rich.markup import escape

from config.secrets import load_or_create
from config.settings import LineSettings, Settings
from duty.domain.drafts import FieldName
from duty.domain.errors import NotFound
from duty.services.callreview import CallDossier
from duty.store.tables import TranscriptRow
from duty.verifier import verify
from dutyline.demo_book import CALLER_NUMBER, DemoBook, OtherVersionError
from dutyline.demo_story import Story
from dutyline.options import err, fail, out, print_json
from dutyline.supervisor import PROCESSES, pids
from telephony.demo.performance import LineSilentError, Performance, Stage, conversation_seconds, perform
from telephony.softphone import CallEndedError, NotRegisteredError
from transcription.choose import choose
from transcription.models import installed

DRAFT_LIMIT_S = 300.0
BOOKED_LIMIT_S = 10.0
_POLL_S = 0.25
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener may be set to
_ENDED = {
    200: "通话中途被挂断，或服务停止",
    404: "线路不接受本机来电（已接中继的线路只接受中继来电）",
    486: "线路忙",
    480: "无人接听",
}


class DemoFailedError(Exception):
    """The demonstration stops here; the text is a Chinese sentence for the user."""


def run(settings: Settings, *, as_json: bool) -> None:
    """Play the demonstration; exit status 1 with one sentence where it cannot be played to its end."""
    story = Story(_told_on(as_json=as_json), console_url(settings))
    try:
        _play(settings, story, as_json=as_json)
    except DemoFailedError as error:
        raise fail(escape(str(error))) from None
    finally:
        story.close()


def console_url(settings: Settings) -> str:
    """The console's address as a browser on this machine takes it, with its last slash."""
    host = _WILDCARDS.get(settings.web.host, settings.web.host)
    scheme = "https" if settings.web.secure_cookies else "http"
    return f"{scheme}://[{host}]:{settings.web.port}/" if ":" in host else f"{scheme}://{host}:{settings.web.port}/"


def _play(settings: Settings, story: Story, *, as_json: bool) -> None:
    _check_running(settings)
    line, stage = _stage(settings)
    choice = choose(settings.transcription.engine, installed(settings.data.models))
    if choice.model is None and as_json:
        raise DemoFailedError(f"{choice.reason}。安装：dutyline models fetch whisper-base")
    try:
        book = DemoBook(settings, line)
    except OtherVersionError:
        raise DemoFailedError("运行中的服务与本程序版本不同，请重新启动服务") from None
    try:
        story.begins(book.know_caller(), conversation_seconds())
        call_id = _booked(book, _perform(stage, story))
        if choice.model is None:
            story.waits_for_model(call_id, choice.reason)
            return
        dossier = _wait_for_draft(book, call_id, story)
        story.draft_is_there(call_id, seconds_to_draft(dossier))
        if as_json:
            number = book.finalize(call_id)
            report = verify(settings.store_url, settings.data.recordings)
            print_json(_result(dossier, number, chain_ok=report.first_broken is None))
        else:
            story.what_to_do(call_id, has_contact=dossier.call.contact is not None)
    finally:
        book.close()


def _told_on(*, as_json: bool) -> Console:
    """Standard output belongs to the JSON object."""
    return err if as_json else out


def _check_running(settings: Settings) -> None:
    alive = pids(settings.data.dir / "run")
    missing = [name for name in PROCESSES if name not in alive or not _is_alive(alive[name])]
    if missing:
        raise DemoFailedError(
            "服务没有运行（缺 " + "、".join(missing) + "）。请先在另一个终端启动：make run，或 dutyline serve；"
            "用了自己的设置文件时，两处都要加 --config 文件"
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _stage(settings: Settings) -> tuple[LineSettings, Stage]:
    line = next((line for line in settings.lines if line.phones), None)
    if line is None:
        raise DemoFailedError("设置中没有带值班电话的专线")
    extension = line.phones[0].extension
    stage = Stage(
        service=(_WILDCARDS.get(settings.sip.host, settings.sip.host), settings.sip.port),
        line=line.number,
        extension=extension,
        password=load_or_create(settings).phone_password(settings, extension),
        caller=CALLER_NUMBER,
    )
    return line, stage


def _perform(stage: Stage, story: Story) -> Performance:
    try:
        return asyncio.run(perform(stage, story.performing(stage)))
    except LineSilentError:
        raise DemoFailedError(f"SIP 地址 {stage.service[0]}:{stage.service[1]} 没有回应，请看服务的日志") from None
    except NotRegisteredError as error:
        raise DemoFailedError(f"演示话机注册分机 {stage.extension} 未成功：{error}") from None
    except CallEndedError as error:
        why = _ENDED.get(error.end.status, error.end.reason)
        raise DemoFailedError(f"演示通话没有打完：{why}（SIP {error.end.status}）") from None
    except TimeoutError:
        raise DemoFailedError("演示来电等不到回应，请看控制台上线路与话机的状态") from None


def _booked(book: DemoBook, performance: Performance) -> str:
    limit = time.monotonic() + BOOKED_LIMIT_S
    while (call_id := book.call_id(performance.sip_call_id)) is None:
        if time.monotonic() > limit:
            raise DemoFailedError("通话已经打完，通话簿里却没有：服务用的可能是另一个数据目录")
        time.sleep(_POLL_S)
    return call_id


def _wait_for_draft(book: DemoBook, call_id: str, story: Story) -> CallDossier:
    """Until the draft is there. Raises DemoFailedError where it will not come, or not in DRAFT_LIMIT_S."""
    limit = time.monotonic() + DRAFT_LIMIT_S
    while True:
        dossier = book.dossier(call_id)
        recording = dossier.recording
        if dossier.draft is not None and dossier.call.ended_at is not None:
            return dossier
        if recording is None or recording.state in ("none", "kept", "set_aside"):
            reason = (recording.last_error or recording.state) if recording else NotFound.code
            raise DemoFailedError(f"录音没有转写：{reason}")
        if time.monotonic() > limit:
            raise DemoFailedError(f"{DRAFT_LIMIT_S:.0f} 秒内草稿没有生成（录音状态 {recording.state}）")
        story.transcribing(recording.state, recording.progress)
        time.sleep(_POLL_S)


def seconds_to_draft(dossier: CallDossier) -> float:
    """From the end of the call to the draft, by the book's own instants."""
    if dossier.draft is None or dossier.call.ended_at is None:
        return 0.0
    return round((dossier.draft.created_at - dossier.call.ended_at).total_seconds(), 2)


def _result(dossier: CallDossier, number: str, *, chain_ok: bool) -> dict[str, object]:
    recording = dossier.recording
    return {
        "call_id": dossier.call.id,
        "state": dossier.call.state,
        "recording_seconds": recording.seconds if recording is not None else 0.0,
        "transcript": _transcript(dossier.transcript),
        "draft": _best(dossier.draft.fields if dossier.draft is not None else []),
        "seconds_from_bye_to_draft": seconds_to_draft(dossier),
        "entry_number": number,
        "chain_ok": chain_ok,
    }


def _transcript(row: TranscriptRow | None) -> list[dict[str, object]]:
    return [
        {"speaker": segment.speaker, "start_s": segment.start_s, "end_s": segment.end_s, "text": segment.text}
        for segment in (row.segments if row is not None else ())
    ]


def _best(fields: list[dict[str, Any]]) -> dict[str, str]:
    """The likeliest proposal of each field, in the order of the form."""
    likeliest: dict[str, str] = {}
    for proposal in sorted(fields, key=lambda one: float(one["confidence"])):
        likeliest[str(proposal["name"])] = str(proposal["value"])
    return {name.value: likeliest[name.value] for name in FieldName if name.value in likeliest}
