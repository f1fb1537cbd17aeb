"""Which servers a domain names, and in what order they are tried (RFC 3263 section 4, RFC 2782, RFC 3403).

Names are looked up at the edge; here it is decided what to look up and what the answers mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from telephony.sip.flow import Transport

Item = TypeVar("Item")

_SERVICES: dict[str, tuple[Transport, bool]] = {
    "SIP+D2U": ("UDP", False),
    "SIP+D2T": ("TCP", False),
    "SIPS+D2T": ("TLS", True),
}
"""NAPTR services (RFC 3263 section 4.1): the transport, and whether a ``sips`` URI may use it."""

_LABELS: dict[Transport, str] = {"UDP": "_sip._udp", "TCP": "_sip._tcp", "TLS": "_sips._tcp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Naptr:
    """A NAPTR record. Of equal ``order``, the lower ``preference`` goes first."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Srv:
    """An SRV record."""

    priority: int
    weight: int
    port: int
    target: str


def services(records: Iterable[Naptr], *, secure: bool, available: Sequence[Transport]) -> list[tuple[Transport, str]]:
    """Transport and SRV name of each NAPTR record that serves, the best first. ``secure`` for a ``sips`` URI;
    ``available`` are the transports we have."""
    found: list[tuple[Transport, str]] = []
    for record in sorted(records, key=lambda record: (record.order, record.preference)):
        service = _SERVICES.get(record.service.upper())
        if service is None or record.flags.lower() != "s":
            continue
        transport, is_secure = service
        if transport in available and (is_secure or not secure):
            found.append((transport, record.replacement))
    return found


def srv_names(
    domain: str, *, secure: bool, available: Sequence[Transport], transport: Transport | None = None
) -> list[tuple[Transport, str]]:
    """Transport and SRV name to ask for where the domain has no NAPTR record, or the URI names its ``transport``.

    RFC 3263 leaves open which of several transports is taken; we take UDP first, as most PBXs of this country do.
    """
    if transport is None and not secure:
        order: tuple[Transport, ...] = ("UDP", "TCP", "TLS")
    else:
        order = (transport or "TLS",)
    return [(each, f"{_LABELS[each]}.{domain}") for each in order if each in available]


def is_absent(records: Sequence[Srv]) -> bool:
    """Whether the domain says that it decidedly has no such service: one record whose target is the root."""
    return len(records) == 1 and records[0].target in (".", "")


def in_order(
    items: Iterable[Item], place: Callable[[Item], tuple[int, int]], chance: Callable[[], float]
) -> list[Item]:
    """The order in which servers are tried (RFC 2782): by priority; among equals each comes next with a probability
    in proportion to its weight. ``place`` gives priority and weight, ``chance`` a number 0 <= x < 1."""
    ordered: list[Item] = []
    for _, group in groupby(sorted(items, key=lambda item: place(item)[0]), key=lambda item: place(item)[0]):
        left = sorted(group, key=lambda item: place(item)[1] != 0)  # weight 0 first: then it has a small chance
        while left:
            chosen = _draw([place(item)[1] for item in left], chance)
            ordered.append(left.pop(chosen))
    return ordered


def _draw(weights: Sequence[int], chance: Callable[[], float]) -> int:
    """The first whose running sum reaches a number drawn from 0 to the whole sum, both included."""
    drawn = int(chance() * (sum(weights) + 1))
    running = 0
    for index, weight in enumerate(weights):
        running += weight
        if running >= drawn:
            return index
    return len(weights) - 1
