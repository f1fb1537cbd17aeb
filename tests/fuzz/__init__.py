"""Coverage-guided fuzzing of everything that reads bytes from the network; ``scripts/fuzz.sh`` runs it."""
