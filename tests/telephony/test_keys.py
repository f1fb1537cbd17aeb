"""Keys within a call: read from INFO, counted once, and looked at by the guard before the other side hears of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.transcripts import Speaker
from telephony.actions import TellKey
from telephony.guard import Way, examine_pressed
from telephony.keys import FLASH, GAP_S, SAME_S, How, InfoKey, KeyWatch, OnePress, read_info
from telephony.sip.message import Headers, Request
from tests.telephony.world import DESK, FORWARDING_CODES, Peer, World, line

pytestmark = pytest.mark.rule("6.1-e")

KEYS = "0123456789*#"


def info(kind: str, body: bytes) -> Request:
    return Request(method="INFO", uri="sip:1@a", headers=Headers([("Content-Type", kind)]), body=body)


@pytest.mark.parametrize(
    ("kind", "body", "key", "ms"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=250\r\n", "5", 250),
        ("application/dtmf-relay", b"Signal= *\nDuration= 100\n", "*", 100),
        ("Application/DTMF-Relay; charset=x", b"signal = 11\r\n", "#", 160),
        ("application/dtmf-relay", b"Signal=d\r\nDuration=999999", "D", 8000),
        ("application/dtmf-relay", b"Signal=hf", FLASH, 160),
        ("application/dtmf-relay", b"Signal=16", FLASH, 160),
        ("application/hook-flash", b"", FLASH, 160),
        ("application/dtmf", b"9", "9", 160),
        ("application/dtmf", b"10\r\n", "*", 160),
    ],
)
def test_a_key_in_an_info(kind: str, body: bytes, key: str, ms: int) -> None:
    assert read_info(info(kind, body)) == InfoKey(key=key, duration_ms=ms)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/dtmf-relay", b""),
        ("application/dtmf-relay", b"Signal=99"),
        ("application/dtmf", b"55"),
        ("application/dtmf-relay", b"Signal=5" + b" " * 2000),
        ("application/media_control+xml", b"Signal=5"),
        ("", b"5"),
    ],
)
def test_an_info_without_a_key(kind: str, body: bytes) -> None:
    assert read_info(info(kind, body)) is None


@given(
    st.sampled_from(["application/dtmf-relay", "application/dtmf", "APPLICATION/HOOK-FLASH;x", "x"]),
    st.binary(max_size=200),
)
def test_any_info_is_read_or_none(kind: str, body: bytes) -> None:
    found = read_info(info(kind, body))
    assert found is None or (len(found.key) == 1 and 40 <= found.duration_ms <= 8000)


@given(st.lists(st.sampled_from(KEYS), max_size=30), st.integers(0, 2**30))
def test_a_press_told_in_two_ways_counts_once(keys: list[str], order: int) -> None:
    """Each key comes by event and by INFO, in either order, before the next but one."""
    once, counted, now = OnePress(), [], 0.0
    for place, key in enumerate(keys):
        now += 0.2
        ways = [How.EVENT, How.INFO] if order >> (place % 30) & 1 else [How.INFO, How.EVENT]
        counted += [key for way in ways if once.is_new(key, way, now)]
    assert counted == keys


def test_the_same_key_much_later_is_another_press() -> None:
    once = OnePress()
    assert once.is_new("1", How.EVENT, 0.0)
    assert once.is_new("1", How.INFO, SAME_S + 0.01)


@given(
    st.text("123456789", max_size=6),
    st.sampled_from(FORWARDING_CODES),
    st.text("0123456789", min_size=4, max_size=15),
    st.sampled_from(list(How)),
)
def test_every_shipped_code_is_found_where_it_begins_and_the_rest_is_withheld(
    before: str, code: str, number: str, how: How
) -> None:
    watch, now, told, passed = KeyWatch(FORWARDING_CODES), 0.0, [], ""
    for key in before + code + number + "#" + "12":
        now += 0.3
        passes, attempt = watch.press(key, how, now)
        passed += key if passes else ""
        told += [attempt] if attempt else []
    assert [each.way for each in told] == [Way.PRESSED_CODE]
    assert passed == before + code[:-1] + "12", "its last key and what follows up to # stay here, later keys pass"
    assert told[0].target in FORWARDING_CODES


@given(st.text("0123456789", max_size=40))
def test_figures_alone_are_never_an_attempt(keys: str) -> None:
    watch = KeyWatch(FORWARDING_CODES)
    assert all(watch.press(key, How.EVENT, 0.2 * place) == (True, None) for place, key in enumerate(keys))


def test_a_pause_ends_a_code_and_a_hook_flash_is_one_by_itself() -> None:
    watch = KeyWatch(FORWARDING_CODES)
    assert [watch.press(key, How.EVENT, 0.0)[0] for key in "*2"] == [True, True]
    assert watch.press("1", How.EVENT, GAP_S + 1.0) == (True, None)
    assert watch.press("*", How.EVENT, GAP_S + 1.1) == (True, None)
    passes, attempt = watch.press(FLASH, How.INFO, GAP_S + 2.0)
    assert (passes, attempt and attempt.target) == (False, "flash")
    assert watch.press("1", How.INFO, GAP_S + 2.2) == (True, None)
    assert examine_pressed("**21*", FORWARDING_CODES) == examine_pressed("0**21*", FORWARDING_CODES)
    assert examine_pressed("*57#", FORWARDING_CODES) is not None


@pytest.fixture
def world() -> Iterator[World]:
    """A line with one phone; whatever the test did, the line has to keep its promises."""
    world = World(line(forwarding_codes=FORWARDING_CODES))
    yield world
    world.check()


@pytest.fixture
def caller(world: World) -> Peer:
    return world.peer("127.0.0.7")


@pytest.fixture
def phone(world: World) -> Peer:
    return world.phone("1001")


@pytest.fixture
def talking(world: World, caller: Peer, phone: Peer) -> tuple[Peer, Peer]:
    caller.invite(DESK)
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    return caller, phone


def press(world: World, peer: Peer, keys: str) -> list[int]:
    statuses = []
    for key in keys:
        asked = peer.last.send("INFO", f"Signal={key}\r\nDuration=100\r\n".encode(), kind="application/dtmf-relay")
        world.run(0.2)
        statuses.append(peer.answers[asked][0].status)
    return statuses


def test_keys_by_info_reach_the_edge_and_a_code_is_refused(world: World, talking: tuple[Peer, Peer]) -> None:
    caller, phone = talking
    assert press(world, caller, "*21*1#") == [200] * 6, "what the network presses is its own"
    assert press(world, phone, "*21*13#5") == [200, 200, 200, 403, 403, 403, 403, 200]
    keys = [(each.speaker.value, each.key, each.passes) for each in world.actions if isinstance(each, TellKey)]
    assert keys[:6] == [("caller", key, True) for key in "*21*1#"]
    assert keys[6:] == [("officer", key, letter == "y") for key, letter in zip("*21*13#5", "yyynnnny", strict=True)]
    (forward,) = world.forwards()
    assert (forward.way, forward.target) == (Way.PRESSED_CODE, "*21*")
    assert forward.raw.startswith(b"INFO ")
    assert caller.last.up
    assert phone.last.up


def test_keys_by_events_and_tones_are_asked_about(world: World, talking: tuple[Peer, Peer]) -> None:
    call_id = world.records()[0].call_id
    told = [world.switchboard.key_told(call_id, Speaker.OFFICER, key, How.EVENT, world.instant) for key in "**62*1#"]
    assert told == [True, True, True, True, False, False, False]
    assert world.switchboard.key_told("0" * 32, Speaker.OFFICER, "*", How.EVENT, world.instant)
    world.run(0.1)
    assert [each.target for each in world.forwards()] == ["**62*"]


@pytest.mark.rule("6.6-b")
def test_a_pin_by_info_reaches_the_spot_check_and_is_no_forward(world: World, phone: Peer) -> None:
    """Within a spot check nobody is behind us to forward anything: every key is the officer's PIN."""
    assert world.switchboard.spot_check(check_id=1, line_number=DESK, ring_s=20.0, now=world.instant)
    world.drain()
    world.run(0.1)
    phone.last.answer()
    world.run(0.1)
    assert press(world, phone, "*21*57#") == [200] * 7
    told = [(each.speaker, each.key, each.passes) for each in world.actions if isinstance(each, TellKey)]
    assert told == [(Speaker.OFFICER, key, True) for key in "*21*57#"]
    assert world.forwards() == []
