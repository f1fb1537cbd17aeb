"""A line that listens by TLS alone has no other socket, and sends nothing in clear."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from config.settings import load
from tests.line.service import HOST, Line, Service, Trunk, options
from tests.peers.ports import free_port
from tests.telephony.sip.test_tls import Office

NAME = "line.example.gov.cn"
_LISTENING = "0A"


def _sockets(pid: int) -> set[tuple[str, str, int, str]]:
    """Protocol, local address, port and state of each IP socket of the process, as the kernel has them."""
    owned = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        owned.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]:
            fields = row.split()
            if fields[9] in owned:
                host, port = fields[1].split(":")
                found.add((table, host, int(port, 16), fields[3]))
    return found


@pytest.mark.rule("4-a")
def test_there_is_no_socket_but_the_tls_one(tmp_path: Path) -> None:
    office = Office(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as pbx:
        pbx.bind((HOST, 0))
        line = Line(number="037122590051", phones=("5101",), trunk=Trunk(registrar=pbx.getsockname(), username="duty"))
        service = Service(tmp_path / "service", (line,))
        issued, port = office.settings(NAME), free_port()
        file = service.root / "settings.toml"
        entry = f'{{ transport = "TLS", host = "{HOST}", port = {port} }}'
        text = file.read_text("utf-8").replace("[sip]\n", f"[sip]\nlisten = [{entry}]\n")
        tls = {"certificate": issued.certificate, "key": issued.key, "authorities": issued.authorities}
        text += "[sip.tls]\n" + "".join(f'{name} = "{path}"\n' for name, path in tls.items())
        file.write_text(text, encoding="utf-8")
        service.settings = load(file)
        context = ssl.create_default_context(cafile=office.folder / "ca.pem")

        def answers() -> bool:
            try:
                with (
                    socket.create_connection((HOST, port), timeout=2.0) as plain,
                    context.wrap_socket(plain, server_hostname=NAME) as secure,
                ):
                    secure.sendall(options((HOST, port)).replace(b"SIP/2.0/UDP", b"SIP/2.0/TLS"))
                    return secure.recv(65_535).startswith(b"SIP/2.0 200")
            except OSError:
                return False

        try:
            service.launch()
            service.wait(answers, "the line does not answer by TLS", 30.0)
            sockets = _sockets(service.pid())
            assert {each for each in sockets if each[0].startswith("udp")} == set()
            listening = {(table, at) for table, _, at, state in sockets if state == _LISTENING}
            assert listening == {("tcp", port)}
            with socket.create_connection((HOST, port), timeout=5.0) as plain:
                plain.sendall(options((HOST, port)).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
                plain.settimeout(5.0)
                assert not plain.recv(65_535).startswith(b"SIP/2.0"), "answered in clear"
            assert "does not listen by UDP" in service.log(), "the trunk by UDP is refused aloud"
            pbx.setblocking(False)
            with pytest.raises(BlockingIOError):
                pbx.recv(65_535)
        finally:
            service.__exit__(None, None, None)
