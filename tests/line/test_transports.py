"""The whole telephony process on several addresses: UDP, TCP and TLS, IPv4 and IPv6."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.settings import load
from tests.line.service import Line, Service, options
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.fixtures import baresip
from tests.peers.ports import free_port
from tests.telephony.sip.test_tls import Office

__all__ = ["baresip"]

MakeBaresip = Callable[[BaresipAccount], Baresip]

NAME = "line.example.gov.cn"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, office: Office) -> Iterator[Service]:
    made = Service(root=tmp_path_factory.mktemp("transports"), lines=(Line(number="037122595110", phones=("1001",)),))
    issued = office.settings(NAME)
    file = made.root / "settings.toml"
    places = [("UDP", "127.0.0.1"), ("TCP", "127.0.0.1"), ("UDP", "::1"), ("TCP", "::1")]
    listen = [(by, host, made.port) for by, host in places]
    tls_port = free_port()
    listen += [("TLS", host, tls_port) for host in ("127.0.0.1", "::1")]
    entries = ", ".join(f'{{ transport = "{by}", host = "{host}", port = {port} }}' for by, host, port in listen)
    text = file.read_text("utf-8").replace("[sip]\n", f"[sip]\nlisten = [{entries}]\n")
    tls = {"certificate": issued.certificate, "key": issued.key, "authorities": issued.authorities}
    text += "[sip.tls]\n" + "".join(f'{name} = "{path}"\n' for name, path in tls.items())
    file.write_text(text, encoding="utf-8")
    made.settings = load(file)
    with made:
        yield made


def places(service: Service, transport: str) -> list[tuple[str, int]]:
    return [(each.host, each.port) for each in service.settings.sip.listen if each.transport == transport]


def request(address: tuple[str, int], transport: str) -> bytes:
    return options(("127.0.0.1", address[1])).replace(b"SIP/2.0/UDP", b"SIP/2.0/" + transport.encode())


@pytest.mark.rule("4-a")
@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS"])
@pytest.mark.parametrize("family", [4, 6])
def test_the_line_answers_at_each_address(service: Service, office: Office, transport: str, family: int) -> None:
    (address,) = [each for each in places(service, transport) if (":" in each[0]) == (family == 6)]
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind) as plain:
        plain.settimeout(10.0)
        plain.connect(address)
        if transport != "TLS":
            plain.sendall(request(address, transport))
            assert plain.recv(65535).startswith(b"SIP/2.0 200")
            return
        context = ssl.create_default_context(cafile=office.folder / "ca.pem")
        with context.wrap_socket(plain, server_hostname=NAME) as secure:
            secure.sendall(request(address, transport))
            assert secure.recv(65535).startswith(b"SIP/2.0 200")


@pytest.mark.peer
def test_a_phone_registers_by_tls(service: Service, baresip: MakeBaresip) -> None:
    address = places(service, "TLS")[0]
    account = BaresipAccount(
        user="1001", registrar=address, password=service.password("1001"), expires_s=300, transport="tls"
    )
    phone = baresip(account)
    phone.wait_event("REGISTER_OK")


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    tls = '{ transport = "TLS", host = "127.0.0.1", port = 5061 }'
    for text, said in [
        (f"[sip]\nlisten = [{tls}]\n", "needs certificate and key"),
        (f'[sip]\nlisten = [{tls}, {tls}]\n[sip.tls]\ncertificate = "a"\nkey = "b"\n', "given twice"),
        ('[sip.tls]\ncertificate = "a"\n', "go together"),
    ]:
        file = tmp_path / "settings.toml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=said):
            load(file)
