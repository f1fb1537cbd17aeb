"""The guard's table on a real line, row by row: what a phone tries in the middle of a call is refused, the two who talk
lose no frame of each other, nothing is sent where the call should have gone, and the console knows within a second."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from types import TracebackType

import pytest
from sqlalchemy import func, select

from duty.domain.happenings import EventKind
from duty.store.database import Store
from duty.store.tables import EventRow
from telephony.guard import TABLE
from tests.line.book import Book
from tests.line.conftest import DESK, PAIR
from tests.line.desk import Desk
from tests.line.service import Service
from tests.line.test_guard_more import unharmed
from tests.line.variants import variant
from tests.peers.audio import account
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp, SippRun

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-e")]

OpenPeer = Callable[..., RtpPeer]
ALARM_S = 1.0
"""From the attempt on the wire to the alarm in the outbox, which the console reads."""

SCENARIOS: dict[str, tuple[str, ...]] = {
    "redirect": ("test_guard:test_a_phone_that_redirects", "test_guard_rows:test_another_phone_takes_the_call"),
    "refer": ("test_guard:test_a_transfer_is_refused_and_the_call_goes_on", "test_guard_rows:test_asked_in_the_call"),
    "replaces": ("test_guard_rows:test_a_phone_that_wants_to_replace_a_call",),
    "media_move": (
        "test_guard:test_media_moved_off_the_phone_is_refused_and_the_call_goes_on",
        "test_guard_rows:test_asked_in_the_call",
        "test_guard_rows:test_media_moved_by_the_answer_in_an_ack",
    ),
    "forwarding_setup": (
        "test_guard_more:test_a_phone_that_sets_up_forwarding",
        "test_guard_rows:test_asked_in_the_call",
    ),
    "feature_code": (
        "test_outbound:test_a_forwarding_code_is_refused_and_never_leaves",
        "test_guard_rows:test_a_forwarding_code_dialled_beside_a_call",
    ),
    "pressed_code": (
        "test_guard_rows:test_asked_in_the_call",
        "test_outbound:test_a_forwarding_code_pressed_after_the_answer_does_not_reach_the_network",
    ),
    "foreign_registration": ("test_guard_more:test_a_registration_from_outside_the_phones_networks",),
    "conference": ("test_guard_more:test_a_phone_that_dials_a_third_party_beside_its_caller",),
    "network_redirect": ("test_outbound:test_a_redirect_from_the_network_is_not_followed",),
    "forwarded_181": (
        "test_guard_rows:test_another_phone_takes_the_call",
        "test_outbound:test_a_call_that_the_network_forwards_goes_on_and_is_marked",
    ),
    "diverted": ("test_guard:test_a_call_that_was_forwarded_to_us_is_taken_and_marked",),
    "recorded_transfer": ("test_siprec:test_a_transfer_at_the_pbx_is_marked_and_all_of_it_recorded",),
}
"""Every row of the table and the tests that try it with a foreign program."""

MOVED = (
    "v=0\n    o=peer 1 2 IN IP4 {host}\n    s=-\n    c=IN IP4 {host}\n    t=0 0\n"
    "    m=audio {port} RTP/AVP 8\n    a=rtpmap:8 PCMA/8000\n    a=sendrecv"
)
SETUP = "<SetForwarding><activateForward>true</activateForward><forwardTo>13900139000</forwardTo></SetForwarding>"
FEATURE = "Event: as-feature-event\n    Content-Type: application/x-as-feature-event+xml"
ATTEMPTS = [
    ("refer", "REFER", "Refer-To: <{target}?Replaces=12345%40127.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>", "", 603),
    ("refer", "REFER", "Refer-To: <{target};method=BYE>", "", 603),
    ("media_move", "UPDATE", "Content-Type: application/sdp", MOVED, 488),
    ("pressed_code", "INFO", "Content-Type: application/dtmf-relay", "Signal=hf\n    Duration=160", 403),
    *(("forwarding_setup", method, FEATURE, SETUP, 403) for method in ("SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE")),
]


class AlarmWatch:
    """Looks into the outbox as the console's stream does; a context manager. ``at`` is when (s, wall clock) the first
    alarm since its beginning was there to be read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self.at: float | None = None
        with store.reading() as session:
            self._after = session.scalar(select(func.max(EventRow.id))) or 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> AlarmWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        raised = select(EventRow.id).where(EventRow.id > self._after, EventRow.kind == EventKind.ALARM_RAISED.value)
        while not self._stop.wait(0.02):
            with self._store.reading() as session:
                if session.scalars(raised.limit(1)).first() is not None:
                    self.at = time.time()
                    return

    def seconds_after(self, run: SippRun, method: str) -> float:
        """From the last ``method`` that ``run`` sent to the alarm."""
        sent = [message.at for message in run.messages() if message.direction == "sent" and message.method == method]
        assert self.at is not None, "no alarm"
        return self.at - datetime.fromisoformat(sent[-1]).timestamp()


