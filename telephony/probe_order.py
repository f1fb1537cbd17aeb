"""What a probe is told to do: the seam between the running line and the process that dials it from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

Agent = Literal["softphone", "pyvoip"]

REGISTER_LIMIT_S = 10.0
LISTEN_S = 10.0
"""After the answer: as long as a token takes to be spoken twice over, with some to spare."""
GOODBYE_S = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOrder:
    """Dial ``number`` through ``host``:``port``, registered there where ``register``, showing ``user`` as caller.

    ``answer_limit_s`` is how long it may ring; ``token`` lets the probe hang up as soon as it has heard it.
    """

    agent: Agent
    host: str
    port: int
    user: str
    number: str
    token: str
    answer_limit_s: float
    register: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    local_host: str = "127.0.0.1"

    @property
    def limit_s(self) -> float:
        """The longest the probe takes by its own clocks; after some more it is killed."""
        return (REGISTER_LIMIT_S if self.register else 0.0) + self.answer_limit_s + LISTEN_S + 2 * GOODBYE_S


ORDER: TypeAdapter[ProbeOrder] = TypeAdapter(ProbeOrder)
"""How an order crosses into the probe's process: JSON on standard input, for it may hold a password."""
