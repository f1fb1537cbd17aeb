"""词库: the words that officers add to those that come as data. Edited and withdrawn, never deleted; each act is in the
audit log. Transcription asks for them before each call, so that the next call is heard with them (requirement 10-a).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from duty.domain import pinyin
from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.happenings import EventKind
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable, signalled
from duty.domain.times import Clock
from duty.domain.vocabulary import Decision, DistrictWord, WordClass
from duty.domain.wordcheck import district_word
from duty.services.audit import note
from duty.services.outbox import tell
from duty.services.shipped import shipped_words
from duty.store.database import Store
from duty.store.tables import CallRow, DistrictWordRow, OfficerRow, SuggestionRow, TranscriptRow, UnitRow

MAX_WITHIN_CHARS = 40
MAX_IMPORT = 2000
OFTEN_WITHIN = timedelta(days=90)
OFTEN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWord:
    """A word as it is entered. ``pinyin`` empty takes the dictionary's; ``shared`` is for all units."""

    word: str
    word_class: str
    pinyin: str = ""
    within: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WordView:
    """A word as the screen shows it. ``word_id`` 0 is one that came as data; ``unit`` is empty for a shared one."""

    word_id: int
    word: str
    word_class: WordClass
    pinyin: str
    within: str
    unit: str
    by: str
    at: datetime | None
    withdrawn: bool
    may_edit: bool

    @property
    def spoken(self) -> str:
        """The pinyin with tone marks."""
        return pinyin.shown(tuple(self.pinyin.split()))


