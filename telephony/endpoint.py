"""The edge of the line: sockets, media, the book's writing thread, and the switchboard between them.

It decides nothing. Each datagram, timer or finished task goes into the switchboard; what comes out is sent and
performed before the next one is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from duty.domain.calls import CallEventKind, CallHappening, LegQuality, NewCall, Purpose, RecordingFacts
from duty.domain.exceptions import ForwardException
from duty.domain.linechecks import Finding
from duty.domain.texts import signalled
from duty.domain.transcripts import Speaker
from duty.services.commands import DialCommand
from telephony.actions import (
    Action,
    Announce,
    Bridge,
    CheckPin,
    FinishCommand,
    Hold,
    KeepEvidence,
    MediaAddresses,
    OpenCall,
    PlayRingback,
    ProbeEnded,
    Record,
    ReleaseMedia,
    ReportAttack,
    ReportComponent,
    ReportForward,
    ReportTrunks,
    Resume,
    SetRemote,
    SpeakToken,
    SpotCheckEnded,
    StopPlaying,
    TellKey,
)
from telephony.bookkeeper import Bookkeeper, Receipt
from telephony.bookwork import (
    WriteAttack,
    WriteCall,
    WriteCommandEnd,
    WriteComponent,
    WriteEvidence,
    WriteForward,
    WriteNoRecording,
    WriteTrunks,
)
from telephony.keys import How
from telephony.layerwire import Instant
from telephony.media import MediaPlane
from telephony.media_errors import MediaError, RecordingNotSealedError
from telephony.media_session import OTHER, MediaSession
from telephony.playback import Playback
from telephony.probe_call import ExpectedProbe
from telephony.probe_evidence import OurSide
from telephony.probe_tones import speak
from telephony.rtp.dtmf import DIGITS, Digit
from telephony.rtp.g711 import Samples
from telephony.rtp.music import hold_music
from telephony.rtp.tones import ringback
from telephony.sealing import SealedRecording
from telephony.sip.flow import Flow, Transport
from telephony.sip.security_description import masked
from telephony.sockets import Listen, Sockets
from telephony.switchboard import Switchboard
from telephony.tls import TlsSettings
from telephony.trunk_target import TrunkRoute

_log = logging.getLogger(__name__)

LOCAL_SILENCE_S = 20.0
"""Silence from one side after which the book notes that its media are lost."""
GOODBYE_S = 0.2
"""How long the answers to our last requests are listened to."""


def instant() -> Instant:
    """The present moment on both clocks."""
    return Instant(monotonic=time.monotonic(), unix=time.time())


class Endpoint:
    """One duty line endpoint on one event loop. ``prompts`` are announcements by name, 8 kHz."""

    def __init__(
        self,
        *,
        switchboard: Switchboard,
        media: MediaPlane,
        book: Bookkeeper,
        recordings_root: Path,
        prompts: dict[str, Samples],
        listen: Sequence[Listen],
        tls: TlsSettings | None = None,
    ) -> None:
        self._switchboard = switchboard
        self._media = media
        self._book = book
        self._root = recordings_root
        self._prompts = prompts
        self.sockets = Sockets(listen=listen, tls=tls, receive=self._receive, lost=self._lost, welcomes=self._welcomes)
        self._sessions: dict[str, MediaSession] = {}
        self._playing: dict[str, list[Playback]] = {}
        self._hold_music = hold_music()
        self._music: dict[tuple[str, Speaker], Playback] = {}
        self._talking: set[str] = set()
        self._speaking: dict[str, asyncio.Task[None]] = {}
        self._probes: dict[int, asyncio.Future[OurSide]] = {}
        self._spot_checks: dict[int, asyncio.Future[Finding]] = {}
        self.whose_pin: Callable[[str, str], int | None] | None = None
        """Whose PIN was pressed: line number and PIN to the officer's id. Called in a thread."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._perform: dict[type, Callable[[Any], None]] = {
            OpenCall: self._open_call,
            Record: self._record,
            ReportForward: self._report_forward,
            KeepEvidence: self._keep_evidence,
            SetRemote: self._set_remote,
            Bridge: self._bridge,
            Announce: self._announce,
            PlayRingback: self._play_ringback,
            Hold: self._hold,
            Resume: self._resume,
            TellKey: self._tell_key,
            SpeakToken: self._speak_token,
            CheckPin: self._check_pin,
            ProbeEnded: self._probe_ended,
            SpotCheckEnded: self._spot_check_ended,
            StopPlaying: self._stop_playing,
            ReleaseMedia: self._release_media,
            ReportComponent: self._report_component,
            ReportTrunks: self._report_trunks,
            ReportAttack: self._report_attack,
            FinishCommand: self._finish_command,
        }

    async def open(self, bindings: list[dict[str, str | int | float]]) -> None:
        """Bind the sockets and begin. Raises OSError when the address cannot be had."""
        await self.sockets.open()
        self._switchboard.start(bindings, instant())
        self._flush()

    async def close(self) -> None:
        """End every call, let the goodbyes out, seal every recording."""
        self._switchboard.shut_down(instant())
        self._flush()
        await asyncio.sleep(GOODBYE_S)
        while self._tasks:  # what is being opened ends, and its recording is sealed
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        await self.sockets.close()
        await self._media.aclose()

    def name_peers(self, routes: Iterable[TrunkRoute]) -> None:
        """By TLS, the certificate of each PBX has to speak for its name."""
        for route in routes:
            self.sockets.connections.name_peer(route.flow.remote, route.name)

    def trunks_located(self, line_number: str, routes: Sequence[TrunkRoute]) -> None:
        """The line's PBXs are these from now on."""
        self.name_peers(routes)
        self._switchboard.trunks_located(line_number, routes, instant())
        self._flush()

    def dial(self, command: DialCommand) -> None:
        """The console asks for a call."""
        self._switchboard.dial(
            command_id=command.command_id, line_number=command.line_number, number=command.number, now=instant()
        )
        self._flush()

    def live_calls(self) -> set[str]:
        """The calls that live now: in SIP, or by their media."""
        return {call.call_id for call in self._switchboard.calls.live()} | set(self._sessions)

    def recording_calls(self) -> set[str]:
        """The calls whose recordings are in hand."""
        return self._media.recordings.call_ids

    def allow(self, exceptions: Sequence[ForwardException]) -> None:
        """The approved exceptions to the ban on forwarding, from now on."""
        self._switchboard.allow(exceptions)

    def expect_probe(self, expected: ExpectedProbe) -> asyncio.Future[OurSide]:
        """A probe of ours will call; what we see of its call, when that is over or ``forget_probe`` is called."""
        seen = self._probes[expected.check_id] = asyncio.get_running_loop().create_future()
        self._switchboard.expect_probe(expected, instant())
        return seen

    def forget_probe(self, check_id: int) -> None:
        """The probe has ended; its future is done after this."""
        self._switchboard.forget_probe(check_id, instant())
        self._flush()
        self._probe_ended(ProbeEnded(check_id=check_id, ours=OurSide()))

    def spot_check(self, *, check_id: int, line_number: str, ring_s: float) -> asyncio.Future[Finding] | None:
        """Call the desk and ask for a PIN; what was found, when it is over. None where the line is in use now."""
        found: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
        self._spot_checks[check_id] = found
        now = instant()
        begun = self._switchboard.spot_check(check_id=check_id, line_number=line_number, ring_s=ring_s, now=now)
        self._flush()
        if not begun:
            del self._spot_checks[check_id]
        return found if begun else None

    # Into the switchboard

    def _receive(self, data: bytes, flow: Flow) -> None:
        if self._switchboard.receive(data, flow, instant()):
            self._flush()

    def _welcomes(self, host: str) -> bool:
        return self._switchboard.admission.welcomes(host, time.monotonic())

    def _lost(self, flow: Flow) -> None:
        self._switchboard.transport_failed(flow, instant())
        self._flush()

    def _timer_due(self) -> None:
        self._timer = None
        try:
            self._switchboard.handle_timer(instant())
        finally:
            self._flush()  # whatever happens, the clock is set again

    def _flush(self) -> None:
        """Send and perform until the switchboard wants nothing more, then set the alarm clock."""
        while actions := self._switchboard.actions_to_perform():
            self._send()
            for action in actions:
                self._act(action)
        self._send()
        if self._timer is not None:
            self._timer.cancel()
        due = self._switchboard.get_timer()
        loop = asyncio.get_running_loop()
        delay = None if due is None else max(0.0, due - time.monotonic())
        self._timer = None if delay is None else loop.call_later(delay, self._timer_due)

    def _send(self) -> None:
        for data, flow in self._switchboard.packets_to_send():
            self.sockets.send(data, flow)

    def _act(self, action: Action) -> None:
        try:
            self._perform[type(action)](action)
        except (MediaError, ValueError):
            _log.exception("%s failed", type(action).__name__)

    # What the switchboard wants

    def _open_call(self, action: OpenCall) -> None:
        now = datetime.now(UTC)
        receipt = self._book.write_ahead(
            WriteCall(
                new=NewCall(
                    call_id=action.call_id,
                    line_number=action.line_number,
                    direction=action.direction,
                    caller_number=action.caller_number,
                    callee_number=action.callee_number,
                    caller_display=action.caller_display,
                    trust=action.trust,
                    sip_call_id=action.sip_call_id,
                    source=action.source,
                    arrived_at=now,
                    purpose=action.purpose,
                    recording_session=action.recording_session,
                ),
                command_id=action.command_id,
            )
        )
        self._spawn(self._opened(action, now, receipt))

    async def _opened(self, action: OpenCall, now: datetime, receipt: Receipt) -> None:
        """Once the call's line outlives this process, the phones may ring; once it outlives a power cut, the caller is
        answered."""
        await asyncio.wrap_future(receipt.written)
        try:
            session = self._media.open(action.call_id, started_at=now)
        except (MediaError, OSError) as error:
            _log.error("no media for call %s: %s", action.call_id, error)
            self._book.note(WriteNoRecording(call_id=action.call_id))
            await asyncio.wrap_future(receipt.kept)
            self._switchboard.call_not_opened(action.call_id, f"no_media: {error}", instant())
            self._flush()
            return
        if action.purpose is Purpose.DUTY:
            self._listen(action.call_id, session)
            session.start_recording(_about(action))
        elif action.purpose is Purpose.SPOT_CHECK:
            self._attend(action.call_id, session)
        self._sessions[action.call_id] = session
        addresses = MediaAddresses(caller=session.address(Speaker.CALLER), officer=session.address(Speaker.OFFICER))
        kept = receipt.kept.done()
        self._switchboard.call_opened(action.call_id, addresses, instant(), kept=kept)
        self._flush()
        if not kept:
            await asyncio.wrap_future(receipt.kept)
            self._switchboard.call_kept(action.call_id, instant())
            self._flush()

    def _listen(self, call_id: str, session: MediaSession) -> None:
        def key(speaker: Speaker, key: str, how: How) -> bool:
            passes = self._switchboard.key_told(call_id, speaker, key, how, instant())
            self._flush()
            return passes

        def digit(speaker: Speaker, digit: str, duration_ms: int) -> None:
            self._note(call_id, CallEventKind.DTMF, by=speaker.value, digit=digit, duration_ms=duration_ms)

        def silence(speaker: Speaker, seconds: float) -> None:
            if call_id in self._talking:
                self._note(call_id, CallEventKind.MEDIA_LOST, by=speaker.value, seconds=round(seconds, 1))

        def tone(speaker: Speaker, name: str) -> None:
            self._note(call_id, CallEventKind.FAX_DETECTED, by=speaker.value, how=name)

        def voice(speaker: Speaker) -> None:
            self._switchboard.voice_heard(call_id, speaker, instant())
            self._flush()

        session.on_key = key
        session.on_dtmf, session.on_silence, session.on_tone, session.on_voice = digit, silence, tone, voice
        session.silence_after_s = LOCAL_SILENCE_S

    def _attend(self, call_id: str, session: MediaSession) -> None:
        """In a spot check the keys are a PIN: they go to the call and nowhere else."""

        def key(speaker: Speaker, key: str, _duration_ms: int) -> None:
            if speaker is Speaker.OFFICER:
                self._switchboard.key_pressed(call_id, key, instant())
                self._flush()

        session.on_dtmf, session.redact_dtmf = key, True

    def _note(self, call_id: str, kind: CallEventKind, **data: str | int | float) -> None:
        self._book.note(CallHappening(call_id=call_id, kind=kind, at=datetime.now(UTC), data=dict(data)))

    def _record(self, action: Record) -> None:
        self._book.note(
            CallHappening(
                call_id=action.call_id,
                kind=action.kind,
                at=datetime.now(UTC),
                outcome=action.outcome,
                data=action.data,
            )
        )

    def _report_forward(self, action: ReportForward) -> None:
        self._book.note(
            WriteForward(
                call_id=action.call_id,
                line_number=action.line_number,
                way=action.way.value,
                target=action.target,
                source=action.source,
                raw_hex=masked(action.raw).hex(),
                at=datetime.now(UTC),
            )
        )

    def _keep_evidence(self, action: KeepEvidence) -> None:
        self._book.note(
            WriteEvidence(
                call_id=action.call_id, source=action.source, raw_hex=masked(action.raw).hex(), at=datetime.now(UTC)
            )
        )

    def _set_remote(self, action: SetRemote) -> None:
        session = self._sessions.get(action.call_id)
        if session is not None:
            session.set_remote(action.speaker, action.target, latch=True)

    def _bridge(self, action: Bridge) -> None:
        session = self._sessions.get(action.call_id)
        if session is not None:
            self._talking.add(action.call_id)
            session.bridge()

    def _announce(self, action: Announce) -> None:
        session = self._sessions.get(action.call_id)
        samples = self._prompts.get(action.prompt)
        if session is None or samples is None:
            self._switchboard.announcement_ended(action.call_id, instant())
            return
        playback = session.play(action.speaker, samples, announcement=action.prompt)
        self._playing.setdefault(action.call_id, []).append(playback)
        playback.done.add_done_callback(lambda done: self._announced(action.call_id, done))

    def _announced(self, call_id: str, done: asyncio.Future[bool]) -> None:
        if not done.cancelled() and done.result():
            self._switchboard.announcement_ended(call_id, instant())
            self._flush()

    def _play_ringback(self, action: PlayRingback) -> None:
        session = self._sessions.get(action.call_id)
        if session is not None:
            self._playing.setdefault(action.call_id, []).append(session.play(action.speaker, ringback(), loop=True))

    def _tell_key(self, action: TellKey) -> None:
        session = self._sessions.get(action.call_id)
        if session is not None and action.key in DIGITS:
            digit = Digit(digit=action.key, duration_ms=action.duration_ms)
            session.tell_key(action.speaker, digit, passes=action.passes)

    def _hold(self, action: Hold) -> None:
        session = self._sessions.get(action.call_id)
        if session is None:
            return
        session.hold(action.speaker)
        if action.music:
            music = session.play(OTHER[action.speaker], self._hold_music, loop=True)
            self._music[action.call_id, action.speaker] = music

    def _resume(self, action: Resume) -> None:
        music = self._music.pop((action.call_id, action.speaker), None)
        if music is not None:
            music.stop()
        session = self._sessions.get(action.call_id)
        if session is not None:
            session.resume(action.speaker)

    def _speak_token(self, action: SpeakToken) -> None:
        session = self._sessions.get(action.call_id)
        if session is not None:
            speaking = speak(session, Speaker.CALLER, action.digits)
            task = self._speaking[action.call_id] = asyncio.get_running_loop().create_task(speaking)
            task.add_done_callback(self._finished)

    def _check_pin(self, action: CheckPin) -> None:
        self._spawn(self._pin_checked(action))

    async def _pin_checked(self, action: CheckPin) -> None:
        officer_id, fault = None, self.whose_pin is None
        try:
            if self.whose_pin is not None:
                officer_id = await asyncio.to_thread(self.whose_pin, action.line_number, action.pin)
        except Exception as error:  # noqa: BLE001 - the edge: a failing store is not the officer's fault, and says so
            _log.error("a PIN cannot be checked: %s", type(error).__name__)
            fault = True
        self._switchboard.pin_checked(action.call_id, officer_id, instant(), fault=fault)
        self._flush()

    def _probe_ended(self, action: ProbeEnded) -> None:
        seen = self._probes.pop(action.check_id, None)
        if seen is not None and not seen.done():
            seen.set_result(action.ours)

    def _spot_check_ended(self, action: SpotCheckEnded) -> None:
        found = self._spot_checks.pop(action.check_id, None)
        if found is not None and not found.done():
            found.set_result(action.finding)

    def _stop_playing(self, action: StopPlaying) -> None:
        for playback in self._playing.pop(action.call_id, []):
            playback.stop()

    def _release_media(self, action: ReleaseMedia) -> None:
        self._stop_playing(StopPlaying(call_id=action.call_id))
        self._talking.discard(action.call_id)
        for speaker in Speaker:
            self._music.pop((action.call_id, speaker), None)
        speaking = self._speaking.pop(action.call_id, None)
        if speaking is not None:
            speaking.cancel()
        session = self._sessions.pop(action.call_id, None)
        self._spawn(self._seal(action, session))

    async def _seal(self, action: ReleaseMedia, session: MediaSession | None) -> None:
        call_id = action.call_id
        try:
            sealed = await session.close() if session is not None else None
        except RecordingNotSealedError as error:
            _log.error("%s", error)
            return
        if session is not None:
            for quality in _qualities(call_id, session, action.signalling):
                self._book.note(quality)
        if sealed is None:
            self._book.note(WriteNoRecording(call_id=call_id))
        else:
            self._book.note(facts_of(sealed, self._root))

    def _report_component(self, action: ReportComponent) -> None:
        self._book.note(
            WriteComponent(
                line_number=action.line_number,
                kind=action.kind,
                name=action.name,
                state=action.state,
                reason=action.reason,
                bindings=None if action.bindings is None else list(action.bindings),
            )
        )

    def _report_trunks(self, action: ReportTrunks) -> None:
        self._book.note(WriteTrunks(line_number=action.line_number, names=list(action.names)))

    def _report_attack(self, action: ReportAttack) -> None:
        _log.warning("%s is not answered for %d s", action.source, action.seconds)
        self._book.note(WriteAttack(source=action.source, failures=action.failures, seconds=action.seconds))

    def _finish_command(self, action: FinishCommand) -> None:
        self._book.note(WriteCommandEnd(command_id=action.command_id, result=action.result))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the endpoint failed", exc_info=error)


