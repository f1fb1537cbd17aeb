"""How a channel's samples lie on the clock of the machine that recorded them, as the sidecar states it (requirement
6.1-d).

A sender's own clock runs a little fast or slow, and its first packet may have been held up: the recording follows the
sender's timestamps, so that no sample is made up or taken out, and its sidecar states every ten seconds, and whenever a
stream is placed anew, which RTP timestamp stands at which sample and when the packet came: of all packets since the
last such line the one that came earliest for its place. With it both channels can be laid on one clock to within the
network's least delay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from telephony.rtp.g711 import SAMPLE_RATE

CLOCK = "clock"
"""The sidecar's line."""
_LEAST = 60 * SAMPLE_RATE
"""Samples that a drift is measured over, at least: over less the network's own changes are greater."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One such line: the packet with RTP ``timestamp`` was put at sample ``position`` and came at sample ``arrival`` of
    the recording's clock."""

    position: int
    timestamp: int
    arrival: int


def marks(events: Iterable[Mapping[str, object]], speaker: Speaker) -> list[Mark]:
    """The channel's marks in the order of their positions; lines that are none are left out."""
    found = []
    for event in events:
        values = event.get("position"), event.get("timestamp"), event.get("arrival")
        if event.get("event") == CLOCK and event.get("channel") == speaker.value:
            position, timestamp, arrival = values
            if isinstance(position, int) and isinstance(timestamp, int) and isinstance(arrival, int):
                found.append(Mark(position=position, timestamp=timestamp, arrival=arrival))
    return sorted(found, key=lambda mark: mark.position)


def on_the_clock(at: int, known: list[Mark]) -> int:
    """The sample of the recording's clock at which sample ``at`` of a channel with these marks came, between two marks
    in proportion; ``at`` itself where there are none."""
    if not known:
        return at
    place = bisect_right(known, at, key=lambda mark: mark.position)
    after, before = known[min(place, len(known) - 1)], known[max(0, place - 1)]
    late = before.arrival - before.position
    if after.position > before.position:
        share = (at - before.position) / (after.position - before.position)
        late += round(share * (after.arrival - after.position - late))
    return at + late


def drift_ppm(known: list[Mark]) -> float | None:
    """By how much the sender's clock runs fast (above 0) against ours, in parts per million over the longest stretch
    that was placed by timestamp alone; None where there is none of a minute."""
    stretch: list[Mark] = []
    longest: list[Mark] = []
    for mark in known:
        straight = bool(stretch) and mark.position - stretch[0].position == _ahead(stretch[0], mark)
        stretch = [*stretch, mark] if straight else [mark]
        if len(stretch) > 1 and (len(longest) < 2 or _length(stretch) > _length(longest)):
            longest = stretch
    if len(longest) < 3 or _length(longest) < _LEAST:
        return None
    first, last = longest[1], longest[-1]  # the first is of one packet alone, however long that was held up
    return ((last.position - first.position) / (last.arrival - first.arrival) - 1) * 1_000_000


def _ahead(first: Mark, mark: Mark) -> int:
    return (mark.timestamp - first.timestamp) & 0xFFFFFFFF


def _length(stretch: list[Mark]) -> int:
    return stretch[-1].position - stretch[0].position
