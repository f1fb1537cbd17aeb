"""One channel of a running recording: from packets of one side to positions, file and live captions.

Frames that follow on are joined here and handed over a tenth of a second at a time: the recorder and the captions
then cost a fifth of what they would by the frame.
"""

from __future__ import annotations

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker
from telephony.livefeed import LiveFeed
from telephony.recorder import Recorder
from telephony.recording_clock import CLOCK
from telephony.rtp.g711 import SAMPLE_RATE, Law
from telephony.rtp.sequence import Order
from telephony.rtp.timeline import LAG, LEAD, Timeline, Verdict

_CLOCK_EVERY = 10 * SAMPLE_RATE
"""Samples after which the sidecar says again how the channel lies on our clock."""
_CLOCK_FIRST = SAMPLE_RATE
"""And after the beginning of a stream, whose first packet may have been held up."""
_RUN = SAMPLE_RATE // 10
"""Samples that are handed over together."""


class Track:
    """What ``speaker`` says, placed from the recording's first sample at ``zero`` (s on the media clock)."""

    def __init__(self, *, speaker: Speaker, recorder: Recorder, live: LiveFeed | None, zero: float) -> None:
        self._speaker = speaker
        self._recorder = recorder
        self._live = live
        self._zero = zero
        self._timeline = Timeline()
        self._run = bytearray()
        self._run_start = 0
        self._run_end = -1
        self._run_law = Law.PCMA
        self._announced_to: int | None = None
        self._reanchors = 0
        self._reanchored_at = 0
        self._noted_reanchors = 0
        self._noted_lost = 0
        self._mark: tuple[int, int, int] | None = None
        self._marked_to = 0
        self.refused = 0
        self._noted_refused = 0

    def position(self, now: float) -> int:
        """The sample that belongs to the moment ``now``."""
        return max(0, int((now - self._zero) * SAMPLE_RATE))

    def take(self, *, order: Order, timestamp: int, payload: bytes, law: Law, now: float) -> None:
        """One audio packet of this side."""
        samples, arrival = len(payload), int((now - self._zero) * SAMPLE_RATE)
        position = self._timeline.follow(timestamp, samples, arrival) if order is Order.NEXT else None
        if position is None:
            position = self._place(order, timestamp, samples, max(0, arrival))
            if position is None:
                return
        self._clocked(position, timestamp, arrival)
        self._join(position, payload, law)

    def take_run(self, *, timestamp: int, payload: bytes, size: int, law: Law, now: float) -> None:
        """Audio packets that follow on by number and timestamp, each of ``size`` samples; the last came at
        ``now``."""
        arrival, last = int((now - self._zero) * SAMPLE_RATE), len(payload) - size
        begin, position = 0, self._timeline.follow(timestamp, size, arrival)
        if position is not None:
            if not last or self._timeline.follow((timestamp + last) & 0xFFFFFFFF, size, arrival) is not None:
                self._clocked(position + last, (timestamp + last) & 0xFFFFFFFF, arrival)
                self._join(position, payload, law)
                return
            self._join(position, payload[:size], law)
            begin = size
        for at in range(begin, len(payload), size):
            piece, stamp = payload[at : at + size], (timestamp + at) & 0xFFFFFFFF
            self.take(order=Order.NEXT, timestamp=stamp, payload=piece, law=law, now=now)

    def announce(self, *, name: str, first: bool, payload: bytes, law: Law, now: float) -> None:
        """One frame of an announcement that the other side hears in place of this one's voice."""
        arrival = self.position(now)
        position = None if first else self._announced_to
        if position is None or not arrival - LAG <= position <= arrival + LEAD:
            position = max(arrival, self._timeline.end)
            self._recorder.note("announcement", channel=self._speaker.value, position=position, name=name)
        self._announced_to = position + len(payload)
        self._timeline.occupy(self._announced_to)
        self._recorder.write(self._speaker, position=position, payload=payload, law=law)

    def hand_over(self) -> None:
        """Gives what was joined up to now to the recorder and the captions."""
        if not self._run:
            return
        payload = bytes(self._run)
        self._run.clear()
        self._recorder.write(self._speaker, position=self._run_start, payload=payload, law=self._run_law)
        if self._live is not None:
            self._live.send(
                LiveFrame(
                    call_id=self._recorder.call_id,
                    speaker=self._speaker,
                    codec=self._run_law.value,
                    position=self._run_start,
                    payload=payload,
                )
            )
        self._run_start = self._run_end

    def tick(self, *, lost: int, now: float) -> None:
        """Hands over, and notes what happened since the last call; ``lost`` counts the leg's packets that
        never came."""
        self.hand_over()
        channel = self._speaker.value
        if lost > self._noted_lost:
            self._recorder.note("loss", channel=channel, position=self.position(now), packets=lost - self._noted_lost)
        self._noted_lost = lost
        if self.refused > self._noted_refused:
            packets, self._noted_refused = self.refused - self._noted_refused, self.refused
            self._recorder.note("refused", channel=channel, position=self.position(now), packets=packets)
        if self._reanchors != self._noted_reanchors:
            times, self._noted_reanchors = self._reanchors - self._noted_reanchors, self._reanchors
            self._recorder.note("reanchor", channel=channel, position=self._reanchored_at, times=times)

    def _clocked(self, position: int, timestamp: int, arrival: int) -> None:
        """Remembers the packet that came earliest for its place, and states it every ten seconds."""
        mark = self._mark
        if mark is None or position - arrival > mark[0] - mark[2]:
            self._mark = (position, timestamp, arrival)
        if position >= self._marked_to:
            self._state_clock(position, _CLOCK_EVERY if self._marked_to else _CLOCK_FIRST)

    def _state_clock(self, position: int, rest: int) -> None:
        if self._mark is not None:
            at, timestamp, arrival = self._mark
            self._recorder.note(
                CLOCK, channel=self._speaker.value, position=at, timestamp=timestamp, arrival=max(0, arrival)
            )
        self._mark, self._marked_to = None, position + rest

    def _place(self, order: Order, timestamp: int, samples: int, arrival: int) -> int | None:
        position, verdict = self._timeline.place(order=order, timestamp=timestamp, samples=samples, arrival=arrival)
        if position is None:
            self.refused += verdict is Verdict.REFUSED
        elif verdict is Verdict.REANCHORED:
            self._state_clock(position, 0)  # what was heard before belongs to another clock
            self._marked_to = 0
            self._reanchors += 1
            self._reanchored_at = position
        return position

    def _join(self, position: int, payload: bytes, law: Law) -> None:
        if position != self._run_end or law is not self._run_law:
            self._begin_run(position, law)
        self._run += payload
        self._run_end += len(payload)
        if len(self._run) >= _RUN:
            self.hand_over()

    def _begin_run(self, position: int, law: Law) -> None:
        self.hand_over()
        self._run_start = self._run_end = position
        self._run_law = law
