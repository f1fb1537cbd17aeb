"""pyVoIP 1.6.8 as a caller, in a process of its own: ``python -m tests.peers.pyvoip_agent`` with its orders as JSON
lines on standard input, and what happened as JSON lines on standard output; ``pyvoip.py`` gives the orders.

pyVoIP is under the GPL: it is imported here and in the line's optional probe, nowhere else.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import numpy as np
import pyVoIP.VoIP as voip  # noqa: N813 - before pyVoIP.SIP, which imported first goes round in a circle
from pyVoIP.VoIP.status import PhoneStatus
from pyVoIP.VoIP.VoIP import CallState

from tests.peers.audio import encode_alaw

_FRAME = 160
_told = sys.stdout
_heard = bytearray()


def main() -> None:
    """Obey until standard input ends. pyVoIP prints what it has not done: that goes to standard error."""
    sys.stdout = sys.stderr
    phone: Any = None
    call: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        name = order.pop("order")
        if name == "register":
            phone = _register(order)
        elif name == "dial":
            call = phone.call(order["number"])
            threading.Thread(target=_listen, args=(call,), daemon=True).start()
            _tell("dialling")
        elif name == "wait":
            _wait(lambda call=call, order=order: call.state is CallState[order["state"]], order["state"])
        elif name == "state":
            _tell("state", name=call.state.name)
        elif name == "say":
            call.write_audio(bytes.fromhex(order["linear8"]))
            _tell("saying")
        elif name == "hangup":
            call.hangup()
            _tell("hung up")
        elif name == "heard":
            samples = (np.frombuffer(bytes(_heard), np.uint8).astype(np.int16) - 128) * 256
            keys = call.get_dtmf(32)
            _tell("heard", alaw=encode_alaw(samples.astype(np.int16)).hex(), keys=keys)


def _register(order: dict[str, Any]) -> Any:
    phone = voip.VoIPPhone(
        order["host"],
        order["port"],
        order["user"],
        order["password"],
        myIP=order["local"],
        sipPort=order["sip_port"],
        rtpPortLow=order["rtp_port"],
        rtpPortHigh=order["rtp_port"] + 20,
    )
    threading.Thread(target=phone.start, daemon=True).start()
    _wait(lambda: phone.get_status() is PhoneStatus.REGISTERED, "REGISTERED")
    time.sleep(1.2)  # pyVoIP begins to read only a second after it has registered
    return phone


def _listen(call: Any) -> None:
    """Keep what is heard: pyVoIP gives 8-bit linear frames, and waits past those that are silence."""
    while call.state is not CallState.ENDED:
        if call.state is CallState.ANSWERED:
            _heard.extend(call.read_audio(_FRAME))
        else:
            time.sleep(0.01)


def _wait(done: Any, what: str) -> None:
    deadline = time.monotonic() + 15.0
    while not done():
        if time.monotonic() > deadline:
            _tell("failed", what=what)
            return
        time.sleep(0.02)
    _tell(what)


def _tell(event: str, **more: str) -> None:
    print(json.dumps({"event": event, **more}), file=_told, flush=True)


if __name__ == "__main__":
    main()
