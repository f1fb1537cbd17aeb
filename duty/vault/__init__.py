"""The strongroom: what is sealed for secrecy is encrypted here and nowhere else (requirement 6.5-a)."""
