"""The product's main job with foreign parties on both ends: call, recording, transcript, draft, check, number, paper.

The caller is SIPp, the desk phone baresip; both say real Mandarin. The whole service runs, with whisper-base.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pypdf
import pytest
from sqlalchemy import select

from duty.domain.entries import EntryRules
from duty.domain.identity import CheckResult, Method, Verdict
from duty.domain.numbers import NumberPlan
from duty.domain.rights import Actor, Role
from duty.domain.times import utc_now, year_of
from duty.services.directory import Directory, NewContact
from duty.services.logbook import Logbook
from duty.store.database import Store
from duty.store.tables import CallRow, DraftRow, EntryRow, OfficerRow, SegmentRow, TranscriptRow
from duty.verifier import verify
from tests.line.book import Book, CallPage
from tests.line.service import Line, Service
from tests.peers.audio import account, alaw_utterance, align_channels, decode_alaw, write_wav
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.sipp import Sipp
from tests.transcription.telephone import errors
from transcription import models
from web.catalogue import load as load_catalogue
from web.print.pdf import Printer
from web.print.sheet import sheet_of

pytestmark = pytest.mark.peer

_ROOT = Path(__file__).resolve().parents[2]
_SPEECH = _ROOT.parent / "shared" / "speech" / "mandarin"
LINE = "037122590021"
TRANSCRIPT_LIMIT_S = 120.0
CALLER_NUMBER = "037123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One side's words and their sound, A-law in distinct 20 ms frames."""

    text: str
    alaw: bytes


def _said(name: str, demo: str) -> Said:
    """Real speech from beside the checkout, or where that is missing the demonstration call's."""
    if _SPEECH.is_dir():
        rows = csv.DictReader((_SPEECH / "manifest.tsv").read_text("utf-8").splitlines(), delimiter="\t")
        text = next(row["text"] for row in rows if row["file"] == name)
        return Said(text=text, alaw=alaw_utterance(_SPEECH / name))
    folder = _ROOT / "telephony" / "demo" / "audio"
    lines = dict(row.split("\t") for row in (folder / "texts.tsv").read_text("utf-8").splitlines())
    return Said(text=lines[demo], alaw=alaw_utterance(folder / f"{demo}.wav"))


@pytest.fixture(scope="module")
def caller_says() -> Said:
    return _said("aishell1a_audio_8.wav", "03_caller")


@pytest.fixture(scope="module")
def officer_says() -> Said:
    return _said("aishell1a_audio_3.wav", "01_officer")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """All three processes, with whisper-base."""
    folder = _ROOT / "build" / "models"
    models.fetch("whisper-base", folder)
    line = Line(number=LINE, phones=("3001",))
    with Service(tmp_path_factory.mktemp("main-job"), (line,), whole=True, models=folder) as running:
        yield running


@pytest.fixture(scope="module")
def book(service: Service) -> Iterator[Book]:
    with closing(Store(service.settings.store_url)) as store:
        yield Book(store, service.settings.data.recordings)


def _person(book: Book, login: str, role: Role) -> Actor:
    with book.store.reading() as session:
        row = session.scalars(select(OfficerRow).where(OfficerRow.login == login)).one()
    return Actor(officer_id=row.id, name=row.name, unit_id=row.unit_id, roles=frozenset({role}))


def _talk(
    service: Service,
    sipp: Sipp,
    baresip: Callable[..., Baresip],
    source: Path,
    caller_says: Said,
) -> None:
    """The call itself: the officer answers, both talk, the caller hangs up."""
    account_ = BaresipAccount(
        user="3001", registrar=service.address, password=service.password("3001"), expires_s=300, answer="auto"
    )
    phone = baresip(account_, source=source)
    phone.wait_event("REGISTER_OK")
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=caller_says.alaw,
        values={"line": LINE, "caller": CALLER_NUMBER},
    )
    assert caller.wait().check().received == ["100", "180", "200", "200"]
    phone.wait_event("CALL_CLOSED")


def _check_recording(book: Book, page: CallPage, caller_says: Said, officer_says: Said) -> None:
    assert (page.outcome, page.damage, page.entries) == ("answered", None, 1)
    sent = (decode_alaw(caller_says.alaw), decode_alaw(officer_says.alaw))
    left, right = align_channels(sent, book.sound(page))
    assert left.correlation >= 0.99
    assert right.correlation >= 0.99
    recorded = book.voices(page)
    assert account(caller_says.alaw, recorded[0]).perfect
    assert account(officer_says.alaw, recorded[1]).perfect


