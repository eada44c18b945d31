"""OSUM-EChat inference, re-implemented: from a spoken query to text and speech tokens.

Importing this package loads nothing.
"""