@dataclass(frozen=True, slots=True, kw_only=True)
class WordFilter:
    """What the list shows: ``source`` is ``own``, ``shipped`` or ``withdrawn``."""

    words: str = ""
    word_class: WordClass | None = None
    source: str = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a list: how many were new, changed and known; and the faulty lines, each (line from 1, error)."""

    added: int
    changed: int
    known: int
    faults: tuple[tuple[int, Refused], ...]


class Words:
    """The officers' words of one store."""

    def __init__(
        self, store: Store, clock: Clock, shipped: Callable[[], tuple[DistrictWord, ...]] = shipped_words
    ) -> None:
        self._store = store
        self._clock = clock
        self._read_shipped = shipped

    @cached_property
    def shipped(self) -> tuple[DistrictWord, ...]:
        """The words that come as data."""
        return self._read_shipped()

    def listing(self, actor: Actor, wanted: WordFilter) -> list[WordView]:
        """Words under a filter: own ones newest first, those of other units left out for whom the network is closed."""
        scope = actor.unit_scope(Right.SEE_WORDS)
        if wanted.source == "shipped":
            return [_shipped_view(word) for word in self.shipped if _matches(word, wanted)]
        query = _visible(scope).order_by(DistrictWordRow.changed_at.desc(), DistrictWordRow.id.desc())
        is_withdrawn = DistrictWordRow.withdrawn_at.is_not(None)
        query = query.where(is_withdrawn if wanted.source == "withdrawn" else ~is_withdrawn)
        with self._store.reading() as session:
            units = {row.id: row.name for row in session.scalars(select(UnitRow))}
            people = {row.id: row.name for row in session.scalars(select(OfficerRow))}
            rows = list(session.scalars(query))
        return [_view(row, actor, units, people) for row in rows if _matches(_value(row), wanted)]

    def add(self, actor: Actor, new: NewWord) -> int:
        """Add a word for one's unit, or for all; returns its id.

        Raises Forbidden, Refused for what is no word, its pinyin, or is in the list already.
        """
        unit_id, word = self._scope(actor, shared=new.shared), _checked(new)
        with self._store.writing() as session:
            if _same(session, word, unit_id) is not None:
                raise Refused("word_known", word=word.word)
            row = self._insert(session, actor, word, unit_id)
            self._tell(session, row)
            return row.id

    def edit(self, actor: Actor, word_id: int, new: NewWord) -> None:
        """Correct a word; what it was is in the audit log. Raises NotFound, Forbidden, Refused."""
        actor.require(Right.EDIT_WORDS, actor.unit_id)
        word = _checked(new)
        with self._store.writing() as session:
            row = self._row(session, actor, word_id)
            unit_id = row.unit_id if new.shared == (row.unit_id is None) else self._scope(actor, shared=new.shared)
            other = _same(session, word, unit_id)
            if other is not None and other.id != row.id:
                raise Refused("word_known", word=word.word)
            self._change(session, actor, row, word, unit_id)
            self._tell(session, row)

    def withdraw(self, actor: Actor, word_id: int, *, again: bool = False) -> None:
        """Take a word out of use; with ``again`` put it back. Raises NotFound, Forbidden."""
        with self._store.writing() as session:
            row = self._row(session, actor, word_id)
            if (row.withdrawn_at is None) == again:
                return
            now = self._clock()
            row.withdrawn_at = None if again else now
            self._touch(row, actor, now)
            self._note(session, actor, "restore_word" if again else "withdraw_word", row, {})
            self._tell(session, row)

    def take_in(self, actor: Actor, rows: Sequence[NewWord]) -> Imported:
        """Import a list: new words are added, known ones changed where they differ; a faulty line costs only itself.

        Raises Forbidden, Refused for a list that is too long.
        """
        actor.require(Right.EDIT_WORDS, actor.unit_id)
        if len(rows) > MAX_IMPORT:
            raise Refused("import_too_long", limit=MAX_IMPORT)
        counts, faults = {"added": 0, "changed": 0, "known": 0}, []
        with self._store.writing() as session:
            for line, new in enumerate(rows, start=1):
                try:
                    word = _checked(new)
                    counts[self._taken(session, actor, word, self._scope(actor, shared=new.shared))] += 1
                except Forbidden:
                    faults.append((line, Refused("word_shared_forbidden")))
                except Refused as error:
                    faults.append((line, error))
            if counts["added"] or counts["changed"]:
                tell(session, EventKind.WORDS_CHANGED, at=self._clock(), unit_id=None)
        return Imported(**counts, faults=tuple(faults))

    def version(self) -> tuple[int, int]:
        """Another pair after every change to any word."""
        query = select(func.count(), func.coalesce(func.sum(DistrictWordRow.revision), 0))
        with self._store.reading() as session:
            count, revisions = session.execute(query).one()
            return int(count), int(revisions)

    def of_unit(self, unit_id: int) -> tuple[DistrictWord, ...]:
        """The words in use for a unit's calls, its own and the shared ones, newest first."""
        query = _visible(unit_id).where(DistrictWordRow.withdrawn_at.is_(None))
        query = query.order_by(
            DistrictWordRow.unit_id.is_(None), DistrictWordRow.changed_at.desc(), DistrictWordRow.id.desc()
        )
        with self._store.reading() as session:
            return tuple(_value(row) for row in session.scalars(query))

    def of_call(self, call_id: str) -> tuple[int, str]:
        """The unit of a call and the unit that its caller, by the directory, may be of. Raises NotFound."""
        with self._store.reading() as session:
            call = session.get(CallRow, call_id)
            if call is None:
                raise NotFound("call_not_found", call_id=call_id)
            return call.unit_id, call.contact.organisation if call.contact else ""

    def often_corrected(self, unit_id: int) -> tuple[str, ...]:
        """The words that this unit's officers accepted most often of late where the engine had written something
        else."""
        query = (
            select(SuggestionRow.word)
            .join(TranscriptRow, TranscriptRow.id == SuggestionRow.transcript_id)
            .join(CallRow, CallRow.id == TranscriptRow.call_id)
            .where(CallRow.unit_id == unit_id, SuggestionRow.state == Decision.ACCEPTED.value)
            .where(SuggestionRow.decided_at > self._clock() - OFTEN_WITHIN)
            .group_by(SuggestionRow.word)
            .order_by(func.count().desc(), SuggestionRow.word)
            .limit(OFTEN)
        )
        with self._store.reading() as session:
            return tuple(session.scalars(query))

    def _scope(self, actor: Actor, *, shared: bool) -> int | None:
        """The unit of a word; None, for all units, only by who edits words across units."""
        actor.require(Right.EDIT_WORDS, actor.unit_id)
        if not shared:
            return actor.unit_id
        if actor.unit_scope(Right.EDIT_WORDS) is not None:
            raise Forbidden("forbidden", right=Right.EDIT_WORDS)
        return None

    def _row(self, session: Session, actor: Actor, word_id: int) -> DistrictWordRow:
        row = session.get(DistrictWordRow, word_id, with_for_update=True)
        if row is None or not (row.unit_id is None or actor.may(Right.SEE_WORDS, row.unit_id)):
            raise NotFound("word_not_found")
        if not _may_edit(actor, row):
            raise Forbidden("forbidden", right=Right.EDIT_WORDS)
        return row

    def _insert(self, session: Session, actor: Actor, word: DistrictWord, unit_id: int | None) -> DistrictWordRow:
        now = self._clock()
        row = DistrictWordRow(
            unit_id=unit_id,
            word=word.word,
            word_class=word.word_class.value,
            pinyin=" ".join(word.pinyin),
            within=word.within,
            added_by=actor.officer_id,
            added_at=now,
            changed_by=actor.officer_id,
            changed_at=now,
        )
        session.add(row)
        session.flush()
        self._note(session, actor, "add_word", row, {})
        return row

    def _change(
        self, session: Session, actor: Actor, row: DistrictWordRow, word: DistrictWord, unit_id: int | None
    ) -> None:
        was = {"was_word": row.word, "was_class": row.word_class, "was_pinyin": row.pinyin, "was_within": row.within}
        row.word, row.word_class, row.within = word.word, word.word_class.value, word.within
        row.pinyin, row.unit_id, row.withdrawn_at = " ".join(word.pinyin), unit_id, None
        self._touch(row, actor, self._clock())
        self._note(session, actor, "edit_word", row, was)

    def _taken(self, session: Session, actor: Actor, word: DistrictWord, unit_id: int | None) -> str:
        row = _same(session, word, unit_id)
        if row is None:
            self._insert(session, actor, word, unit_id)
            return "added"
        if row.withdrawn_at is None and _value(row) == word:
            return "known"
        self._change(session, actor, row, word, unit_id)
        return "changed"

    def _touch(self, row: DistrictWordRow, actor: Actor, now: datetime) -> None:
        row.changed_by, row.changed_at, row.revision = actor.officer_id, now, row.revision + 1

    def _note(self, session: Session, actor: Actor, action: str, row: DistrictWordRow, was: dict[str, str]) -> None:
        data = {"word": row.word, "class": row.word_class, "pinyin": row.pinyin, "within": row.within, **was}
        data["scope"] = "all" if row.unit_id is None else f"unit:{row.unit_id}"
        note(session, at=self._clock(), actor=actor, action=action, subject=f"word:{row.id}", data=data)

    def _tell(self, session: Session, row: DistrictWordRow) -> None:
        tell(session, EventKind.WORDS_CHANGED, at=self._clock(), unit_id=row.unit_id)


