"""What one side of a line may agree on for its audio: codecs, and whether it is encrypted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from telephony.sip.flow import Transport
from telephony.sip.sdp import G711, Security
from telephony.sip.security_description import KEY_BYTES

Encryption = Literal["off", "optional", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPolicy:
    """``codecs`` by static payload type in our order; ``encryption`` by SRTP (RFC 3711). Keys stand in the session
    description (RFC 4568), so they are told over TLS only, unless ``keys_in_clear``: whoever reads them hears the
    call."""

    codecs: tuple[int, ...] = G711
    encryption: Encryption = "off"
    keys_in_clear: bool = False

    def security(self, transport: Transport, keys: Mapping[str, bytes]) -> Security:
        """What holds for a description that goes over ``transport``; ``keys`` are ours by suite."""
        required = self.encryption == "required"
        if self.encryption == "off":
            return Security()
        if transport != "TLS" and not self.keys_in_clear:
            return Security(required=required, hindrance="Media keys are exchanged over TLS only")
        return Security(keys=keys, required=required)


PLAIN = MediaPolicy()
"""G.711 without encryption."""


def fresh_keys(policy: MediaPolicy) -> dict[str, bytes]:
    """Master key and salt of our own for each suite, where the policy has a use for them."""
    if policy.encryption == "off":
        return {}
    return {suite: secrets.token_bytes(size) for suite, size in KEY_BYTES.items()}
