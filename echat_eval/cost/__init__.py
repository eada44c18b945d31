"""Prices, token counts and the meter of a run."""
