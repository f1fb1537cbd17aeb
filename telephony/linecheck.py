"""Makes the line checks and spot checks that are due: tells the line what to expect, lets the probe dial, and writes
the verdict down (requirement 4-a, 6.1-e, 6.6-b).

It sits beside the endpoint in the telephony process. The probe is a process of its own, killed when its time is over.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from duty.domain.linechecks import CheckKind, DueCheck, Finding, Verdict
from duty.domain.numbers import NumberPlan
from duty.domain.times import utc_now
from duty.services.linechecks import LineChecks
from telephony.bookwork import BookWork, WriteCheckEnd
from telephony.endpoint import Endpoint
from telephony.probe_call import ExpectedProbe
from telephony.probe_evidence import EVIDENCE, Manner, OurSide, ProbeEvidence, ProbeRun, conclude, judge
from telephony.probe_order import ORDER, Agent, ProbeOrder
from telephony.sip.flow import Address

_log = logging.getLogger(__name__)

POLL_S = 0.5
RETRY_S = 3.0
PLAN_EVERY_S = 300.0
ANSWER_LIMIT_S = 20.0
"""How long the probe lets it ring beyond what our side lets it ring."""
START_S = 10.0
"""What the probe's process may take to start and to end, beyond its own limits."""
SPOT_LIMIT_S = 180.0
"""The longest a spot check can take once it has rung."""
LOOKUP_S = 5.0
"""How long the name of the probe's server is looked up."""
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRoute:
    """How the probe of one line reaches it: through ``server``, showing ``caller`` on our side, dialling ``dial``; with
    ``server`` None it dials our own address, which proves the line but not the carrier. The server may be a name."""

    server: Address | None
    caller: str
    dial: str
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRules:
    """What is checked how often. Times in s; ``seed`` is the secret the planned times follow from. Nothing is planned
    for the lines in ``leave_out``: their calls are only forked to us."""

    line_checks_per_day: int
    spot_checks_per_day: int
    seed: str
    agent: Agent
    manners: tuple[Manner, ...]
    ring_s: float
    spot_ring_s: float
    leave_out: frozenset[str] = frozenset()


