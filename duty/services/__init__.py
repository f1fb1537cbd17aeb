"""Use cases: each one is one transaction, its events and its jobs included."""
