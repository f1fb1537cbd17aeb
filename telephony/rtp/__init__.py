"""RTP (RFC 3550), G.711, telephone-event and tones as pure functions over bytes."""
