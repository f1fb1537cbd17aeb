"""The entry room: the command line and the process supervisor. May import every other room; none imports it."""
