"""Callers and desk phones by the hundred, in one event loop: they signal as RFC 3261 demands, retransmissions included,
and do not know that the line between them is being killed.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from dataclasses import dataclass, field
from typing import Literal, cast

from tests.faults import sip_text
from tests.faults.sip_text import HOST, Heard
from tests.faults.voices import Choir, Voice
from tests.peers.ports import Address

T1_S = 0.5
_GIVE_UP_S = 12.0
_AFTER_BYE_S = 4.0
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to happen in one call. ``answers`` is the extension that takes it, none where it is empty; ``waits_s``
    passes between ring and answer, or until the caller gives up; ``deaf_s`` is how long a phone whose line has died
    goes on talking."""

    number: str
    line: str
    transport: Literal["udp", "tcp"]
    answers: str
    declines: bool
    waits_s: float
    talks_s: float
    phone_hangs_up: bool
    deaf_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class Story:
    """What a call's caller and phone know of it, in monotonic s. ``lives`` are the processes in which it was carried
    on (the first answer and the end may lie in different ones)."""

    plan: Plan
    call_id: str
    trying_at: float | None = None
    answered_at: float | None = None
    hung_up_at: float | None = None
    final: int = 0
    killed_at: float | None = None
    caller: Voice | None = None
    officer: Voice | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Phone(asyncio.DatagramProtocol):
    """A desk phone registered as ``extension``; it looks up in ``plans`` what to do with a call."""

    def __init__(self, extension: str, password: str, stories: dict[str, Story], choir: Choir) -> None:
        self.extension, self._password, self._stories, self._choir = extension, password, stories, choir
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._said: dict[str, bytes] = {}
        self._acknowledged: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, asyncio.Future[Heard]] = {}
        self._dialogs: dict[str, Story] = {}
        self._tag = f"p{next(_ids)}"

    async def open(self) -> None:
        """Bind a port."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def close(self) -> None:
        """Hang up the hook for good."""
        for task in self._tasks.values():
            task.cancel()
        if self._transport is not None:
            self._transport.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    @property
    def contact(self) -> str:
        """Its own URI."""
        return f"sip:{self.extension}@{HOST}:{self.port}"

    def _send(self, data: bytes, to: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, to)

    def _via(self) -> tuple[str, str]:
        return "Via", f"SIP/2.0/UDP {HOST}:{self.port};branch=z9hG4bKp{next(_ids)};rport"

    async def register(self, line: Address, *, expires: int = 3600) -> None:
        """Register with digest. Raises TimeoutError where the line does not take it."""
        call_id, uri = f"r{next(_ids)}-{self.port}", f"sip:{line[0]}:{line[1]}"
        own = f"<sip:{self.extension}@{line[0]}:{line[1]}>"
        extra: list[tuple[str, str]] = []
        async with asyncio.timeout(10.0):
            for number in itertools.count(1):
                headers = [
                    self._via(), ("Max-Forwards", "70"), ("From", f"{own};tag={self._tag}"), ("To", own),
                    ("Call-ID", call_id), ("CSeq", f"{number} REGISTER"), ("Contact", f"<{self.contact}>"),
                    ("Expires", str(expires)), *extra,
                ]  # fmt: skip
                heard = await self._ask(call_id, sip_text.write(f"REGISTER {uri} SIP/2.0", headers), line)
                if heard.status == 200:
                    return
                extra = [
                    ("Authorization", sip_text.authorization(
                        heard["www-authenticate"], user=self.extension, password=self._password,
                        method="REGISTER", uri=uri)),
                ]  # fmt: skip

    async def _ask(self, call_id: str, request: bytes, to: Address) -> Heard:
        """Send until there is a response."""
        pause = T1_S
        while True:
            waiting = self._waiting[call_id] = asyncio.get_running_loop().create_future()
            self._send(request, to)
            try:
                return await asyncio.wait_for(waiting, pause)
            except TimeoutError:
                pause = min(2 * pause, 4.0)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if not data.strip():
            return  # a keep-alive
        heard = sip_text.read(data)
        call_id = heard["call-id"]
        if heard.status:
            waiting = self._waiting.get(call_id)
            if waiting is not None and not waiting.done() and heard.status >= 200:
                waiting.set_result(heard)
        elif heard.method == "INVITE":
            self._invited(call_id, heard, addr)
        elif heard.method == "ACK":
            if call_id in self._acknowledged:
                self._acknowledged[call_id].set()
        elif heard.method in ("BYE", "CANCEL"):
            self._send(sip_text.answer(heard, 200, tag=self._tag), addr)
            self._ended(call_id, heard.method)
        else:
            self._send(sip_text.answer(heard, 200, tag=self._tag), addr)

    def _invited(self, call_id: str, heard: Heard, addr: Address) -> None:
        if call_id in self._tasks:
            if call_id in self._said:
                self._send(self._said[call_id], addr)
            return
        story = self._stories.get(heard.caller)
        if story is None or story.plan.answers not in ("", self.extension):
            work = self._ring(call_id, heard, addr)
        elif story.plan.declines:
            work = self._decline(call_id, heard, addr, story)
        elif story.plan.answers:
            work = self._answer(call_id, heard, addr, story)
        else:
            work = self._ring(call_id, heard, addr)
        self._tasks[call_id] = asyncio.get_running_loop().create_task(work)

    def _say(self, call_id: str, data: bytes, addr: Address) -> None:
        self._said[call_id] = data
        self._send(data, addr)

    async def _ring(self, call_id: str, heard: Heard, addr: Address) -> None:
        """Until it is cancelled."""
        self._say(call_id, sip_text.answer(heard, 180, tag=self._tag, contact=self.contact), addr)
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            self._acknowledged[call_id] = asyncio.Event()
            self._say(call_id, sip_text.answer(heard, 487, tag=self._tag), addr)

    async def _decline(self, call_id: str, heard: Heard, addr: Address, story: Story) -> None:
        await asyncio.sleep(story.plan.waits_s)
        self._acknowledged[call_id] = asyncio.Event()
        self._say(call_id, sip_text.answer(heard, 486, tag=self._tag), addr)

    async def _answer(self, call_id: str, heard: Heard, addr: Address, story: Story) -> None:
        """Ring, answer, talk; hang up where that is the plan."""
        self._say(call_id, sip_text.answer(heard, 180, tag=self._tag, contact=self.contact), addr)
        try:
            await asyncio.sleep(story.plan.waits_s)
        except asyncio.CancelledError:
            self._acknowledged[call_id] = asyncio.Event()
            self._say(call_id, sip_text.answer(heard, 487, tag=self._tag), addr)
            return
        if story.officer is not None:  # an earlier INVITE of the same call, from before the line died
            self._choir.dismiss(story.officer)
        voice = story.officer = self._choir.new(f"{story.plan.number}:officer")
        acknowledged = self._acknowledged[call_id] = asyncio.Event()
        self._dialogs[call_id] = story
        ok = sip_text.answer(heard, 200, tag=self._tag, contact=self.contact, media_port=voice.port)
        for pause in (T1_S, 2 * T1_S, 4 * T1_S):
            self._say(call_id, ok, addr)
            try:
                await asyncio.wait_for(acknowledged.wait(), pause)
                break
            except TimeoutError:
                continue
        else:
            return
        if heard.media is not None:
            voice.talk(heard.media)
        if story.plan.phone_hangs_up:
            await asyncio.sleep(story.plan.talks_s)
            await self._bye(call_id, heard, story)

    async def _bye(self, call_id: str, heard: Heard, story: Story) -> None:
        if story.officer is not None:
            story.officer.hush()
        if story.hung_up_at is None and story.killed_at is None:
            story.hung_up_at = time.monotonic()
        target = sip_text.contact_of(heard)
        headers = [
            self._via(), ("Max-Forwards", "70"), ("From", f"{heard['to']};tag={self._tag}"), ("To", heard["from"]),
            ("Call-ID", call_id), ("CSeq", "1 BYE"),
        ]  # fmt: skip
        try:
            async with asyncio.timeout(_AFTER_BYE_S):
                await self._ask(call_id, sip_text.write(f"BYE {target} SIP/2.0", headers), sip_text.place(target))
        except TimeoutError:
            return

    def _ended(self, call_id: str, method: str) -> None:
        story = self._dialogs.get(call_id)
        if method == "CANCEL":
            task = self._tasks.get(call_id)
            if task is not None and story is None:
                task.cancel()
        elif story is not None and story.officer is not None:
            story.officer.hush()


class Exchange(asyncio.DatagramProtocol):
    """The network's side: one UDP socket for all its calls, or a TCP connection for each."""

    def __init__(self, line: Address, choir: Choir) -> None:
        self._line, self._choir = line, choir
        self._transport: asyncio.DatagramTransport | None = None
        self._calls: dict[str, asyncio.Queue[Heard]] = {}

    async def open(self) -> None:
        """Bind a port."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def close(self) -> None:
        """Be gone."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        heard = sip_text.read(data)
        queue = self._calls.get(heard["call-id"])
        if queue is not None:
            queue.put_nowait(heard)
        if not heard.status and self._transport is not None:
            self._transport.sendto(sip_text.answer(heard, 200 if queue else 481, tag="x"), addr)

    async def call(self, story: Story) -> None:
        """One call from beginning to end."""
        queue = self._calls[story.call_id] = asyncio.Queue()
        try:
            line = _Datagrams(self._transport, self._line) if story.plan.transport == "udp" else None
            wire = line or await _Stream.connected(self._line, queue)
            try:
                await Caller(story, wire, queue, self._choir, self._line).run()
            finally:
                wire.close()
        except (OSError, TimeoutError):
            return
        finally:
            for voice in (story.caller, story.officer):
                if voice is not None:
                    self._choir.dismiss(voice)
            story.over.set()
            del self._calls[story.call_id]


