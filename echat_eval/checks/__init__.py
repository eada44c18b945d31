"""Checks of instruments: judges against golden replies, attacks and raters; annotators against labels."""