@pytest.fixture
def watch(service: Service) -> Iterator[AlarmWatch]:
    with closing(Store(service.settings.store_url)) as store, AlarmWatch(store) as watching:
        yield watching


@pytest.mark.parametrize(("way", "method", "headers", "body", "final"), ATTEMPTS)
def test_asked_in_the_call(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    watch: AlarmWatch,
    way: str,
    method: str,
    headers: str,
    body: str,
    final: int,
) -> None:
    elsewhere, ear = rtp_peer(host="127.0.0.9"), rtp_peer()
    target = f"sip:13900139000@127.0.0.9:{elsewhere.port}"
    values: dict[str, str | int] = {
        "method": method,
        "headers": headers.format(target=target),
        "body": body.format(host="127.0.0.9", port=elsewhere.port) if body == MOVED else body,
        "final": final,
        "attempt_after_ms": 400,
    }
    phone = desk.phone("phone_attempts", "1001", audio=utterance, values=values)
    talk_ms = len(utterance) // 8 + 500
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": ear.port, "talk_ms": talk_ms},
    )
    ear.send(utterance[::-1], caller.wait_for_audio_address())
    page = unharmed(book, caller, utterance, number)
    assert account(utterance, ear.heard()).perfect, "the caller did not hear the officer all the time"
    assert phone.wait().check().received == ["INVITE", "ACK", str(final), "BYE"]
    assert page.data_of("forward_blocked")["way"] == way
    assert page.alarms == ("forward_blocked",)
    assert page.evidence[0].startswith(f"{method} ".encode())
    assert watch.seconds_after(phone, method) <= ALARM_S
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


def test_media_moved_by_the_answer_in_an_ack(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    watch: AlarmWatch,
) -> None:
    elsewhere = rtp_peer(host="127.0.0.9")
    values: dict[str, str | int] = {"new_host": "127.0.0.9", "new_port": elsewhere.port, "reinvite_after_ms": 400}
    phone = desk.phone("phone_moves_media_in_ack", "1001", audio=utterance, values=values)
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance[::-1],
        values={"line": DESK, "caller": number},
    )
    page = unharmed(book, caller, utterance, number)
    phone.wait().check()
    assert page.data_of("forward_blocked") == {"way": "media_move", "target": "127.0.0.9", "source": "127.0.0.1"}
    assert page.evidence[0].startswith(b"ACK ")
    assert watch.seconds_after(phone, "ACK") <= ALARM_S
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


