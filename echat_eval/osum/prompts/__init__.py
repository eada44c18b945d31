"""Prompts, modes and the parsing of replies."""