class CheckRunner:
    """Takes on due checks until stopped. ``own`` is where the line listens, ``write`` queues work for the book."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        checks: LineChecks,
        write: Callable[[BookWork], object],
        rules: CheckRules,
        routes: Mapping[str, ProbeRoute],
        own: Address,
        plan: NumberPlan,
    ) -> None:
        self._endpoint, self._checks, self._write = endpoint, checks, write
        self._rules, self._routes, self._own, self._plan = rules, routes, own, plan
        self._busy: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._planned_at = -PLAN_EVERY_S

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._plan_days()
                due = await asyncio.to_thread(self._checks.claim)
            except Exception as error:  # noqa: BLE001 - the edge: a failing store must not end the checks for good
                _log.warning("checks cannot be read: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            if due is None:
                await asyncio.sleep(POLL_S)
            else:
                task = asyncio.get_running_loop().create_task(self._perform(due))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self, timeout_s: float = 2.0) -> None:
        """Give the checks under way a moment to end, as their calls have, then drop them: at the next start the book
        says that they were not made."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _plan_days(self) -> None:
        if time.monotonic() - self._planned_at < PLAN_EVERY_S:
            return
        rules = self._rules
        for kind, per_day in ((CheckKind.LINE, rules.line_checks_per_day), (CheckKind.SPOT, rules.spot_checks_per_day)):
            await asyncio.to_thread(
                self._checks.plan, kind, per_day=per_day, seed=rules.seed, leave_out=rules.leave_out
            )
        self._planned_at = time.monotonic()

    async def _perform(self, due: DueCheck) -> None:
        """One check to its verdict, whatever happens."""
        async with self._busy.setdefault(due.line_number, asyncio.Lock()):
            try:
                finding = await (self._spot(due) if due.kind is CheckKind.SPOT else self._line(due))
            except Exception as error:  # noqa: BLE001 - the check's edge: whatever failed, the check ends with a verdict
                _log.exception("check %s failed", due.check_id)
                finding = Finding(verdict=Verdict.FAULT, reason=f"broken: {type(error).__name__}")
        if finding is not None:
            self._write(WriteCheckEnd(check_id=due.check_id, finding=finding, at=utc_now()))

    # 查岗

    async def _spot(self, due: DueCheck) -> Finding | None:
        ring_s = self._rules.spot_ring_s
        found = self._endpoint.spot_check(check_id=due.check_id, line_number=due.line_number, ring_s=ring_s)
        if found is not None:
            return await asyncio.wait_for(found, ring_s + SPOT_LIMIT_S)
        if await asyncio.to_thread(self._checks.postpone, due.check_id):
            return None
        return Finding(verdict=Verdict.NOT_RUN, reason="line_in_use")

    # 拨测

    async def _line(self, due: DueCheck) -> Finding:
        route = self._routes.get(due.line_number)
        if route is None:
            return Finding(verdict=Verdict.NOT_RUN, reason="line_not_configured")
        manners: Sequence[Manner] = self._rules.manners if route.server is not None else (Manner.ANSWER,)
        if route.server is not None:
            route = replace(route, server=await _looked_up(route.server))
        runs: list[ProbeRun] = []
        for manner in manners:
            runs.append(await self._probe(due, route, manner))
            if runs[-1].verdict is not Verdict.PASSED:
                break
        return conclude(runs, through_carrier=route.server is not None)

    async def _probe(self, due: DueCheck, route: ProbeRoute, manner: Manner) -> ProbeRun:
        directly = route.server is None
        host, port = route.server or self._own
        caller = f"probe-{secrets.token_hex(16)}" if directly else route.caller
        ring_s = self._rules.ring_s if manner is Manner.RING else 0.0
        order = ProbeOrder(
            agent="softphone" if directly else self._rules.agent,
            host=host,
            port=port,
            user=caller if directly or not route.username else route.username,
            number=due.line_number if directly else route.dial,
            token=due.token,
            answer_limit_s=ring_s + ANSWER_LIMIT_S,
            register=not directly and bool(route.username),
            username=route.username,
            password=route.password,
            local_host=_local_host(host, self._own[0]),
        )
        expected = ExpectedProbe(
            check_id=due.check_id,
            line_number=due.line_number,
            caller=caller,
            directly=directly,
            token=due.token,
            manner=manner,
            until=time.monotonic() + order.limit_s + START_S,
            ring_s=ring_s,
            plan=self._plan,
        )
        seen = self._endpoint.expect_probe(expected)
        try:
            evidence = await run_probe(order)
        finally:
            self._endpoint.forget_probe(due.check_id)
        ours: OurSide = await seen
        verdict, reason = judge(evidence, ours, token=due.token, manner=manner)
        return ProbeRun(manner=manner, evidence=evidence, ours=ours, verdict=verdict, reason=reason)


async def run_probe(order: ProbeOrder) -> ProbeEvidence:
    """Let a process of its own carry out ``order``; a fault of the process is evidence, too."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "telephony.probe",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    try:
        limit = order.limit_s + START_S
        said, complained = await asyncio.wait_for(process.communicate(ORDER.dump_json(order)), limit)
    except TimeoutError:
        return ProbeEvidence(agent=order.agent, dialled=order.number, fault="probe_timeout")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return EVIDENCE.validate_json(said)
    except ValueError:
        _log.error("the probe said nothing of use: %s", complained.decode("utf-8", "replace")[-2000:])
        return ProbeEvidence(agent=order.agent, dialled=order.number, fault=f"probe_status_{process.returncode}")


async def _looked_up(server: Address) -> Address:
    """The server's address. A name that does not resolve in time is left as it is: nobody answers there, and the check
    says so."""
    host, port = server
    try:
        looking = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        found = await asyncio.wait_for(looking, LOOKUP_S)
    except (OSError, UnicodeError, TimeoutError) as error:
        _log.error("the probe's server %s cannot be found: %s", host, error or "no answer")
        return server
    return str(found[0][4][0]), port


def _local_host(remote: str, own: str) -> str:
    """Where the probe itself stands: on loopback for loopback, else at the address that the line has."""
    if remote.startswith("127.") or remote == "::1":
        return remote if remote == "::1" else "127.0.0.1"
    return own
