"""拨测 and 查岗 on the running line: a carrier that forwards is found out, and presence is proven at the desk phone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from duty.domain.linechecks import CheckKind, CheckState, Verdict
from duty.domain.rights import Actor, Role
from duty.domain.times import utc_now
from duty.services.accounts import Accounts
from duty.services.linechecks import CheckView, LineChecks
from duty.services.pins import Pins
from duty.store.database import Store
from duty.store.tables import AlarmRow, CallEventRow, CallRow, EntryRow, EventRow, OfficerRow
from telephony.softphone import Progress, Softphone
from tests.line.carrier import Carrier, Way
from tests.line.service import Line, Probe, Service, Trunk

pytestmark = pytest.mark.peer

NUMBER, DIRECT, PROBE = "037122590011", "037122590012", "037122590099"
PIN = "482915"
LIMIT_S = 150.0
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Site:
    """A service with a line behind a carrier and one without, and the book of both."""

    service: Service
    carrier: Carrier
    store: Store

    @property
    def checks(self) -> LineChecks:
        return LineChecks(self.store, utc_now)

    def leader(self) -> Actor:
        with self.store.reading() as session:
            row = session.scalars(select(OfficerRow).where(OfficerRow.login == "daiban")).one()
            return Actor(officer_id=row.id, name=row.name, unit_id=row.unit_id, roles=frozenset({Role.LEADER}))

    def check(self, number: str = NUMBER, kind: CheckKind = CheckKind.LINE) -> CheckView:
        """Order a check and wait for its verdict."""
        return self.wait(self.order(number, kind))

    def order(self, number: str, kind: CheckKind) -> int:
        return self.checks.order(self.leader(), number, kind)

    def wait(self, check_id: int) -> CheckView:
        until = time.monotonic() + LIMIT_S
        while (seen := self.checks.one(check_id)).state is not CheckState.DONE:
            assert time.monotonic() < until, (seen, self.service.log()[-3000:])
            time.sleep(0.1)
        return seen

    def taken_on(self, check_id: int) -> None:
        """Until telephony has begun the check."""
        while self.checks.one(check_id).state is CheckState.DUE:
            time.sleep(0.05)

    def open_alarms(self, number: str) -> list[tuple[str, str]]:
        query = select(AlarmRow).where(AlarmRow.subject == number, AlarmRow.cleared_at.is_(None)).order_by(AlarmRow.id)
        with self.store.reading() as session:
            return [(row.kind, row.severity) for row in session.scalars(query)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    from tests.peers.ports import free_port

    port = free_port()
    carrier = Carrier(line=("127.0.0.1", port), asserted=PROBE)
    lines = (
        Line(
            number=NUMBER,
            phones=("1001",),
            trunk=Trunk(registrar=carrier.address),
            probe=Probe(server=carrier.address, caller_number=PROBE, username="probe", password="secret"),
        ),
        Line(number=DIRECT, phones=("1002",), max_calls=1),
    )
    with (
        closing(carrier),
        Service(tmp_path_factory.mktemp("checks"), lines, port=port) as service,
        closing(Store(service.settings.store_url)) as store,
    ):
        yield Site(service, carrier, store)


@pytest.fixture(autouse=True)
def _honest_again(site: Site) -> Iterator[None]:
    yield
    site.carrier.way, site.carrier.elsewhere = "through", None


@pytest.fixture
async def stranger(site: Site) -> AsyncIterator[Softphone]:
    """A telephone elsewhere that answers whatever comes."""
    async with Softphone(user="13800000000") as phone:
        site.carrier.elsewhere = phone.address

        async def answer() -> None:
            while True:
                (await phone.incoming()).answer()

        answering = asyncio.get_running_loop().create_task(answer())
        yield phone
        answering.cancel()


def told(seen: CheckView) -> list[dict[str, object]]:
    probes: list[dict[str, object]] = seen.evidence["probes"]
    return probes


@pytest.mark.rule("4-a", "6.1-e")
def test_the_line_answers_in_all_three_manners_through_the_carrier(site: Site) -> None:
    seen = site.check()
    assert (seen.verdict, seen.reason) == (Verdict.PASSED, "token_heard"), seen
    assert seen.evidence["through_carrier"] is True
    assert [probe["manner"] for probe in told(seen)] == ["answer", "ring", "busy"]
    answered, rang, busy = told(seen)
    for probe in (answered, rang):
        assert probe["digits_events"] or probe["digits_voice"]
        assert (probe["arrived"], probe["answered"]) == (True, True)
    assert isinstance(rang["answer_s"], float)
    assert rang["answer_s"] >= 3.0
    assert "486" in str(busy["statuses"])
    assert site.open_alarms(NUMBER) == []
    with site.store.reading() as session:
        call = session.get_one(CallRow, seen.call_id)
        assert (call.purpose, call.outcome, call.recording.state if call.recording else "") == (
            "line_check", "answered", "none",
        )  # fmt: skip
        assert session.scalars(select(EntryRow)).all() == []


@pytest.mark.slow
@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize(
    ("way", "verdict", "reason"),
    [
        ("elsewhere", Verdict.FOREIGN, "answered_by_stranger"),
        ("announced", Verdict.FORWARDED, "sip_181"),
        ("redirects", Verdict.FORWARDED, "sip_302"),
        ("on_no_answer", Verdict.FORWARDED, "answered_elsewhere"),
        ("on_busy", Verdict.FORWARDED, "answered_elsewhere"),
    ],
)
async def test_forwarding_set_at_the_carrier_is_found_and_alarmed(
    site: Site, stranger: Softphone, way: Way, verdict: Verdict, reason: str
) -> None:
    site.carrier.way = way
    seen = await asyncio.to_thread(site.check)
    assert (seen.verdict, seen.reason) == (verdict, reason), seen
    assert ("line_check_failed", "critical") in site.open_alarms(NUMBER)
    assert not any(probe["arrived"] and probe["answered"] for probe in told(seen)[-1:])


@pytest.mark.slow
@pytest.mark.rule("4-a")
@pytest.mark.parametrize(
    ("way", "verdict", "reason", "severity"),
    [
        ("silent", Verdict.DEAD, "no_answer", "critical"),
        ("refuses", Verdict.DEAD, "sip_404", "critical"),
        ("busy", Verdict.BUSY, "sip_486", "warning"),
    ],
)
def test_a_line_that_cannot_be_reached_is_told_and_cleared_by_the_next_good_check(
    site: Site, way: Way, verdict: Verdict, reason: str, severity: str
) -> None:
    site.carrier.way = way
    seen = site.check()
    assert (seen.verdict, seen.reason) == (verdict, reason), seen
    assert site.open_alarms(NUMBER)[-1] == ("line_check_failed", severity)
    site.carrier.way = "through"
    assert site.check().verdict is Verdict.PASSED
    assert site.open_alarms(NUMBER) == []


@pytest.mark.rule("4-a")
def test_a_line_without_a_probe_checks_itself_and_says_that_the_carrier_was_not_tried(site: Site) -> None:
    seen = site.check(DIRECT)
    assert (seen.verdict, seen.evidence["through_carrier"]) == (Verdict.PASSED, False), seen
    (probe,) = told(seen)
    token = str(probe["digits_voice"])
    assert len(token) >= 8
    assert probe["digits_events"]


def test_callers_are_rung_through_while_the_line_is_checked(site: Site) -> None:
    """The only place of the line stays free: the probe takes none."""

    async def call_during_the_check() -> None:
        async with desk(site, "1002") as phone, Softphone(user="13800138111") as caller:
            check_id = await asyncio.to_thread(site.order, DIRECT, CheckKind.LINE)
            await reached_running(site, check_id)
            call = caller.call(DIRECT, site.service.address)
            arriving = await phone.incoming()
            assert arriving.number == "13800138111"
            arriving.answer()
            await call.reached(Progress.TALKING)
            assert (await asyncio.to_thread(site.wait, check_id)).verdict is Verdict.PASSED
            call.hang_up()

    asyncio.run(asyncio.wait_for(call_during_the_check(), LIMIT_S))


async def reached_running(site: Site, check_id: int) -> None:
    await asyncio.to_thread(site.taken_on, check_id)


# 查岗


@asynccontextmanager
async def desk(site: Site, extension: str) -> AsyncIterator[Softphone]:
    """The desk phone, registered."""
    async with Softphone(user=extension, password=site.service.password(extension)) as phone:
        await phone.register(site.service.address)
        yield phone


@pytest.fixture
def officer(site: Site) -> Iterator[int]:
    """The officer whose PIN is PIN."""
    pins = Pins(site.store, utc_now, accounts=Accounts(site.store, utc_now), hasher=HASHER)
    with site.store.writing() as session:
        row = session.scalars(select(OfficerRow).where(OfficerRow.login == "zhiban")).one()
        row.pin_hash = HASHER.hash(PIN)
        officer_id = row.id
    assert pins.whose(DIRECT, PIN) == officer_id
    return officer_id


async def spot_check(site: Site, *keys: str, wait_s: float = 1.0, hang_up: bool = False) -> CheckView:
    """A spot check in which the officer answers and presses ``keys``, one try after the other."""
    async with asyncio.timeout(LIMIT_S), desk(site, "1002") as phone:
        check_id = await asyncio.to_thread(site.order, DIRECT, CheckKind.SPOT)
        call = await phone.incoming()
        assert call.peer.display == "查岗"
        call.ring()
        await asyncio.sleep(0.6)
        call.answer()
        await asyncio.sleep(wait_s)
        for each in keys:
            await call.press(each)
            await asyncio.sleep(2.0)
        if hang_up:
            call.hang_up()
        seen = await asyncio.to_thread(site.wait, check_id)
        await call.reached(Progress.ENDED)
        return seen


def nowhere_in_clear(site: Site, pin: str) -> None:
    """The PIN is in no table, no file and no log."""
    with site.store.reading() as session:
        rows = [
            json.dumps([row.data for row in session.scalars(select(CallEventRow))]),
            json.dumps([row.data for row in session.scalars(select(EventRow))]),
        ]
    assert not any(pin in text for text in rows)
    for path in site.service.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert pin.encode() not in path.read_bytes(), path
    with site.store.reading() as session:
        events = session.scalars(select(CallEventRow).where(CallEventRow.kind == "dtmf"))
        assert events.all() == []


@pytest.mark.rule("6.6-b")
async def test_presence_is_proven_by_the_pin_and_the_time_of_the_answer_is_kept(site: Site, officer: int) -> None:
    seen = await spot_check(site, PIN + "#")
    assert (seen.verdict, seen.reason, seen.officer) == (Verdict.PASSED, "pin_right", "值班员"), seen
    assert seen.answer_s is not None
    assert 0.5 < seen.answer_s < 10
    assert seen.evidence["rang"] is True
    assert seen.evidence["ring_s"] >= 0.5
    assert seen.evidence["answered_by"] == "1002"
    assert site.open_alarms(DIRECT) == []
    nowhere_in_clear(site, PIN)
    with site.store.reading() as session:
        call = session.get_one(CallRow, seen.call_id)
        assert (call.purpose, call.recording.state if call.recording else "") == ("spot_check", "none")


@pytest.mark.rule("6.6-b")
async def test_a_second_try_is_granted(site: Site, officer: int) -> None:
    seen = await spot_check(site, "193758#", PIN + "#")
    assert (seen.verdict, seen.evidence["tries"]) == (Verdict.PASSED, 2)


@pytest.mark.rule("6.6-b")
async def test_a_wrong_pin_fails_the_check_and_alarms(site: Site, officer: int) -> None:
    seen = await spot_check(site, "193758#", "193759#")
    assert (seen.verdict, seen.officer) == (Verdict.WRONG_PIN, ""), seen
    assert site.open_alarms(DIRECT) == [("spot_check_failed", "critical")]
    nowhere_in_clear(site, "193758")
    site.checks.appeal(officer_actor(site, officer), seen.check_id, "记错密码，本人在岗")
    site.checks.decide(site.leader(), seen.check_id, upheld=True, words="已核实在岗")
    assert site.open_alarms(DIRECT) == []


def officer_actor(site: Site, officer_id: int) -> Actor:
    return Actor(officer_id=officer_id, name="值班员", unit_id=site.leader().unit_id, roles=frozenset({Role.OFFICER}))


@pytest.mark.rule("6.6-b")
async def test_whoever_answers_and_hangs_up_has_proven_nothing(site: Site, officer: int) -> None:
    seen = await spot_check(site, hang_up=True)
    assert (seen.verdict, seen.reason) == (Verdict.NO_PIN, "pin_missing"), seen


@pytest.mark.rule("6.6-b")
async def test_nobody_answers_although_it_rang(site: Site, officer: int) -> None:
    async with desk(site, "1002") as phone:
        check_id = await asyncio.to_thread(site.order, DIRECT, CheckKind.SPOT)
        (await phone.incoming()).ring()
        seen = await asyncio.to_thread(site.wait, check_id)
    assert (seen.verdict, seen.evidence["rang"]) == (Verdict.NO_ANSWER, True)
    assert seen.evidence["ring_s"] >= 4.0


@pytest.mark.rule("6.6-b")
async def test_a_fault_of_the_line_is_nobodys(site: Site, officer: int) -> None:
    seen = await asyncio.to_thread(site.check, DIRECT, CheckKind.SPOT)
    assert (seen.verdict, seen.reason) == (Verdict.UNREACHABLE, "no_phone_registered")
    assert not seen.verdict.concerns_officer
    async with desk(site, "1002") as phone:
        check_id = await asyncio.to_thread(site.order, DIRECT, CheckKind.SPOT)
        await phone.incoming()
        seen = await asyncio.to_thread(site.wait, check_id)
    assert (seen.verdict, seen.reason, seen.evidence["rang"]) == (Verdict.UNREACHABLE, "phone_silent", False)


@pytest.mark.rule("6.6-b", "6.1-a")
async def test_a_caller_goes_before_the_check(site: Site, officer: int) -> None:
    async with asyncio.timeout(LIMIT_S), desk(site, "1002") as phone, Softphone(user="13800138222") as caller:
        check_id = await asyncio.to_thread(site.order, DIRECT, CheckKind.SPOT)
        first = await phone.incoming()
        first.ring()
        call = caller.call(DIRECT, site.service.address)
        arriving = await phone.incoming()
        assert arriving.number == "13800138222"
        await first.reached(Progress.ENDED)
        arriving.answer()
        await call.reached(Progress.TALKING)
        call.hang_up()
        seen = await asyncio.to_thread(site.wait, check_id)
    assert (seen.verdict, seen.reason) == (Verdict.NOT_RUN, "duty_call")


def test_a_check_whose_process_was_killed_says_so(site: Site) -> None:
    site.carrier.way = "silent"
    check_id = site.order(NUMBER, CheckKind.LINE)
    asyncio.run(asyncio.wait_for(reached_running(site, check_id), 20))
    site.service.kill()
    site.service.start()
    seen = site.wait(check_id)
    assert (seen.verdict, seen.reason) == (Verdict.NOT_RUN, "process_restarted")


@pytest.mark.slow
def test_pyvoip_hears_the_token_too(tmp_path: Path) -> None:
    """The independent party: a foreign SIP stack registers, dials, and hears what only this process can say."""
    pytest.importorskip("pyVoIP")
    from tests.peers.ports import free_port

    port = free_port()
    with closing(Carrier(line=("127.0.0.1", port), asserted=PROBE)) as carrier:
        probe = Probe(server=carrier.address, caller_number=PROBE, username="probe", password="secret")
        line = Line(number=NUMBER, trunk=Trunk(registrar=carrier.address), probe=probe)
        with (
            Service(tmp_path / "pyvoip", (line,), port=port, agent="pyvoip") as service,
            closing(Store(service.settings.store_url)) as store,
        ):
            site = Site(service, carrier, store)
            seen = site.check()
            first = told(seen)[0]
            assert (first["agent"], first["verdict"]) == ("pyvoip", "passed"), seen
            assert seen.verdict is Verdict.PASSED, seen
