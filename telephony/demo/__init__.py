"""The guided first call: what a caller and an officer say in it."""
