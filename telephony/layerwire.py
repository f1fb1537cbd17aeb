"""The present moment, and the transaction layer at that moment, as the legs of calls see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One moment on two clocks: ``monotonic`` s for timers, ``unix`` s for registrations and nonces."""

    monotonic: float
    unix: float


class LayerWire:
    """The transaction layer at the present instant, as legs see it."""

    def __init__(self, layer: TransactionLayer, token: Callable[[], str], session_s: int) -> None:
        self.now = 0.0
        self.session_s = session_s
        self.reliable = True
        self._layer = layer
        self.token = token

    def send_request(self, request: Request, flow: Flow) -> str:
        """Send a request; the id of its transaction."""
        return self._layer.send_request(request, flow, self.now)

    def respond(self, transaction_id: str, response: Response) -> None:
        """Answer a received request."""
        self._layer.respond(transaction_id, response, self.now)

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Acknowledge a 2xx."""
        self._layer.send_ack(ack, flow, self.now)

    def cancel(self, client_transaction_id: str, *, reason: str = "") -> None:
        """Cancel an INVITE of ours."""
        self._layer.cancel(client_transaction_id, self.now, reason=reason)
