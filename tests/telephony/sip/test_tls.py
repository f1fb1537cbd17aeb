"""TLS on loopback with real certificates: whom we let in, whom we believe, and what the flow is called."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from telephony.connections import StreamLimits
from telephony.sip.certificates import sip_identities, speaks_for
from telephony.tls import TlsSettings
from tests.telephony.sip.test_sockets import invite, start, until

__all__ = ["start"]

DOMAIN = "pbx.example.gov.cn"


class Office:
    """An authority and the certificates it signs, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    def settings(self, *names: str, authority: trustme.CA | None = None, **options: object) -> TlsSettings:
        issued = (authority or self.authority).issue_cert(*names)
        stem = self.folder / names[0].replace(":", "_")
        stem.with_suffix(".key").write_bytes(issued.private_key_pem.bytes())
        stem.with_suffix(".pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return TlsSettings(
            certificate=stem.with_suffix(".pem"),
            key=stem.with_suffix(".key"),
            authorities=self.folder / "ca.pem",
            **options,
        )


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_message_and_its_answer_go_by_one_tls_flow(start, office, host):
    line = await start(("TLS", host, 0), tls=office.settings("line.example.gov.cn"))
    pbx = await start(("TLS", host, 0), tls=office.settings(DOMAIN))
    pbx.answer = b"SIP/2.0 100 Trying\r\nContent-Length: 0\r\n\r\n"
    flow = line.sockets.flow_to(pbx.address("TLS"), transport="tls", domain=DOMAIN)
    assert flow.transport == "TLS"
    assert flow.reliable
    line.sockets.send(invite(4096), flow)
    await until(lambda: line.received)
    assert line.received == [(pbx.answer, flow)]
    assert pbx.received[0][1].transport == "TLS"


async def test_an_address_is_believed_where_the_certificate_names_it(start, office):
    line = await start(("TLS", "127.0.0.1", 0), tls=office.settings("line.example"))
    pbx = await start(("TLS", "127.0.0.1", 0), tls=office.settings("127.0.0.1"))
    line.sockets.send(invite(), line.sockets.flow_to(pbx.address("TLS"), transport="TLS"))
    await until(lambda: pbx.received)


@pytest.mark.parametrize("case", ["another domain", "another authority"])
async def test_a_pbx_that_cannot_prove_its_domain_gets_nothing(start, office, case):
    stranger = trustme.CA() if case == "another authority" else None
    names = DOMAIN if case == "another authority" else "evil.example"
    line = await start(("TLS", "127.0.0.1", 0), tls=office.settings("line.example"))
    pbx = await start(("TLS", "127.0.0.1", 0), tls=office.settings(names, authority=stranger))
    flow = line.sockets.flow_to(pbx.address("TLS"), transport="TLS", domain=DOMAIN)
    line.sockets.send(invite(), flow)
    await until(lambda: line.lost)
    assert pbx.received == []


async def test_mutual_tls_admits_the_pbx_alone(start, office):
    settings = office.settings("line.example", client_certificates=True, peer_domains=(DOMAIN,))
    line = await start(("TLS", "127.0.0.1", 0), tls=settings)
    pbx = await start(("TLS", "127.0.0.1", 0), tls=office.settings(DOMAIN))
    other = await start(("TLS", "127.0.0.1", 0), tls=office.settings("phone.example"))
    for peer in (other, pbx):
        peer.sockets.send(invite(), peer.sockets.flow_to(line.address("TLS"), transport="TLS", domain="line.example"))
    await until(lambda: line.received and other.lost)
    assert len(line.received) == 1

    plain = ssl.create_default_context(cafile=office.folder / "ca.pem")
    plain.check_hostname = False
    # With TLS 1.3 the client learns only after its handshake that its certificate is missed.
    reader, writer = await asyncio.open_connection(*line.address("TLS"), ssl=plain)
    writer.write(invite())
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    assert len(line.received) == 1


async def test_plain_bytes_at_the_tls_port_and_a_silent_handshake_are_let_go(start, office):
    limits = StreamLimits(handshake_s=0.3)
    line = await start(("TLS", "127.0.0.1", 0), tls=office.settings("line.example"), limits=limits)
    plain, plain_writer = await asyncio.open_connection(*line.address("TLS"))
    silent, silent_writer = await asyncio.open_connection(*line.address("TLS"))
    plain_writer.write(invite())
    assert len(line.sockets.connections) <= 2
    async with asyncio.timeout(3):
        await plain.read()
        assert await silent.read() == b""
    await until(lambda: len(line.sockets.connections) == 0)
    assert line.received == []
    for writer in (plain_writer, silent_writer):
        writer.close()


async def test_old_tls_is_refused(start, office):
    line = await start(("TLS", "127.0.0.1", 0), tls=office.settings("line.example"))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*line.address("TLS"), ssl=old)


async def test_a_renewed_certificate_serves_the_next_connection(start, office):
    settings = office.settings("line.example")
    line = await start(("TLS", "127.0.0.1", 0), tls=settings)
    issued = office.authority.issue_cert("renewed.example")
    settings.key.write_bytes(issued.private_key_pem.bytes())
    settings.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    line.sockets.reload_certificate()
    pbx = await start(("TLS", "127.0.0.1", 0), tls=office.settings(DOMAIN))
    pbx.sockets.send(invite(), pbx.sockets.flow_to(line.address("TLS"), transport="TLS", domain="renewed.example"))
    await until(lambda: line.received)


def certificate(*names: tuple[str, str]) -> dict[str, object]:
    return {"subject": ((("commonName", "common.example"),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("names", "identities"),
    [
        ([("DNS", "PBX.example.")], ("pbx.example",)),
        ([("URI", "sip:sip.example"), ("DNS", "www.example")], ("sip.example",)),
        ([("URI", "sip:somebody@sip.example"), ("DNS", "www.example")], ("www.example",)),
        ([("URI", "sips:sip.example"), ("URI", "https://x"), ("URI", "\x00")], ()),
        ([], ()),
    ],
    ids=["dns", "a sip uri wins", "a person is no domain", "other uris", "the common name alone"],
)
def test_whom_a_certificate_speaks_for(names, identities):
    assert sip_identities(certificate(*names)) == identities


def test_wildcards_and_foreign_addresses_do_not_match():
    both = certificate(("DNS", "*.example"), ("IP Address", "192.0.2.1"), ("IP Address", "nonsense"))
    assert not speaks_for(both, "pbx.example")
    assert speaks_for(both, "192.0.2.1")
    assert not speaks_for(both, "192.0.2.2")
    assert speaks_for(certificate(("IP Address", "2001:DB8:0:0:0:0:0:1")), "[2001:db8::1]")
