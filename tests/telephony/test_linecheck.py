"""The verdict on a probe call, on every combination of what can be seen: a line never passes without the token."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.linechecks import Verdict
from duty.domain.numbers import NumberPlan
from telephony import linecheck
from telephony.linecheck import run_probe
from telephony.probe_call import ExpectedProbe
from telephony.probe_evidence import (
    EVIDENCE,
    Manner,
    OurSide,
    ProbeEvidence,
    ProbeRun,
    StatusSeen,
    conclude,
    diverted,
    judge,
)
from telephony.probe_order import ORDER, ProbeOrder
from telephony.probe_tones import tones
from telephony.rtp.inband import InbandDetector

TOKEN = "48291573"
OURS = OurSide(arrived=True, answered=True, call_id="a" * 32, reason="caller_hung_up")
NEVER = OurSide()
TAKEN_AWAY = OurSide(arrived=True, reason="caller_cancelled")


def saw(*statuses: int, answered: bool = False, events: str = "", voice: str = "", fault: str = "") -> ProbeEvidence:
    return ProbeEvidence(
        agent="softphone",
        dialled="037122595110",
        statuses=tuple(StatusSeen(status=each, at_s=0.1) for each in statuses),
        answer_s=0.5 if answered else None,
        digits_events=events,
        digits_voice=voice,
        fault=fault,
    )


async def test_the_name_of_the_probes_server_is_looked_up_without_holding_up_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await linecheck._looked_up(("localhost", 5070)) in {("127.0.0.1", 5070), ("::1", 5070)}
    assert await linecheck._looked_up(("no-such-name.invalid", 5070)) == ("no-such-name.invalid", 5070)
    assert await linecheck._looked_up(("a" * 70, 5070)) == ("a" * 70, 5070), "a label too long for any name"
    monkeypatch.setattr(linecheck, "LOOKUP_S", 0.1)
    loop, ticks = asyncio.get_running_loop(), 0

    async def never(*_arguments: object, **_named: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(loop, "getaddrinfo", never)
    looking = asyncio.create_task(linecheck._looked_up(("slow.example", 5070)))
    while not looking.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert await looking == ("slow.example", 5070)
    assert ticks > 3


@pytest.mark.rule("4-a", "6.1-e")
@pytest.mark.parametrize(
    ("evidence", "ours", "manner", "verdict", "reason"),
    [
        (saw(100, 180, 200, answered=True, voice=TOKEN), OURS, "answer", "passed", "token_heard"),
        (saw(100, 200, answered=True, events="3" + TOKEN + "9"), OURS, "ring", "passed", "token_heard"),
        (saw(100, 200, answered=True), OURS, "answer", "dead", "token_not_heard"),
        (saw(100, 200, answered=True, voice="48291574"), OURS, "answer", "dead", "token_not_heard"),
        (saw(100, 200, answered=True), NEVER, "answer", "foreign", "answered_by_stranger"),
        (saw(100, 200, answered=True, voice="123"), NEVER, "answer", "foreign", "answered_by_stranger"),
        (saw(100, 200, answered=True, voice=TOKEN), NEVER, "answer", "foreign", "token_without_call"),
        (saw(100, 180, 200, answered=True), TAKEN_AWAY, "ring", "forwarded", "answered_elsewhere"),
        (saw(100, 181, 200, answered=True, voice=TOKEN), OURS, "answer", "forwarded", "sip_181"),
        (saw(302), NEVER, "answer", "forwarded", "sip_302"),
        (saw(100, 486), OurSide(arrived=True, reason="probe_busy"), "busy", "passed", "busy_kept"),
        (
            saw(100, 200, answered=True),
            OurSide(arrived=True, reason="probe_busy"),
            "busy",
            "forwarded",
            "answered_elsewhere",
        ),
        (saw(100, 486), NEVER, "busy", "busy", "sip_486"),
        (saw(100, 486), NEVER, "answer", "busy", "sip_486"),
        (saw(404), NEVER, "answer", "dead", "sip_404"),
        (saw(100, 503), OurSide(arrived=True, reason="no_media"), "answer", "dead", "sip_503"),
        (saw(100, 180), NEVER, "answer", "dead", "no_answer"),
        (saw(), NEVER, "answer", "dead", "no_response"),
        (saw(407), NEVER, "answer", "fault", "sip_407"),
        (saw(fault="not_registered: 403"), NEVER, "answer", "fault", "not_registered: 403"),
        (saw(100, 181, fault="probe_timeout"), NEVER, "answer", "forwarded", "sip_181"),
    ],
)
def test_each_verdict(evidence: ProbeEvidence, ours: OurSide, manner: str, verdict: str, reason: str) -> None:
    assert judge(evidence, ours, token=TOKEN, manner=Manner(manner)) == (Verdict(verdict), reason)


digits = st.text("0123456789*#", max_size=12)
evidences = st.builds(
    ProbeEvidence,
    agent=st.sampled_from(["softphone", "pyvoip"]),
    dialled=st.just("110"),
    statuses=st.lists(
        st.builds(
            StatusSeen,
            status=st.sampled_from([100, 180, 181, 183, 200, 302, 404, 407, 480, 486, 503, 600]),
            at_s=st.floats(0, 60),
            diverted=st.sampled_from(["", "Diversion: <sip:1@x>"]),
        ),
        max_size=5,
    ).map(tuple),
    answer_s=st.none() | st.floats(0, 60),
    digits_events=digits | st.just(TOKEN),
    digits_voice=digits | st.just(TOKEN),
    fault=st.sampled_from(["", "probe_timeout"]),
)
sides = st.builds(OurSide, arrived=st.booleans(), answered=st.booleans())


@pytest.mark.rule("6.1-e")
@given(evidence=evidences, ours=sides, manner=st.sampled_from(Manner), token=digits | st.just(TOKEN))
def test_no_line_passes_without_the_token(evidence: ProbeEvidence, ours: OurSide, manner: Manner, token: str) -> None:
    verdict, reason = judge(evidence, ours, token=token, manner=manner)
    assert reason
    if verdict is Verdict.PASSED:
        assert not any(seen.status == 181 or 300 <= seen.status < 400 or seen.diverted for seen in evidence.statuses)
        if manner is Manner.BUSY:
            assert ours.arrived
            assert evidence.answer_s is None
        else:
            assert ours.answered
            assert len(token) >= 4
            assert token in evidence.digits_events or token in evidence.digits_voice


@given(st.lists(st.tuples(st.sampled_from(Manner), st.sampled_from([Verdict.PASSED, Verdict.DEAD])), max_size=4))
def test_a_check_passes_only_by_an_answered_call(made: list[tuple[Manner, Verdict]]) -> None:
    runs = [ProbeRun(manner=m, evidence=saw(200), ours=OURS, verdict=v, reason="r") for m, v in made]
    passed = bool(made) and all(v is Verdict.PASSED for _, v in made) and Manner.ANSWER in {m for m, _ in made}
    found = conclude(runs, through_carrier=True)
    assert (found.verdict is Verdict.PASSED) is passed
    json.dumps(found.evidence)


@given(evidences)
def test_evidence_crosses_between_processes_unchanged(evidence: ProbeEvidence) -> None:
    assert EVIDENCE.validate_json(EVIDENCE.dump_json(evidence)) == evidence


def test_an_order_crosses_with_its_password_and_shows_it_nowhere() -> None:
    order = ProbeOrder(
        agent="softphone",
        host="127.0.0.1",
        port=5060,
        user="u",
        number="110",
        token="1",
        answer_limit_s=1,
        password="pw",
    )
    assert ORDER.validate_json(ORDER.dump_json(order)) == order
    assert "pw" not in repr(order)


@pytest.mark.parametrize(
    ("history", "diversion", "told"),
    [
        ([], [], False),
        (["<sip:110@x>;index=1"], [], False),
        (["<sip:110@x>;index=1", "<sip:138@y?Reason=SIP%3Bcause%3D302>;index=1.1"], [], True),
        (["<sip:138@y;cause=408>;index=1.1"], [], True),
        ([], ["<sip:110@x>;reason=unconditional"], True),
    ],
)
def test_headers_that_tell_of_a_forwarding(history: list[str], diversion: list[str], told: bool) -> None:
    assert bool(diverted(history, diversion)) is told


@given(st.text("0123456789", min_size=1, max_size=8))
def test_the_token_can_be_heard_in_the_voice(token: str) -> None:
    assert "".join(one.digit for one in InbandDetector().receive(tones(token))) == token


@pytest.mark.parametrize(
    ("expected", "shown", "directly", "known"),
    [
        ("037122590099", "+8637122590099", False, True),
        ("037122590099", "22590099", False, True),
        ("037122590099", "037122590098", False, False),
        ("037122590099", "", False, False),
        ("probe-ab12", "probe-ab12", True, True),
        ("probe-ab12", "probe-ab13", True, False),
    ],
)
def test_the_probe_is_known_by_its_number(expected: str, shown: str, directly: bool, known: bool) -> None:
    probe = ExpectedProbe(
        check_id=1, line_number="110", caller=expected, directly=directly, token=TOKEN, manner=Manner.ANSWER,
        until=10.0, ring_s=0.0, plan=NumberPlan(),
    )  # fmt: skip
    assert probe.matches("110", shown, 5.0) is known
    assert not probe.matches("110", shown, 10.1), "too late"
    assert not probe.matches("119", shown, 5.0), "another line"


async def test_a_probe_that_cannot_dial_says_why() -> None:
    order = ProbeOrder(
        agent="pyvoip", host="127.0.0.1", port=9, user="u", number="110", token=TOKEN, answer_limit_s=0.1
    )
    said = await run_probe(order)
    assert said.fault.partition(":")[0] in ("pyvoip_needs_registrar", "agent_missing")
    assert judge(said, NEVER, token=TOKEN, manner=Manner.ANSWER)[0] is Verdict.FAULT


async def test_a_probe_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order promises an end in time; whatever the process does instead, the check goes on."""
    monkeypatch.setattr(linecheck, "START_S", 0.2)
    order = ProbeOrder(
        agent="softphone", host="127.0.0.1", port=9, user="u", number="110", token=TOKEN, answer_limit_s=-15.0
    )
    assert order.limit_s + linecheck.START_S < 1.0
    assert (await run_probe(order)).fault == "probe_timeout"
