"""The console: officers verify and finalize, supervisors review."""
