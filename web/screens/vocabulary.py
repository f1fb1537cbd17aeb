"""词库: the words of the district, those that came as data and those that officers add, and what officers decide on
names that were probably misheard (requirements 6.2-b, 10-a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, UploadFile
from starlette.responses import HTMLResponse, Response

from duty.domain import pinyin
from duty.domain.entries import EntryState
from duty.domain.errors import Conflict, NotFound, Refused
from duty.domain.rights import Actor, Right
from duty.domain.vocabulary import Decision, WordClass
from duty.domain.wordcheck import district_word
from duty.services.logbook import content_of
from duty.services.suggestions import Decided
from duty.services.words import NewWord, WordFilter, WordView, known_classes
from web import wordlist
from web.catalogue import Catalogue
from web.failures import message_of
from web.render import Renderer, render
from web.screens.filters import MAX_WORDS_CHARS, choice, number, paging
from web.services import Services
from web.sessions import Acting, Fields, House
from web.transcript import open_ones, segment

router = APIRouter()
PAGE = 60
SOURCES = ("own", "shipped", "withdrawn")
MAX_READINGS = 4
FAULTS_SHOWN = 20
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Polyphone:
    """A character of a word that has several readings: its place, itself, and (as typed, as read) of each."""

    at: int
    char: str
    readings: tuple[tuple[str, str], ...]


@router.get("/vocabulary")
def vocabulary(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """The words under the filter of the address."""
    query = request.query_params
    source = query.get("source", "own")
    wanted = WordFilter(
        words=query.get("words", "").strip()[:MAX_WORDS_CHARS],
        word_class=choice(WordClass, query.get("class")),
        source=source if source in SOURCES else "own",
    )
    found = house.words.listing(actor, wanted)
    page = number(query.get("page"))
    return render(
        request,
        "screens/vocabulary.html",
        wanted=wanted,
        rows=found[(page - 1) * PAGE : page * PAGE],
        paging=paging("/vocabulary", query, page=page, size=PAGE, total=len(found)),
        sources=SOURCES,
        shipped=known_classes(house.words.shipped),
        may_edit=actor.may(Right.EDIT_WORDS, actor.unit_id),
        **word_form(actor),
    )


def word_form(actor: Actor, view: WordView | None = None) -> dict[str, Any]:
    """What the form for a word shows; ``view`` is the word to correct."""
    across = actor.may(Right.EDIT_WORDS) and actor.unit_scope(Right.EDIT_WORDS) is None
    return {
        "classes": [each.value for each in WordClass],
        "may_share": across,
        "view": view,
        "polyphones": _polyphones(view.word, view.pinyin.split()) if view is not None else (),
    }


@router.post("/vocabulary")
def add(request: Request, house: House, actor: Acting, fields: Fields) -> Response:
    """Add a word; from the call page, stay there."""
    house.words.add(actor, _new(fields))
    if fields.get("stay") == "on":
        return render(request, "parts/word_added.html", word=fields.get("word", "").strip())
    return Response(status_code=204, headers={"HX-Redirect": "/vocabulary"})


@router.get("/vocabulary/pinyin")
def spoken(request: Request, actor: Acting, word: str = "", prefix: str = "w") -> HTMLResponse:
    """The likely pinyin of a word being typed, and the other readings of its polyphones."""
    actor.require(Right.SEE_WORDS)
    fault, syllables = "", pinyin.parsed("")
    try:
        syllables = district_word(word, WordClass.TERM).pinyin
    except Refused as error:
        fault = message_of(_texts(request), error) if word.strip() else ""
    return render(
        request,
        "parts/word_pinyin.html",
        prefix="e" if prefix == "e" else "w",
        value=" ".join(syllables),
        spoken=pinyin.shown(syllables),
        polyphones=_polyphones(word.strip(), syllables),
        fault=fault,
    )


@router.get("/vocabulary/export.csv")
def export(request: Request, house: House, actor: Acting, source: str = "own") -> Response:
    """The words in use as a table file; ``source`` as on the screen."""
    texts = _texts(request)
    views = house.words.listing(actor, WordFilter(source=source if source in SOURCES else "own"))
    raw = wordlist.written(views, _heads(texts), texts.under("word_class"), texts("vocabulary.shared"))
    headers = {"Content-Disposition": 'attachment; filename="vocabulary.csv"'}
    return Response(raw, media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/vocabulary/import")
def take_in(request: Request, house: House, actor: Acting, file: UploadFile | None = None) -> HTMLResponse:
    """Import a table file; each faulty line is named, the others are taken."""
    actor.require(Right.EDIT_WORDS, actor.unit_id)
    texts = _texts(request)
    raw = file.file.read() if file is not None else b""
    rows = wordlist.read(raw, _heads(texts), texts.under("word_class"), texts("vocabulary.shared"))
    done = house.words.take_in(actor, rows)
    return render(
        request,
        "parts/words_imported.html",
        done=done,
        faults=[(line + 1, message_of(texts, error)) for line, error in done.faults[:FAULTS_SHOWN]],
        more=max(0, len(done.faults) - FAULTS_SHOWN),
    )


@router.get("/vocabulary/{word_id}/edit")
def edit_form(request: Request, house: House, actor: Acting, word_id: int) -> HTMLResponse:
    """The form to correct a word."""
    view = next((each for each in house.words.listing(actor, WordFilter()) if each.word_id == word_id), None)
    if view is None:
        raise NotFound("word_not_found")
    return render(request, "parts/word_edit.html", **word_form(actor, view))


@router.post("/vocabulary/{word_id}")
def edit(house: House, actor: Acting, word_id: int, fields: Fields) -> Response:
    """Correct a word."""
    house.words.edit(actor, word_id, _new(fields))
    return Response(status_code=204, headers={"HX-Refresh": "true"})


@router.post("/vocabulary/{word_id}/withdraw")
def withdraw(house: House, actor: Acting, word_id: int) -> Response:
    """Take a word out of use."""
    house.words.withdraw(actor, word_id)
    return Response(status_code=204, headers={"HX-Refresh": "true"})


@router.post("/vocabulary/{word_id}/restore")
def restore(house: House, actor: Acting, word_id: int) -> Response:
    """Put a word back into use."""
    house.words.withdraw(actor, word_id, again=True)
    return Response(status_code=204, headers={"HX-Refresh": "true"})


@router.post("/suggestions/{suggestion_id}/{decision}")
def decide(request: Request, house: House, actor: Acting, suggestion_id: int, decision: str) -> HTMLResponse:
    """Accept or decline a suggestion, or take that back; the segment is shown anew. An accepted name also replaces the
    misheard words where they stand in the call's draft."""
    chosen = choice(Decision, decision)
    if chosen is None:
        raise NotFound("suggestion_not_found")
    decided = house.suggestions.decide(actor, suggestion_id, chosen)
    carried = chosen is Decision.ACCEPTED and _carry(house, actor, decided)
    dossier = house.calls.dossier(actor, decided.call_id)
    transcript = next(row for row in dossier.transcripts if row.id == decided.transcript_id)
    found = house.suggestions.of_transcript(actor, transcript.id)
    row = next(row for row in transcript.segments if row.ordinal == decided.segment)
    answer = render(
        request,
        "parts/segment_decided.html",
        segment=segment(row, [each for each in found if each.segment == row.ordinal]),
        open_suggestions=open_ones(found),
        may_listen=actor.may(Right.LISTEN, dossier.call.unit_id),
        may_enter=actor.may(Right.EDIT_DRAFT, dossier.call.unit_id),
    )
    if carried:
        answer.headers["HX-Trigger"] = "duty-words-carried"
    return answer


