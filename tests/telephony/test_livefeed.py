"""The live feed: frames arrive as they were, and a listener that is slow, late or gone costs nothing."""

import socket
from pathlib import Path

from duty.domain.liveframes import LiveFrame
from duty.domain.transcripts import Speaker
from telephony.livefeed import LiveFeed

CALL = "0123456789abcdef0123456789abcdef"


def frame(position: int = 0) -> LiveFrame:
    return LiveFrame(call_id=CALL, speaker=Speaker.CALLER, codec=8, position=position, payload=bytes(160))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def listener(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(str(path))
    bound.settimeout(5)
    return bound


def test_frames_and_the_end_arrive(tmp_path: Path) -> None:
    feed = LiveFeed(tmp_path / "live.sock", clock=Clock())
    with listener(tmp_path / "live.sock") as bound:
        assert feed.send(frame(480))
        assert LiveFrame.unpack(bound.recv(4096)) == frame(480)
        feed.end(CALL, 640)
        ends = [LiveFrame.unpack(bound.recv(4096)) for _ in Speaker]
        assert {end.speaker for end in ends} == set(Speaker)
        assert {(end.codec, end.position) for end in ends} == {(None, 640)}
    feed.close()
    assert (feed.sent, feed.dropped) == (3, 0)


def test_nobody_listening_is_counted_and_looked_for_once_a_second(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "live.sock"
    feed = LiveFeed(path, clock=clock)
    assert not feed.send(frame())
    with listener(path):
        assert not feed.send(frame())
        clock.now += 1.0
        assert feed.send(frame())
    path.unlink()
    assert not feed.send(frame())
    with listener(path):
        clock.now += 1.0
        assert feed.send(frame())
    assert (feed.sent, feed.dropped) == (2, 3)
    feed.close()


def test_a_full_queue_drops_and_never_waits(tmp_path: Path) -> None:
    feed = LiveFeed(tmp_path / "live.sock", clock=Clock())
    with listener(tmp_path / "live.sock") as bound:
        while feed.send(frame()):
            assert feed.sent < 100_000
        assert feed.dropped == 1
        bound.recv(4096)
        assert feed.send(frame())
    feed.close()
