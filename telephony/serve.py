"""The telephony process: settings in, a running endpoint out."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
import secrets as chance
import signal
import tomllib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from importlib import resources
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from config.secrets import Secrets
from config.settings import LineSettings, MediaSide, Settings
from duty.domain.happenings import AlarmKind, Severity
from duty.domain.numbers import NumberPlan
from duty.domain.times import utc_now
from duty.services.alarms import Alarms
from duty.services.callbook import CallBook
from duty.services.commands import Commands
from duty.services.custody import Custody
from duty.services.exceptions import ForwardExceptions
from duty.services.linechecks import LineChecks
from duty.services.lines import Lines
from duty.services.numbering import number_plan
from duty.services.outages import Outages
from duty.services.pins import Pins
from duty.services.recordings import Recordings
from telephony import heartbeat, salvage
from telephony.batchstore import BatchStore
from telephony.bookkeeper import Bookkeeper
from telephony.bookwork import BookWriter
from telephony.chores import Chores
from telephony.diskwatch import DiskWatch
from telephony.endpoint import Endpoint, facts_of
from telephony.exceptionwatch import watch
from telephony.line import LineProfile, SiprecProfile, TrunkProfile
from telephony.linecheck import CheckRules, CheckRunner, ProbeRoute
from telephony.listening import certificates, listens, own_address
from telephony.livefeed import LiveFeed
from telephony.livewatch import LiveWatch
from telephony.media import MediaPlane
from telephony.media_policy import MediaPolicy
from telephony.names import Names
from telephony.probe_evidence import Manner
from telephony.prompts import NO_ANSWER, SHIPPED, prompt_file, shipped_prompt
from telephony.rtp.g711 import Samples
from telephony.sealing import SealedRecording
from telephony.sip.authentication import Account
from telephony.sip.digest import ALGORITHMS, ha1
from telephony.sip.sdp import G722, PCMA, PCMU
from telephony.sip.uri import SipUri, parse_uri
from telephony.spool import Spool
from telephony.switchboard import Switchboard
from telephony.trunkroutes import LineRoutes, Locator
from telephony.trunkroutes import watch as watch_trunk

_log = logging.getLogger(__name__)

COMMAND_POLL_S = 0.2
COMMAND_RETRY_S = 5.0
STORE_PATIENCE_S = 3.0
OWN_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a listener on every address is reached from this machine."""


