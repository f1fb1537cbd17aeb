"""What the book keeps of a leg's media when the call is over: figures that tell a bad line from a bad recorder."""

from __future__ import annotations

from telephony.media_values import LegStatistics

Plain = str | int | float | bool | None
Summary = dict[str, Plain]


def leg_summary(figures: LegStatistics, *, silent_s: float, one_way: bool) -> Summary:
    """``figures`` as values for the book. Packets are what came from the remote, ``sent`` what it was sent;
    ``remote_lost`` and ``remote_jitter_ms`` are what it reports of that, None where it never did."""
    return {
        "codec": figures.codec,
        "encryption": figures.encryption,
        "packets": figures.stream.received,
        "sent": figures.sent,
        "lost": figures.stream.lost,
        "jitter_ms": round(figures.stream.jitter_ms, 1),
        "round_trip_ms": _rounded(figures.remote.round_trip_ms),
        "remote_lost": figures.remote.lost,
        "remote_jitter_ms": _rounded(figures.remote.jitter_ms),
        "strays": figures.stray,
        "malformed": figures.malformed,
        "undeciphered": figures.undeciphered,
        "audible": figures.audible,
        "silent_s": round(silent_s, 1),
        "one_way": one_way,
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 1)
