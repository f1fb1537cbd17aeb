"""The line check's probe, a process of its own: reads an order, dials, listens, and prints one line of JSON.

``python -m telephony.probe`` takes the order (see ``probe_order``) on standard input; ``--agent`` overrides who dials.
Nothing that goes wrong in here can touch the line: the process is killed when its time is over.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout
from dataclasses import replace

from telephony.probe_evidence import EVIDENCE, ProbeEvidence
from telephony.probe_order import ORDER, ProbeOrder


def main() -> int:
    """Exit status 0 with evidence on standard output, whatever it says; 2 for an order that cannot be read."""
    options = argparse.ArgumentParser(description="Dial a duty line from outside and say what was heard.")
    options.add_argument("--agent", choices=("softphone", "pyvoip"), default=None)
    agent = options.parse_args().agent
    try:
        order = ORDER.validate_json(sys.stdin.buffer.read())
    except ValueError as error:
        sys.stderr.write(f"no order: {error}\n")
        return 2
    chosen = replace(order, agent=agent) if agent is not None else order
    with redirect_stdout(sys.stderr):
        evidence = dialled(chosen)
    sys.stdout.buffer.write(EVIDENCE.dump_json(evidence) + b"\n")
    sys.stdout.flush()
    if chosen.agent == "pyvoip":
        os._exit(0)  # it has threads that never end
    return 0


def dialled(order: ProbeOrder) -> ProbeEvidence:
    """What the agent of the order saw. Each agent is imported only where it is asked for."""
    try:
        if order.agent == "pyvoip":
            from telephony.probe_pyvoip import dial as dial_pyvoip  # noqa: PLC0415

            return dial_pyvoip(order)
        from telephony.probe_softphone import dial as dial_softphone  # noqa: PLC0415

        return dial_softphone(order)
    except ImportError as error:
        return ProbeEvidence(agent=order.agent, dialled=order.number, fault=f"agent_missing: {error.name}")
    except Exception as error:  # noqa: BLE001 - the process's edge: a fault of the probe is evidence too
        return ProbeEvidence(agent=order.agent, dialled=order.number, fault=f"{type(error).__name__}: {error}"[:300])


if __name__ == "__main__":
    raise SystemExit(main())
