"""An entry of the logbook: its required fields, its states, its corrections (requirement 6.2-b, 6.2-c)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

from duty.domain.errors import Refused
from duty.domain.texts import refuse_unreadable

MAX_FIELD_CHARS = 4000


class EntryState(StrEnum):
    """待核, 定稿, 作废."""

    DRAFT = "draft"
    FINALIZED = "finalized"
    VOIDED = "voided"


class Category(StrEnum):
    """What an entry is about; the categories named important need a checked caller."""

    ROUTINE = "routine"
    INCIDENT = "incident"
    DIRECTIVE = "directive"
    SUPERIOR = "superior"
    OPINION = "opinion"
    NOTICE = "notice"
    DRILL = "drill"
    WRONG_NUMBER = "wrong_number"
    FAX = "fax"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContent:
    """The text of one line of the logbook, each field as it is printed; empty text where nothing is known."""

    event_time: str = ""
    place: str = ""
    event: str = ""
    caller_unit: str = ""
    caller_name: str = ""
    caller_title: str = ""
    caller_phone: str = ""
    casualties: str = ""
    measures: str = ""
    request: str = ""
    category: str = Category.ROUTINE.value
    remarks: str = ""

    def changed(self, changes: Mapping[str, str]) -> EntryContent:
        """This content with ``changes`` applied, surrounding blanks removed.

        Raises Refused for a field that does not exist, a text that is unreadable or over MAX_FIELD_CHARS, or an
        unknown category.
        """
        known = {field.name for field in fields(self)}
        cleaned = {}
        for name, value in changes.items():
            if name not in known:
                raise Refused("entry_field_unknown", field=name)
            refuse_unreadable(value)
            cleaned[name] = value.strip()
            if len(cleaned[name]) > MAX_FIELD_CHARS:
                raise Refused("entry_field_too_long", field=name, limit=MAX_FIELD_CHARS)
        if "category" in cleaned and cleaned["category"] not in {category.value for category in Category}:
            raise Refused("entry_category_unknown", category=cleaned["category"])
        return replace(self, **cleaned)

    def as_dict(self) -> dict[str, str]:
        """Field name to text, in the order of the form."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRules:
    """What a unit asks of an entry before it may be finalized (requirement 10-a: configuration, this is the default).

    ``caller`` stands for either the caller's unit or the caller's name: 来电人（责任单位）.
    """

    required: tuple[str, ...] = ("event_time", "place", "event", "caller")
    exempt_categories: frozenset[str] = frozenset({Category.WRONG_NUMBER, Category.FAX, Category.DRILL})
    important_categories: frozenset[str] = frozenset({Category.INCIDENT, Category.DIRECTIVE, Category.SUPERIOR})

    def missing(self, content: EntryContent) -> tuple[str, ...]:
        """Names of required fields that are still empty; a call that is no event needs only its event text."""
        required: Iterable[str] = self.required
        if content.category in self.exempt_categories:
            required = ("event",)
        return tuple(name for name in required if not _filled(content, name))

    def is_important(self, content: EntryContent) -> bool:
        """True where the caller's identity must be checked before finalizing (requirement 6.1-c)."""
        return content.category in self.important_categories


def _filled(content: EntryContent, name: str) -> bool:
    if name == "caller":
        return bool(content.caller_unit or content.caller_name)
    return bool(getattr(content, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberStyle:
    """How an entry number reads, e.g. ``龙亭值〔{year}〕{number}号``."""

    pattern: str = "龙亭值〔{year}〕{number}号"

    def text(self, *, year: int, number: int) -> str:
        """The printed number."""
        return self.pattern.format(year=year, number=number)