def _carry(house: Services, actor: Actor, decided: Decided) -> bool:
    """Write the accepted name into the fields of the call's draft that have the misheard words; True where any had."""
    for attempt in range(_TRIES):
        entries = house.calls.dossier(actor, decided.call_id).entries
        draft = next((entry for entry in reversed(entries) if entry.state == EntryState.DRAFT), None)
        if draft is None or not actor.may(Right.EDIT_DRAFT, draft.unit_id):
            return False
        heard = {decided.heard, "".join(decided.heard.split())}
        changes = {}
        for name, value in content_of(draft).as_dict().items():
            for each in heard:
                if each in value:
                    changes[name] = value = value.replace(each, decided.word)  # noqa: PLW2901 - one after the other
        if not changes:
            return False
        try:
            house.logbook.edit(actor, draft.id, changes, version=draft.version)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            continue
        return True
    return False


def _new(fields: dict[str, str]) -> NewWord:
    return NewWord(
        word=fields.get("word", ""),
        word_class=fields.get("class", ""),
        pinyin=fields.get("pinyin", ""),
        within=fields.get("within", ""),
        shared=fields.get("shared") == "on",
    )


def _polyphones(word: str, syllables: Sequence[str]) -> tuple[Polyphone, ...]:
    if len(word) != len(syllables):
        return ()
    found = []
    for at, (char, syllable) in enumerate(zip(word, syllables, strict=True)):
        known = tuple(dict.fromkeys((syllable, *pinyin.readings(char))))[:MAX_READINGS]
        if len(known) > 1:
            shown = tuple((each, pinyin.shown((each,))) for each in known)
            found.append(Polyphone(at=at, char=char, readings=shown))
    return tuple(found)


def _heads(texts: Catalogue) -> dict[str, str]:
    return {column: texts(f"vocabulary.column.{column}") for column in wordlist.COLUMNS}


def _texts(request: Request) -> Catalogue:
    renderer: Renderer = request.app.state.renderer
    return renderer.catalogue