def run(settings: Settings, secrets: Secrets) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError when the address cannot be had."""
    asyncio.run(_serve(settings, secrets))


async def _serve(settings: Settings, secrets: Secrets) -> None:
    store = BatchStore(settings.store_url, patience_s=STORE_PATIENCE_S)
    plan = number_plan(settings.numbers)
    calls, recordings = CallBook(store, utc_now, plan), Recordings(store, utc_now)
    lines, commands = Lines(store, utc_now), Commands(store, utc_now)
    alarms = Alarms(store, utc_now)
    checks, pins = LineChecks(store, utc_now), Pins(store, utc_now)
    writer = BookWriter(
        store=store, clock=utc_now, calls=calls, lines=lines, commands=commands, checks=checks, alarms=alarms
    )
    book = Bookkeeper(
        writer, Spool(settings.data.dir / "spool"), on_trouble=lambda troubled: _store_trouble(alarms, troubled)
    )
    started_at = utc_now()

    def tidy() -> bool:
        return _tidy(calls, recordings, checks, commands, settings.data.recordings, started_at)

    book.replay_now()
    tidied = tidy()
    book.start()
    locator = Locator(settings.sip, Names(settings.sip.nameserver_addresses))
    trunks = [LineRoutes(line, locator) for line in settings.lines if line.trunk is not None]
    endpoint = _endpoint(settings, secrets, book, trunks)
    bindings = [binding for kept in lines.bindings().values() for binding in kept] if tidied else []
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _settle_memory()
    await endpoint.open(bindings)
    opened_at = utc_now()
    outages = Outages(store, utc_now)
    endpoint.whose_pin = pins.whose
    runner = _check_runner(settings, secrets, endpoint, checks, book, plan)
    disk = DiskWatch(
        settings.data.dir, alarms, low_mb=settings.data.low_disk_mb, fill_hours=settings.recordings.fill_hours
    )
    live = LiveWatch(
        endpoint=endpoint,
        book=book,
        calls=calls,
        recordings=recordings,
        custody=Custody(store, utc_now),
        root=settings.data.recordings,
        clock=loop.time,
    )
    on_outage = {line.number: line.on_outage for line in settings.lines}
    chores = Chores(partial(_chore_failed, alarms))
    chores.begin("heartbeat", lambda: heartbeat.keep(outages, on_outage, since=opened_at))
    chores.begin("commands", lambda: _poll_commands(endpoint, commands))
    chores.begin("checks", runner.run)
    chores.begin("exceptions", lambda: watch(ForwardExceptions(store, utc_now).approved, endpoint.allow))
    chores.begin("disk", disk.run)
    chores.begin("live", live.run)
    for line in trunks:
        if line.open:
            chores.begin("trunks", partial(watch_trunk, line, endpoint.trunks_located))
    if not tidied:
        chores.begin("tidy", lambda: _tidy_later(tidy))
    await stop.wait()
    chores.stop()
    await endpoint.close()
    await runner.close()
    await asyncio.to_thread(book.close)
    await heartbeat.end(outages)
    store.close()


def _settle_memory() -> None:
    """What the program itself consists of stays for ever: looking through all of it for garbage, again and again, would
    hold every packet up for a tenth of a second."""
    gc.collect()
    gc.freeze()


def _tidy(
    calls: CallBook, recordings: Recordings, checks: LineChecks, commands: Commands, root: Path, before: datetime
) -> bool:
    """Close what a killed process left open; False where the database cannot be reached, which must not keep the line
    from being served."""
    try:
        interrupted = salvage.close_unfinished(calls, before)
        saved = salvage.seal_unsealed(recordings, root, before)
        checks.close_unfinished()
        commands.abandon()
    except SQLAlchemyError as error:
        _log.error("what a killed process left cannot be closed yet: %s", error)
        return False
    if interrupted or saved:
        _log.warning("after a crash: %d calls closed, %d recordings saved", interrupted, saved)
    return True


async def _tidy_later(tidy: Callable[[], bool]) -> None:
    tidied = False
    while not tidied:
        await asyncio.sleep(COMMAND_RETRY_S)
        tidied = await asyncio.to_thread(tidy)


def _endpoint(settings: Settings, secrets: Secrets, book: Bookkeeper, trunks: Sequence[LineRoutes]) -> Endpoint:
    root = settings.data.recordings
    root.mkdir(parents=True, exist_ok=True)

    def late(sealed: SealedRecording) -> None:
        book.write(facts_of(sealed, root))

    media = MediaPlane(
        bind_host=settings.sip.host,
        advertised_host=settings.sip.contact_host,
        port_range=(settings.sip.rtp_first_port, settings.sip.rtp_last_port),
        recordings_root=root,
        live=LiveFeed(settings.data.live_socket, clock=asyncio.get_running_loop().time),
        on_late_seal=late,
    )
    switchboard = Switchboard(
        lines=[profile(line, number_plan(settings.numbers)) for line in settings.lines],
        accounts=_accounts(settings, secrets),
        trunks={line.number: line.routes for line in trunks},
        realm=settings.sip.realm,
        secret=bytes.fromhex(secrets.sip_secret),
        token=lambda: chance.token_hex(16),
        chance=random.random,
        algorithms=settings.sip.digest_algorithms,
        allowed_networks=settings.sip.allowed_networks,
        scanners=_shipped("scanners")["agents"],
        session_s=settings.sip.session_seconds,
    )
    endpoint = Endpoint(
        switchboard=switchboard,
        media=media,
        book=book,
        recordings_root=root,
        prompts=_prompts(settings),
        listen=listens(settings.sip),
        tls=certificates(settings.sip),
    )
    for line in trunks:
        endpoint.name_peers(line.routes)
    return endpoint


def _check_runner(
    settings: Settings, secrets: Secrets, endpoint: Endpoint, checks: LineChecks, book: Bookkeeper, plan: NumberPlan
) -> CheckRunner:
    rules = CheckRules(
        line_checks_per_day=settings.checks.line_checks_per_day,
        spot_checks_per_day=settings.checks.spot_checks_per_day,
        seed=hashlib.sha256(f"checks:{secrets.sip_secret}".encode()).hexdigest(),
        agent=settings.checks.agent,
        manners=tuple(Manner(name) for name in settings.checks.manners),
        ring_s=settings.checks.ring_seconds,
        spot_ring_s=settings.checks.spot_ring_seconds,
        leave_out=frozenset(line.number for line in settings.lines if line.siprec is not None and not line.phones),
    )
    host, port = own_address(settings.sip)
    return CheckRunner(
        endpoint=endpoint,
        checks=checks,
        write=book.write,
        rules=rules,
        routes={line.number: _probe_route(line) for line in settings.lines},
        own=(OWN_ADDRESS.get(host, host), port),
        plan=plan,
    )


def _probe_route(line: LineSettings) -> ProbeRoute:
    """How the line's probe dials; the name of its server is looked up at each check."""
    probe = line.probe
    if probe is None:
        return ProbeRoute(server=None, caller="", dial=line.number)
    uri = parse_uri(probe.server)
    host, port = (uri.host.strip("[]"), uri.port or 5060) if isinstance(uri, SipUri) else ("", 5060)
    return ProbeRoute(
        server=(host, port),
        caller=probe.caller_number,
        dial=probe.dial or line.number,
        username=probe.username,
        password=probe.password,
    )


