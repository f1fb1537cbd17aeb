"""All three processes: one that dies takes no call with it, loses no recording, and is started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from duty.domain.times import utc_now
from duty.store.database import Store
from duty.store.tables import DraftRow, RecordingRow, TranscriptRow
from tests.faults.talk import begin
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Line, Service, ask_console
from tests.peers.audio import account
from tests.peers.ports import free_port
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp
from transcription import models

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
LINE = Line(number="037122590051", phones=("6001",))
TRANSCRIPT_LIMIT_S = 120.0
_MODELS = Path(__file__).resolve().parents[2] / "build" / "models"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service, without a speech model as yet."""
    folder = tmp_path_factory.mktemp("models")
    with Service(tmp_path_factory.mktemp("whole"), (LINE,), whole=True, models=folder) as running:
        yield running


@pytest.fixture(scope="module")
def book(service: Service) -> Iterator[Book]:
    with closing(Store(service.settings.store_url)) as store:
        yield Book(store, service.settings.data.recordings)


def _install(service: Service) -> None:
    models.fetch("whisper-base", _MODELS)
    place = service.settings.data.models / "whisper-base"
    if not place.exists():
        place.symlink_to(_MODELS / "whisper-base")


def _remove(service: Service) -> None:
    (service.settings.data.models / "whisper-base").unlink(missing_ok=True)


def _call(service: Service, sipp: Sipp, number: str, audio: bytes) -> None:
    """A whole call; the caller says ``audio``."""
    port = free_port()
    phone = sipp.start("phone_answers_and_echoes", values={"user": "6001"}, port=port, echo=True, timeout_s=90)
    desk = Desk(service, sipp)
    desk.register("6001", port)
    values: dict[str, str | int] = {"line": LINE.number, "caller": number}
    sipp.start("caller_talks_then_bye", remote=service.address, audio=audio, values=values, timeout_s=90).wait().check()
    phone.wait().check()
    desk.clear()


def _standing(book: Book, kind: str) -> bool:
    return any(alarm.cleared_at is None for alarm in book.alarms(kind))


def _counts(book: Book, call_id: str) -> tuple[int, int]:
    """How many transcripts and drafts a call has."""
    with book.store.reading() as session:
        count = [
            session.scalar(select(func.count()).select_from(table).where(table.call_id == call_id))
            for table in (TranscriptRow, DraftRow)
        ]
    return count[0] or 0, count[1] or 0


@pytest.mark.rule("6.1-d")
def test_without_a_model_recordings_wait_visibly_and_are_transcribed_when_it_arrives(
    service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    _remove(service)
    service.wait(lambda: _standing(book, "no_engine"), "nobody is told that there is no model", 20.0)
    _call(service, sipp, number, utterance)
    page = book.ended(number)
    time.sleep(1.0)
    waiting = book.ended(number)
    assert waiting.recording_state == "waiting"
    assert _counts(book, page.call_id) == (0, 0)
    _install(service)
    done = book.wait(number, lambda one: one.recording_state == "done", TRANSCRIPT_LIMIT_S)
    assert done.entries == 1
    assert _counts(book, page.call_id) == (1, 1)
    assert not _standing(book, "no_engine")


@pytest.mark.rule("6.1-d")
def test_transcription_killed_while_it_decodes_is_done_again(
    service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    """The dead worker's lease is made to run out at once, for the test cannot wait the minutes it lasts."""
    _install(service)
    _call(service, sipp, number, utterance)
    page = book.wait(number, lambda one: one.recording_state == "running", 60.0)
    killed = service.kill("transcription")
    service.wait(lambda: service.pid("transcription") not in (0, killed), "transcription is not started again")
    assert _counts(book, page.call_id) == (0, 0)
    with book.store.writing() as session:
        row = session.get_one(RecordingRow, page.call_id)
        assert (row.state, row.attempts) == ("running", 1)
        row.leased_until = utc_now() - timedelta(seconds=1)
    book.wait(number, lambda one: one.recording_state == "done", TRANSCRIPT_LIMIT_S)
    assert _counts(book, page.call_id) == (1, 1)
    assert "transcription" in {alarm.subject for alarm in book.alarms("process_restarted")}


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("name", ["web", "transcription"])
def test_another_process_dies_in_a_call_and_nobody_hears_it(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str, name: str
) -> None:
    mouths = (rtp_peer(), rtp_peer())
    talk = begin(service, book, sipp, mouths, line=LINE.number, extension="6001", number=number, talk_s=4)
    time.sleep(1.0)
    telephony, killed = service.pid("telephony"), service.kill(name)
    talk.caller.wait().check()
    talk.phone.wait().check()
    ended = time.monotonic()
    for mouth, said in zip(mouths, reversed(talk.said), strict=True):
        assert account(said[: 3 * 50 * 160], mouth.heard()).perfect
    page = book.ended(number)
    assert (page.outcome, page.damage, page.salvaged) == ("answered", None, False)
    talk.check_kept(book, page, until=ended, slack_s=0.5)
    assert service.pid("telephony") == telephony
    service.wait(lambda: service.pid(name) not in (0, killed), f"{name} is not started again")
    assert name in {alarm.subject for alarm in book.alarms("process_restarted")}
    if name == "web":
        service.wait(lambda: ask_console(service) == 200, "the console does not come back", 30.0)


@pytest.mark.rule("6.1-a")
@pytest.mark.rule("6.1-d")
def test_telephony_dies_in_a_call_and_the_supervisor_brings_it_back(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    mouths = (rtp_peer(), rtp_peer())
    talk = begin(service, book, sipp, mouths, line=LINE.number, extension="6001", number=number, talk_s=4)
    time.sleep(2.5)
    dead = service.kill("telephony")
    killed = time.monotonic()
    service.wait(lambda: service.pid("telephony") not in (0, dead), "telephony is not started again")
    page = book.ended(number, 30.0)
    assert (page.outcome, page.salvaged) == ("interrupted", True)
    talk.check_kept(book, page, until=killed)
    assert abs(page.recording_seconds - (killed - talk.began)) <= 1.0
    service.wait(service.answers, "the line does not come back", 30.0)
    assert "telephony" in {alarm.subject for alarm in book.alarms("process_restarted")}
    assert page.entries == 1
