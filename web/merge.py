"""Two people, or an officer and the software, write one draft: what can be joined is joined, the rest is shown.

Pure. ``base`` is what the page showed when the officer began, ``mine`` what the form holds now, ``stored`` what is in
the store. Nothing an officer typed is ever dropped silently (requirement 6.2-b).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """``changes`` are to be written, ``taken`` were changed by others and are to be shown in the form, ``conflicts``
    map a field to the stored value that differs from what both knew."""

    changes: dict[str, str]
    taken: dict[str, str]
    conflicts: dict[str, str]


def three_way(base: Mapping[str, str], mine: Mapping[str, str], stored: Mapping[str, str]) -> Merge:
    """Join two writings field by field; only a field that both changed differently is a conflict."""
    changes: dict[str, str] = {}
    taken: dict[str, str] = {}
    conflicts: dict[str, str] = {}
    for name, value in mine.items():
        known, present = base.get(name, ""), stored.get(name, "")
        if _same(value, present):
            continue
        if _same(value, known):
            taken[name] = present
        elif _same(present, known):
            changes[name] = value
        else:
            conflicts[name] = present
    return Merge(changes=changes, taken=taken, conflicts=conflicts)


def _same(one: str, other: str) -> bool:
    """Blanks around a text and the form's CR LF line ends are no difference."""
    return one.strip().replace("\r\n", "\n") == other.strip().replace("\r\n", "\n")
