"""OSUM-EChat, written anew: from a spoken query to text and speech tokens. Importing it loads nothing."""
