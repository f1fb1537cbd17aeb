"""Recording metadata (RFC 7865): who took part in a recorded call, and whose voice is in which stream.

Read into values of ours; what an SBC adds of its own is passed over. Both the RFC's names and those of the drafts that
are in the field still (``id`` and ``session`` for ``participant_id`` and ``session_id``, ``send`` within the
participant) are understood. A document is complete, or it updates what was said before (section 5.2, ``datamode``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from telephony.siprec import xml
from telephony.siprec.xml import Element, malformed

MEDIA_TYPE = "application/rs-metadata+xml"
SPACES = frozenset({"urn:ietf:params:xml:ns:recording:1", "urn:ietf:params:xml:ns:recording"})
MAX_TEXT = 255
MAX_OBJECTS = 200
"""Participants, streams or sessions of one call; no call has more."""

_CALLING = "callingParty"
"""Which participant began the call, as Oracle's SBCs say in an extension; the RFC has no word for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A communication session: the call that is recorded. ``session_id`` is the recording client's UUID of it, the
    same in every recording session of the call; times as written (RFC 3339)."""

    session_id: str
    sip_session_ids: tuple[str, ...] = ()
    reason: str = ""
    start_time: str = ""
    stop_time: str = ""

    @property
    def key(self) -> str:
        """What an update names it by."""
        return self.session_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody in the call. ``aor`` is the first of its addresses, ``name`` what goes with it. ``calling`` is True and
    False where the recording client says who began the call, else None."""

    participant_id: str
    aor: str = ""
    name: str = ""
    calling: bool | None = None

    @property
    def key(self) -> str:
        """What an update names it by."""
        return self.participant_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream of the recording session; ``label`` is the ``a=label`` of its m= line (RFC 4574)."""

    stream_id: str
    session_id: str = ""
    label: str = ""

    @property
    def key(self) -> str:
        """What an update names it by."""
        return self.stream_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """That a participant takes, or took (``ended``), part in a session."""

    participant_id: str
    session_id: str = ""
    since: str = ""
    ended: bool = False

    @property
    def key(self) -> str:
        """What an update names it by."""
        return f"{self.participant_id} {self.session_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """Into which streams a participant speaks, and which ones it hears; ``ended`` as with ``Presence``."""

    participant_id: str
    sends: tuple[str, ...] = ()
    receives: tuple[str, ...] = ()
    ended: bool = False

    @property
    def key(self) -> str:
        """What an update names it by."""
        return self.participant_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """One document, or what several together say."""

    mode: Literal["complete", "partial"] = "complete"
    sessions: tuple[Session, ...] = ()
    participants: tuple[Participant, ...] = ()
    streams: tuple[Stream, ...] = ()
    presences: tuple[Presence, ...] = ()
    voices: tuple[Voices, ...] = ()

    def updated(self, later: Metadata) -> Metadata:
        """What holds after ``later`` came: a complete document stands for itself, a partial one brings what changed."""
        if later.mode == "complete":
            return later
        return replace(
            self,
            sessions=_overlaid(self.sessions, later.sessions),
            participants=_overlaid(self.participants, later.participants),
            streams=_overlaid(self.streams, later.streams),
            presences=_overlaid(self.presences, later.presences),
            voices=_overlaid(self.voices, later.voices),
        )

    @property
    def session_id(self) -> str:
        """The session that is recorded, the latest where there are several; "" where none is named."""
        running = [session for session in self.sessions if not session.stop_time]
        return (running or [*self.sessions, Session(session_id="")])[-1].session_id

    @property
    def present(self) -> tuple[Participant, ...]:
        """Who is in the call now, in the order in which they were told of. Of whom nothing but a name is said, is."""
        said: dict[str, list[Presence]] = {}
        for presence in self.presences:
            said.setdefault(presence.participant_id, []).append(presence)
        return tuple(each for each in self.participants if _is_present(said.get(each.participant_id, [])))

    @property
    def dangling(self) -> bool:
        """Whether something is spoken of that was never told: then the whole is to be asked for."""
        participants = {each.participant_id for each in self.participants}
        streams = {each.stream_id for each in self.streams}
        spoken = {each.participant_id for each in self.presences if not each.ended}
        spoken |= {each.participant_id for each in self.voices if not each.ended}
        sent = {stream for each in self.voices if not each.ended for stream in each.sends}
        return not (spoken <= participants and sent <= streams)

    def speakers(self, label: str) -> frozenset[str]:
        """The ids of the participants whose voice the stream with that label holds."""
        streams = {each.stream_id for each in self.streams if each.label == label}
        return frozenset(each.participant_id for each in self.voices if not each.ended and streams & set(each.sends))


def parse_metadata(data: bytes) -> Metadata:
    """The document in ``data``. Raises RemoteProtocolError (400), and nothing else for any bytes."""
    root = xml.read(data)
    if root.name != "recording" or root.space not in SPACES:
        raise malformed("no recording")
    mode = root.text_of("datamode").lower() or "complete"
    if mode not in ("complete", "partial"):
        raise malformed("datamode")
    people = [*_of(root, "participant")]
    return Metadata(
        mode="partial" if mode == "partial" else "complete",
        sessions=_last(map(_session, _of(root, "session"))),
        participants=_last(map(_participant, people)),
        streams=_last(map(_stream, _of(root, "stream"))),
        presences=_last(
            [*map(_presence, _of(root, "participantsessionassoc")), *(_presence(one) for one in people if _dated(one))]
        ),
        voices=_last(
            [*(_voices(one) for one in people if _speaks(one)), *map(_voices, _of(root, "participantstreamassoc"))]
        ),
    )


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


_T = TypeVar("_T", bound=_Keyed)


def _of(root: Element, name: str) -> list[Element]:
    found = [element for element in root.named(name) if element.space in SPACES]
    if len(found) > MAX_OBJECTS:
        raise malformed("too many objects")
    return found


def _last(values: Iterable[_T]) -> tuple[_T, ...]:
    """Each once, as it was said last."""
    return _overlaid((), tuple(values))


def _overlaid(before: tuple[_T, ...], later: tuple[_T, ...]) -> tuple[_T, ...]:
    values = {value.key: value for value in (*before, *later)}
    if len(values) > MAX_OBJECTS:
        raise malformed("too many objects")
    return tuple(values.values())


def _is_present(said: list[Presence]) -> bool:
    return not said or any(not presence.ended for presence in said)


def _identity(element: Element, kind: str, *others: str) -> str:
    names = (f"{kind}_id", *others)
    value = next((element.attributes[name].strip() for name in names if name in element.attributes), "")
    if not value or len(value) > MAX_TEXT:
        raise malformed(f"no {kind} id")
    return value


def _session_of(element: Element) -> str:
    return next(
        (element.attributes[name].strip() for name in ("session_id", "session") if name in element.attributes), ""
    )


def _session(element: Element) -> Session:
    return Session(
        session_id=_identity(element, "session", "id"),
        sip_session_ids=tuple(child.text.strip()[:MAX_TEXT] for child in element.named("sipSessionID")),
        reason=element.text_of("reason")[:MAX_TEXT],
        start_time=element.text_of("start-time")[:MAX_TEXT],
        stop_time=element.text_of("stop-time")[:MAX_TEXT],
    )


def _participant(element: Element) -> Participant:
    names = list(element.named("nameID"))
    calling = [each.text.strip().lower() for each in element.within() if each.name == _CALLING]
    return Participant(
        participant_id=_identity(element, "participant", "id"),
        aor=next((each.attributes.get("aor", "").strip()[:MAX_TEXT] for each in names), ""),
        name=next((each.text_of("name")[:MAX_TEXT] for each in names), ""),
        calling=calling[0] == "true" if calling else None,
    )


def _stream(element: Element) -> Stream:
    return Stream(
        stream_id=_identity(element, "stream", "id"),
        session_id=_session_of(element),
        label=element.text_of("label")[:MAX_TEXT],
    )


def _dated(participant: Element) -> bool:
    """Whether it says itself since when it is there, as the drafts had it."""
    return any(child.name in ("associate-time", "disassociate-time") for child in participant.children)


def _speaks(participant: Element) -> bool:
    return any(child.name in ("send", "recv") for child in participant.children)


def _presence(element: Element) -> Presence:
    return Presence(
        participant_id=_identity(element, "participant", "id"),
        session_id=_session_of(element),
        since=element.text_of("associate-time")[:MAX_TEXT],
        ended=bool(element.text_of("disassociate-time")),
    )


def _voices(element: Element) -> Voices:
    return Voices(
        participant_id=_identity(element, "participant", "participant", "id"),
        sends=tuple(child.text.strip()[:MAX_TEXT] for child in element.named("send")),
        receives=tuple(child.text.strip()[:MAX_TEXT] for child in element.named("recv")),
        ended=bool(element.text_of("disassociate-time")) and element.name != "participant",
    )
