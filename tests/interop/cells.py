"""Which cell of the table in ``docs/interop.md`` a test proves: peer, role, capability.

``@proves("linphone", "phone", "hold")`` on a test notes it here, in whatever folder of the tests it is;
``test_table.py`` compares the notes with the page, so that the page claims neither more nor less than the tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

CAPABILITIES = (
    "registers",
    "answers",
    "both voices",
    "holds",
    "is held",
    "sends digits",
    "hears digits",
    "hangs up",
    "is hung up on",
    "cancels",
    "refuses",
)
"""The columns, in their order. What each means stands in ``docs/interop.md``."""

Cell = tuple[str, str, str]

_proven: defaultdict[Cell, list[str]] = defaultdict(list)


def proves(peer: str, role: str, *capabilities: str) -> Callable[[Any], Any]:
    """Notes that the decorated test proves these cells. Raises ValueError for a capability that is no column."""
    if unknown := set(capabilities) - set(CAPABILITIES):
        raise ValueError(f"no column {sorted(unknown)}")

    def note(test: Any) -> Any:
        for capability in capabilities:
            _proven[(peer, role, capability)].append(f"{test.__module__}.{test.__name__}")
        return test

    return note


def proven() -> dict[Cell, list[str]]:
    """The cells noted by the modules imported so far, with the tests that prove each."""
    return dict(_proven)
