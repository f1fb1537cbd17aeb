"""How many calls per second of processor time the pure core takes: ``python -m tests.telephony.bench_switchboard``.

Calls arrive at a steady rate, ring, are answered, talk and are hung up, each with all of SIP's messages. Only the time
spent inside the switchboard counts, not that of the peers; sockets, media and the book are not in it. Prints one JSON
object; ``--profile`` prints where the time goes instead.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Callable
from typing import Any

from tests.telephony.world import DESK, Peer, Session, World, audio, line

_MEASURED = ("receive", "handle_timer", "call_opened", "packets_to_send", "actions_to_perform", "get_timer")


class Meter:
    """Adds up the processor time spent in the methods it is put around."""

    def __init__(self, profile: cProfile.Profile | None) -> None:
        self.seconds = 0.0
        self._profile = profile

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **named: Any) -> Any:
            began = time.process_time_ns()
            if self._profile is not None:
                self._profile.enable()
            try:
                return method(*arguments, **named)
            finally:
                if self._profile is not None:
                    self._profile.disable()
                self.seconds += (time.process_time_ns() - began) / 1e9

        return measured


def measure(*, calls: int, rate: float, talk_s: float, profile: cProfile.Profile | None = None) -> dict[str, float]:
    """Run ``calls`` calls at ``rate`` per s, each talking for ``talk_s`` s."""
    world = World(line(extensions=("1001",), max_calls=calls))
    caller, phone = world.peer("127.0.0.1"), world.phone("1001")
    meter = Meter(profile)
    for name in _MEASURED:
        setattr(world.switchboard, name, meter.around(getattr(world.switchboard, name)))

    def taken(session: Session) -> None:
        session.ring()
        world.later(0.3, session.answer)

    phone.on_invite = taken
    for number in range(calls):
        world.later(number / rate, lambda: _call(world, caller, talk_s))
    most = 0
    for _ in range(int(calls / rate + talk_s) + 2):
        world.run(1.0)
        most = max(most, world.switchboard.live_calls())
    answered = sum(session.final == 200 for session in caller.sessions)
    ended = sum(session.ended for session in phone.sessions)
    if (answered, ended) != (calls, calls):
        raise SystemExit(f"{calls} calls, but {answered} answered and {ended} hung up")
    return {
        "calls": calls,
        "rate_per_s": rate,
        "concurrent": most,
        "ms_per_call": round(1000 * meter.seconds / calls, 3),
        "calls_per_cpu_s": round(calls / meter.seconds, 1),
    }


def _call(world: World, caller: Peer, talk_s: float) -> None:
    session = caller.invite(DESK, audio(caller.address[0]))
    world.later(talk_s, lambda: _hang_up(session))


def _hang_up(session: Session) -> None:
    session.bye()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=100.0, help="calls per second of the world's clock")
    parser.add_argument("--talk", type=float, default=3.0, help="seconds")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    result = measure(calls=options.calls, rate=options.rate, talk_s=options.talk, profile=profile)
    if profile is None:
        print(json.dumps(result))
    else:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
