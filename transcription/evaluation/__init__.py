"""How well speech becomes entries, measured: what a unit runs on its own calls before it chooses a model."""
