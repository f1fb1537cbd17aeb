"""After a drill: what the callers know against what the book says, the book against the files, the files against the
book, and each recording against what was said.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sqlalchemy import func, select

from duty.domain.transcripts import Speaker
from duty.store.tables import CallLegRow, CallRow
from duty.verifier import verify
from telephony.recording_chain import check_chain
from tests.faults.drill import Drill
from tests.faults.parties import Story
from tests.faults.voices import Voice
from tests.line.book import Book, CallPage
from tests.peers.audio import FRAME_BYTES

KEPT_BEFORE_KILL_S = 1.0
_KEPT_BEFORE_END_S = 0.15
_BOOK_LAG_S = 5.0
"""How long before its death a process may have had the news that the book lacks: while the book is locked, the line
that waits for it holds up those behind."""
_SILENCE = 0xD5
_FIRST = 3
"""The beginning of a voice may be said before the other side is known: frames."""


@dataclass(slots=True, kw_only=True)
class Reckoning:
    """``faults`` must be empty; the rest are figures."""

    faults: list[str] = field(default_factory=list)
    calls: int = 0
    with_100: int = 0
    rows: int = 0
    second_rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    recordings: Counter[str] = field(default_factory=Counter)
    salvaged: int = 0
    directories: int = 0
    voices: int = 0
    frames: int = 0
    segments: int = 0


def reckon(drill: Drill, book: Book) -> Reckoning:
    """Compares everything with everything."""
    result = Reckoning(calls=len(drill.stories), with_100=drill.answered_100)
    pages = book.pages()
    by_sip = _by_sip_call_id(book, pages)
    _rows(result, pages)
    _calls_in_the_book(result, drill, by_sip)
    _files_and_rows(result, pages, book)
    _chains(result, book)
    _sound(result, drill, by_sip, book)
    _legs(result, book)
    report = verify(drill.service.settings.store_url, drill.service.settings.data.recordings)
    if report.first_broken is not None:
        result.faults.append(f"the logbook's chain is broken: {report.first_broken}")
    for left in ("book.spool", "book.refused"):
        path = drill.service.data / "spool" / left
        if path.exists():
            result.faults.append(f"{left} is left: {path.read_bytes()[:2000]!r}")
    return result


def _by_sip_call_id(book: Book, pages: list[CallPage]) -> dict[str, list[CallPage]]:
    with book.store.reading() as session:
        known = {row.id: row.sip_call_id for row in session.scalars(select(CallRow))}
    found: dict[str, list[CallPage]] = defaultdict(list)
    for page in pages:
        found[known[page.call_id]].append(page)
    return found


def _rows(result: Reckoning, pages: list[CallPage]) -> None:
    result.rows = len(pages)
    for page in pages:
        result.outcomes[str(page.outcome)] += 1
        result.recordings[page.recording_state] += 1
        result.salvaged += page.salvaged
        of = f"call {page.caller_number} ({page.call_id})"
        kinds = Counter(page.kinds)
        if page.state != "ended" or kinds["ended"] != 1:
            result.faults.append(f"{of} is not closed once: {page.state}, {page.kinds}")
        if kinds["arrived"] != 1 or page.kinds[0] != "arrived" or kinds["answered"] > 1 or kinds["salvaged"] > 1:
            result.faults.append(f"{of} has odd events: {page.kinds}")
        doubled = [event for event, count in Counter(map(str, page.events)).items() if count > 1]
        if doubled:
            result.faults.append(f"{of} has doubled events: {doubled}")
        if max(Counter(page.pending).values(), default=0) > 1 or max(Counter(page.alarms).values(), default=0) > 1:
            result.faults.append(f"{of} is pending or alarmed twice: {page.pending} {page.alarms}")
        if page.entries != kinds["answered"]:
            result.faults.append(f"{of} has {page.entries} entries after {page.kinds}")


def _calls_in_the_book(result: Reckoning, drill: Drill, by_sip: dict[str, list[CallPage]]) -> None:
    for story in drill.stories:
        pages = by_sip.get(story.call_id, [])
        if story.trying_at is not None and not pages:
            result.faults.append(f"call {story.plan.number} had its 100 and is not in the book")
        result.second_rows += max(0, len(pages) - 1)
        if any(page.outcome != "interrupted" for page in pages[:-1]):
            result.faults.append(f"call {story.plan.number} is in the book twice: {[page.outcome for page in pages]}")
        death = story.killed_at if story.killed_at is not None else _next_kill(drill, story.answered_at or 0.0)
        known = story.answered_at is not None and death > story.answered_at + _BOOK_LAG_S
        if known and not any(page.answered_at for page in pages):
            result.faults.append(f"call {story.plan.number} was answered, and the book does not know it: {story}")
    strange = by_sip.keys() - {story.call_id for story in drill.stories}
    if strange:
        result.faults.append(f"calls nobody made: {sorted(strange)}")


def _files_and_rows(result: Reckoning, pages: list[CallPage], book: Book) -> None:
    directories = {path.name: path for path in book.recordings.glob("*/*/*/*") if path.is_dir()}
    result.directories = len(directories)
    rows = {page.call_id: page for page in pages}
    for call_id in directories.keys() - rows.keys():
        result.faults.append(f"recording {call_id} has no row")
    for call_id, page in rows.items():
        of = f"recording of {page.caller_number} ({call_id})"
        directory = directories.get(call_id)
        if page.recording_state == "open":
            result.faults.append(f"{of} is still open")
        if page.recording_path:
            path = book.recordings / page.recording_path
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != page.recording_sha256:
                result.faults.append(f"{of} is not the file that its row describes")
            elif directory is None or path.parent != directory:
                result.faults.append(f"{of} lies elsewhere: {page.recording_path}")
        elif directory is not None:
            found = sorted(path.name for path in directory.iterdir())
            result.faults.append(f"{of} is {page.recording_state} in the book, but there is {found}")


def _chains(result: Reckoning, book: Book) -> None:
    for sidecar in book.recordings.glob("*/*/*/*/events.jsonl"):
        raw = {of.value: path for of in Speaker for path in (sidecar.with_name(f"{of.value}.alaw"),) if path.exists()}
        check = check_chain(sidecar.read_bytes(), raw)
        result.segments += check.segments
        manifest = sidecar.with_name("sealed.json")
        sealed = json.loads(manifest.read_bytes())["chain"] if manifest.exists() else None
        if check.altered or sealed != check.head:
            result.faults.append(f"the chain of {sidecar.parent.name} is broken: {check}, sealed {sealed}")


def _sound(result: Reckoning, drill: Drill, by_sip: dict[str, list[CallPage]], book: Book) -> None:
    for story in drill.stories:
        pages = [page for page in by_sip.get(story.call_id, []) if page.recording_path]
        for channel, voice in enumerate((story.caller, story.officer)):
            if voice is None or not voice.said_at:
                continue
            if story.answered_at is None or not pages:
                if _must_be_kept(drill, story, voice):
                    result.faults.append(f"what {voice.owner} said is nowhere")
                continue
            _voice(result, drill, story, voice, book.voices(pages[-1])[channel])


def _next_kill(drill: Drill, after: float) -> float:
    return next((moment for moment in drill.killed_at if moment >= after), float("inf"))


def _must_be_kept(drill: Drill, story: Story, voice: Voice) -> list[bytes]:
    """The frames that the recording must have: until the call's end, and until a second before the process's."""
    end = story.hung_up_at if story.hung_up_at is not None else voice.said_at[-1]
    killed = story.killed_at if story.killed_at is not None else _next_kill(drill, end)
    return voice.said_until(min(end - _KEPT_BEFORE_END_S, killed - KEPT_BEFORE_KILL_S))[_FIRST:]


def _voice(result: Reckoning, drill: Drill, story: Story, voice: Voice, recorded: bytes) -> None:
    """Every frame once, in order; and nothing in the channel that this voice did not say."""
    must = _must_be_kept(drill, story, voice)
    places = [recorded.find(frame) for frame in must]
    lost = [number for number, place in enumerate(places, start=_FIRST) if place < 0]
    result.voices += 1
    result.frames += len(must)
    if lost:
        result.faults.append(
            f"{voice.owner}: {len(lost)} of {len(must)} frames lost, from {lost[0]} to {lost[-1]}; {story}"
        )
    found = [place for place in places if place >= 0]
    if found != sorted(found):
        result.faults.append(f"{voice.owner}: frames out of order")
    every = voice.said_until(float("inf"))
    own = sum(FRAME_BYTES * recorded.count(frame) for frame in every)
    if any(recorded.count(frame) > 1 for frame in every):
        result.faults.append(f"{voice.owner}: a frame is there twice")
    said = len(recorded) - recorded.count(bytes([_SILENCE]))
    if said > own:
        result.faults.append(f"{voice.owner}: {said - own} samples of somebody else in the channel; {story}")


def _legs(result: Reckoning, book: Book) -> None:
    query = select(CallLegRow.call_id, CallLegRow.speaker).group_by(CallLegRow.call_id, CallLegRow.speaker)
    with book.store.reading() as session:
        twice = session.execute(query.having(func.count() > 1)).all()
    if twice:
        result.faults.append(f"the media of a side were rated twice: {twice}")
