"""Network clients of judges and systems."""