def _check_transcript(book: Book, page: CallPage, caller_says: Said, officer_says: Said) -> str:
    """What the machine understood of the caller."""
    with book.store.reading() as session:
        transcript = session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == page.call_id)).one()
        drafts = session.scalars(select(DraftRow).where(DraftRow.call_id == page.call_id)).all()
        segments: list[SegmentRow] = list(transcript.segments)
    assert transcript.model == "whisper-base"
    assert len(drafts) == 1
    assert drafts[0].gist
    for said, speaker in ((caller_says, "caller"), (officer_says, "officer")):
        heard = "".join(segment.text for segment in segments if segment.speaker == speaker)
        wrong, length = errors(said.text, heard)
        assert wrong / length <= 0.35, (said.text, heard)
    for segment in segments:
        assert 0 <= segment.start_s < segment.end_s <= page.recording_seconds + 0.5
    return "".join(segment.text for segment in segments if segment.speaker == "caller")


def _printed(book: Book, entry_id: int, officers: dict[int, str]) -> str:
    """The words on the sheet, without blanks."""
    with book.store.reading() as session:
        row = session.get_one(EntryRow, entry_id)
        catalogue = load_catalogue()
        pdf = Printer(catalogue).pdf(sheet_of(catalogue, row, officers), at=row.finalized_at)
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return "".join("".join(page.extract_text().split()) for page in pages)


@pytest.mark.rule("6.1-a")
@pytest.mark.rule("6.1-c")
@pytest.mark.rule("6.1-d")
@pytest.mark.rule("6.2-b")
def test_from_the_call_to_the_numbered_entry(
    service: Service,
    book: Book,
    sipp: Sipp,
    baresip: Callable[..., Baresip],
    tmp_path: Path,
    caller_says: Said,
    officer_says: Said,
) -> None:
    officer, leader = _person(book, "zhiban", Role.OFFICER), _person(book, "daiban", Role.LEADER)
    contact = NewContact(organisation="北书店街道办事处", name="王建国", title="主任", numbers=(CALLER_NUMBER,))
    contact_id = Directory(book.store, utc_now, NumberPlan()).add(leader, contact)

    source = write_wav(tmp_path / "officer.wav", decode_alaw(officer_says.alaw))
    _talk(service, sipp, baresip, source, caller_says)
    page = book.ended(CALLER_NUMBER)
    _check_recording(book, page, caller_says, officer_says)
    page = book.wait(CALLER_NUMBER, lambda one: one.recording_state in ("done", "set_aside"), TRANSCRIPT_LIMIT_S)
    assert page.recording_state == "done"
    heard = _check_transcript(book, page, caller_says, officer_says)

    logbook = Logbook(book.store, utc_now, rules=EntryRules(), plan=NumberPlan())
    (draft,) = logbook.entries_of_call(officer, page.call_id)
    assert (draft.state, draft.caller_unit, draft.caller_name) == ("draft", "北书店街道办事处", "王建国")
    assert draft.caller_phone == CALLER_NUMBER
    fields = {
        "event_time": "2026年11月23日8时许",
        "place": "龙亭区北书店街12号",
        "event": heard,
        "category": "incident",
        "measures": "已通知消防救援大队到场处置",
    }
    version = logbook.edit(officer, draft.id, fields, version=draft.version)
    matched = CheckResult(method=Method.DIRECTORY, verdict=Verdict.VERIFIED, contact_id=contact_id)
    logbook.check_identity(officer, draft.id, matched)
    logbook.repeat_back(officer, draft.id)
    entry = logbook.finalize(officer, draft.id, version=version)
    year = year_of(utc_now())
    assert entry.number_text == f"龙亭值〔{year}〕1号"

    report = verify(service.settings.store_url, service.settings.data.recordings)
    assert report.first_broken is None
    assert (report.entries, report.links, report.warnings) == (1, 1, ())

    text = _printed(book, entry.id, {officer.officer_id: officer.name})
    expected = (*fields.values(), entry.number_text, contact.organisation, contact.name, CALLER_NUMBER, officer.name)
    catalogue = load_catalogue()
    for value in expected:
        words = catalogue("category.incident") if value == "incident" else value
        assert "".join(words.split()) in text, words

    _alter_one_sample(book, page)
    altered = verify(service.settings.store_url, service.settings.data.recordings).first_broken
    assert altered is not None
    assert (altered.what, altered.entry_number) == ("recording_altered", entry.number_text)


def _alter_one_sample(book: Book, page: CallPage) -> None:
    path = book.recordings / page.recording_path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_call_row_names_the_contact(book: Book) -> None:
    with book.store.reading() as session:
        call = session.scalars(select(CallRow).where(CallRow.caller_number == CALLER_NUMBER)).one()
        assert call.contact is not None
        assert call.contact.name == "王建国"
