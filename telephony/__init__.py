"""The duty line: a back-to-back user agent that logs, relays and records every call and forwards none."""