def _checked(new: NewWord) -> DistrictWord:
    refuse_unreadable(new.word, new.pinyin, new.within)
    if len(new.within.strip()) > MAX_WITHIN_CHARS:
        raise Refused("word_within_long", limit=MAX_WITHIN_CHARS)
    return district_word(new.word, new.word_class, new.pinyin, within=new.within, own=True)


def _same(session: Session, word: DistrictWord, unit_id: int | None) -> DistrictWordRow | None:
    query = select(DistrictWordRow).where(
        DistrictWordRow.word == word.word, DistrictWordRow.word_class == word.word_class.value, _of_unit(unit_id)
    )
    return session.scalars(query.order_by(DistrictWordRow.id)).first()


def _of_unit(unit_id: int | None) -> ColumnElement[bool]:
    return DistrictWordRow.unit_id.is_(None) if unit_id is None else DistrictWordRow.unit_id == unit_id


def _visible(scope: int | None) -> Select[DistrictWordRow]:
    """All words, or those of one unit and the shared ones."""
    query = select(DistrictWordRow)
    return query if scope is None else query.where(or_(DistrictWordRow.unit_id.is_(None), _of_unit(scope)))


def _may_edit(actor: Actor, row: DistrictWordRow) -> bool:
    if row.unit_id is not None:
        return actor.may(Right.EDIT_WORDS, row.unit_id)
    return actor.may(Right.EDIT_WORDS) and actor.unit_scope(Right.EDIT_WORDS) is None


def _value(row: DistrictWordRow) -> DistrictWord:
    return DistrictWord(
        word=row.word,
        word_class=WordClass(row.word_class),
        pinyin=tuple(row.pinyin.split()),
        within=row.within,
        own=True,
    )


def _view(row: DistrictWordRow, actor: Actor, units: dict[int, str], people: dict[int, str]) -> WordView:
    return WordView(
        word_id=row.id,
        word=row.word,
        word_class=WordClass(row.word_class),
        pinyin=row.pinyin,
        within=row.within,
        unit=units.get(row.unit_id, "") if row.unit_id is not None else "",
        by=people.get(row.changed_by or row.added_by, ""),
        at=row.changed_at,
        withdrawn=row.withdrawn_at is not None,
        may_edit=_may_edit(actor, row),
    )


def _shipped_view(word: DistrictWord) -> WordView:
    return WordView(
        word_id=0,
        word=word.word,
        word_class=word.word_class,
        pinyin=" ".join(word.pinyin),
        within=word.within,
        unit="",
        by="",
        at=None,
        withdrawn=False,
        may_edit=False,
    )


def _matches(word: DistrictWord, wanted: WordFilter) -> bool:
    if wanted.word_class not in (None, word.word_class):
        return False
    return all(part in word.word or part in word.within for part in signalled(wanted.words).split())


def known_classes(words: Iterable[DistrictWord]) -> dict[WordClass, int]:
    """How many words each class has."""
    counts = dict.fromkeys(WordClass, 0)
    for word in words:
        counts[word.word_class] += 1
    return counts
