"""A carrier's server in front of the line, both ways: Kamailio as registrar and proxy, or sippy's B2BUA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from duty.store.database import Store
from tests.interop.talk import SCENARIOS, wait_until
from tests.line.book import Book
from tests.line.service import HOST, Line, Service, Trunk
from tests.peers.kamailio import Kamailio
from tests.peers.ports import Address, free_port
from tests.peers.sipp import SCENARIOS as PEERS_SCENARIOS
from tests.peers.sippy import Sippy

NUMBER = "037122590071"
EXTENSION = "7001"
FAR_HOST = "127.0.0.5"
SECRET = "carrier-secret"
BRIEF_S = 8
"""How long Kamailio lets a registration live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The service, where callers dial in, and where every other number ends. ``scenarios`` are what SIPp plays there,
    ``proxy`` is Kamailio where it is that."""

    service: Service
    entry: Address
    far: Address
    scenarios: Path
    proxy: Kamailio | None = None

    @property
    def kamailio(self) -> Kamailio:
        """The proxy of an exchange that has one."""
        assert self.proxy is not None
        return self.proxy


@contextmanager
def behind_kamailio(root: Path) -> Iterator[Exchange]:
    """The line's trunk is registered at Kamailio, with digest and for a short time only."""
    far = (FAR_HOST, free_port(FAR_HOST))
    with Kamailio(root / "proxy", {"duty": SECRET}, {NUMBER: "duty"}, far, max_expires_s=BRIEF_S) as proxy:
        trunk = Trunk(registrar=proxy.address, username="duty", password=SECRET)
        line = Line(number=NUMBER, phones=(EXTENSION,), trunk=trunk)
        with Service(root / "service", (line,)) as service, closing(Store(service.settings.store_url)) as store:
            book = Book(store, service.settings.data.recordings)
            wait_until(lambda: book.component(NUMBER)[0] == "registered", "the trunk does not register")
            yield Exchange(service=service, entry=proxy.address, far=far, scenarios=_scenarios(root, {}), proxy=proxy)


@contextmanager
def behind_sippy(root: Path) -> Iterator[Exchange]:
    """One sippy passes calls to the line, another the line's calls on; nobody registers."""
    far, port = (FAR_HOST, free_port(FAR_HOST)), free_port()
    with Sippy(root / "in", (HOST, port)) as inwards, Sippy(root / "out", far) as outwards:
        line = Line(number=NUMBER, phones=(EXTENSION,), trunk=Trunk(registrar=outwards.address))
        with Service(root / "service", (line,), port=port) as service:
            # sippy 2.5 fails over a transport in capitals, as SIPp writes it (RFC 3261 19.1.4 lets it), and SIPp takes
            # the display name of sippy's contact for a part of the URI.
            entry, out = (f"sip:{host}:{port}" for host, port in (inwards.address, outwards.address))
            scenarios = _scenarios(
                root, {";transport=[transport]>": ">"}, {"caller": {"[next_url]": entry}, "phone": {"[next_url]": out}}
            )
            yield Exchange(service=service, entry=inwards.address, far=far, scenarios=scenarios)


def _scenarios(root: Path, changes: dict[str, str], by_kind: dict[str, dict[str, str]] | None = None) -> Path:
    """A folder with every scenario, in which the keys of ``changes``, and of those for its kind, are replaced."""
    folder = root / "scenarios"
    folder.mkdir()
    for path in (*SCENARIOS.glob("*.xml"), *PEERS_SCENARIOS.glob("*.xml")):
        text = path.read_text(encoding="utf-8")
        for old, new in (changes | (by_kind or {}).get(path.stem.split("_")[0], {})).items():
            text = text.replace(old, new)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder
