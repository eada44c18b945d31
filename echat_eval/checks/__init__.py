"""Checks of the instruments: judges by golden replies, attacks and people; annotators by labels."""
