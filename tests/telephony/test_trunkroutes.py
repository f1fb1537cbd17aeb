"""The ways to a line's PBXs: from addresses, from hosts, and from domains by a real name server (RFC 3263)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from config.settings import LineSettings, ListenSettings, SipSettings, SipTlsSettings, TrunkSettings, load
from telephony import trunkroutes
from telephony.names import Names
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.locating import in_order
from telephony.trunk_target import TrunkRoute
from telephony.trunkroutes import LineRoutes, Locator, watch
from tests.peers.name_server import NameServer

TLS = SipTlsSettings(certificate="a.pem", key="a.key")  # type: ignore[arg-type]

EXAMPLE = (
    'pbx.example. 300 IN NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.pbx.example.',
    'pbx.example. 300 IN NAPTR 90 50 "s" "SIP+D2U" "" _sip._udp.pbx.example.',
    "_sips._tcp.pbx.example. 120 IN SRV 0 1 5061 secure.pbx.example.",
    "_sip._udp.pbx.example. 60 IN SRV 10 30 5060 a.pbx.example.",
    "_sip._udp.pbx.example. 60 IN SRV 10 70 5062 b.pbx.example.",
    "_sip._udp.pbx.example. 60 IN SRV 20 0 5060 c.pbx.example.",
    "a.pbx.example. 90 IN A 127.0.0.11",
    "b.pbx.example. 90 IN A 127.0.0.12",
    "c.pbx.example. 90 IN A 127.0.0.13",
    "secure.pbx.example. 90 IN A 127.0.0.14",
)


def settings(**changes: object) -> SipSettings:
    return load().sip.model_copy(update=changes)


def dual(*transports: str, **changes: object) -> SipSettings:
    places = [("UDP", "127.0.0.1", 5060, ""), ("TLS", "127.0.0.1", 5071, "192.0.2.9"), ("UDP", "::1", 5080, "")]
    listen = tuple(
        ListenSettings(transport=by, host=at, port=n, advertised_host=as_)  # type: ignore[arg-type]
        for by, at, n, as_ in places
        if not transports or by in transports
    )
    return settings(listen=listen, tls=TLS, **changes)


def line(*registrars: str) -> LineSettings:
    given = load().lines[0]
    return given.model_copy(update={"trunk": TrunkSettings(registrar=registrars)})


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(*EXAMPLE) as running:
        yield running


def places(routes: Sequence[TrunkRoute]) -> list[tuple[str, str, int, int, int]]:
    return [(route.flow.transport, *route.flow.remote, route.priority, route.weight) for route in routes]


# Addresses


@pytest.mark.parametrize(
    ("registrar", "transport", "remote", "local"),
    [
        ("sip:127.0.0.3", "UDP", ("127.0.0.3", 5060), ("127.0.0.1", 5060)),
        ("sip:127.0.0.3;transport=tls", "TLS", ("127.0.0.3", 5061), ("192.0.2.9", 5071)),
        ("sips:127.0.0.3:5071", "TLS", ("127.0.0.3", 5071), ("192.0.2.9", 5071)),
        ("sip:[::1]:5070", "UDP", ("::1", 5070), ("::1", 5080)),
    ],
)
async def test_a_route_fits_its_uri(
    registrar: str, transport: str, remote: tuple[str, int], local: tuple[str, int]
) -> None:
    locator = Locator(dual(), Names())
    located = locator.at_once(registrar)
    assert located == await locator.locate(registrar), "no name server is asked for an address"
    assert located is not None
    (route,) = located.routes
    assert (route.flow.transport, route.flow.remote, route.flow.local) == (transport, remote, local)
    assert route.name == remote[0]


async def test_what_cannot_be_reached_is_said() -> None:
    plain = Locator(settings(), Names())
    with pytest.raises(RemoteProtocolError, match="certificate"):
        plain.at_once("sips:127.0.0.3")
    with pytest.raises(RemoteProtocolError):
        plain.at_once("tel:123")
    with pytest.raises(OSError, match="reached"):
        plain.at_once("sip:[::1]")
    with pytest.raises(RemoteProtocolError, match="UDP"):
        Locator(dual("TLS"), Names()).at_once("sip:127.0.0.3")


async def test_a_name_of_the_machine_needs_no_name_server() -> None:
    (route,) = (await Locator(settings(), Names()).locate("sip:localhost:5070")).routes
    assert (route.flow.remote, route.domain, route.name) == (("127.0.0.1", 5070), "localhost:5070", "localhost")


# Domains


async def test_a_domain_is_resolved_by_naptr_and_srv(server: NameServer) -> None:
    names = Names([server.address])
    located = await Locator(settings(), names).locate("sip:pbx.example")
    assert places(located.routes) == [
        ("UDP", "127.0.0.12", 5062, 10, 70),
        ("UDP", "127.0.0.11", 5060, 10, 30),
        ("UDP", "127.0.0.13", 5060, 20, 0),
    ]
    assert {(route.domain, route.name) for route in located.routes} == {("pbx.example", "pbx.example")}
    assert (located.ttl, located.certain) == (60.0, True)
    secure = await Locator(dual(), names).locate("sip:pbx.example")
    assert places(secure.routes) == [("TLS", "127.0.0.14", 5061, 0, 1)], "the domain prefers TLS, and we have it"


async def test_a_named_transport_asks_for_it_alone(server: NameServer) -> None:
    located = await Locator(settings(), Names([server.address])).locate("sip:pbx.example;transport=udp")
    assert len(located.routes) == 3
    assert ("pbx.example", "NAPTR") not in server.asked


async def test_a_port_means_a_host(server: NameServer) -> None:
    server.set("pbx.example. 7 IN A 127.0.0.21", "pbx.example. 7 IN A 127.0.0.20", "pbx.example. 7 IN AAAA ::1")
    located = await Locator(settings(), Names([server.address])).locate("sip:pbx.example:5070")
    assert places(located.routes) == [("UDP", "127.0.0.20", 5070, 0, 0), ("UDP", "127.0.0.21", 5070, 0, 0)]
    assert located.ttl == 7.0
    assert {kind for _, kind in server.asked} == {"A", "AAAA"}


async def test_a_domain_without_srv_is_a_host(server: NameServer) -> None:
    server.set("pbx.example. 9 IN A 127.0.0.21")
    names = Names([server.address])
    assert places((await Locator(settings(), names).locate("sip:pbx.example")).routes) == [
        ("UDP", "127.0.0.21", 5060, 0, 0)
    ]
    secure = await Locator(dual("TLS"), names).locate("sip:pbx.example")
    assert places(secure.routes) == [("TLS", "127.0.0.21", 5061, 0, 0)], "where we have TLS alone"


async def test_a_service_that_is_decidedly_not_there_is_not_used(server: NameServer) -> None:
    server.set(
        "_sip._udp.pbx.example. 9 IN SRV 0 0 0 .",
        "_sip._tcp.pbx.example. 9 IN SRV 0 0 5066 a.pbx.example.",
        "a.pbx.example. 9 IN A 127.0.0.11",
    )
    located = await Locator(settings(), Names([server.address])).locate("sip:pbx.example")
    assert places(located.routes) == [("TCP", "127.0.0.11", 5066, 0, 0)]


# Lines


async def test_the_settings_order_goes_before_the_domains(server: NameServer) -> None:
    routes = LineRoutes(line("sip:127.0.0.9", "sip:pbx.example"), Locator(settings(), Names([server.address])))
    assert places(routes.routes) == [("UDP", "127.0.0.9", 5060, 0, 0)], "an address is there from the start"
    await routes.look()
    assert [(host, rank) for _, host, _, rank, _ in places(routes.routes)] == [
        ("127.0.0.9", 0), ("127.0.0.12", 1), ("127.0.0.11", 1), ("127.0.0.13", 2),
    ]  # fmt: skip
    first = in_order(routes.routes, lambda route: (route.priority, route.weight), lambda: 0.999)
    assert [route.flow.remote[0] for route in first] == ["127.0.0.9", "127.0.0.11", "127.0.0.12", "127.0.0.13"]


async def test_what_was_found_is_kept_while_nobody_can_be_asked(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telephony.names.PATIENCE_S", 0.3)
    routes = LineRoutes(line("sip:pbx.example"), Locator(settings(), Names([server.address])))
    await routes.look()
    before = routes.routes
    assert len(before) == 3
    server.silent = True
    assert await routes.look() == trunkroutes.AGAIN_S
    assert routes.routes == before
    server.silent = False
    server.set()  # the domain is gone: a mistake, or an attack
    await routes.look()
    assert routes.routes == before


async def test_the_line_follows_the_domain_when_its_time_has_passed(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunkroutes, "SHORTEST_S", 0.2)
    host = "pbx.example. {} IN A 127.0.0.{}"
    server.set(host.format(0, 31))
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    routes = LineRoutes(line("sip:pbx.example:5070"), Locator(settings(), Names([server.address])))
    assert routes.open
    task = asyncio.create_task(
        watch(routes, lambda _number, found: told.put_nowait([route.flow.remote[0] for route in found]))
    )
    try:
        async with asyncio.timeout(5):
            assert await told.get() == ["127.0.0.31"]
            await asyncio.sleep(0.5)
            assert told.empty(), "what has not changed is not told again"
            server.set(host.format(0, 32))
            assert await told.get() == ["127.0.0.32"]
    finally:
        task.cancel()


async def test_a_trunk_that_leads_nowhere_is_told(server: NameServer) -> None:
    told: asyncio.Queue[Sequence[TrunkRoute]] = asyncio.Queue()
    for registrar in ("sip:nowhere.example", "tel:123"):
        routes = LineRoutes(line(registrar), Locator(settings(), Names([server.address])))
        assert routes.open
        task = asyncio.create_task(watch(routes, lambda _number, found: told.put_nowait(found)))
        async with asyncio.timeout(5):
            assert await told.get() == ()
        task.cancel()
    assert not LineRoutes(line(), Locator(settings(), Names())).open
    assert not LineRoutes(line("sip:127.0.0.9"), Locator(settings(), Names())).open