@pytest.mark.parametrize(
    ("scenario", "change", "way", "target"),
    [
        ("phone_redirects", None, "redirect", "sip:13900139000@127.0.0.9"),
        (
            "phone_never_answers",
            ("SIP/2.0 180 Ringing", "SIP/2.0 181 Call Is Being Forwarded"),
            "forwarded_181",
            "",
        ),
    ],
)
def test_another_phone_takes_the_call(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    watch: AlarmWatch,
    scenario: str,
    change: tuple[str, str] | None,
    way: str,
    target: str,
) -> None:
    """One of two phones sends the call elsewhere: it is not followed, and the officer at the other one answers."""
    elsewhere = rtp_peer(host="127.0.0.9")
    values: dict[str, str | int] = {"target": f"{target}:{elsewhere.port}"} if target else {}
    scenarios = {"scenarios": variant(sipp, scenario, change)} if change is not None else {}
    forwarding = desk.phone(scenario, "1003", values=values, **scenarios)  # type: ignore[arg-type]
    desk.phone("phone_answers_and_talks", "1004", audio=utterance, values={"answer_ms": 600})
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance[::-1],
        values={"line": PAIR, "caller": number},
    )
    page = unharmed(book, caller, utterance, number)
    forwarding.wait().check()
    assert page.answered_by == "1004"
    assert page.data_of("forward_blocked")["way"] == way
    assert page.alarms == ("forward_blocked",)
    assert watch.at is not None
    assert watch.at - page.arrived_at.timestamp() <= ALARM_S + 0.6
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


def talking(service: Service, desk: Desk, book: Book, sipp: Sipp, speech: bytes, number: str) -> SippRun:
    """A caller and the phone 1003 of the line with two phones, in a call that lasts as long as ``speech``."""
    desk.phone("phone_answers_and_talks", "1003", audio=speech)
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=speech[::-1], values={"line": PAIR, "caller": number}
    )
    book.wait(number, lambda page: page.state == "answered")
    return caller


def dialling(service: Service, sipp: Sipp, extension: str, number: str, **options: object) -> SippRun:
    values: dict[str, str | int] = {
        "user": extension,
        "auth_user": extension,
        "password": service.password(extension),
        "number": number,
        "challenge": 401,
        "final": 403,
    }
    uri = f"{number}@{service.address[0]}:{service.address[1]}"
    return sipp.start(
        "phone_dials_out_refused",
        remote=service.address,
        values=values,
        auth_uri=uri,
        timeout_s=15,
        **options,  # type: ignore[arg-type]
    )


def test_a_forwarding_code_dialled_beside_a_call(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str, watch: AlarmWatch
) -> None:
    caller = talking(service, desk, book, sipp, utterance, number)
    code = f"**21*1390013{number[-4:]}%23"
    phone = dialling(service, sipp, "1004", code)
    assert phone.wait().check().received == ["401", "100", "403"]
    refused = book.ended(code.replace("%23", "#"))
    assert refused.data_of("forward_blocked")["way"] == "feature_code"
    assert watch.seconds_after(phone, "INVITE") <= ALARM_S
    unharmed(book, caller, utterance, number)


def test_a_phone_that_wants_to_replace_a_call(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    utterance: bytes,
    number: str,
    another_number: Callable[[], str],
    watch: AlarmWatch,
) -> None:
    """INVITE with Replaces (RFC 3891) for the dialog in which a caller and another phone talk."""
    caller = talking(service, desk, book, sipp, utterance, number)
    replaces = f"Replaces: {caller.messages()[0].header('Call-ID')};to-tag=a;from-tag=b"
    third = another_number()
    changed = variant(sipp, "phone_dials_out_refused", ("CSeq: 2 INVITE\n", f"CSeq: 2 INVITE\n    {replaces}\n"))
    phone = dialling(service, sipp, "1004", third, scenarios=changed)
    assert phone.wait().check().received[-1] == "403"
    refused = book.wait(third, lambda page: "forward_blocked" in page.kinds)
    assert refused.data_of("forward_blocked")["way"] == "replaces"
    assert refused.evidence[0].startswith(b"INVITE ")
    assert b"Replaces: " in refused.evidence[0]
    assert watch.seconds_after(phone, "INVITE") <= ALARM_S
    unharmed(book, caller, utterance, number)


def test_every_row_of_the_table_is_tried() -> None:
    assert set(SCENARIOS) == {rule.way.value for rule in TABLE}
    for names in SCENARIOS.values():
        for name in names:
            module, _, function = name.partition(":")
            assert callable(getattr(importlib.import_module(f"tests.line.{module}"), function, None)), name
