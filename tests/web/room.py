"""A duty room on a real SQLite store, filled through the use cases as telephony and transcription fill it."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher

from config.settings import Settings, load
from duty.domain.calls import CallEventKind, CallHappening, Direction, NewCall, Outcome, RecordingFacts
from duty.domain.drafts import Draft, DraftField, FieldName, Source, Span
from duty.domain.rights import Actor, Role
from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from duty.services.accounts import Accounts
from duty.services.callbook import CallBook
from duty.services.directory import NewContact
from duty.services.lines import LinePlan, UnitPlan
from duty.services.numbering import number_plan
from duty.store.database import Store
from web.services import Services, build

LINE = "037122595110"
CALLER = "13703786621"
PASSWORD = "correct-horse-7"
START = datetime(2026, 11, 23, 7, 20, 0, tzinfo=UTC)
SPOKEN: tuple[tuple[Speaker, str], ...] = (
    (Speaker.OFFICER, "您好，龙亭区政府值班室。"),
    (Speaker.CALLER, "您好，我是北郊乡党政办值班员张建国，有一个情况向您报告。"),
    (Speaker.CALLER, "今天下午三点二十分左右，孙李唐村一处仓库发生火灾，过火面积大约两百平方米。"),
    (Speaker.CALLER, "目前有两人受伤，已经送到市中心医院救治，没有人员死亡。"),
    (Speaker.CALLER, "消防和派出所已经到场处置，明火已经扑灭。"),
    (Speaker.OFFICER, "请问您的联系电话是多少？"),
    (Speaker.CALLER, "一三七，零三七八，六六二一。"),
    (Speaker.OFFICER, "好的，请你们半小时内报送书面材料，有新的情况随时续报。"),
)
SEGMENT_S = 3.0


@dataclass(slots=True)
class TestClock:
    """A clock that stands still until it is moved."""

    __test__ = False
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class Room:
    """The room: its services, its telephony side (``book``), its people."""

    services: Services
    settings: Settings
    clock: Callable[[], datetime]
    book: CallBook
    logins: dict[str, str] = field(default_factory=dict)

    def actor(self, login: str) -> Actor:
        signed = self.services.accounts.sign_in(login, PASSWORD)
        return signed.actor


def make_room(directory: Path, clock: Callable[[], datetime]) -> Room:
    """A migrated store with two units, two lines, one person per role and a directory."""
    settings = load().model_copy(update={"data": load().data.model_copy(update={"dir": directory})})
    store = Store(settings.store_url)
    store.migrate()
    services = build(store, clock, settings)
    services = _with_quick_hasher(services, store, clock)
    services.lines.provision(
        [
            UnitPlan(code="LT", name="龙亭区人民政府办公室", room_name="龙亭区政府值班室", is_hub=True),
            UnitPlan(
                code="BJ",
                name="北郊乡人民政府",
                room_name="北郊乡值班室",
                parent="LT",
                number_pattern="北郊值〔{year}〕{number}号",
            ),
        ],
        [
            LinePlan(number=LINE, name="值班专线", unit="LT", extensions=("1001", "1002"), has_trunk=True),
            LinePlan(number="037122595220", name="北郊值班", unit="BJ", extensions=("2001",), has_trunk=False),
        ],
    )
    services.lines.report(LINE, "phone", "1001", state="registered")
    services.lines.report(LINE, "trunk", LINE, state="registered")
    plan = number_plan(settings.numbers)
    room = Room(services=services, settings=settings, clock=clock, book=CallBook(store, clock, plan))
    names = {
        "officer": "李晓明",
        "leader": "王建军",
        "supervisor": "赵敏",
        "hub": "陈静",
        "administrator": "系统管理员",
        "auditor": "孙立",
    }
    for role in Role:
        services.accounts.add_officer(
            unit_code="LT",
            login=f"{role.value}1",
            name=names[role.value],
            password=PASSWORD,
            roles=[role],
            title="值班员" if role is Role.OFFICER else "",
            must_change_password=False,
        )
    services.accounts.add_officer(
        unit_code="BJ",
        login="beijiao",
        name="张北郊",
        password=PASSWORD,
        roles=[Role.OFFICER],
        must_change_password=False,
    )
    _directory(room)
    return room


def _with_quick_hasher(services: Services, store: Store, clock: Callable[[], datetime]) -> Services:
    """Argon2 with the least work: its strength is its own business, tests sign in a hundred times."""
    import dataclasses

    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return dataclasses.replace(services, accounts=Accounts(store, clock, hasher=hasher))


def _directory(room: Room) -> None:
    leader = room.actor("leader1")
    room.services.directory.add(
        leader,
        NewContact(
            organisation="北郊乡党政办",
            name="张建国",
            title="值班员",
            numbers=(CALLER, "0371-22595301"),
            challenge="本月值班联络口令",
            challenge_answer="清明上河",
        ),
    )
    room.services.directory.add(
        leader,
        NewContact(
            organisation="市政府值班室",
            name="刘主任",
            title="主任",
            numbers=("037166668888",),
            superior=True,
            restricted=True,
        ),
    )


def arrive(
    room: Room,
    call_id: str,
    *,
    number: str = CALLER,
    line: str = LINE,
    trust: str = "from",
    at: datetime | None = None,
    recording_session: str | None = None,
) -> None:
    """An INVITE has come: the call is in the book."""
    room.book.open_call(
        NewCall(
            call_id=call_id,
            line_number=line,
            direction=Direction.INBOUND,
            caller_number=number,
            callee_number=line,
            caller_display="",
            trust=trust,
            sip_call_id=f"{call_id}@test",
            source="127.0.0.1:5070",
            arrived_at=at or room.clock(),
            recording_session=recording_session,
        )
    )


def happen(
    room: Room,
    call_id: str,
    kind: CallEventKind,
    *,
    at: datetime | None = None,
    outcome: Outcome | None = None,
    **data: str | int,
) -> None:
    room.book.record(CallHappening(call_id=call_id, kind=kind, at=at or room.clock(), outcome=outcome, data=dict(data)))


def answer(room: Room, call_id: str, *, at: datetime | None = None) -> None:
    """It rings and extension 1001 answers."""
    happen(room, call_id, CallEventKind.RINGING, at=at)
    happen(room, call_id, CallEventKind.LEG_STARTED, at=at, extension="1001")
    happen(room, call_id, CallEventKind.ANSWERED, at=at, extension="1001")


def hang_up(room: Room, call_id: str, *, at: datetime | None = None) -> None:
    happen(room, call_id, CallEventKind.ENDED, at=at, outcome=Outcome.ANSWERED, reason="caller_hung_up")


def write_recording(room: Room, call_id: str, *, seconds: float | None = None, sounds: bytes | None = None) -> Path:
    """A stereo WAV at 8 kHz where telephony puts it, with its peaks, sealed into the book."""
    seconds = seconds or SEGMENT_S * len(SPOKEN)
    folder = room.settings.data.recordings / call_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recording.wav"
    samples = int(seconds * 8000)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(sounds or _tones(samples))
    (folder / "peaks.json").write_text(json.dumps(_peaks(path)), "utf-8")
    room.services.recordings.seal(
        RecordingFacts(
            call_id=call_id,
            path=f"{call_id}/recording.wav",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            seconds=seconds,
            samples=samples,
        )
    )
    return path


def _tones(samples: int) -> bytes:
    """Whoever speaks in ``SPOKEN`` is heard as a tone."""
    frames = []
    for at in range(samples):
        speaker = SPOKEN[min(int(at / 8000 / SEGMENT_S), len(SPOKEN) - 1)][0]
        loud = int(9000 * math.sin(at * 2 * math.pi * 300 / 8000) * abs(math.sin(at * math.pi / 3000)))
        frames.append(
            struct.pack("<hh", loud if speaker is Speaker.CALLER else 0, loud if speaker is Speaker.OFFICER else 0)
        )
    return b"".join(frames)


def _peaks(path: Path) -> dict[str, object]:
    with wave.open(str(path)) as wav:
        frames = struct.iter_unpack("<hh", wav.readframes(wav.getnframes()))
        pairs = list(frames)
    data: list[int] = []
    for at in range(0, len(pairs), 160):
        block = pairs[at : at + 160]
        for channel in (0, 1):
            data += [min(pair[channel] for pair in block) >> 8, max(pair[channel] for pair in block) >> 8]
    return {
        "version": 2,
        "channels": 2,
        "sample_rate": 8000,
        "samples_per_pixel": 160,
        "bits": 8,
        "length": len(data) // 4,
        "data": data,
    }


def transcript(*, with_words: bool = True) -> Transcript:
    """What an engine heard in ``SPOKEN``; without words where it gives no word times."""
    segments = []
    for ordinal, (speaker, text) in enumerate(SPOKEN):
        start = ordinal * SEGMENT_S
        heard = [char for char in text if char not in "，。？"]
        step = (SEGMENT_S - 0.4) / len(heard)
        words = tuple(
            Word(text=char, start_s=start + 0.2 + at * step, end_s=start + 0.2 + (at + 1) * step, confidence=0.9)
            for at, char in enumerate(heard)
        )
        segments.append(
            Segment(
                speaker=speaker,
                start_s=start,
                end_s=start + SEGMENT_S,
                text=text,
                confidence=0.42 if ordinal == 6 else 0.91,
                words=words if with_words and ordinal != 6 else (),
            )
        )
    return Transcript(
        engine="whisper",
        model="base",
        model_sha256="d0" * 32,
        settings={"beam": "5"},
        audio_seconds=SEGMENT_S * len(SPOKEN),
        decode_seconds=4.8,
        segments=tuple(segments),
    )


def _proposal(name: FieldName, value: str, segment: int, confidence: float) -> DraftField:
    start = segment * SEGMENT_S
    span = Span(segment=segment, start_char=0, end_char=4, start_s=start + 0.2, end_s=start + SEGMENT_S - 0.2)
    return DraftField(
        name=name, value=value, normalised=value, confidence=confidence, source=Source.TRANSCRIPT, spans=(span,)
    )


def draft() -> Draft:
    return Draft(
        fields=(
            _proposal(FieldName.CATEGORY, "incident", 2, 0.85),
            _proposal(FieldName.EVENT_TIME, "2026年11月23日15时20分", 2, 0.93),
            _proposal(FieldName.PLACE, "孙李唐村一处仓库", 2, 0.64),
            _proposal(FieldName.EVENT, "孙李唐村一处仓库发生火灾，过火面积约200平方米。", 2, 0.71),
            _proposal(FieldName.CASUALTIES, "2人受伤，已送市中心医院救治，无人员死亡", 3, 0.82),
            _proposal(FieldName.MEASURES, "消防和派出所已到场处置，明火已扑灭", 4, 0.44),
        ),
        gist="北郊乡党政办张建国报告：孙李唐村一处仓库发生火灾，2人受伤，明火已扑灭。",
    )


def whole_call(room: Room, call_id: str, *, number: str = CALLER, with_words: bool = True) -> int:
    """A call from INVITE to draft; returns its entry's id."""
    at = room.clock() - timedelta(seconds=60)
    arrive(room, call_id, number=number, at=at)
    answer(room, call_id, at=at + timedelta(seconds=5))
    hang_up(room, call_id, at=at + timedelta(seconds=5 + SEGMENT_S * len(SPOKEN)))
    write_recording(room, call_id)
    job = room.services.recordings.claim()
    assert job is not None
    assert job.call_id == call_id
    room.services.recordings.complete(call_id, transcript(with_words=with_words), draft())
    return room.services.logbook.entries_of_call(room.actor("officer1"), call_id)[0].id


def missed_call(room: Room, call_id: str, *, number: str = "037122334455") -> None:
    arrive(room, call_id, number=number, trust="asserted")
    happen(room, call_id, CallEventKind.RINGING)
    happen(room, call_id, CallEventKind.ENDED, outcome=Outcome.MISSED, reason="no_answer")
