"""The duty room itself: its domain, its use cases and its store. No SIP, no HTTP, no speech engine in here."""
