"""Runs Kamailio 5.6 on loopback as a carrier's registrar and proxy: digest for its subscribers, Record-Route on every
call, and one way out for all numbers that are nobody's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.peers.ports import Address, free_port
from tests.peers.programs import missing

_FOLDERS = os.environ.get("PATH", "") + ":/usr/sbin"
_START_LIMIT_S = 10.0
_CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
dns=no
rev_dns=no
disable_tcp=yes
listen=udp:{host}:{port}
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "auth.so"
modparam("registrar", "min_expires", 2)
modparam("registrar", "max_expires", {max_expires})
modparam("rr", "append_fromtag", 1)
modparam("usrloc", "timer_interval", 1)

request_route {{
    xlog("L_ALERT", "REQUEST $rm $ru from $si:$sp\\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    t_check_trans();
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    $var(password) = "";
{passwords}
    if (is_method("REGISTER")) {{
        if ($var(password) == "" || !pv_www_authenticate("$td", "$var(password)", "0")) {{
            www_challenge("$td", "1");
            exit;
        }}
        save("location");
        exit;
    }}
    if (!is_method("INVITE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if ($var(password) != "") {{
        if (!pv_proxy_authenticate("$fd", "$var(password)", "0")) {{ proxy_challenge("$fd", "1"); exit; }}
        consume_credentials();
    }}
    record_route();
{numbers}
    if (!lookup("location")) {{
        $du = "sip:{out_host}:{out_port}";
    }}
    if (!t_relay()) sl_reply_error();
    exit;
}}

onreply_route {{
    xlog("L_ALERT", "REPLY $rs $rm from $si:$sp\\n");
}}
"""


class KamailioError(AssertionError):
    """Kamailio did not start; the text holds the end of its log."""


@dataclass(slots=True)
class Kamailio:
    """One proxy; a context manager. ``subscribers`` are passwords by user name, as which they register and call;
    ``numbers`` are subscribers by the number that rings them; ``out`` is where every other number goes."""

    work: Path
    subscribers: dict[str, str]
    numbers: dict[str, str]
    out: Address
    host: str = "127.0.0.3"
    port: int = 0
    max_expires_s: int = 3600
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __enter__(self) -> Kamailio:
        """Raises KamailioError."""
        program = shutil.which("kamailio", path=_FOLDERS)
        if program is None:
            missing("kamailio is missing: apt-get install kamailio")
        self.port = self.port or free_port(self.host)
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / "kamailio.cfg"
        file.write_text(self._config(), encoding="utf-8")
        command = [program, "-DD", "-E", "-f", str(file), "-m", "32", "-M", "8", "-Y", str(self.work)]
        with (self.work / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._wait_until_listening()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.host, self.port

    def log(self) -> str:
        """What it said."""
        return (self.work / "kamailio.log").read_text(encoding="utf-8", errors="replace")

    def requests(self, method: str) -> list[tuple[str, str]]:
        """The requests of a method that came, in order: (request URI, from ``host:port``)."""
        lines = (line.split("REQUEST ", 1)[1].split() for line in self.log().splitlines() if "REQUEST " in line)
        return [(uri, source) for name, uri, _, source in lines if name == method]

    def stop(self) -> None:
        """Ends it and its children; kills what is left after 5 s."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _config(self) -> str:
        return _CONFIG.format(
            host=self.host,
            port=self.port,
            max_expires=self.max_expires_s,
            out_host=self.out[0],
            out_port=self.out[1],
            passwords="\n".join(
                f'    if ($fU == "{user}" || $au == "{user}") {{ $var(password) = "{password}"; }}'
                for user, password in self.subscribers.items()
            ),
            numbers="\n".join(
                f'    if ($rU == "{number}") {{ $rU = "{user}"; }}' for number, user in self.numbers.items()
            ),
        )

    def _wait_until_listening(self) -> None:
        packed = int.from_bytes(bytes(int(part) for part in self.host.split(".")), "little")
        wanted = f"{packed:08X}:{self.port:04X}"
        deadline = time.monotonic() + _START_LIMIT_S
        while wanted not in Path("/proc/net/udp").read_text(encoding="ascii"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise KamailioError(f"Kamailio does not listen\n{self.log()[-3000:]}")
            time.sleep(0.02)
