"""One channel of a running recording: from packets of one side to positions, file and live captions."""

from __future__ import annotations

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker
from telephony.livefeed import LiveFeed
from telephony.recorder import Recorder
from telephony.rtp.g711 import SAMPLE_RATE, Law
from telephony.rtp.sequence import Order
from telephony.rtp.timeline import LAG, LEAD, Timeline, Verdict


class Track:
    """What ``speaker`` says, placed from the recording's first sample at ``zero`` (s on the media clock)."""

    def __init__(self, *, speaker: Speaker, recorder: Recorder, live: LiveFeed | None, zero: float) -> None:
        self._speaker = speaker
        self._recorder = recorder
        self._live = live
        self._zero = zero
        self._timeline = Timeline()
        self._announced_to: int | None = None
        self._reanchors = 0
        self._reanchored_at = 0
        self._noted_reanchors = 0
        self._noted_lost = 0
        self.refused = 0

    def position(self, now: float) -> int:
        """The sample that belongs to the moment ``now``."""
        return max(0, int((now - self._zero) * SAMPLE_RATE))

    def take(self, *, order: Order, timestamp: int, payload: bytes, law: Law, now: float) -> None:
        """One audio packet of this side."""
        position, verdict = self._timeline.place(
            order=order, timestamp=timestamp, samples=len(payload), arrival=self.position(now)
        )
        if position is None:
            self.refused += verdict is Verdict.REFUSED
            return
        if verdict is Verdict.REANCHORED:
            self._reanchors += 1
            self._reanchored_at = position
        self._recorder.write(self._speaker, position=position, payload=payload, law=law)
        if self._live is not None:
            self._live.send(
                LiveFrame(
                    call_id=self._recorder.call_id,
                    speaker=self._speaker,
                    codec=law.value,
                    position=position,
                    payload=payload,
                )
            )

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

    def tick(self, *, lost: int, now: float) -> None:
        """Notes what happened since the last call; ``lost`` counts the leg's packets that never came."""
        channel = self._speaker.value
        if lost > self._noted_lost:
            self._recorder.note("loss", channel=channel, position=self.position(now), packets=lost - self._noted_lost)
        self._noted_lost = lost
        if self._reanchors != self._noted_reanchors:
            times, self._noted_reanchors = self._reanchors - self._noted_reanchors, self._reanchors
            self._recorder.note("reanchor", channel=channel, position=self._reanchored_at, times=times)