def profile(line: LineSettings, plan: NumberPlan) -> LineProfile:
    """A line's settings as telephony's values, with the shipped forwarding codes."""
    codes = _shipped("forwarding_codes")
    trunk = None
    if line.trunk is not None:
        trunk = TrunkProfile(
            registrar=" ".join(line.trunk.registrar),
            username=line.trunk.username,
            password=line.trunk.password,
            peers=line.trunk.peers,
            keep_alive_s=line.trunk.keep_alive_seconds,
        )
    siprec = None
    if line.siprec is not None:
        siprec = SiprecProfile(peers=line.siprec.peers, numbers=line.siprec.numbers, plan=plan)
    return LineProfile(
        number=line.number,
        name=line.name,
        extensions=tuple(phone.extension for phone in line.phones),
        max_calls=line.max_calls,
        when_busy=line.when_busy,
        ring_seconds=line.ring_seconds,
        no_answer=line.no_answer,
        announcement=_own_prompt(line) if line.announcement else "",
        hold=line.hold,
        trunk=trunk,
        siprec=siprec,
        forwarding_codes=(*codes["codes"], *line.forwarding_codes),
        phones_media=_media_policy(line, "phones"),
        trunk_media=_media_policy(line, "trunk"),
    )


def _media_policy(line: LineSettings, side: MediaSide) -> MediaPolicy:
    wanted = line.media_encryption
    return MediaPolicy(
        codecs=(PCMA, PCMU, G722),
        encryption=wanted.phones if side == "phones" else wanted.trunk,
        keys_in_clear=side in wanted.keys_without_tls,
    )


def _shipped(name: str) -> dict[str, list[str]]:
    """A list that comes with the program."""
    return tomllib.loads(resources.files("config").joinpath(f"{name}.toml").read_text("utf-8"))


def _accounts(settings: Settings, secrets: Secrets) -> dict[str, Account]:
    accounts = {}
    for line in settings.lines:
        for phone in line.phones:
            password = secrets.phone_password(settings, phone.extension)
            hashes = {
                algorithm: ha1(phone.extension, settings.sip.realm, password, algorithm) for algorithm in ALGORITHMS
            }
            accounts[phone.extension] = Account(user=phone.extension, ha1=hashes, networks=phone.networks)
    return accounts


def _prompts(settings: Settings) -> dict[str, Samples]:
    """Announcements by name: the shipped ones, and each line's own."""
    own = {_own_prompt(line): prompt_file(Path(line.announcement)) for line in settings.lines if line.announcement}
    return {name: shipped_prompt(name) for name in SHIPPED} | own


def _own_prompt(line: LineSettings) -> str:
    return f"{NO_ANSWER}_{line.number}"


def _store_trouble(alarms: Alarms, troubled: bool) -> None:
    """The database is back: say that it was away. While it is away nothing can be written, only logged."""
    if troubled:
        _log.critical("the database cannot be reached; calls go on and are kept in the spool")
        return
    _log.warning("the database is back; the spool is written")
    try:
        alarms.report(AlarmKind.STORE_RECOVERED, Severity.WARNING, subject="store")
    except SQLAlchemyError:
        _log.exception("the database is away again before its return could be written down")


def _chore_failed(alarms: Alarms, name: str, error: Exception) -> None:
    alarms.report(AlarmKind.CHORE_FAILED, Severity.WARNING, subject=name, error=type(error).__name__)


async def _poll_commands(endpoint: Endpoint, commands: Commands) -> None:
    while True:
        try:
            command = await asyncio.to_thread(commands.take)
        except Exception:  # noqa: BLE001 - the edge: a failing store must not stop the line
            _log.exception("commands cannot be read")
            await asyncio.sleep(COMMAND_RETRY_S)
            continue
        if command is not None:
            endpoint.dial(command)
        else:
            await asyncio.sleep(COMMAND_POLL_S)
