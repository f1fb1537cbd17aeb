"""What the words say: time, place, event, people; each value with the words behind it."""
