"""Checks of the instruments themselves: judges by golden replies, attacks and people; annotators by labels."""
