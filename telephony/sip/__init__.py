"""SIP (RFC 3261) as pure protocol logic: bytes and a clock in, events and bytes out."""
