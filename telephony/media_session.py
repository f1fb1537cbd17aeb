"""The media of one call: two legs, what each may hear, what is recorded and what the call is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from duty.domain.transcripts import Speaker
from telephony.keys import FLASH, How, OnePress
from telephony.media_errors import NoRemoteError
from telephony.media_leg import MediaLeg
from telephony.media_ports import SocketPair
from telephony.media_summary import Summary, leg_summary
from telephony.media_track import Track
from telephony.media_values import LegStatistics, Target
from telephony.playback import Playback
from telephony.probe_tones import press_keys, tones
from telephony.recorder import Recorder
from telephony.rtp.dtmf import DIGITS, FLASH_CODE, Digit
from telephony.rtp.g711 import Law, Samples
from telephony.sealing import SealedRecording

if TYPE_CHECKING:
    from telephony.media import MediaPlane

REDACTED = "redacted"
"""Stands in the sidecar for a digit that is nobody's business."""
_ONE_WAY_S = 3.0
_TALKING = 50
"""Packets, a second of them, from one side that show that the other should have been heard as well."""
OTHER = {Speaker.CALLER: Speaker.OFFICER, Speaker.OFFICER: Speaker.CALLER}


class MediaSession:
    """The media of one call. The ``on_…`` attributes may be set at any time; they are called from the event
    loop.

    ``on_key(leg, key, how)`` at the beginning of each press that is an RTP event and at the end of each that is a tone:
    whether the other side may hear it; ``on_dtmf(leg, digit, duration_ms)`` once per key press;
    ``on_tone(leg, name)`` once when a fax calls (``"cng"``), answers (``"ced"``) or begins to speak (``"v21"``);
    ``on_voice(leg)`` once when the first packet has come;
    ``on_silence(leg, seconds)`` once per silence of ``silence_after_s`` without any packet from a
    negotiated remote. While ``redact_dtmf`` is set, digits are told to ``on_dtmf`` but not written into the
    recording's sidecar (a PIN; tones pressed in the voice stay audible).
    """

    def __init__(
        self, plane: MediaPlane, *, call_id: str, started_at: datetime, pairs: tuple[SocketPair, SocketPair]
    ) -> None:
        self.call_id = call_id
        self.on_key: Callable[[Speaker, str, How], bool] | None = None
        self.on_dtmf: Callable[[Speaker, str, int], None] | None = None
        self.on_tone: Callable[[Speaker, str], None] | None = None
        self.on_silence: Callable[[Speaker, float], None] | None = None
        self.on_voice: Callable[[Speaker], None] | None = None
        self.silence_after_s = 20.0
        self.redact_dtmf = False
        self._plane = plane
        self._opened_at = plane.clock()
        self._started_at = started_at
        self._loop = asyncio.get_running_loop()
        self._legs = dict(zip(Speaker, (self._leg(*of) for of in zip(Speaker, pairs, strict=True)), strict=True))
        for speaker, leg in self._legs.items():
            leg.other = self._legs[OTHER[speaker]]
        self._bridged = False
        self._bridged_at = 0.0
        self._received_then = dict.fromkeys(Speaker, 0)
        self._held: set[Speaker] = set()
        self._expected_since: dict[Speaker, float] = {}
        self._silent: dict[Speaker, float] = {}
        self._voices: set[Speaker] = set()
        self._silent_total = dict.fromkeys(Speaker, 0.0)
        self._ended_at: float | None = None
        self._playbacks: dict[Speaker, Playback] = {}
        self._presses = {speaker: OnePress() for speaker in Speaker}
        self._relaying: dict[Speaker, asyncio.Lock] = {speaker: asyncio.Lock() for speaker in Speaker}
        self._tasks: set[asyncio.Task[None]] = set()
        self._recorder: Recorder | None = None
        self._zero = 0.0
        self._closing: asyncio.Task[SealedRecording | None] | None = None

    def address(self, leg: Speaker) -> tuple[str, int]:
        """Host and RTP port to advertise to that leg's remote; RTCP is the next port."""
        return self._plane.advertised_host, self._legs[leg].sockets.port

    def set_remote(self, leg: Speaker, target: Target, *, latch: bool = False) -> None:
        """Takes the negotiated remote, first or again. With ``latch`` the first packet from its address,
        whatever the port, fixes the port (a remote behind NAT). Raises ValueError for what is no address or
        no G.711."""
        self._legs[leg].set_remote(target, latch=latch)
        self._expected_since.setdefault(leg, self._plane.clock())

    def start_recording(self, about: Mapping[str, str] | None = None) -> datetime:
        """Records from now on; the wall clock of the first sample. Twice is once. What the call is ``about`` stands in
        the sidecar, so that the recording can be told without the book."""
        if self._recorder is None:
            self._zero = self._plane.clock()
            self._started_at += timedelta(seconds=self._zero - self._opened_at)
            self._recorder = self._plane.recordings.begin(self.call_id, self._started_at)
            if about:
                self._recorder.note("call", **about)
            for speaker, leg in self._legs.items():
                leg.track = Track(speaker=speaker, recorder=self._recorder, live=self._plane.live, zero=self._zero)
        return self._started_at

    def bridge(self) -> None:
        """Lets both sides hear each other, except while one is held or is played something."""
        if not self._bridged:
            self._bridged_at = self._plane.clock()
            self._received_then = {of: leg.statistics().stream.received for of, leg in self._legs.items()}
            self._note("bridged", Speaker.OFFICER)
        self._bridged = True
        self._apply_bridge()

    def hold(self, leg: Speaker) -> None:
        """Puts ``leg`` on hold: neither side hears the other; what is said is recorded all the same."""
        self._held.add(leg)
        self._apply_bridge()
        self._note("hold", leg)

    def resume(self, leg: Speaker) -> None:
        """Takes ``leg`` back from hold."""
        self._held.discard(leg)
        self._expected_since[leg] = self._plane.clock()
        self._apply_bridge()
        self._note("resume", leg)

    def play(self, leg: Speaker, samples: Samples, *, loop: bool = False, announcement: str | None = None) -> Playback:
        """Plays 8 kHz ``samples`` to ``leg`` in place of the other side, and of what was played before.

        With the name of an ``announcement`` it is also recorded, in the channel of the side it stands for.
        Raises NoRemoteError before ``set_remote`` and ValueError for no samples.
        """
        if leg not in self._expected_since or self._closing is not None:
            raise NoRemoteError(f"the {leg.value}'s leg has no remote to play to")
        self._stop_playback(leg)
        copy = None if announcement is None else self._announcer(OTHER[leg], announcement)
        playback = Playback(self._legs[leg], samples, loop=self._loop, clock=self._plane.clock, repeat=loop, copy=copy)
        self._playbacks[leg] = playback
        return playback

    def press(self, leg: Speaker, *, header: tuple[int, int, int, int, int], payload: bytes) -> bool:
        """Sends one telephone-event packet to ``leg`` (``header`` as ``HEADER`` packs it); False where it reads none,
        or the call is over."""
        over = self._closing is not None
        return not over and self._legs[leg].press(header=header, payload=payload, now=self._plane.clock())

    def last_packet_at(self, leg: Speaker) -> float | None:
        """When the remote of ``leg`` last sent anything (s on the plane's clock), None for never."""
        return self._legs[leg].last_packet_at

    def statistics(self, leg: Speaker) -> LegStatistics:
        """What that leg did up to now."""
        return self._legs[leg].statistics()

    def summary(self) -> dict[str, Summary]:
        """What the book keeps of each leg, by speaker (see ``leg_summary``); valid after ``close`` too.

        ``one_way`` is True where the remote sent nothing for three seconds or longer of a conversation in which the
        other side did; ``silent_s`` counts the silences of ``silence_after_s``.
        """
        return {
            speaker.value: leg_summary(
                self.statistics(speaker), silent_s=self._silent_total[speaker], one_way=self._one_way(speaker)
            )
            for speaker in Speaker
        }

    def _one_way(self, speaker: Speaker) -> bool:
        end = self._ended_at if self._ended_at is not None else self._plane.clock()
        if not self._bridged or end - self._bridged_at < _ONE_WAY_S:
            return False
        since = {of: self.statistics(of).stream.received - self._received_then[of] for of in Speaker}
        return since[speaker] == 0 and since[OTHER[speaker]] >= _TALKING

    @property
    def damaged(self) -> str | None:
        """Why the recording is incomplete at the moment, else None."""
        return self._recorder.damaged if self._recorder is not None else None

    async def close(self) -> SealedRecording | None:
        """Gives the ports back and seals the recording; None when nothing was recorded. Twice gives the same.

        Raises RecordingNotSealedError when the disk refuses; the plane then goes on trying
        (``on_late_seal``).
        """
        if self._closing is None:
            self._closing = self._loop.create_task(self._close())
        return await asyncio.shield(self._closing)

    async def _close(self) -> SealedRecording | None:
        for leg in tuple(self._playbacks):
            self._stop_playback(leg)
        now = self._ended_at = self._plane.clock()
        for media_leg in self._legs.values():
            media_leg.tick(now)
            media_leg.close()
        self._plane.forget(self)
        if self._recorder is None:
            return None
        end = self._legs[Speaker.CALLER].track
        return await self._plane.seal(self._recorder, end=end.position(now) if end is not None else 0)

    def tick(self, now: float) -> None:
        """Called by the plane four times a second: lost digit ends, losses, silence."""
        for speaker, leg in self._legs.items():
            leg.tick(now)
            self._watch_silence(speaker, now)
            if leg.last_packet_at is not None and speaker not in self._voices:
                self._voices.add(speaker)
                if self.on_voice is not None:
                    self.on_voice(speaker)

    def pairs(self) -> tuple[SocketPair, ...]:
        """The sockets to be taken back by the pool."""
        return tuple(leg.sockets for leg in self._legs.values())

    def _leg(self, speaker: Speaker, pair: SocketPair) -> MediaLeg:
        return MediaLeg(
            speaker=speaker,
            sockets=pair,
            poll=self._plane.poll(),
            clock=self._plane.clock,
            may_press=self._may_press,
            on_digit=self._digit,
            on_tone=self._tone,
        )

    def _apply_bridge(self) -> None:
        for leg in self._legs.values():
            leg.bridged = self._bridged and not self._held

    def _stop_playback(self, leg: Speaker) -> None:
        playback = self._playbacks.pop(leg, None)
        if playback is not None:
            playback.stop()

    def _announcer(self, speaker: Speaker, name: str) -> Callable[[bytes, Law, float, bool], None]:
        def copy(payload: bytes, law: Law, now: float, first: bool) -> None:
            track = self._legs[speaker].track
            if track is not None:
                track.announce(name=name, first=first, payload=payload, law=law, now=now)

        return copy

    def tell_key(self, leg: Speaker, digit: Digit, *, passes: bool) -> None:
        """A key of that leg's remote that came by signalling: noted as any other, and told to the other side where it
        ``passes``."""
        if self._closing is None and self._digit(leg, digit, How.INFO) and passes:
            task = self._loop.create_task(self._relay(OTHER[leg], digit))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, to: Speaker, digit: Digit) -> None:
        """Press it to ``to``, as an event or a tone, while the other side's voice rests; one key after the other."""
        async with self._relaying[to]:
            leg = self._legs[to]
            if self._closing is not None or not self._legs[OTHER[to]].bridged or leg.playing:
                return
            leg.playing = True
            try:
                pressed = await press_keys(self, to, digit.digit)
            finally:
                leg.playing = to in self._playbacks and not self._playbacks[to].done.done()
            if not pressed and self._closing is None:
                await self.play(to, tones(digit.digit)).done

    def _may_press(self, speaker: Speaker, code: int) -> bool:
        key = DIGITS[code] if code < len(DIGITS) else FLASH if code == FLASH_CODE else ""
        return not key or self.on_key is None or self.on_key(speaker, key, How.EVENT)

    def _digit(self, speaker: Speaker, digit: Digit, how: How) -> bool:
        """Note a press; False where it was noted already, told in another way."""
        if how is How.VOICE and self.on_key is not None:
            self.on_key(speaker, digit.digit, how)
        if how is How.VOICE and self._legs[speaker].reads_events:
            return False
        if not self._presses[speaker].is_new(digit.digit, how, self._plane.clock()):
            return False
        shown = REDACTED if self.redact_dtmf else digit.digit
        self._note("dtmf", speaker, digit=shown, duration_ms=digit.duration_ms)
        if self.on_dtmf is not None:
            self.on_dtmf(speaker, digit.digit, digit.duration_ms)
        return True

    def _tone(self, speaker: Speaker, name: str) -> None:
        self._note("tone", speaker, tone=name)
        if self.on_tone is not None:
            self.on_tone(speaker, name)

    def _note(self, event: str, speaker: Speaker, **fields: str | int) -> None:
        track = self._legs[speaker].track
        if self._recorder is not None and track is not None:
            position = track.position(self._plane.clock())
            self._recorder.note(event, channel=speaker.value, position=position, **fields)

    def _watch_silence(self, speaker: Speaker, now: float) -> None:
        moments = (self._legs[speaker].last_packet_at, self._expected_since.get(speaker))
        since = max((moment for moment in moments if moment is not None), default=None)
        if since is None or speaker in self._held or now - since < self.silence_after_s:
            self._silent.pop(speaker, None)
            return
        told = speaker in self._silent
        self._silent_total[speaker] += now - self._silent.get(speaker, since)
        self._silent[speaker] = now
        if not told and self.on_silence is not None:
            self.on_silence(speaker, now - since)
