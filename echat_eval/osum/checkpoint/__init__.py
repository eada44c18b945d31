"""Checkpoints of OSUM-EChat: reading, checking, converting."""