class _Datagrams:
    transport = "UDP"

    def __init__(self, transport: asyncio.DatagramTransport | None, line: Address) -> None:
        assert transport is not None
        self._transport, self._line = transport, line
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, self._line)

    def close(self) -> None:
        """The socket is everybody's."""


class _Stream:
    transport = "TCP"

    def __init__(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._writer, self._task = writer, task
        self.host, self.port = writer.get_extra_info("sockname")[:2]

    @classmethod
    async def connected(cls, line: Address, queue: asyncio.Queue[Heard]) -> _Stream:
        """As soon as the line listens. Raises OSError."""
        limit = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(*line)
                break
            except OSError:
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(0.2)

        async def read() -> None:
            stream = bytearray()
            try:
                while data := await reader.read(65536):
                    stream += data
                    for message in sip_text.cut(stream):
                        heard = sip_text.read(message)
                        queue.put_nowait(heard)
                        if not heard.status:
                            writer.write(sip_text.answer(heard, 200, tag="x"))
            except OSError:
                return

        return cls(writer, asyncio.get_running_loop().create_task(read()))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        """Hang up the connection."""
        self._task.cancel()
        self._writer.close()


class Caller:
    """The caller of one call."""

    def __init__(
        self,
        story: Story,
        wire: _Datagrams | _Stream,
        queue: asyncio.Queue[Heard],
        choir: Choir,
        line: Address,
    ) -> None:
        self._story, self._wire, self._queue, self._choir = story, wire, queue, choir
        self._voice = story.caller = choir.new(f"{story.plan.number}:caller")
        self._uri = f"sip:{story.plan.line}@{line[0]}:{line[1]}"
        self._branch = f"z9hG4bKc{next(_ids)}"
        self._from = f"<sip:{story.plan.number}@{wire.host}:{wire.port}>;tag=c{next(_ids)}"
        self._to = f"<{self._uri}>"

    def _request(self, method: str, uri: str, *, branch: str, number: int = 1, body: str = "") -> bytes:
        wire = self._wire
        suffix = ";transport=tcp" if wire.transport == "TCP" else ""
        headers = [
            ("Via", f"SIP/2.0/{wire.transport} {wire.host}:{wire.port};branch={branch};rport"),
            ("Max-Forwards", "70"), ("From", self._from), ("To", self._to), ("Call-ID", self._story.call_id),
            ("CSeq", f"{number} {method}"), ("Contact", f"<sip:x@{wire.host}:{wire.port}{suffix}>"),
        ]  # fmt: skip
        if body:
            headers.append(("Content-Type", "application/sdp"))
        return sip_text.write(f"{method} {uri} SIP/2.0", headers, body)

    async def run(self) -> None:
        """Call, talk, hang up. What the line does not answer in time is given up."""
        invite = self._request("INVITE", self._uri, branch=self._branch, body=sip_text.description(self._voice.port))
        heard = await self._first_answer(invite)
        if heard is None:
            return
        heard = await self._final(heard)
        if heard is None:
            return
        self._story.final = heard.status
        self._to = heard["to"]
        if heard.status >= 300:
            self._wire.send(self._request("ACK", self._uri, branch=self._branch))
            return
        await self._talk(heard)

    async def _first_answer(self, invite: bytes) -> Heard | None:
        """INVITE again and again until somebody answers (RFC 3261 17.1.1.2); by TCP once."""
        pause, limit = T1_S, time.monotonic() + _GIVE_UP_S
        while time.monotonic() < limit:
            self._wire.send(invite)
            try:
                heard = await asyncio.wait_for(self._queue.get(), pause)
            except TimeoutError:
                if self._wire.transport == "TCP":
                    pause = 4.0
                    invite = b"\r\n\r\n"  # a keep-alive: a dead connection is found out
                pause *= 2
                continue
            if heard.status == 100:
                self._story.trying_at = time.monotonic()
            return heard
        return None

    async def _final(self, heard: Heard) -> Heard | None:
        """The final response; after the planned wait without one, that of the CANCEL."""
        plan, cancelled = self._story.plan, False
        patience = plan.waits_s if not plan.answers else 10.0
        limit = time.monotonic() + patience
        while heard.status < 200 or heard.method == "CANCEL":
            if self._story.killed_at is not None:
                return None
            try:
                heard = await asyncio.wait_for(self._queue.get(), min(0.2, max(0.01, limit - time.monotonic())))
            except TimeoutError:
                if time.monotonic() < limit:
                    continue
                if cancelled:
                    return None
                self._wire.send(self._request("CANCEL", self._uri, branch=self._branch))
                cancelled, limit = True, time.monotonic() + 3.0
        return heard

    async def _talk(self, ok: Heard) -> None:
        story, target = self._story, sip_text.contact_of(ok)
        acknowledge = self._request("ACK", target, branch=f"z9hG4bKa{next(_ids)}")
        self._wire.send(acknowledge)
        story.answered_at = time.monotonic()
        if ok.media is not None:
            self._voice.talk(ok.media)
        limit = story.answered_at + story.plan.talks_s + (3.0 if story.plan.phone_hangs_up else 0.0)
        while time.monotonic() < limit:
            if story.killed_at is not None:
                limit = min(limit, story.killed_at + story.plan.deaf_s)
            try:
                heard = await asyncio.wait_for(self._queue.get(), min(0.1, max(0.01, limit - time.monotonic())))
            except TimeoutError:
                continue
            if heard.status == 200:
                self._wire.send(acknowledge)
            elif heard.method == "BYE":
                self._voice.hush()
                return
        self._voice.hush()
        await self._bye(target)

    async def _bye(self, target: str) -> None:
        if self._story.hung_up_at is None and self._story.killed_at is None:
            self._story.hung_up_at = time.monotonic()
        bye = self._request("BYE", target, branch=f"z9hG4bKb{next(_ids)}", number=2)
        for pause in (T1_S, 2 * T1_S, 2 * T1_S):
            self._wire.send(bye)
            deadline = time.monotonic() + pause
            while (left := deadline - time.monotonic()) > 0:
                try:
                    heard = await asyncio.wait_for(self._queue.get(), left)
                except TimeoutError:
                    break
                if heard.status and re.search(r"\bBYE$", heard["cseq"]):
                    return
            if self._wire.transport == "TCP":
                return
