"""Whatever callers, phones and the network do, in whatever order, the line keeps its promises (see ``World.check``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from telephony.line import TrunkProfile
from telephony.sip.flow import Flow
from telephony.sip.message import Message
from telephony.trunk_target import TrunkRoute
from tests.telephony.world import DESK, LOCAL, ONCE, TOWN, Peer, Session, World, audio, line

pytestmark = [pytest.mark.rule("6.1-a"), pytest.mark.rule("6.1-e")]

PBX = ("198.51.100.5", 5060)
ELSEWHERE = "203.0.113.9"  # nobody is there: the world refuses to carry anything to it
PAUSES = st.sampled_from([0.0, 0.0, 0.005, 0.02, 0.6, 5.0, 21.0, 33.0])
BODIES = st.sampled_from(["own", "own", "own", "held", "zero", "moved", "none", "garbage", "closed"])
REFUSALS = [302, 400, 401, 403, 404, 407, 408, 480, 486, 487, 488, 500, 503, 600, 603]
FATES = [(), (), (0.01, 0.01), (0.01, 0.7), (0.9,)]


@dataclass
class Play:
    """A world in play: two lines, three phones, two callers and a PBX."""

    world: World
    parties: list[Peer]

    def session(self, pick: int, wanted: Callable[[Session], bool]) -> Session | None:
        found = [session for peer in self.parties for session in peer.sessions if wanted(session)]
        return found[pick % len(found)] if found else None


def body(kind: str, host: str) -> bytes:
    if kind in ("none", "garbage"):
        return b"" if kind == "none" else b"v=0\r\n"
    where = {"zero": "0.0.0.0", "moved": ELSEWHERE}.get(kind, host)
    return audio(where, 0 if kind == "closed" else 40_000, direction="sendonly" if kind == "held" else "sendrecv")


def stage() -> Play:
    trunk = TrunkProfile(registrar="sip:pbx.example", username="", password="")
    route = TrunkRoute(flow=Flow(transport="UDP", remote=PBX, local=LOCAL), domain="pbx.example")
    world = World(
        line(DESK, ("1001", "1002"), max_calls=1, ring_seconds=20.0, trunk=trunk),
        line(TOWN, ("2001",), when_busy="busy", no_answer="hangup"),
        trunks={DESK: route},
    )
    pbx = world.peer(*PBX, user="13800138000")
    neighbour = world.peer("127.0.0.7", user="13700137000")
    phones = [world.phone(extension) for extension in ("1001", "1002", "2001")]
    return Play(world, [pbx, neighbour, *phones])


# What can happen. Each takes the play, a number to pick with and a kind of body; what cannot be done now is let be.


def arrives(play: Play, pick: int, kind: str) -> None:
    caller, to = ((play.parties[0], DESK), (play.parties[1], TOWN), (play.parties[1], DESK))[pick % 3]
    more: list[dict[str, str]] = [
        {},
        {},
        {"Diversion": "<sip:1@a>"},
        {"Replaces": "a;to-tag=b;from-tag=c"},
        {"Require": "100rel"},
        {"Supported": "100rel"},
        {"Require": "100rel", "Supported": "timer"},
    ]
    caller.invite(to, body(kind, caller.address[0]), headers=more[pick % len(more)])


def dials(play: Play, pick: int, kind: str) -> None:
    phone = play.parties[2 + pick % 3]
    more: dict[str, str] = {"Supported": "100rel"} if pick % 4 == 1 else {}
    phone.invite(("13900139000", "*57*1390", DESK)[pick % 5 % 3], body(kind, phone.address[0]), headers=more)


def called_back(play: Play, pick: int, _kind: str) -> None:
    play.world.switchboard.dial(
        command_id=pick, line_number=(DESK, TOWN)[pick % 2], number="13900139000", now=play.world.instant
    )


def rings(play: Play, pick: int, kind: str) -> None:
    session = play.session(pick, lambda each: not each.sent and each.final is None)
    if session is not None:
        numbered = {"Require": "100rel", "RSeq": str(len(session.responses) + pick % 7 // 6)} if pick % 3 == 0 else {}
        said = body(kind, session.peer.address[0]) if pick % 2 else b""
        session.respond((100, 180, 180, 181, 183)[pick % 5], said, headers=numbered)


def answers(play: Play, pick: int, kind: str) -> None:
    session = play.session(pick, lambda each: not each.sent and each.final is None)
    if session is not None:
        session.answer(body(kind, session.peer.address[0]))


def declines(play: Play, pick: int, _kind: str) -> None:
    session = play.session(pick, lambda each: not each.sent and each.final is None)
    if session is not None:
        session.respond(REFUSALS[pick % len(REFUSALS)], headers={"Contact": f"<sip:1@{ELSEWHERE}>"})


def forks(play: Play, pick: int, kind: str) -> None:
    session = play.session(pick, lambda each: not each.sent and each.final == 200)
    if session is not None:
        session.fork(f"fork{pick}", body(kind, session.peer.address[0]))


def cancels(play: Play, pick: int, _kind: str) -> None:
    session = play.session(pick, lambda each: each.sent and each.final is None)
    if session is not None:
        session.cancel()


def hangs_up(play: Play, pick: int, _kind: str) -> None:
    session = play.session(pick, lambda each: each.up)
    if session is not None:
        session.bye()


def says_bye_early(play: Play, pick: int, _kind: str) -> None:
    session = play.session(pick, lambda each: each.dialog is not None and each.final is None)
    if session is not None:
        session.send("BYE")


def offers_again(play: Play, pick: int, kind: str) -> None:
    session = play.session(pick, lambda each: each.dialog is not None)
    if session is not None:
        session.peer.ack_body = body(kind, session.peer.address[0]) if pick % 3 == 0 else b""
        session.send(("INVITE", "UPDATE")[pick % 2], body(kind, session.peer.address[0]))


def asks_in_dialog(play: Play, pick: int, _kind: str) -> None:
    session = play.session(pick, lambda each: each.dialog is not None)
    if session is not None:
        method = ("REFER", "INFO", "OPTIONS", "MESSAGE", "BYE")[pick % 5]
        refer = {"Refer-To": f"<sip:1@{ELSEWHERE}>"} if method == "REFER" else {}
        session.send(method, cseq=1 if pick % 4 == 3 else None, headers=refer)
        session.ended = session.ended or (method == "BYE" and pick % 4 != 3)


def asks_outside(play: Play, pick: int, _kind: str) -> None:
    peer = play.parties[pick % len(play.parties)]
    method = ("REFER", "OPTIONS", "SUBSCRIBE", "INFO", "BYE")[pick % 5]
    peer.send(peer.request(method, DESK, headers={"Refer-To": f"<sip:1@{ELSEWHERE}>"}))


def holds_back_acks(play: Play, pick: int, _kind: str) -> None:
    play.parties[pick % len(play.parties)].acks_withheld = pick % 2 == 0


def answers_early(play: Play, pick: int, kind: str) -> None:
    """How a party is going to acknowledge what rings reliably."""
    party = play.parties[pick % len(play.parties)]
    party.pracks_withheld = pick % 5 == 0
    party.prack_body = body(kind, party.address[0])


DEEDS = [
    arrives, arrives, dials, called_back, rings, rings, answers, answers, declines, forks, cancels, hangs_up,
    says_bye_early, offers_again, asks_in_dialog, asks_outside, holds_back_acks, answers_early,
]  # fmt: skip

SCRIPTS = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 59), BODIES, PAUSES), min_size=1, max_size=40)
LOSSES = st.dictionaries(st.integers(0, 60), st.sampled_from(FATES), max_size=12)
OPENINGS = st.lists(st.sampled_from([0.001, 0.001, 0.001, 0.3, 3.0, None]), max_size=6)


def perform(play: Play, script: list[tuple[Callable[[Play, int, str], None], int, str, float]]) -> None:
    for deed, pick, kind, pause in script:
        deed(play, pick, kind)
        play.world.drain()
        if pause:
            play.world.run(pause)


@given(script=SCRIPTS, losses=LOSSES, openings=OPENINGS, announcement=st.sampled_from([None, 0.0, 4.0]))
@settings(max_examples=150)
def test_every_call_ends_once_and_nothing_is_left(
    script: list[tuple[Callable[[Play, int, str], None], int, str, float]],
    losses: dict[int, tuple[float, ...]],
    openings: list[float | None],
    announcement: float | None,
) -> None:
    play = stage()
    world = play.world
    packet = iter(range(10**9))
    decided: dict[str, float | None] = {}

    def fate(_message: Message) -> tuple[float, ...]:
        return losses.get(next(packet), ONCE)

    world.fate = fate
    world.opens = lambda action: decided.setdefault(
        action.call_id, openings[len(decided)] if len(decided) < len(openings) else 0.001
    )
    world.announcement_s = announcement
    perform(play, script)
    for call in world.opened():
        kinds = world.kinds(call.call_id)
        event("answered" if "answered" in kinds else "not answered")
    world.check()


@given(script=SCRIPTS, stop=st.integers(0, 39))
@settings(max_examples=50)
def test_the_service_may_stop_at_any_moment(
    script: list[tuple[Callable[[Play, int, str], None], int, str, float]], stop: int
) -> None:
    play = stage()
    perform(play, script[:stop])
    play.world.switchboard.shut_down(play.world.instant)
    perform(play, script[stop:])
    play.world.check()