def _about(action: OpenCall) -> dict[str, str]:
    """What a recording says of its own call, in case nothing else does any more."""
    told = {
        "line": action.line_number,
        "direction": action.direction.value,
        "caller": action.caller_number,
        "callee": action.callee_number,
        "sip_call_id": action.sip_call_id,
    }
    return {name: signalled(value, 255) for name, value in told.items()}


def _qualities(call_id: str, session: MediaSession, signalling: Mapping[Speaker, Transport]) -> list[LegQuality]:
    """What the media of both sides were like; a side that neither sent nor was sent anything is left out."""
    return [
        LegQuality(
            call_id=call_id,
            speaker=speaker,
            codec=str(side["codec"]),
            packets=int(side["packets"] or 0),
            lost=int(side["lost"] or 0),
            jitter_ms=float(side["jitter_ms"] or 0.0),
            round_trip_ms=None if side["round_trip_ms"] is None else float(side["round_trip_ms"]),
            strays=int(side["strays"] or 0),
            one_way=bool(side["one_way"]),
            encryption=str(side["encryption"]),
            undeciphered=int(side["undeciphered"] or 0),
            signalling=signalling.get(Speaker(speaker), ""),
        )
        for speaker, side in session.summary().items()
        if side["packets"] or side["sent"] or side["strays"] or side["undeciphered"]
    ]


def facts_of(sealed: SealedRecording, root: Path, *, salvaged: bool = False) -> RecordingFacts:
    """What the book keeps of a sealed recording; its path is relative to the recordings root."""
    return RecordingFacts(
        call_id=sealed.call_id,
        path=str(sealed.wav_path.relative_to(root)),
        sha256=sealed.wav_sha256,
        seconds=sealed.seconds,
        samples=sealed.samples,
        gaps=tuple((speaker.value, first, length) for speaker, gaps in sealed.gaps.items() for first, length in gaps),
        damage=sealed.damaged,
        salvaged=salvaged,
        chain=sealed.chain or "",
    )
