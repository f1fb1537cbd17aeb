"""The printed entry says what the entry says."""

from __future__ import annotations

import io
import re

import pypdf
import pytest
import typst
from fastapi.testclient import TestClient

from duty.domain.identity import CheckResult, Method, Verdict
from duty.services.logbook import current_content
from tests.web.room import Room, whole_call
from web import catalogue
from web.errors import PrintImpossible
from web.print.pdf import Printer, choose_faces
from web.print.sheet import sheet_of

CALL = "a" * 32
ODD = '*粗* #set page(width: 1cm) $x$ @ref <label> \\ "引号" `代码` [方] _斜_ // 注释 http://x.example/'
LONG = "过火面积约二百平方米，" * 120


def finalized(room: Room, **changes: str) -> int:
    entry_id = whole_call(room, CALL)
    actor = room.actor("officer1")
    book = room.services.logbook
    book.check_identity(actor, entry_id, CheckResult(method=Method.REASON, verdict=Verdict.IMPOSSIBLE, note="电话已断"))
    book.repeat_back(actor, entry_id)
    if changes:
        book.edit(actor, entry_id, changes, version=book.entry(actor, entry_id).version)
    book.finalize(actor, entry_id, version=book.entry(actor, entry_id).version)
    return entry_id


def text_of(pdf: bytes) -> str:
    """The PDF's text without blanks and line ends, and without the footers that stand between its pages."""
    pages = [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]
    bare = "".join(re.sub(r"\s+", "", text) for text in pages)
    return re.sub(r"校验值[0-9a-f]{64}第\d+页，共\d+页", "", bare)


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.rule("6.2-b")
@pytest.mark.rule("6.2-c")
def test_the_pdf_holds_every_field_word_for_word(room: Room, officer: TestClient) -> None:
    entry_id = finalized(room, event=LONG, remarks=ODD, request="请示一\n请示二")
    answer = officer.get(f"/entries/{entry_id}/print.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    text = text_of(answer.content)
    row = room.services.logbook.entry(room.actor("officer1"), entry_id)
    for name, value in current_content(row).as_dict().items():
        shown = "突发事件" if name == "category" else value
        assert bare(shown) in text, name
    for also in ("龙亭区政府值班室值班记录", "龙亭值〔2026〕1号", "李晓明", "电话已断", "2026年11月23日15时20分"):
        assert also in text
    raw = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages)
    assert row.links[0].hash in raw


def test_the_page_is_that_of_official_documents(room: Room, officer: TestClient) -> None:
    pdf = pypdf.PdfReader(io.BytesIO(officer.get(f"/entries/{finalized(room)}/print.pdf").content))
    page = pdf.pages[0]
    assert (round(float(page.mediabox.width) / 72 * 25.4), round(float(page.mediabox.height) / 72 * 25.4)) == (210, 297)
    places: list[tuple[float, float]] = []

    def note(text: str, cm: list[float], tm: list[float], *_: object) -> None:
        if text.strip():
            x, y = tm[4], tm[5]
            places.append((x * cm[0] + y * cm[2] + cm[4], x * cm[1] + y * cm[3] + cm[5]))

    page.extract_text(visitor_text=note)
    millimetres = [(x / 72 * 25.4, 297 - y / 72 * 25.4) for x, y in places]
    assert min(x for x, _ in millimetres) >= 28 - 0.1
    assert min(y for _, y in millimetres) >= 37 - 0.1


def test_amendments_and_voiding_are_printed(room: Room, officer: TestClient) -> None:
    entry_id = finalized(room)
    actor = room.actor("officer1")
    room.services.logbook.amend(actor, entry_id, {"place": "孙李唐村东仓库", "category": "drill"}, reason="回听更正")
    text = text_of(officer.get(f"/entries/{entry_id}/print.pdf").content)
    assert "事发地点由“孙李唐村一处仓库”改为“孙李唐村东仓库”" in text
    assert "类别由“突发事件”改为“演练”" in text
    assert "回听更正" in text
    room.services.logbook.void(actor, entry_id, reason="重复")
    assert "作废" in text_of(officer.get(f"/entries/{entry_id}/print.pdf").content)


def test_printing_twice_gives_the_same_bytes(room: Room, officer: TestClient) -> None:
    entry_id = finalized(room)
    first, second = (officer.get(f"/entries/{entry_id}/print.pdf").content for _ in range(2))
    assert first == second


def test_a_draft_is_not_printed(room: Room, officer: TestClient) -> None:
    entry_id = whole_call(room, CALL)
    assert officer.get(f"/entries/{entry_id}/print.pdf").status_code == 422


def test_without_a_chinese_font_there_is_a_page_that_says_so(room: Room, officer: TestClient) -> None:
    entry_id = finalized(room)
    bare_machine = Printer(catalogue.load(), find_fonts=lambda: typst.Fonts(include_system_fonts=False))
    row = room.services.logbook.entry(room.actor("officer1"), entry_id)
    with pytest.raises(PrintImpossible) as refused:
        bare_machine.pdf(sheet_of(catalogue.load(), row, {}), at=row.finalized_at)
    assert refused.value.code == "print_no_font"
    officer.app.state.printer = bare_machine  # type: ignore[attr-defined]
    answer = officer.get(f"/entries/{entry_id}/print.pdf")
    assert answer.status_code == 503
    assert "fonts-noto-cjk" in answer.text


def test_the_faces_of_the_standard_win_over_the_fallback() -> None:
    chosen = choose_faces(["Noto Serif CJK SC", "FangSong", "SimHei", "DejaVu Sans"])
    assert chosen["body"] == ["FangSong", "Noto Serif CJK SC"]
    assert chosen["heading"] == ["SimHei", "Noto Serif CJK SC"]
    assert choose_faces(["DejaVu Sans"]) == {"title": [], "body": [], "heading": [], "label": []}
